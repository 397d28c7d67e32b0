from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.options import DecideOptions
from pipeline.sightings import Identified, Sightings
from pipeline.timing import FrameStamp
from pipeline.types import Frame, ItemId, Match, Phase, Sighting, Tier, Track

FPS = 10


def frame(number: int, clock: str = "arrival") -> Frame:
    plane, half = np.zeros((36, 64), np.uint8), np.zeros((18, 32), np.uint8)
    at_ns = int(number * 1e9 / FPS)
    return Frame("door", number, at_ns, at_ns, plane, half, half, clock=clock)


def seen(
    track_id: int,
    item: str = "tea",
    x: float = 100,
    probability: float = 0.9,
    tier: Tier = Tier.VERY_SIMILAR,
    side: float = 50,
) -> Identified:
    box = np.array([x, 100, x + side, 100 + side], np.float32)
    match = Match(
        ItemId(item), item.title(), 0, tier, probability, 0.7, 0.1, 30, 0.6, box, None, 0.0
    )
    return Identified(Track("door", track_id, box, 0.9, 0, 3), match)


def play(
    frames: Sequence[Sequence[Identified]], options: DecideOptions | None = None
) -> list[tuple[int, str, str]]:
    sightings = Sightings(options or DecideOptions(update_every_s=0), "shelf", 1)
    told: list[Sighting] = []
    for number, identified in enumerate(frames):
        told += sightings.step(FrameStamp.of(frame(number)), identified, number / FPS, {})
    lives: dict[str, list[Phase]] = {}
    for sighting in told:
        lives.setdefault(sighting.sighting_id, []).append(sighting.phase)
    for life in lives.values():
        assert life[0] is Phase.APPEARED and life.count(Phase.APPEARED) == 1
        assert life.count(Phase.LEFT) <= 1 and Phase.LEFT not in life[:-1]
    return [(s.frame_number, s.phase.value, str(s.match.item_id)) for s in told]


def test_nothing_seen_is_nothing_told() -> None:
    assert play([[], [], []]) == []


def test_two_boxes_that_hold_a_part_each_of_one_object_are_told_once() -> None:
    """As in a squeezed view: upper and lower part, and by both the same outline was found."""

    def part(track_id: int, top: float, outline_x: float) -> Identified:
        box = np.array([100, top, 150, top + 60], np.float32)
        x0, x1 = outline_x, outline_x + 50
        outline = np.array([[x0, 100], [x1, 100], [x1, 200], [x0, 200]], np.float32)
        one = seen(track_id)
        return replace(one, match=replace(one.match, box_xyxy=box, outline=outline))

    one_object = [part(1, 100, 100), part(2, 145, 102)]
    assert play([one_object] * 4) == [(0, "appeared", "tea")]
    two_objects = [part(1, 100, 100), part(2, 145, 160)]
    assert [what for _, what, _ in play([two_objects] * 4)] == ["appeared", "appeared"]


def test_item_appears_and_leaves_after_leave_after_s() -> None:
    told = play([[seen(1)]] * 3 + [[]] * 15)
    assert told == [(0, "appeared", "tea"), (13, "left", "tea")]


def test_short_absence_is_no_leave() -> None:
    assert len(play([[seen(1)], *[[]] * 8, [seen(1)]])) == 1


def test_better_tier_and_better_evidence_are_updates() -> None:
    told = play(
        [[seen(1, probability=0.7, tier=Tier.SIMILAR)], [seen(1, probability=0.71)],
         [seen(1, probability=0.72)], [seen(1, probability=0.99)]]
    )  # fmt: skip
    assert [(n, phase) for n, phase, _ in told] == [
        (0, "appeared"), (1, "updated"), (3, "updated")
    ]  # fmt: skip


def test_updates_come_at_the_wanted_interval() -> None:
    told = play([[seen(1)]] * 12, DecideOptions(update_every_s=0.5))
    assert [n for n, phase, _ in told if phase == "updated"] == [5, 10]


def test_changed_track_number_keeps_the_sighting() -> None:
    told = play([[seen(1)]] * 3 + [[]] * 4 + [[seen(9, x=120)]] * 3)
    assert told == [(0, "appeared", "tea")]


def test_same_item_elsewhere_is_another_sighting() -> None:
    told = play([[seen(1)], [], [seen(9, x=400)]])
    assert [phase for _, phase, _ in told] == ["appeared", "appeared"]
    both = play([[seen(1), seen(2, x=300)]] * 3)
    assert [phase for _, phase, _ in both] == ["appeared", "appeared"]


def test_two_tracks_on_one_object_are_one_sighting() -> None:
    assert len(play([[seen(1)], [seen(1), seen(2, x=105, side=40)]])) == 1


def test_two_new_tracks_on_one_object_are_one_sighting() -> None:
    assert len(play([[seen(1), seen(2, x=105, side=40)]] * 3)) == 1


def test_track_that_turns_out_to_be_another_item_leaves_and_appears() -> None:
    told = play([[seen(1, "tea")], [seen(1, "milk")]])
    assert told == [(0, "appeared", "tea"), (1, "left", "tea"), (1, "appeared", "milk")]


