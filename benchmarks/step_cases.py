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
from pipeline.compare import lay_over
from pipeline.crop import Cropper
from pipeline.detect import input_size_wh, load_detector
from pipeline.geometry import fit_view
from pipeline.keypoints import KeypointExtractor
from pipeline.look import Look
from pipeline.matcher import Matcher, create_matcher
from pipeline.options import MatcherOptions
from pipeline.track import Tracker
from pipeline.types import F32, Detections, Frame
from pipeline.verify import Picture, Verifier, load_verifier, pair_by_ratio
from pipeline.vote import Voter

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
    yield StepCase("letterbox", shape, _each(lambda frame: letterbox_rgb(frame, size), frames))
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
    scenery.matcher.identify(scenery.looks)  # so that each has its likeliest view
    verifier = load_verifier(options.engine, options.verify)
    pairs = _likely_pairs(scenery, verifier)
    if not pairs:
        return
    yield StepCase("ratio test", "a pair", _each(_ratio_test, pairs))
    yield StepCase("geometry", "a pair", _each(_fit, [_matched(*pair) for pair in pairs]))
    yield StepCase("verify", "a pair", _each(lambda pair: verifier.verify([pair]), pairs))
    laid = [
        (crop.place(view, found.homography), crop, view)
        for (crop, view), found in zip(pairs, verifier.verify(pairs), strict=True)
        if found.homography is not None
    ]
    if laid:
        yield StepCase("lay over", "a pair", _each(lambda one: lay_over(one[0], None, 160), laid))


def _whole_cases(scenery: Scenery) -> Iterator[StepCase]:
    matcher, looks = scenery.matcher, scenery.looks
    for rows in dict.fromkeys((1, matcher.looks_at_once)):
        batches = [looks[i : i + rows] for i in range(0, len(looks) - rows + 1, rows)]
        if batches:
            call = _each(lambda batch: matcher.identify([_fresh(look) for look in batch]), batches)
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


def _likely_pairs(scenery: Scenery, verifier: Verifier) -> list[tuple[Picture, Picture]]:
    """Each look's crop with the view that it was found most like."""
    return [
        (
            verifier.prepare(look.crop.image_bgr),
            look.shelf.view(look.judgements[0].candidate.view_index),
        )
        for look in scenery.looks
        if look.judgements
    ]


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


def _fresh(look: Look) -> Look:
    """The look before anything was found out about it."""
    return Look(look.crop, look.shelf, None, 0, look.panel, look.stamp, look.now_s, look.tracking)


def _mean_count(found: Sequence[Detections]) -> float:
    return float(np.mean([len(one) for one in found]))
