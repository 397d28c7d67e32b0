"""Which tracks get a look: settled ones seldom, those that met another soon."""

import numpy as np
import pytest

from pipeline.attend import Attention, State, checks_after, first_checks
from pipeline.color import frame_from_bgr
from pipeline.options import CropOptions
from pipeline.types import Candidate, Frame, ItemId, Track


@pytest.fixture(scope="module")
def frame() -> Frame:
    noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    return frame_from_bgr(noise)


def _track(track_id: int, x: float) -> Track:
    box = np.array([x, 100, x + 100, 220], np.float32)
    return Track("door", track_id, box, 0.9, 0, 5)


def _looked_at(attention: Attention, frame: Frame, xs: tuple[float, float], now_s: float) -> set:
    settled = {1: State.SETTLED, 2: State.SETTLED}
    tracks = [_track(1, xs[0]), _track(2, xs[1])]
    return {track.track_id for track in attention.choose(frame, tracks, settled, now_s, 4)}


def test_settled_tracks_apart_are_left_alone_until_their_recheck(frame):
    attention = Attention(CropOptions())
    assert _looked_at(attention, frame, (50, 400), 0.0) == {1, 2}
    assert _looked_at(attention, frame, (50, 400), 1.0) == set()
    assert _looked_at(attention, frame, (50, 400), 2.1) == {1, 2}


def test_tracks_that_meet_are_looked_at_soon_and_once_more_when_they_have_parted(frame):
    attention = Attention(CropOptions())
    _looked_at(attention, frame, (50, 400), 0.0)
    assert _looked_at(attention, frame, (150, 200), 0.2) == set()
    assert _looked_at(attention, frame, (150, 200), 0.4) == {1, 2}
    assert _looked_at(attention, frame, (50, 400), 0.5) == set()
    assert _looked_at(attention, frame, (50, 400), 0.8) == {1, 2}
    assert _looked_at(attention, frame, (50, 400), 1.5) == set()


def test_a_track_that_jumped_is_looked_at_soon(frame):
    attention = Attention(CropOptions())
    _looked_at(attention, frame, (50, 400), 0.0)
    assert _looked_at(attention, frame, (50, 500), 0.2) == set()  # number 2 is elsewhere now
    assert _looked_at(attention, frame, (50, 500), 0.4) == {2}
    assert _looked_at(attention, frame, (50, 500), 1.0) == set()


def test_a_track_that_slid_onto_another_colour_is_looked_at_soon():
    attention = Attention(CropOptions())
    gray = np.full((360, 640, 3), 90, np.uint8)
    red = gray.copy()
    red[:, 400:] = (30, 60, 220)
    _looked_at(attention, frame_from_bgr(gray), (50, 400), 0.0)
    assert _looked_at(attention, frame_from_bgr(red), (50, 400), 0.4) == {2}
    assert _looked_at(attention, frame_from_bgr(red), (50, 400), 1.0) == set()


def test_looks_at_an_unknown_object_go_through_the_whole_shortlist():
    shortlist = [Candidate(ItemId(f"item {i}"), i, 0.5) for i in range(10)]
    first = [[c.item_id for c in first_checks(shortlist, None, n)] for n in range(16)]
    assert first[0] == first[2] == ["item 0", "item 1"]
    assert all(names[0] == "item 0" and len(names) == 2 for names in first)
    assert {name for names in first for name in names} == {c.item_id for c in shortlist}
    assert first_checks(shortlist[:1], None, 1) == shortlist[:1]


def test_picture_is_checked_against_the_rest_until_something_is_likely_or_proved():
    shortlist = [Candidate(ItemId(f"item {i}"), i, 0.5) for i in range(10)]
    checked = {"item 0", "item 1"}
    assert checks_after(shortlist, checked, -2.0) == shortlist[2:]
    assert checks_after(shortlist, checked, 1.0) == shortlist[2:5]
    assert checks_after(shortlist, checked, 5.0) == []


def test_believed_item_is_checked_first_beside_the_nearest_other():
    shortlist = [Candidate(ItemId(name), i, 0.5) for i, name in enumerate(["tea", "milk", "rye"])]
    names = [c.item_id for c in first_checks(shortlist, shortlist[1])]
    assert names == ["milk", "tea"]
    assert [c.item_id for c in first_checks(shortlist, shortlist[0])] == ["tea"]