def test_left_says_why_and_comes_once() -> None:
    sightings = Sightings(DecideOptions(), "shelf", 7)
    sightings.step(FrameStamp.of(frame(0)), [seen(1), seen(2, "milk", x=300)], 0.0, {"detect": 3.0})
    lefts = sightings.close("catalog_changed")
    assert [(s.reason, s.catalog_generation) for s in lefts] == [("catalog_changed", 7)] * 2
    assert sightings.close("catalog_changed") == []


def test_tick_ends_sightings_of_silent_live_cameras_only() -> None:
    for clock, expected in (("arrival", 1), ("rtcp", 1), ("file", 0)):
        sightings = Sightings(DecideOptions(leave_after_s=1.0), "shelf", 1)
        assert sightings.tick(10**12) == []
        sightings.step(FrameStamp.of(frame(0, clock)), [seen(1)], 0.0, {})
        assert sightings.tick(900_000_000) == []
        assert len(sightings.tick(1_100_000_000)) == expected


def doubtful(track_id: int, **more: float) -> Identified:
    return replace(seen(track_id, **more), is_doubtful=True)


def test_a_doubtful_track_tells_nothing_new_but_keeps_its_sighting() -> None:
    every_frame = DecideOptions(update_every_s=0.1)
    told = play([[seen(1)], *[[doubtful(1, x=400)]] * 15, [seen(1)]], every_frame)
    assert told == [(0, "appeared", "tea"), (16, "updated", "tea")]
    assert play([[doubtful(1)]] * 5) == []


def test_two_tracks_that_were_exchanged_keep_their_sightings() -> None:
    told = play(
        [[seen(1, "tea"), seen(2, "milk", x=140)], [seen(1, "milk", x=130), seen(2, "tea", x=120)]]
    )
    assert told == [(0, "appeared", "tea"), (0, "appeared", "milk")]


def test_a_track_that_slid_off_an_item_leaves_its_sighting_to_the_one_that_shows_it() -> None:
    told = play([[seen(1, "tea")], [seen(1, "milk", x=150), seen(2, "tea", x=90)]])
    assert told == [(0, "appeared", "tea"), (1, "appeared", "milk")]


def test_what_turns_out_to_be_an_item_whose_track_was_lost_goes_on_with_its_sighting() -> None:
    told = play([[seen(1, "tea"), seen(2, "milk", x=140)], [seen(2, "tea", x=110)]])
    assert told == [(0, "appeared", "tea"), (0, "appeared", "milk"), (1, "left", "milk")]


def test_an_item_that_a_box_around_two_has_shown_is_not_told_again_when_they_part() -> None:
    """As when one pack passes behind another: for a while one box holds both."""
    around_both = seen(1, "tea", side=100)
    parts = [seen(2, "tea", x=160), doubtful(1)]
    told = play([[around_both, seen(2, "tea", x=120)], parts, parts])
    assert told == [(0, "appeared", "tea")]
    refuted = play([[around_both, seen(2, "tea", x=120)], parts, [parts[0], seen(1, "milk")]])
    assert refuted == [(0, "appeared", "tea"), (2, "appeared", "milk")]
    borne_out = play([[around_both, seen(2, "tea", x=120)], parts, [parts[0], seen(1, "tea")]])
    assert [what for _, what, _ in borne_out] == ["appeared", "appeared"], "there are two of it"


def leaves_at(track: Track | None, awaited: bool = False) -> int:
    """Return in which frame an item leaves that was seen in frame 0 alone, beside this track."""
    sightings = Sightings(DecideOptions(leave_after_s=1.0), "shelf", 1)
    for number in range(40):
        told = sightings.step(
            FrameStamp.of(frame(number)),
            [seen(1)] if number == 0 else [],
            number / FPS,
            {},
            tracks=[track] if track else [],
            awaited={track.track_id} if track and awaited else (),
        )
        if any(sighting.phase is Phase.LEFT for sighting in told):
            return number
    raise AssertionError("it never left")


def test_an_item_stays_longer_where_a_track_may_hide_it_or_turn_out_to_be_it() -> None:
    beside, before, far = (seen(2, x=x).track for x in (160.0, 110.0, 400.0))
    assert leaves_at(None) == leaves_at(far, awaited=True) == leaves_at(beside) == 11
    assert leaves_at(before) == leaves_at(beside, awaited=True) == 21, "but not for ever"


def test_what_a_look_near_by_shows_in_time_goes_on_with_its_sighting() -> None:
    sightings = Sightings(DecideOptions(leave_after_s=1.0), "shelf", 1)
    near = seen(2, x=130)
    told = []
    for number, identified in ((0, [seen(1)]), (12, []), (14, [near])):
        told += sightings.step(
            FrameStamp.of(frame(number)), identified, number / FPS, {}, 1.0, [near.track], {2}
        )
    assert [sighting.phase for sighting in told] == [Phase.APPEARED]
