"""The matcher behind a motion gate: what is told stays the same, and a still scene costs little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.matcher import Matcher
from pipeline.types import Frame, Phase, Sighting
from tests.pipeline.matcher_rig import SEED, build_pack_catalog, draw_frame, make_matcher

KNOWN = [SEED + i for i in range(4)]
STRANGER = SEED + 100
LOOK_AGAIN_S = 2.0
FPS = 10
Packs = list[tuple[int, tuple[float, float]]]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pack_catalog(tmp_path_factory.mktemp("shelf"), KNOWN)


def frames_of(places: Sequence[Packs]) -> list[Frame]:
    """Frames with these packs, and a camera's noise; each distinct scene is drawn once."""
    rng = np.random.default_rng(0)
    frames: list[Frame] = []
    drawn: dict[str, Frame] = {}
    for number, packs in enumerate(places):
        plain = drawn.setdefault(str(packs), draw_frame(packs, number, fps=FPS))
        noisy = plain.y + rng.normal(0, 2.0, plain.y.shape)
        at_ns = number * 10**9 // FPS
        y = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        times = {"captured_ns": at_ns + 1, "wall_ns": at_ns + 1, "media_ns": at_ns}
        frames.append(replace(plain, number=number, y=y, **times))
    return frames


def stay(matcher: Matcher, frame: Frame) -> list[Sighting]:
    """What a still frame tells; what it asks for is answered at once."""
    told, looks = matcher.stay([frame])
    return [*told, *matcher.apply(matcher.identify(looks))]


def run(matcher: Matcher, frames: list[Frame], look_again_s: float) -> tuple[list[Sighting], set]:
    """Return what is told, and the numbers of the frames that were searched; 0: no gate."""
    told: list[Sighting] = []
    searched = set()
    for frame in frames:
        if look_again_s and matcher.is_still(frame, look_again_s):
            told += stay(matcher, frame)
        else:
            searched.add(frame.number)
            told += matcher.match([frame])
    return told, searched


def lives(told: list[Sighting]) -> list[tuple[str, str, float]]:
    return [
        (s.phase.value, str(s.match.item_id), s.frame_number / FPS)
        for s in told
        if s.phase is not Phase.UPDATED
    ]


STAYS: list[Packs] = [
    *[[]] * 20,
    *[[(KNOWN[1], (40.0 + 8 * i, 90.0))] for i in range(15)],  # comes in
    *[[(KNOWN[1], (160.0, 90.0))]] * 45,  # stands
    *[[(KNOWN[1], (160.0, 90.0)), (KNOWN[3], (430.0, 60.0))]] * 45,  # another beside it
    *[[(KNOWN[3], (430.0, 60.0))]] * 40,  # the first is taken away
    *[[]] * 40,
]


def test_what_comes_stands_and_goes_is_told_the_same_with_and_without(catalog: Path) -> None:
    frames = frames_of(STAYS)
    ungated, all_frames = run(make_matcher({"door": catalog}), frames, 0)
    gated, searched = run(make_matcher({"door": catalog}), frames, LOOK_AGAIN_S)
    assert len(all_frames) == len(frames) and len(searched) < 0.6 * len(frames)
    assert len(lives(gated)) == 4
    for one, other in zip(lives(ungated), lives(gated), strict=True):
        assert one[:2] == other[:2] and abs(one[2] - other[2]) <= 0.3


def test_an_item_that_appears_is_searched_in_its_first_frame(catalog: Path) -> None:
    places: list[Packs] = [*[[]] * 50, *[[(KNOWN[0], (300.0, 90.0))]] * 10]
    told, searched = run(make_matcher({"door": catalog}), frames_of(places), LOOK_AGAIN_S)
    assert set(range(50, 56)) <= searched
    assert [phase for phase, *_ in lives(told)] == ["appeared"]
    assert told[0].frame_number <= 51


def test_a_still_scene_is_searched_once_in_a_while(catalog: Path) -> None:
    places: list[Packs] = [[(KNOWN[0], (300.0, 90.0))]] * 150
    told, searched = run(make_matcher({"door": catalog}), frames_of(places), LOOK_AGAIN_S)
    late = sorted(number for number in searched if number > 60)
    assert 3 <= len(late) <= 6 and np.diff(late).max() <= LOOK_AGAIN_S * FPS + 1
    assert [phase for phase, *_ in lives(told)] == ["appeared"], "and what stands there stays told"


def test_a_stranger_holds_the_gate_open_for_its_first_looks_only(catalog: Path) -> None:
    places: list[Packs] = [[(STRANGER, (300.0, 90.0))]] * 110
    told, searched = run(make_matcher({"door": catalog}), frames_of(places), LOOK_AGAIN_S)
    assert lives(told) == []
    assert len(searched & set(range(5))) == 5
    assert len(searched & set(range(60, 110))) <= 4


def test_a_track_that_needs_a_look_gets_it_from_a_still_frame(catalog: Path) -> None:
    """What was asked for may come late: meanwhile nothing is searched for it, and it is told."""
    frames = frames_of([[(KNOWN[0], (300.0, 90.0))]] * 40)
    matcher = make_matcher({"door": catalog})
    told, waiting, n_searched = [], [], 0
    for frame in frames[:15]:
        if matcher.is_still(frame, LOOK_AGAIN_S):
            sightings, looks = matcher.stay([frame])
        else:
            n_searched += 1
            sightings, looks = matcher.follow([frame])
        told, waiting = told + sightings, waiting + looks
    assert n_searched < 10 and not told and waiting
    for look in waiting:
        matcher.give_up(look)  # the lane had no time for it
    later = [stay(matcher, frame) for frame in frames[15:19]]
    assert [phase for phase, *_ in lives([s for each in later for s in each])] == ["appeared"]


def test_a_camera_that_starts_anew_is_searched_first(catalog: Path) -> None:
    frames = frames_of([[]] * 40)
    matcher = make_matcher({"door": catalog})
    run(matcher, frames[:30], LOOK_AGAIN_S)
    assert matcher.is_still(frames[30], LOOK_AGAIN_S)
    matcher.reset_camera("door")
    assert not matcher.is_still(frames[31], LOOK_AGAIN_S)


def test_a_box_that_moved_when_the_picture_came_to_rest_goes_no_further(catalog: Path) -> None:
    places: list[Packs] = [[(KNOWN[1], (40.0 + 8 * min(i, 20), 90.0))] for i in range(60)]
    matcher = make_matcher({"door": catalog})
    frames = frames_of(places)
    told, searched = run(matcher, frames[:59], LOOK_AGAIN_S)
    assert len(searched) < 45
    assert matcher.is_still(frames[59], LOOK_AGAIN_S)
    told += stay(matcher, frames[59])
    told += matcher.coast([frames[59]])
    told += matcher.reset_camera("door")
    assert abs(told[-1].match.box_xyxy[0] - 200) < 6
