"""The supervisor with real processes: ready-acks, stalls, restarts, giving up, ordered stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.errors import WorkerError
from streamer.child import Note, Ready, Report, WorkerState
from streamer.supervisor import Supervisor, SupervisorOptions, WorkerEvent, restart_delay_s
from streamer.worker import Exit, WorkerSpec
from tests.fakes import Script

QUICK = SupervisorOptions(stop_grace_s=0.5)


class Bench:
    """A supervisor over scripted workers, and everything that it said."""

    def __init__(self, folder: Path, **modes: str) -> None:
        self.folder = folder
        self.events: list[WorkerEvent] = []
        self.supervisor = Supervisor([], folder, QUICK)
        self.set_up(QUICK, **modes)

    def set_up(self, options: SupervisorOptions, ready_s: float = 30.0, **modes: str) -> None:
        table = [
            WorkerSpec(
                name,
                "matcher" if name.startswith("matcher") else "camera",
                "tests.fakes:run_script",
                Script(mode, self.folder / f"{name}.pids"),
                ready_s,
                0.5,
                is_finite=name.startswith("file"),
            )
            for name, mode in modes.items()
        ]
        self.supervisor = Supervisor(table, self.folder, options)
        for spec in table:
            self.supervisor.start(spec.name)

    def until(self, kind: type, count: int = 1, state: WorkerState | None = None) -> WorkerEvent:
        """Poll until `count` such events came; returns the last of them."""
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            found = self.seen(kind, state)
            if len(found) >= count:
                return found[count - 1]
            self.events += self.supervisor.poll(0.05)
        raise AssertionError(f"no {kind.__name__} {state}; saw {self.events}")

    def seen(self, kind: type, state: WorkerState | None = None) -> list[WorkerEvent]:
        return [
            event
            for event in self.events
            if isinstance(event.what, kind)
            and (state is None or (isinstance(event.what, Report) and event.what.state == state))
        ]

    def n_starts(self, name: str) -> int:
        return len((self.folder / f"{name}.pids").read_text().split())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.supervisor.stop()


def test_worker_gets_ready_reports_and_stops_when_asked(bench: Bench) -> None:
    bench.set_up(QUICK, door="works")
    bench.until(Ready)
    report = bench.until(Report, state=WorkerState.RUNNING).what
    assert isinstance(report, Report) and report.counters == {"n": 1}
    before_s = time.monotonic()
    last = bench.supervisor.stop()
    assert time.monotonic() - before_s < 1.0
    exits = [event.what for event in last if isinstance(event.what, Exit)]
    assert [exit.exit_code for exit in exits] == [0]
    assert bench.supervisor.stop() == []
    assert not list(bench.folder.glob("*.beat"))
    assert not bench.seen(Note)


def test_killed_worker_is_started_again_with_a_new_incarnation(bench: Bench) -> None:
    bench.set_up(QUICK, door="works")
    bench.until(Ready)
    os.kill(bench.supervisor.pids()["door"], signal.SIGKILL)
    exited = bench.until(Exit).what
    assert isinstance(exited, Exit) and exited.reason == "killed by SIGKILL" and exited.was_ready
    again = bench.until(Ready, count=2)
    assert again.incarnation == 2
    assert bench.n_starts("door") == 2


def test_worker_that_stops_beating_is_killed_and_started_again(bench: Bench) -> None:
    bench.set_up(QUICK, door="silent")
    stalled = bench.until(Report, state=WorkerState.STALLED).what
    assert isinstance(stalled, Report) and "no heartbeat for" in str(stalled.reason)
    exited = bench.until(Exit).what
    assert isinstance(exited, Exit) and "no heartbeat for" in exited.reason
    bench.until(Ready, count=2)


def test_worker_stopped_by_a_signal_counts_as_stalled(bench: Bench) -> None:
    bench.set_up(QUICK, door="works")
    bench.until(Ready)
    os.kill(bench.supervisor.pids()["door"], signal.SIGSTOP)
    bench.until(Report, state=WorkerState.STALLED)
    bench.until(Ready, count=2)


def test_worker_that_never_gets_ready_is_killed_at_its_deadline(bench: Bench) -> None:
    bench.set_up(QUICK, ready_s=0.3, door="late")
    exited = bench.until(Exit).what
    assert isinstance(exited, Exit)
    assert exited.reason == "not ready within 0.3 s" and not exited.was_ready


def test_camera_that_dies_at_once_is_parked_and_tried_again(bench: Bench) -> None:
    options = SupervisorOptions(fast_failures=2, retry_failed_s=0.2)
    bench.set_up(options, door="dies", matcher="works")
    failed = bench.until(Report, state=WorkerState.FAILED).what
    assert isinstance(failed, Report) and "fell over" in str(failed.reason)
    assert "hunter2" not in str(failed.reason)
    bench.until(Report, count=2, state=WorkerState.FAILED)
    assert bench.n_starts("door") == 3
    assert not bench.supervisor.is_hopeless()
    assert bench.n_starts("matcher") == 1


def test_run_is_hopeless_when_no_matcher_can_be_kept_alive(bench: Bench) -> None:
    bench.set_up(SupervisorOptions(fast_failures=2), matcher="dies", door="works")
    bench.until(Report, state=WorkerState.FAILED)
    assert bench.supervisor.is_hopeless()


def test_user_error_comes_with_its_exit_code(bench: Bench) -> None:
    bench.set_up(QUICK, matcher="mistake")
    exited = bench.until(Exit).what
    assert isinstance(exited, Exit) and exited.death is not None
    assert exited.death.is_user_error and exited.exit_code == 2
    assert exited.reason == "catalog 'shelf': expected a catalog; build it"


def test_worker_that_came_to_its_end_is_not_started_again(bench: Bench) -> None:
    bench.set_up(QUICK, file="ends", other="leaves")
    bench.until(Report, state=WorkerState.RESTARTING)
    bench.until(Exit, count=2)
    assert bench.supervisor.is_done("file")
    assert not bench.supervisor.is_done("other")
    assert bench.n_starts("file") == 1


def test_file_with_an_error_for_the_user_is_not_tried_again(bench: Bench) -> None:
    bench.set_up(QUICK, file="mistake")
    bench.until(Report, state=WorkerState.FAILED)
    assert bench.supervisor.is_done("file")


def test_deaf_worker_is_killed_after_the_grace(bench: Bench) -> None:
    bench.set_up(QUICK, door="deaf")
    bench.until(Ready)
    pid = bench.supervisor.pids()["door"]
    before_s = time.monotonic()
    bench.supervisor.stop()
    assert 0.4 < time.monotonic() - before_s < 1.5
    assert not psutil.pid_exists(pid)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """1. A parent starts a worker. 2. SIGKILL to the parent. Result: the worker is gone."""
    code = f"""
