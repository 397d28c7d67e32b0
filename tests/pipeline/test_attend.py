"""Which tracks get a look: new ones first, settled ones seldom, those that met another soon."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.attend import LOOKS_AT_REST, Attention, State, view_quality
from pipeline.color import frame_from_bgr
from pipeline.options import CropOptions
from pipeline.types import Frame, Track


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
    return {one.track.track_id for one in attention.choose(frame, tracks, settled, now_s, 4)}


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


def test_tracks_that_touch_and_stand_still_are_left_alone_until_their_recheck(frame):
    attention = Attention(CropOptions())
    looked_s = [
        now_s
        for now_s in np.arange(0.0, 9.0, 0.1)
        if _looked_at(attention, frame, (150, 200), now_s)
    ]
    assert len(looked_s) <= 6 and np.diff(looked_s).max() < 2.2
    assert _looked_at(attention, frame, (170, 200), looked_s[-1] + 0.4) == {1}, "it has moved"


def test_a_look_that_waits_is_made_anew_with_each_frame_unless_the_view_is_much_worse(frame):
    attention, track = Attention(CropOptions()), _track(1, 100.0)
    attention.choose(frame, [track], {}, 0.0, at_most=2)
    again = attention.choose(frame, [track], {}, 0.1, 2, pending={1}, waiting={1})
    assert [one.track.track_id for one in again] == [1]
    assert attention.choose(frame, [track], {}, 0.2, 2, pending={1}) == [], "someone looks at it"
    blurred = frame_from_bgr(np.full((360, 640, 3), 90, np.uint8))
    assert attention.choose(blurred, [track], {}, 0.3, 2, pending={1}, waiting={1}) == []


def test_tracks_that_meet_at_rest_are_due_once_and_again_after_something_moved(frame):
    attention = Attention(CropOptions())
    tracks = [_track(1, 100.0), _track(2, 170.0)]
    states = dict.fromkeys((1, 2), State.SETTLED)
    assert attention.is_any_due(frame, tracks, states, 0.0, rests_s=0.0)
    attention.choose(frame, tracks, states, 0.1, at_most=4)
    assert attention.is_suspect(tracks[0])
    assert not attention.is_any_due(frame, tracks, states, 9.0, rests_s=0.1)
    assert attention.is_any_due(frame, tracks, states, 9.0, rests_s=8.0)


def test_a_stranger_at_rest_is_due_for_its_first_looks_ever_later(frame):
    attention, stranger = Attention(CropOptions()), _track(1, 100.0)
    due_s = []
    for now_s in np.arange(0.0, 20.0, 0.1):
        if attention.is_any_due(frame, [stranger], {}, now_s, rests_s=0.0):
            attention.choose(frame, [stranger], {}, now_s, at_most=2)
            due_s.append(now_s)
    assert len(due_s) == LOOKS_AT_REST + 1 and due_s[-1] < 3.0
    assert np.all(np.diff(due_s)[1:] > 1.4 * np.diff(due_s)[:-1])


def test_a_stranger_is_looked_at_ever_less(frame):
    attention, stranger = Attention(CropOptions()), _track(1, 100.0)
    looked_s = [
        now_s
        for now_s in np.arange(0.0, 60.0, 0.1)
        if attention.choose(frame, [stranger], {}, now_s, at_most=2)
    ]
    waits_s = np.diff(looked_s)
    assert (np.diff(waits_s) > -0.15).all() and waits_s[0] < 0.25
    assert waits_s[-1] == pytest.approx(3.0, abs=0.15) and len(looked_s) <= 26


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


def test_of_new_tracks_the_one_in_full_view_is_looked_at_before_one_that_is_coming_in(frame):
    coming_in, inside = _track(1, 0), _track(2, 300)
    assert _chosen(Attention(CropOptions()), frame, [coming_in, inside], 0.0) == [2]


def test_a_frame_gets_all_its_looks_only_when_many_tracks_are_new(frame):
    tracks = [_track(i, 110.0 * i) for i in range(1, 5)]
    attention = Attention(CropOptions())
    seen = [_chosen(attention, frame, tracks, 0.01 * i) for i in range(4)]
    assert [len(chosen) for chosen in seen] == [2, 1, 1, 0]
    assert sorted(track_id for chosen in seen for track_id in chosen) == [1, 2, 3, 4]


def test_a_track_that_came_fully_into_view_goes_before_one_whose_look_is_due(frame):
    attention = Attention(CropOptions())
    _chosen(attention, frame, [_track(1, 0)], 0.0)
    _chosen(attention, frame, [_track(2, 300)], 0.1)
    both = [_track(1, 50), _track(2, 300)]
    assert _chosen(attention, frame, both, 0.25) == [1], "number 2 waits longer than its 0.1 s"
    assert _chosen(attention, frame, both, 0.3) == [2]


def test_of_looks_that_are_due_the_longest_overdue_for_its_wait_comes_first(frame):
    """An undecided track waits 0.1 s, a settled one 2 s."""
    attention = Attention(CropOptions())
    tracks = [_track(1, 50), _track(2, 300)]
    assert _chosen(attention, frame, tracks[:1], 0.0, settled=(1,)) == [1]
    assert _chosen(attention, frame, tracks[1:], 1.7) == [2]
    assert _chosen(attention, frame, tracks, 2.1, settled=(1,)) == [2]
    assert _chosen(attention, frame, tracks, 2.11, settled=(1,)) == [1]


def _chosen(
    attention: Attention,
    frame: Frame,
    tracks: list[Track],
    now_s: float,
    settled: tuple[int, ...] = (),
) -> list[int]:
    """The numbers of those that a frame with two looks at most looks at."""
    states = {track_id: State.SETTLED for track_id in settled}
    return [one.track.track_id for one in attention.choose(frame, tracks, states, now_s, 2)]


def test_a_box_too_small_to_identify_is_looked_at_where_a_sharper_picture_shows_it_larger(frame):
    tiny = Track("door", 1, np.array([100, 100, 110, 116], np.float32), 0.9, 0, 5)
    assert Attention(CropOptions()).choose(frame, [tiny], {}, 0.0, 4) == []
    main = frame_from_bgr(np.zeros((1080, 1920, 3), np.uint8))
    sharp = replace(frame, sharper=main)
    assert len(Attention(CropOptions()).choose(sharp, [tiny], {}, 0.0, 4)) == 1
    assert view_quality(sharp, tiny) == pytest.approx(3 * view_quality(frame, tiny))


def test_a_still_picture_is_searched_for_a_box_that_only_the_sharper_one_shows_large_enough(frame):
    tiny = Track("door", 1, np.array([100, 100, 110, 116], np.float32), 0.9, 0, 5)
    sharp = replace(frame, sharper=frame_from_bgr(np.zeros((1080, 1920, 3), np.uint8)))
    for now, is_due in ((frame, False), (sharp, True)):
        assert Attention(CropOptions()).is_any_due(now, [tiny], {}, 1.0, rests_s=0.0) == is_due


def test_a_settled_track_that_met_another_gets_glances_between_looks_in_detail(frame):
    attention = Attention(CropOptions())
    tracks = [_track(1, 100.0), _track(2, 160.0)]
    states: dict[int, State] = {}
    glanced = []
    for step in range(36):
        moved = [replace(t, xyxy=t.xyxy + np.float32(4 * step)) for t in tracks]
        for one in attention.choose(frame, moved, states, step / 10, at_most=4):
            if one.track.track_id == 1:
                glanced.append((step, one.is_glance))
        states = dict.fromkeys((1, 2), State.SETTLED)
    in_detail = [step for step, is_glance in glanced if not is_glance]
    assert in_detail[0] == 0 and len(in_detail) == 2 and in_detail[1] >= 20
    assert sum(is_glance for _, is_glance in glanced) >= 6


def test_a_track_that_resembles_nothing_is_looked_at_less_than_one_that_nearly_was_something(frame):
    def looks(is_hopeless: bool) -> int:
        attention, track, count = Attention(CropOptions()), _track(1, 100.0), 0
        for step in range(30):
            chosen = attention.choose(frame, [track], {}, step / 10, at_most=2)
            count += len(chosen)
            if chosen and is_hopeless:
                attention.note_hopeless(track)
        return count

    assert looks(is_hopeless=True) < looks(is_hopeless=False)
