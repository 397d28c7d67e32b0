"""Clips: what counts as found, soon, lost and wrong."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.eval_motion import judge_clip, move, score_lives, value_of
from benchmarks.eval_synthetic import (
    cast_actors,
    mix,
    score_events,
    to_event,
    to_frame,
    write_visits,
)
from benchmarks.eval_video import Clip, Watched, read_clips, read_frames, score_clip
from catalog_tools.demo.truth import Shown, TruePack, TrueSighting, Truth
from catalog_tools.demo.video_file import write_clip
from pipeline.errors import ConfigError
from pipeline.types import ItemId, Match, Phase, Sighting, Tier


def sighting(
    item_id: str,
    phase: Phase = Phase.APPEARED,
    tier: Tier = Tier.SIMILAR,
    box: tuple[float, ...] = (20, 20, 80, 80),
    name: str = "",
) -> Sighting:
    match = Match(
        ItemId(item_id), item_id, 0, tier, 0.9, 0.8, 0.1, 20, 0.5, np.array(box, np.float32), None,
        0.0,
    )  # fmt: skip
    return Sighting(
        name or item_id, phase, "clip", 1, match, 0, (100, 100), 0, 0, "file", "shelf", 1
    )


def test_items_count_the_processed_frames_until_they_are_told() -> None:
    clip = Clip("x.mp4", {"sun": (4, 90), "moon": (0, 90)})
    better = sighting("sun", Phase.UPDATED, Tier.EXACT)
    events = [(8, sighting("sun")), (10, better), (12, sighting("star", tier=Tier.EXACT))]
    watched = Watched(events, list(range(0, 60, 2)), last_media_ns=int(30e9), spent_s=3.0)
    figures = score_clip(clip, watched)
    assert figures["processed_frames"] == {"sun": 3, "moon": None}  # frames 4, 6 and 8
    assert figures["best_tier"] == {"sun": "exact", "moon": None}
    assert figures["false_items"] == ["star"] and figures["false_exact"] == 1
    assert figures["false_a_minute"] == 2.0 and figures["ms_a_frame"] == 100.0


def test_clips_of_nothing_have_no_items(tmp_path: Path) -> None:
    lines = ["video,item_id,first_frame,last_frame,note", "a.mp4,sun,2,9,x", "a.mp4,moon,0,9,"]
    (tmp_path / "truth.csv").write_text("\n".join([*lines, "b.mp4,none,0,5,y"]) + "\n")
    clips = read_clips(tmp_path / "truth.csv")
    assert clips == [Clip("a.mp4", {"sun": (2, 9), "moon": (0, 9)}), Clip("b.mp4", {})]


def test_a_wrong_line_of_the_truth_is_told(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("video,item_id,first_frame,last_frame\na.mp4,none,,\na.mp4,sun,2,end\n")
    with pytest.raises(ConfigError, match=r"truth.csv:3: first_frame and last_frame must be"):
        read_clips(path)
    path.write_text("video,item\na.mp4,sun\n")
    with pytest.raises(ConfigError, match=r"truth.csv:1: must have the columns video,item_id"):
        read_clips(path)


def test_frames_of_a_clip_carry_the_files_own_times(tmp_path: Path) -> None:
    images = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(6)]
    write_clip(tmp_path / "clip.mp4", iter(images), (64, 48), 10)
    frames = [
        (f.number, f.clock, f.media_ns, int(f.y.mean())) for f in read_frames(tmp_path / "clip.mp4")
    ]
    assert [number for number, *_ in frames] == list(range(6))
    assert [media_ns // 1_000_000 for _, _, media_ns, _ in frames] == [0, 100, 200, 300, 400, 500]
    assert {clock for _, clock, _, _ in frames} == {"file"}
    assert frames[0][3] < frames[5][3]


def test_a_panned_photo_keeps_its_middle_and_is_the_same_for_a_seed() -> None:
    photo = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(photo, (100, 100), 6, (255, 255, 255), -1)
    clip = list(move(photo, 5, np.random.default_rng(1)))
    again = list(move(photo, 5, np.random.default_rng(1)))
    places = []
    for moved, same in zip(clip, again, strict=True):
        assert np.array_equal(moved.frame.y, same.frame.y)
        rows, columns = np.nonzero(moved.frame.y > 110)
        assert np.hypot(columns.mean() - moved.middle_xy[0], rows.mean() - moved.middle_xy[1]) < 2
        places.append(moved.middle_xy)
    assert np.hypot(*np.subtract(places[0], places[-1])) > 5
    assert [moved.frame.media_ns for moved in clip] == [int(n * 4e7) for n in range(5)]


def test_what_stands_in_the_middle_has_a_value() -> None:
    assert value_of([], "a") == 0
    assert value_of([sighting("a")], "a") == 1
    assert value_of([sighting("a"), sighting("b", tier=Tier.EXACT)], "a") == -3
    assert value_of([sighting("a", tier=Tier.VERY_SIMILAR)], None) == -2


def test_a_box_counts_by_the_frame_that_told_it() -> None:
    """The camera pans on; only what was told aside, or moved aside, is not in the middle."""
    photo, seed = np.zeros((100, 100, 3), np.uint8), 0
    x, y = next(move(photo, 3, np.random.default_rng(seed))).middle_xy
    narrow = (x - 0.5, y - 0.5, x + 0.5, y + 0.5)

    class Scripted:
        def __init__(self, last: list[Sighting]) -> None:
            aside = sighting("b", tier=Tier.EXACT, box=(0, 0, 9, 9), name="s2")
            self.steps = iter([[sighting("a", box=narrow), aside], [], last])

        def match(self, frames: object) -> list[Sighting]:
            return next(self.steps)

    moved_aside = sighting("a", Phase.UPDATED, box=(0, 0, 9, 9))
    for last, expected in (([], [1, 1, 1]), ([moved_aside], [1, 1, 0])):
        clip = move(photo, 3, np.random.default_rng(seed))
        assert judge_clip(Scripted(last), clip, "a") == expected


def test_a_life_follows_what_is_published_and_what_leaves() -> None:
    class Scripted:
        steps = iter([[sighting("a")], [], [sighting("a", Phase.UPDATED, Tier.EXACT)],
                      [sighting("a", Phase.LEFT), sighting("b", name="s2")]])  # fmt: skip

        def match(self, frames: object) -> list[Sighting]:
            return next(self.steps)

    clip = move(np.zeros((100, 100, 3), np.uint8), 4, np.random.default_rng(0))
    assert judge_clip(Scripted(), clip, "a") == [1, 1, 3, -1]


def test_worse_is_worse_than_the_first_frame_or_the_best() -> None:
    lives = {
        "up": [0, 1, 3],
        "down": [2, 2, 1],
        "back": [0, 3, 1],
        "gone": [1, 2, 0],
        "no": [0, 0, -1],
    }
    figures = score_lives(lives)
    assert figures["worse_than_first"] == ["down", "gone", "no"]
    assert figures["worse_than_best"] == ["back", "down", "gone", "no"]
    assert figures["lost"] == ["gone"] and figures["better_than_first"] == 2
    assert (figures["right_first"], figures["right_last"]) == (0.4, 0.6)
    assert (figures["wrong_first"], figures["wrong_last"]) == (0, 1)


def test_time_to_exact_runs_from_two_percent_of_the_frame() -> None:
    quad = np.array([[20, 20], [80, 20], [80, 80], [20, 80]], np.float32)
    shown = [
        Shown(number, name, quad, 0.03 if number >= 10 else 0.01, 1.0)
        for number in range(5, 60)
        for name in ("a", "b")
    ]
    packs = tuple(TruePack(name, name, name) for name in "ab")
    visits = tuple(TrueSighting(name, name, 5, 59, 10) for name in "ab")
    truth = Truth(25, (100, 100), 60, packs, tuple(shown), visits)
    told = [
        to_event(sighting("a"), 15, 0.05),
        to_event(sighting("a", Phase.UPDATED, Tier.EXACT), 20, 0.1),
        to_event(sighting("b"), 30, 0.05),
    ]
    figures = score_events(told, truth)
    assert figures["seconds_to"]["exact"] == {"p50": 0.5, "p90": None}  # 10 frames and 0.1 s
    assert figures["seconds_to"]["any_tier"] == {"p50": 0.25, "p90": 0.85}
    assert figures["share_exact"] == 0.5 and figures["recall"] == 1.0


def test_everyone_comes_into_view_once_at_a_place_that_is_free() -> None:
    actors = cast_actors(20, 4)
    assert [actor.in_catalog for actor in actors] == [True] * 20 + [False] * 4
    order = mix(actors[:20], actors[20:], seed=1)
    assert sorted(actor.name for actor in order) == [actor.name for actor in actors]
    visits = write_visits(order, seed=1)
    assert [visit.actor for visit in visits] == order
    for i, visit in enumerate(visits):
        for other in visits[i + 1 :]:
            if other.home_xy == visit.home_xy and not (visit.is_crossing or other.is_crossing):
                assert other.start_s >= visit.end_s


def test_a_rendered_frame_has_the_clips_time() -> None:
    frame = to_frame(np.zeros((40, 60, 3), np.uint8), 25)
    assert (frame.number, frame.media_ns, frame.clock) == (25, 1_000_000_000, "file")
    assert replace(frame, number=1).size_wh == (60, 40)


@pytest.mark.parametrize("count", [0, 1])
def test_percentiles_of_few_visits(count: int) -> None:
    packs, visits = (TruePack("a", "a", "a"),), (TrueSighting("a", "a", 0, 9, 0),) * count
    quad = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], np.float32)
    shown = tuple(Shown(n, "a", quad, 0.05, 1.0) for n in range(10))
    figures = score_events([], Truth(25, (100, 100), 10, packs, shown, visits))
    assert figures["n_visits"] == count and figures["seconds_to"]["exact"]["p50"] is None
