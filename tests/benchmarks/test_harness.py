"""Benchmarks: the shared parts give what their figures say."""

import json
import os
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

import benchmarks.harness
from benchmarks.bench_end_to_end import draw_histogram, print_figures
from benchmarks.daemon_run import RunResult, gather_figures, worker_pids
from benchmarks.harness import ProcessCosts, describe_machine, percentiles, write_result


def test_percentiles_are_those_of_the_values():
    found = percentiles(list(range(1, 101)))
    assert found == {"n": 100, "p50": 50.5, "p95": 95.05, "p99": 99.01, "max": 100.0}
    assert percentiles([]) is None


def test_a_result_names_machine_commit_and_config_but_no_host(tmp_path):
    path = write_result(tmp_path, "x", {"a": 1}, {"fps": 3.0})
    document = json.loads(path.read_text())
    assert document["config"] == {"a": 1} and document["figures"] == {"fps": 3.0}
    assert document["machine"]["cores"] == os.cpu_count()
    assert os.uname().nodename not in json.dumps(describe_machine())


def test_results_of_one_second_stay_apart(tmp_path, monkeypatch):
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    monkeypatch.setattr(benchmarks.harness, "datetime", Mock(now=lambda _: moment))
    paths = [write_result(tmp_path, "x", {}, number) for number in range(3)]
    assert [json.loads(path.read_text())["figures"] for path in paths] == [0, 1, 2]
    assert [path.stem for path in paths] == [f"x-20260102T030405Z{end}" for end in ("", "-2", "-3")]


def test_costs_of_a_process_are_sampled_until_the_end():
    asked = []

    def pids() -> dict[str, int]:
        asked.append(True)
        return {"me": os.getpid(), "nobody": 2**22 + 1}

    with ProcessCosts(pids) as costs:
        while len(asked) < 3:
            sum(i * i for i in range(10_000))
    found = costs.figures()
    assert set(found) == {"me"}
    assert found["me"]["private_mb_max"] >= found["me"]["private_mb_median"] > 5
    assert found["me"]["cpu_percent"] > 0
    assert 0 <= costs.others_cores() < (os.cpu_count() or 1) + 0.1


def test_figures_join_summary_and_events(tmp_path, capsys):
    latency = {"n": 9, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}
    counters = {"decoded": 10, "processed": 9, "skipped": {}, "dropped": {"overrun": 1}}
    summary = {
        "seconds": 4.0, "events": {"appeared": 1, "left": 1}, "restarts": {},
        "latency": {"detect": latency},
        "cameras": {"a": {"fps": 2.25, "counters": counters}},
    }  # fmt: skip
    events = [
        {"type": "status"},
        {"type": "appeared", "latency_ms": 50.0, "stage_ms": {"detect": 20.0}},
        {"type": "left", "latency_ms": 1000.0, "stage_ms": {}},
    ]
    result = RunResult(summary, events, {})
    assert result.latencies_ms == [50.0]
    assert (result.counted("decoded"), result.dropped("overrun"), result.dropped("stale")) == (
        10,
        1,
        0,
    )
    assert (result.stage_count("detect"), result.stage_count("embed")) == (9, 0)
    figures = gather_figures(result)
    assert figures["capture_to_event_ms"]["p50"] == 50.0
    assert figures["cameras"]["a"]["dropped"] == {"overrun": 1}
    assert figures["stage_ms_of_frames_with_events"]["detect"]["n"] == 1
    draw_histogram(result.latencies_ms, tmp_path / "h.png")
    assert (tmp_path / "h.png").stat().st_size > 1000
    print_figures(figures)
    assert "overrun 1" in capsys.readouterr().out


def test_the_last_start_of_a_worker_gives_its_process():
    log = "x started worker=matcher.0 pid=12\ny started worker=matcher.0 pid=15\n"
    assert worker_pids(log) == {"matcher.0": 15}


@pytest.mark.parametrize("given", [{"source": "a.mp4"}, {"catalog": "c"}])
def test_source_and_catalog_go_together(tmp_path, given):
    from benchmarks.bench_end_to_end import run_benchmark
    from pipeline.errors import ConfigError

    with pytest.raises(ConfigError, match="both --source and --catalog"):
        run_benchmark(tmp_path, ["magpie"], **given)
