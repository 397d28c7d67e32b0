"""Answers are the same when camera and item are, and at most half a second lies between them."""

import pytest

from benchmarks.answers import Answer, Appearances, answers_of_events, compare_answers
from benchmarks.bench_peers import row_of, summarise
from benchmarks.peer_loops import LoopResult
from pipeline.errors import MagpieError


def answer(item: str, at_s: float, camera: str = "cam0") -> Answer:
    return Answer(camera, item, at_s)


@pytest.mark.parametrize(
    ("first", "second", "same", "only_first", "only_second"),
    [
        ([], [], 0, 0, 0),
        ([answer("a", 1.0)], [], 0, 1, 0),
        ([answer("a", 1.0)], [answer("a", 1.5)], 1, 0, 0),
        ([answer("a", 1.0)], [answer("a", 1.51)], 0, 1, 1),
        ([answer("a", 1.0)], [answer("b", 1.0)], 0, 1, 1),
        ([answer("a", 1.0)], [answer("a", 1.0, "cam1")], 0, 1, 1),
        # one answer is paired once: the second visit is missing
        ([answer("a", 1.0), answer("a", 1.4)], [answer("a", 1.2)], 1, 1, 0),
        ([answer("a", 1.0), answer("a", 5.0)], [answer("a", 5.1), answer("a", 1.1)], 2, 0, 0),
    ],
)
def test_comparison(
    first: list[Answer], second: list[Answer], same: int, only_first: int, only_second: int
) -> None:
    found = compare_answers(first, second)
    counts = found.same, len(found.only_first), len(found.only_second)
    assert counts == (same, only_first, only_second)
    n_all = sum(counts)
    assert found.share == (same / n_all if n_all else 1.0)


def test_an_item_that_is_unseen_for_more_than_a_second_appears_again() -> None:
    seen = Appearances("cam0")
    for at_s in (0.0, 0.5, 1.5, 2.6):
        seen.see(["a"], at_s)
    seen.see(["b", "b"], 2.6)
    assert seen.answers == [answer("a", 0.0), answer("a", 2.6), answer("b", 2.6)]


def test_of_events_only_what_appeared_counts_at_its_frame() -> None:
    events = [
        {"type": "appeared", "camera": "cam0", "item_id": "a", "frame_number": 50},
        {"type": "updated", "camera": "cam0", "item_id": "a", "frame_number": 60},
        {"type": "left", "camera": "cam0", "item_id": "a", "frame_number": 70},
    ]
    assert answers_of_events(events, 25.0) == [answer("a", 2.0)]


def loop(name: str, seconds: float, covered_s: float, *answers: Answer) -> LoopResult:
    return LoopResult(name, round(covered_s * 25), 20, 10, seconds, covered_s, answers)


def test_a_loop_is_held_against_magpie_as_far_as_it_came() -> None:
    ours = loop("magpie", 5.0, 10.0, answer("a", 1.0), answer("b", 3.0), answer("c", 8.0))
    slow = loop("plain", 40.0, 4.0, answer("a", 1.2), answer("x", 2.0), answer("y", 3.8))
    row = row_of(slow, ours, 0)
    assert row["fps"] == 2.5 and row["ratio"] == pytest.approx(20.0)
    assert row["same_answers"] == 1
    assert row["only_magpie"] == ["b 3.00"] and row["only_peer"] == ["x 2.00"]


def test_the_summary_takes_medians_of_ratios_and_sums_of_answers() -> None:
    ours = [loop("magpie", s, 10.0, answer("a", 1.0)) for s in (5.0, 10.0, 20.0)]
    theirs = [loop("strong", 10.0, 10.0, answer("a", 1.0)) for _ in range(3)]
    rows = []
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        rows += [row_of(mine, mine, number), row_of(other, mine, number)]
    first, second = summarise(rows, ["strong"])
    assert first["ratio"] == 1.0 and first["fps"] == 25.0
    assert second["ratio"] == 1.0 and second["rounds"] == 3
    assert (second["same_answers"], second["only_magpie"], second["only_peer"]) == (3, 0, 0)


def test_an_unknown_loop_is_told() -> None:
    from streamer.cli.bench import bench_peers

    with pytest.raises(MagpieError, match="--loop: expected plain, export, strong, got 'fast'"):
        bench_peers(loop=["fast"])
