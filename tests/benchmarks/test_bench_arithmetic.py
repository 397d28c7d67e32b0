"""What the speed benchmarks make of their measurements."""

from dataclasses import replace

import pytest

from benchmarks.alone import Alone, efficiency
from benchmarks.bench_density import Limits, search_most
from benchmarks.bench_density import figures_of as density_figures
from benchmarks.bench_throughput import figures_of as throughput_figures
from benchmarks.daemon_run import RunResult
from benchmarks.harness import time_calls

ALONE = Alone(decode_ms=2.0, search_ms=20.0, coast_ms=0.5, look_ms=50.0, stages={})


def result(
    processed: tuple[int, ...] = (90, 60), latencies: tuple[float, ...] = (10.0, 20.0)
) -> RunResult:
    """Two cameras for 10 s; what is not processed was overrun."""
    cameras = {
        f"cam{i}": {
            "fps": n / 10,
            "counters": {
                "decoded": 100,
                "processed": n,
                "skipped": {},
                "dropped": {"overrun": 99 - n, "no_matcher": 1},
            },
        }
        for i, n in enumerate(processed)
    }
    latency = {"wait": {"n": 50}, "embed": {"n": 8}}
    summary = {"seconds": 10.0, "cameras": cameras, "latency": latency, "events": {}}
    events = [{"type": "appeared", "latency_ms": ms} for ms in latencies]
    return RunResult(summary, [*events, {"type": "left", "latency_ms": 9e9}], {})


def test_needed_core_time_is_that_of_each_part_as_often_as_it_was_used() -> None:
    # 100 decoded, 40 of them searched, 60 not; 6 looks
    assert ALONE.needed_s(100, 40, 6) == pytest.approx(0.2 + 0.8 + 0.03 + 0.3)


def test_efficiency_is_needed_core_time_over_what_was_there() -> None:
    assert efficiency(9.0, 10.0, 2) == pytest.approx(0.45)
    assert efficiency(0.0, 10.0, 2) == 0
    with pytest.raises(ValueError, match=r"must be positive, got 0\.0 and 2"):
        efficiency(1.0, 0.0, 2)


def test_throughput_counts_searched_frames_and_looks_of_all_cameras(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    found = throughput_figures(result(), ALONE, 2)
    assert (found["decoded"], found["processed"], found["searched"], found["looks"]) == (
        200, 150, 50, 8,
    )  # fmt: skip
    assert found["frames_a_second"] == 15.0 and found["searched_a_second"] == 5.0
    needed_s = 0.4 + 1.0 + 0.075 + 0.4
    assert found["core_s_needed"] == pytest.approx(needed_s)
    assert found["efficiency"] == pytest.approx(needed_s / 20, abs=1e-4)
    assert found["efficiency_of_what_was_left"] == found["efficiency"]
    busy = replace(result(), others_cores=0.5)
    found = throughput_figures(busy, ALONE, 2)
    assert found["efficiency_of_what_was_left"] == pytest.approx(needed_s / 15, abs=1e-4)


def test_density_counts_what_was_lost_but_not_what_came_before_the_matcher() -> None:
    found = density_figures(result(processed=(99, 89)), 2)
    assert found["dropped_share"] == pytest.approx(10 / 200)
    assert found["capture_to_event_ms"]["max"] == 20.0
    assert found["least_share"] == pytest.approx(89 / 94, abs=1e-3)


@pytest.mark.parametrize(
    ("latencies", "processed", "holds"),
    [
        ((), (99, 99), False),  # nothing was told: nothing is known
        ((10.0, 490.0), (99, 99), True),
        ((10.0, 510.0), (99, 99), False),
        ((10.0,), (99, 98), False),  # one frame in 200 was lost
    ],
)
def test_limits_are_of_late_events_and_lost_frames(
    latencies: tuple[float, ...], processed: tuple[int, ...], holds: bool
) -> None:
    assert Limits().are_kept(density_figures(result(processed, latencies), 2)) is holds


def test_a_camera_that_starves_breaks_the_limits() -> None:
    figures = density_figures(result(processed=(99, 20)), 2)
    assert not Limits(dropped_share=1.0).are_kept(figures)


@pytest.mark.parametrize("start", [1, 3, 8, 64])
@pytest.mark.parametrize("most", [0, 1, 5, 6, 21, 64])
def test_the_most_cameras_are_found_from_any_start(start: int, most: int) -> None:
    tried: list[int] = []

    def holds(number: int) -> bool:
        tried.append(number)
        return number <= most

    assert search_most(holds, start, 64, lambda: True) == most
    assert len(tried) == len(set(tried)) and all(1 <= n <= 64 for n in tried)


def test_the_search_ends_with_its_time_and_gives_what_it_knows() -> None:
    turns = iter([True, True, False])
    assert search_most(lambda n: True, 1, 64, lambda: next(turns)) == 2


def test_calls_are_timed_one_by_one_after_two_that_do_not_count() -> None:
    calls: list[int] = []
    times_ms = time_calls(lambda: calls.append(1), 0.0, at_least=7)
    assert len(times_ms) == 7 and len(calls) == 9 and min(times_ms) >= 0
