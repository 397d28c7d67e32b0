"""Each step of a frame's and a look's way alone, on the pictures of a recording."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from benchmarks.material import Material
from benchmarks.recorded import frames_of
from pipeline.catalog import Catalog
from pipeline.color import letterbox_rgb
from pipeline.crop import Cropper
from pipeline.detect import input_size_wh, load_detector
from pipeline.geometry import fit_view
from pipeline.identify.agreement import Picture
from pipeline.identify.compare import lay_over
from pipeline.identify.ratio_test import pair_by_ratio
from pipeline.identify.types import Check, Look
from pipeline.identify.vote import Voter
from pipeline.keypoints import KeypointExtractor
from pipeline.matcher import Matcher, create_matcher
from pipeline.options import MatcherOptions
from pipeline.track import Tracker
from pipeline.types import F32, Detections, Frame

CAMERA = "cam"
_N_FRAMES = 40
_Input = TypeVar("_Input")


@dataclass(frozen=True, slots=True)
class StepCase:
    """A step that is called again and again; each call takes the next of its inputs.

    rows: pictures or looks in a call. shape: of what it works on, for people.
    """

    name: str
    shape: str
    call: Callable[[], object]
    rows: int = 1


@dataclass(slots=True)
class Scenery:
    """What the steps work on: frames of a recording, and the looks that they ask for."""

    options: MatcherOptions
    matcher: Matcher
    catalog: Catalog
    frames: list[Frame]
    looks: list[Look] = field(default_factory=list)


def make_scenery(options: MatcherOptions, material: Material, every: int = 3) -> Scenery:
    """Return a matcher with frames of the recording and the looks that they ask for."""
    matcher = create_matcher(options, {CAMERA: material.catalog})
    frames = frames_of(material.clip, CAMERA, _N_FRAMES, every)
    scenery = Scenery(options, matcher, matcher.catalogs[CAMERA], frames)
    for frame in frames:
        _, looks = matcher.follow([frame])
        for look in looks:
            matcher.give_up(look)
        scenery.looks += looks
    return scenery


def step_cases(scenery: Scenery) -> Iterator[StepCase]:
    """Yield the steps in the order in which a frame and its looks go through them."""
    yield from _follow_cases(scenery)
    yield from _identify_cases(scenery)
    yield from _whole_cases(scenery)


def _follow_cases(scenery: Scenery) -> Iterator[StepCase]:
    options, frames = scenery.options, scenery.frames
    shape = "{}x{}".format(*frames[0].size_wh)
    size = input_size_wh(frames[0].size_wh, options.detect.input_side_px)
    into = np.empty((size[1], size[0], 3), np.uint8)
    yield StepCase("letterbox", shape, _each(lambda frame: letterbox_rgb(frame, into), frames))
    detector = load_detector(options.engine, options.detect)
    yield StepCase("detect", shape, _each(lambda frame: detector.detect([frame]), frames))
    found = [detector.detect([frame])[0] for frame in frames]
    yield StepCase("track", f"{_mean_count(found):.1f} boxes", _tracking(scenery, found))
    cropper = Cropper(options.crop)
    by_number = {frame.number: frame for frame in frames}
    crops = [(by_number[look.stamp.number], look) for look in scenery.looks]
    yield StepCase("crop", shape, _each(lambda c: cropper.crop(c[0], [c[1].crop.track]), crops))


def _identify_cases(scenery: Scenery) -> Iterator[StepCase]:
    options = scenery.options
    images = [look.crop.image_bgr for look in scenery.looks]
    extractor = KeypointExtractor(options.verify)
    yield StepCase("keypoints", "a crop", _each(extractor.extract, images))
    keypoints = [extractor.extract(image) for image in images]
    voter, k = Voter(scenery.catalog), options.search.k
    n_items = f"{len(scenery.catalog.items)} items"
    yield StepCase("votes", n_items, _each(lambda found: voter.vote(found, k), keypoints))
    checks = _likely_checks(scenery)
    if not checks:
        return
    pairs = [(check.crop, check.view) for check in checks]
    stages = scenery.matcher.stages
    yield StepCase("ratio test", "a pair", _each(_ratio_test, pairs))
    yield StepCase("geometry", "a pair", _each(_fit, [_matched(*pair) for pair in pairs]))
    yield StepCase("check", "a pair", _each(lambda check: stages.checker.check([check]), checks))
    checked = stages.checker.check(checks)
    yield StepCase("compare", "a pair", _each(lambda one: stages.comparer.compare([one]), checked))
    laid = [
        (one.check.crop.place(one.check.view, one.alignments[0].homography),)
        for one in checked
        if one.alignments
    ]
    if laid:
        yield StepCase("lay over", "a pair", _each(lambda one: lay_over(one[0], None, 160), laid))


def _whole_cases(scenery: Scenery) -> Iterator[StepCase]:
    matcher, looks = scenery.matcher, scenery.looks
    for rows in dict.fromkeys((1, matcher.looks_at_once)):
        batches = [looks[i : i + rows] for i in range(0, len(looks) - rows + 1, rows)]
        if batches:
            call = _each(lambda batch: matcher.identify(batch), batches)
            yield StepCase("a whole look", f"{rows} at once", call, rows)

    def follow(frame: Frame) -> None:
        for look in matcher.follow([frame])[1]:
            matcher.give_up(look)

    yield StepCase("a whole frame (follow)", "", _each(follow, scenery.frames))


def _each(call: Callable[[_Input], object], inputs: Sequence[_Input]) -> Callable[[], object]:
    turn = itertools.cycle(inputs)
    return lambda: call(next(turn))


def _tracking(scenery: Scenery, found: Sequence[Detections]) -> Callable[[], object]:
    tracker = Tracker(CAMERA, scenery.options.track)
    size_wh, turn, clock = scenery.frames[0].size_wh, itertools.cycle(found), itertools.count()
    return lambda: tracker.track(next(turn), next(clock) * 0.1, size_wh)


def _likely_checks(scenery: Scenery) -> list[Check]:
    """Each look's crop to be checked against the view that it was found most like."""
    matcher = scenery.matcher
    checks = []
    for number, look in enumerate(scenery.looks):
        judgements = matcher.identify([look])[0].judgements
        if judgements:
            proposal = judgements[0].proposal
            crop = matcher.stages.checker.prepare(look.crop.image_bgr)
            view = look.shelf.view(proposal.view_index)
            near_twin = look.shelf.near_twin(proposal.view_index)
            checks.append(Check(number, proposal, crop, view, near_twin))
    return checks


def _ratio_test(pair: tuple[Picture, Picture]) -> object:
    crop, view = pair
    return pair_by_ratio(view.keypoints, crop.keypoints)


@dataclass(frozen=True, slots=True)
class _Matched:
    """Points of a view and of a crop that the ratio test paired, (M, 2) px each."""

    view_xy: F32
    crop_xy: F32
    view_wh: tuple[int, int]
    crop_wh: tuple[int, int]


def _matched(crop: Picture, view: Picture) -> _Matched:
    rows, columns = pair_by_ratio(view.keypoints, crop.keypoints)
    return _Matched(
        view.keypoints.xy_scale_ori[rows, :2],
        crop.keypoints.xy_scale_ori[columns, :2],
        view.keypoints.image_size_wh,
        crop.keypoints.image_size_wh,
    )


def _fit(found: _Matched) -> object:
    return fit_view(found.view_xy, found.crop_xy, found.view_wh, found.crop_wh, 4.0)


def _mean_count(found: Sequence[Detections]) -> float:
    return float(np.mean([len(one) for one in found]))
