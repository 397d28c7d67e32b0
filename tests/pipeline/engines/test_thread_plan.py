"""Threads are shared between the lanes by what they are worth on this machine, measured once."""

import os
from pathlib import Path

import pytest

from pipeline.engines import thread_plan
from pipeline.engines.thread_plan import choose_threads, share_cores
from pipeline.options import EngineOptions, MatcherOptions

HALVED = {1: 80.0, 2: 41.0, 4: 22.0, 8: 21.0}
HARDLY_SHORTER = {1: 10.0, 2: 9.0, 4: 5.0}


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path))
    (tmp_path / "engines").mkdir()


@pytest.mark.parametrize(
    ("times_ms", "at_most", "expected"),
    [(HALVED, 8, 4), (HALVED, 3, 2), (HALVED, 1, 1), (HARDLY_SHORTER, 8, 1), ({1: 3.0}, 8, 1)],
)
def test_threads_are_doubled_while_that_gains_a_quarter(
    times_ms: dict[int, float], at_most: int, expected: int
) -> None:
    assert choose_threads(times_ms, at_most) == expected


@pytest.mark.usefixtures("cores")
def test_a_machine_is_measured_once_and_again_for_other_weights(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def measured(*arguments: object) -> list[dict[int, float]]:
        asked.append(arguments)
        return [HALVED, HARDLY_SHORTER]

    monkeypatch.setattr(thread_plan, "_measured_by_child", measured)
    for _ in range(2):
        follow, identify = share_cores(MatcherOptions(engine=EngineOptions(device="cpu")))
        assert (follow.threads, identify.threads) == (4, 1)
    assert len(asked) == 1
    monkeypatch.setattr(thread_plan, "sha256_of", lambda path: path.name)
    share_cores(MatcherOptions(engine=EngineOptions(device="cpu")))
    assert len(asked) == 2


@pytest.mark.usefixtures("cores")
def test_a_file_that_is_damaged_or_a_measurement_that_fails_stops_no_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = MatcherOptions(engine=EngineOptions(device="cpu"))
    monkeypatch.setattr(thread_plan, "_measured_by_child", lambda *_: [HALVED, HALVED])
    share_cores(options)
    (stored,) = (tmp_path / "engines").glob("threads-*.json")
    stored.write_text("[1, 2")
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path))
    monkeypatch.setattr(thread_plan.sys, "executable", "/bin/false")
    follow, identify = share_cores(options)
    assert (follow.threads, identify.threads) == (8, 8)
    assert "threads could not be measured" in caplog.text


def test_two_cores_leave_nothing_to_measure_and_who_says_how_many_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(thread_plan, "_measured_by_child", never)
    cpu = EngineOptions(device="cpu")
    for n_cores, engine, lockstep, expected in (
        (2, cpu, False, (1, 1)),
        (1, cpu, False, (1, 1)),
        (16, cpu.model_copy(update={"threads": 3}), False, (3, 3)),
        (16, cpu, True, (0, 0)),
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=n_cores: set(range(n)))
        pair = share_cores(MatcherOptions(engine=engine, lockstep=lockstep))
        assert tuple(each.threads for each in pair) == expected
        assert pair[0].calls_at_once == 1
        assert pair[1].calls_at_once == 1


@pytest.mark.usefixtures("cores")
def test_looks_at_once_share_the_identify_lanes_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    ever_shorter = {1: 80.0, 2: 41.0, 4: 21.0, 8: 11.0}
    monkeypatch.setattr(thread_plan, "_measured_by_child", lambda *_: [ever_shorter] * 2)
    for asked, expected in ((0, 8), (2, 4), (4, 2)):
        engine = EngineOptions(device="cpu", calls_at_once=asked)
        follow, identify = share_cores(MatcherOptions(engine=engine))
        assert (follow.threads, identify.threads) == (8, expected)
        assert (follow.calls_at_once, identify.calls_at_once) == (1, asked or 1)


def test_the_child_measures_the_shipped_networks() -> None:
    from pipeline.weights import find_weights

    weights = find_weights("detector"), find_weights("embedder")
    measured = thread_plan._measured_by_child(EngineOptions(device="cpu"), weights, 2)
    assert measured is not None
    for times_ms in measured:
        assert set(times_ms) == {1, 2} and all(0 < ms < 5e3 for ms in times_ms.values())
