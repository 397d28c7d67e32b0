"""Latency is taken from the last packet of the very picture that an event speaks of."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.bench_latency import figures_of, latency_ms, read_stamps
from benchmarks.bench_overload import compare
from benchmarks.bench_overload import figures_of as overload_figures
from benchmarks.bench_search import ask_beside, draw_vectors, recall_at_1
from benchmarks.daemon_run import RunResult
from pipeline.types import ItemId, Proposal

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STEP_NS = 33_333_333


def at_ns(ms: float) -> int:
    return round((BEGAN.timestamp() + ms / 1e3) * 1e6) * 1000


SENT_NS = [at_ns(0) + number * STEP_NS for number in range(10)]


def event(
    kind: str, captured_ms: float, received_ms: float, clock: str = "rtcp"
) -> dict[str, object]:
    captured = (BEGAN + timedelta(milliseconds=captured_ms)).isoformat()
    return {
        "type": kind,
        "time": {"captured": captured, "clock": clock},
        "received_ns": at_ns(received_ms),
        "latency_ms": 1.0,
    }


@pytest.mark.parametrize(
    ("captured_ms", "expected"),
    [
        (-6.0, 100.0),  # the sender's clock is a little off: still the first picture
        (6.0, 100.0),
        (33.0, 100.0 - 33.333),  # the second one
        (5000.0, 100.0 - 9 * 33.333),  # past the end: the last one
    ],
)
def test_the_picture_is_the_one_that_was_sent_nearest(captured_ms: float, expected: float) -> None:
    assert latency_ms(event("appeared", captured_ms, 100.0), SENT_NS) == pytest.approx(
        expected, abs=0.01
    )


def test_without_the_sender_s_clock_nothing_is_told() -> None:
    assert latency_ms(event("appeared", 0.0, 100.0, "arrival"), SENT_NS) is None
    assert latency_ms(event("appeared", 0.0, 100.0), []) is None


def test_figures_tell_appeared_and_updated_apart_and_leave_the_late_left_out() -> None:
    camera = {"fps": 1.0, "counters": {"decoded": 9, "processed": 8, "dropped": {"overrun": 1}}}
    summary = {"seconds": 1.0, "cameras": {"cam": camera}, "latency": {}, "events": {}}
    events = [
        event("appeared", 0, 50), event("updated", 0, 70), event("left", 0, 900),
        event("appeared", 0, 10, "arrival"),
    ]  # fmt: skip
    row, every = figures_of("720p", RunResult(summary, events, {}), SENT_NS)
    assert sorted(round(ms) for ms in every) == [50, 70]
    assert row["appeared_ms"]["n"] == row["updated_ms"]["n"] == 1
    assert (row["decoded"], row["dropped"]) == (9, 1)


def test_stamps_are_read_and_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "stamps").write_text("0 1000\n1 2000\n2")
    assert read_stamps(tmp_path / "stamps") == [1000, 2000]


def run(processed: dict[str, int], latencies: list[float], late_mb: float) -> RunResult:
    cameras = {
        name: {"fps": 0, "counters": {"decoded": 100, "processed": n, "dropped": {}}}
        for name, n in processed.items()
    }
    summary = {"seconds": 1.0, "cameras": cameras, "latency": {}, "events": {}, "restarts": {}}
    events = [{"type": "appeared", "latency_ms": ms} for ms in latencies]
    costs = {"matcher.0": {"private_mb_early": 200.0, "private_mb_late": late_mb}}
    return RunResult(summary, events, costs)


def test_overload_is_held_against_full_load() -> None:
    full = overload_figures(run({"a": 10}, [100.0] * 4, 200.0))
    over = overload_figures(run({"a": 9, "b": 10, "c": 11}, [150.0] * 4, 220.0))
    found = compare(full, over)
    assert found == {
        "p99_ratio": 1.5, "least_share": 0.9, "largest_share": 1.1,
        "memory_growth": {"matcher.0": 1.1},
    }  # fmt: skip
    silent = overload_figures(run({"a": 1}, [], 200.0))
    assert compare(full, silent)["p99_ratio"] is None


def test_recall_counts_the_exact_nearest_at_the_first_place() -> None:
    vectors = draw_vectors(500)
    queries = ask_beside(vectors, 20)
    best = (queries @ vectors.T).argmax(1)
    found = [[Proposal(ItemId(str(n)), int(n), 0.9)] for n in best]
    assert recall_at_1(found, vectors, queries) == 1.0
    found[0] = [Proposal(ItemId("x"), int(best[0]) + 1, 0.9)]
    found[1] = []
    assert recall_at_1(found, vectors, queries) == pytest.approx(0.9)
