"""The table while the run goes on: workers taken in and out in every state, others left alone."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streamer.child import Note, Ready, Report, WorkerState
from streamer.supervisor import Supervisor, SupervisorOptions, WorkerEvent
from streamer.worker import Gone, WorkerKind, WorkerSpec
from tests.fakes import Script
from tests.streamer.test_supervisor import QUICK, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.supervisor.stop()


def spec(bench: Bench, name: str, mode: str, kind: WorkerKind = "camera") -> WorkerSpec:
    script = Script(mode, bench.folder / f"{name}.pids")
    return WorkerSpec(name, kind, "tests.fakes:run_script", script, 30.0, 0.5)


def test_a_worker_taken_in_is_started_and_one_taken_out_ends_and_is_forgotten(bench: Bench) -> None:
    bench.set_up(QUICK, matcher="works")
    bench.until(Ready)
    bench.supervisor.add(spec(bench, "door", "works"))
    bench.until(Ready, 2)
    pid = bench.supervisor.pids()["door"]
    bench.supervisor.remove("door")
    bench.supervisor.remove("door")
    assert bench.until(Gone).worker.name == "door"
    assert not psutil.pid_exists(pid) and not bench.supervisor.has("door")
    assert not list(bench.folder.glob("door.*.beat"))
    assert bench.n_starts("matcher") == 1
    bench.supervisor.add(spec(bench, "door", "works"))
    assert bench.until(Ready, 3).incarnation == 2


@pytest.mark.parametrize(
    ("mode", "state"),
    [
        ("late", None),
        ("silent", WorkerState.RUNNING),
        ("dies", WorkerState.RESTARTING),
        ("dies", WorkerState.FAILED),
        ("ends", WorkerState.ENDED),
        ("deaf", WorkerState.RUNNING),
    ],
)
def test_a_worker_is_taken_out_in_every_state(
    bench: Bench, mode: str, state: WorkerState | None
) -> None:
    bench.set_up(SupervisorOptions(stop_grace_s=0.5, fast_failures=2), matcher="works")
    bench.until(Ready)
    bench.supervisor.add(spec(bench, "door", mode))
    if state is not None:
        bench.until(Report, 2 if state == WorkerState.RUNNING else 1, state=state)
    began_s = time.monotonic()
    bench.supervisor.remove("door")
    bench.until(Gone)
    assert time.monotonic() - began_s < 2.0 and bench.supervisor.names() == ["matcher"]


def test_a_start_that_the_system_refuses_ends_no_run_of_others(bench: Bench) -> None:
    bench.set_up(QUICK, matcher="works")
    bench.until(Ready)
    bench.folder.rename(bench.folder.with_name("away"))
    bench.supervisor.add(spec(bench, "door", "works"))
    bench.until(Report, state=WorkerState.RESTARTING)
    bench.folder.with_name("away").rename(bench.folder)
    assert bench.until(Ready, 2).incarnation == 2


def test_other_args_reach_a_worker_that_runs_and_one_that_is_started_again(bench: Bench) -> None:
    bench.set_up(QUICK, matcher="hears")
    bench.until(Ready)
    other = Script("hears", bench.folder / "other.pids")
    bench.supervisor.update("matcher", other)
    assert bench.until(Note).what == Note("told", {"mark": other.mark})
    os.kill(bench.supervisor.pids()["matcher"], 9)
    bench.until(Ready, 2)
    assert bench.n_starts("other") == 1


def test_who_asks_and_tells_stops_first_then_cameras_then_matchers(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    kinds: tuple[WorkerKind, ...] = ("matcher", "camera", "query", "web", "sink")
    table = [spec(bench, kind, "works", kind) for kind in kinds]
    supervisor = Supervisor(table, tmp_path, QUICK)
    assert supervisor.names() == ["query", "web", "sink", "camera", "matcher"]
    for row in table:
        supervisor.start(row.name)
    events: list[WorkerEvent] = []
    while sum(isinstance(event.what, Ready) for event in events) < len(table):
        events += supervisor.poll(0.05)
    stopped = [
        event.worker.kind
        for event in supervisor.stop()
        if isinstance(event.what, Report) and event.what.state == WorkerState.STOPPED
    ]
    assert set(stopped[:3]) == {"query", "web", "sink"} and stopped[3:] == ["camera", "matcher"]