import sys; sys.path[:] = {sys.path!r}
from pathlib import Path
from tests.streamer.test_supervisor import Bench
from streamer.child import Ready
from streamer.supervisor import SupervisorOptions
bench = Bench(Path({str(tmp_path)!r}))
bench.set_up(SupervisorOptions(), door="works")
bench.until(Ready); print(bench.supervisor.pids()["door"], flush=True)
while True: bench.supervisor.poll(0.1)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    deadline_s = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s, "the worker outlived its parent"
        os.sched_yield()


@pytest.mark.parametrize(
    ("n_failures", "delay_s"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (9, 8.0)]
)
def test_restarts_come_slower_with_each_failure(n_failures: int, delay_s: float) -> None:
    assert restart_delay_s(n_failures) == delay_s


def test_a_restart_that_the_system_refuses_is_tried_again_and_ends_no_run(bench: Bench) -> None:
    """1. A worker is at work. 2. Its run folder goes, the worker dies. 3. The folder comes back.

    Result: it is said why it cannot start, and then it is started.
    """
    bench.set_up(QUICK, matcher="works")
    bench.until(Ready)
    bench.folder.rename(bench.folder.with_name("away"))
    os.kill(bench.supervisor.pids()["matcher"], signal.SIGKILL)
    told = bench.until(Report, 2, state=WorkerState.RESTARTING)
    assert "shared memory cannot be written (No such file or directory)" in str(told.what)
    bench.folder.with_name("away").rename(bench.folder)
    bench.until(Ready, 2)


def test_a_first_start_that_the_system_refuses_is_raised(bench: Bench) -> None:
    bench.folder.rename(bench.folder.with_name("away"))
    with pytest.raises(WorkerError, match="worker matcher"):
        bench.set_up(QUICK, matcher="works")
