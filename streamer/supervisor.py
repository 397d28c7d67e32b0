"""Keeps the workers alive: starts them in order, hears them, restarts what dies or stalls, takes
some in and others out while it runs, stops them in reverse order.

It decides nothing about cameras or events; the daemon does, from what `poll` returns.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

from pydantic import Field

from pipeline.errors import WorkerError
from pipeline.options import Options
from streamer.child import Message, Ready, Report, WorkerState
from streamer.reporting import Log, LogFormat
from streamer.worker import Exit, Gone, WorkerKind, WorkerProcess, WorkerSpec

LONGEST_SLEEP_S = 0.1
LONGEST_DELAY_S = 8.0
# Who asks for changes, and who only tells others, goes before those that it would ask or tell of.
STOP_STAGES: tuple[tuple[WorkerKind, ...], ...] = (
    ("web", "query", "sink"),
    ("camera",),
    ("matcher",),
)

log = Log("supervisor")


class SupervisorOptions(Options):
    """When a worker counts as lost, and how often it is tried again."""

    camera_ready_within_s: float = Field(30.0, gt=0, description="from its start to its ready-ack")
    matcher_ready_within_s: float = Field(
        300.0, gt=0, description="generous: the first start converts the networks"
    )
    camera_stall_after_s: float = Field(5.0, gt=0, description="silence of its heartbeat")
    web_ready_within_s: float = Field(30.0, gt=0, description="the same for the HTTP API")
    web_stall_after_s: float = Field(10.0, gt=0, description="silence of its heartbeat")
    matcher_stall_after_s: float = Field(
        30.0, gt=0, description="silence of its heartbeat; one batch may take long on a busy CPU"
    )
    useful_s: float = Field(10.0, gt=0, description="a worker that beat so long starts afresh")
    fast_failures: int = Field(5, ge=1, description="failures in a row before it is given up")
    retry_failed_s: float = Field(60.0, gt=0, description="a camera given up is tried so often")
    stop_grace_s: float = Field(1.0, gt=0, le=1.2, description="from SIGTERM to SIGKILL")


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """Something that a worker said, or that happened to it."""

    worker: WorkerSpec
    incarnation: int
    what: Message | Exit | Gone


class _Slot:
    """One row of the table at run time.

    is_late: taken in while the run goes on, so that a start that is refused is tried again.
    leave_by_s: it is on its way out, and is killed then.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.process: WorkerProcess | None = None
        self.incarnation = 0
        self.n_fast_failures = 0
        self.start_at_s: float | None = None
        self.is_done = False
        self.is_given_up = False
        self.is_late = False
        self.leave_by_s: float | None = None


class Supervisor:
    """The workers of one run."""

    def __init__(
        self,
        table: Sequence[WorkerSpec],
        run_dir: Path,
        options: SupervisorOptions,
        log_level: str = "info",
        log_format: LogFormat = "text",
    ) -> None:
        self._slots = [_Slot(spec) for spec in table]
        self._past: Counter[str] = Counter()  # starts of workers that were taken out, by name
        self._run_dir = run_dir
        self._options = options
        self._log_level, self._log_format = log_level, log_format
        self._is_stopping = False
        self._untold: list[WorkerEvent] = []  # what `poll` says next

    def start(self, name: str) -> None:
        """Start one worker; `poll` says when it is ready.

        Raises WorkerError when the system refuses it.
        """
        slot = self._slot(name)
        if slot.process is None and not slot.is_done:
            slot.start_at_s = time.monotonic()
            self._start_due()

    def add(self, spec: WorkerSpec) -> None:
        """Take in a worker and start it; `poll` says when it is ready.

        A start that the system refuses is tried again, as a restart is. The incarnations of one
        that was taken out under the same name go on: no file of it is taken for a newer one's.
        """
        slot = _Slot(spec)
        slot.is_late = True
        slot.incarnation = self._past[spec.name]
        slot.start_at_s = time.monotonic()
        self._slots.append(slot)

    def remove(self, name: str) -> None:
        """Take a worker out, whatever it does now; `poll` says Gone when it has ended.

        It is asked to stop, and killed after `stop_grace_s`. Twice is fine, as is one unknown.
        """
        slot = self._find(name)
        if slot is None or slot.leave_by_s is not None:
            return
        slot.start_at_s = None
        slot.leave_by_s = time.monotonic() + self._options.stop_grace_s
        if slot.process is not None:
            slot.process.terminate()
        else:
            self._untold.append(self._forget(slot))

    def has(self, name: str) -> bool:
        """Whether there is such a worker, also one that is on its way out."""
        return self._find(name) is not None

    def runs(self, name: str) -> bool:
        """Whether a worker has a process now."""
        slot = self._find(name)
        return slot is not None and slot.process is not None

    def args(self, name: str) -> object:
        """Return the args that a worker is given at its next start."""
        return self._slot(name).spec.args

    def update(self, name: str, args: object) -> None:
        """Give a worker other args: now, if it runs (`ChildContext.told`), and at later starts."""
        slot = self._slot(name)
        slot.spec = replace(slot.spec, args=args)
        if slot.process is not None:
            slot.process.tell(args)

    def names(self) -> list[str]:
        """Return all workers in the order in which they are stopped."""
        return [s.spec.name for kinds in STOP_STAGES for s in self._slots if s.spec.kind in kinds]

    def pids(self) -> dict[str, int]:
        """Return the process id of every worker that runs."""
        return {slot.spec.name: slot.process.pid for slot in self._slots if slot.process}

    def incarnation(self, name: str) -> int:
        """Return how often a worker has been started."""
        return self._slot(name).incarnation

    def is_done(self, name: str) -> bool:
        """Whether a worker came to the end of its work (or failed for good)."""
        return self._slot(name).is_done

    def is_hopeless(self) -> bool:
        """Whether every matcher has been given up."""
        matchers = [slot for slot in self._slots if slot.spec.kind == "matcher"]
        return bool(matchers) and all(slot.is_given_up for slot in matchers)

    def poll(self, timeout_s: float, also: Sequence[int] = ()) -> list[WorkerEvent]:
        """Return what happened, waiting at most `timeout_s` for something; restarts what is due.

        also: descriptors that end the wait as well, when one can be read.
        """
        if not self._is_stopping:
            self._start_due()
        running = [slot for slot in self._slots if slot.process]
        connections = [slot.process.connection for slot in running if slot.process]
        sleep_s = 0.0 if self._untold else min(timeout_s, LONGEST_SLEEP_S)
        if connections or also:
            wait([*connections, *also], sleep_s)
        else:
            time.sleep(sleep_s)
        events, self._untold = self._untold, []
        for slot in running:
            events += self._look_after(slot)
        return events

    def stop(self) -> list[WorkerEvent]:
        """Stop every worker in reverse order of start; returns what they still said.

        Returns when all of them are gone, stage by stage (STOP_STAGES), each within `stop_grace_s`.
        Calling it twice is fine.
        """
        self._is_stopping = True
        events: list[WorkerEvent] = []
        for kinds in STOP_STAGES:
            events += self._stop_stage([slot for slot in self._slots if slot.spec.kind in kinds])
        return events

    def _stop_stage(self, slots: list[_Slot]) -> list[WorkerEvent]:
        events: list[WorkerEvent] = []
        for slot in slots:
            slot.start_at_s = None
            if slot.process:
                slot.process.terminate()
        deadline_s = time.monotonic() + self._options.stop_grace_s
        while any(slot.process for slot in slots):
            events += self.poll(0.02)
            if time.monotonic() >= deadline_s:
                for slot in slots:
                    if slot.process:
                        log.warning("worker did not stop in time", worker=slot.spec.name)
                        slot.process.kill("did not stop in time")
                deadline_s = float("inf")
        return events

    def _slot(self, name: str) -> _Slot:
        return next(slot for slot in self._slots if slot.spec.name == name)

    def _find(self, name: str) -> _Slot | None:
        return next((slot for slot in self._slots if slot.spec.name == name), None)

    def _forget(self, slot: _Slot) -> WorkerEvent:
        """Take a worker without a process out of the table."""
        self._slots.remove(slot)
        self._past[slot.spec.name] = slot.incarnation
        return WorkerEvent(slot.spec, slot.incarnation, Gone())

    def _start_due(self) -> None:
        """Start what is due. What the system refuses is tried again later, unless it never ran."""
        now_s = time.monotonic()
        for slot in self._slots:
            if slot.start_at_s is not None and slot.start_at_s <= now_s:
                slot.start_at_s = None
                slot.incarnation += 1
                try:
                    slot.process = WorkerProcess(
                        slot.spec,
                        self._run_dir,
                        slot.incarnation,
                        self._log_level,
                        self._log_format,
                    )
                except WorkerError as error:
                    if slot.incarnation == 1 and not slot.is_late:
                        raise
                    slot.n_fast_failures += 1
                    self._untold.append(self._schedule(slot, str(error)))
                    continue
                log.debug("started", worker=slot.spec.name, pid=slot.process.pid)

    def _look_after(self, slot: _Slot) -> list[WorkerEvent]:
        """Hear one worker, and see whether it still works."""
        process = slot.process
        if process is None:
            return []
        exited = process.exit()  # before reading, so that its last words are not missed
        events: list[WorkerEvent] = []
        for message in process.messages():
            if isinstance(message, Report):
                process.last_state = message.state
            if isinstance(message, Ready):
                slot.is_given_up = False
            events.append(WorkerEvent(slot.spec, slot.incarnation, message))
        if exited is not None:
            final = process.exit() or exited
            return events + self._bury(slot, process, final)
        return events + self._check_time(slot, process)

    def _check_time(self, slot: _Slot, process: WorkerProcess) -> list[WorkerEvent]:
        """Kill a worker that is late or silent; its exit is seen at the next poll."""
        if process.end_reason is not None or self._is_stopping:
            return []
        if slot.leave_by_s is not None:
            if time.monotonic() >= slot.leave_by_s:
                process.kill("did not stop in time")
            return []
        process.tell_rest()
        beats = process.beats()
        if beats.useful_s >= self._options.useful_s:
            slot.n_fast_failures = 0
        if not process.is_ready:
            if time.monotonic() - process.started_s <= slot.spec.ready_within_s:
                return []
            reason = f"not ready within {slot.spec.ready_within_s:g} s"
        else:
            silent_s = beats.silent_s(time.monotonic_ns())
            if silent_s <= slot.spec.stall_after_s:
                return []
            reason = f"no heartbeat for {silent_s:.1f} s"
        log.warning("killing a worker that stalled", worker=slot.spec.name, reason=reason)
        process.kill(reason)
        return [self._state(slot, WorkerState.STALLED, reason)]

    def _bury(self, slot: _Slot, process: WorkerProcess, exited: Exit) -> list[WorkerEvent]:
        """Take a dead worker away and decide whether and when it comes back."""
        useful_s = process.beats().useful_s
        process.close()
        slot.process = None
        events = [WorkerEvent(slot.spec, slot.incarnation, exited)]
        if self._is_stopping:
            return [*events, self._state(slot, WorkerState.STOPPED, None)]
        if slot.leave_by_s is not None:
            return [*events, self._forget(slot)]
        if exited.exit_code == 0 and process.last_state == WorkerState.ENDED:
            slot.is_done = True
            return events
        if slot.spec.is_finite and exited.death is not None and exited.death.is_user_error:
            slot.is_done = slot.is_given_up = True
            return [*events, self._state(slot, WorkerState.FAILED, exited.reason)]
        slot.n_fast_failures = 0 if useful_s >= self._options.useful_s else slot.n_fast_failures + 1
        return [*events, self._schedule(slot, exited.reason)]

    def _schedule(self, slot: _Slot, reason: str) -> WorkerEvent:
        now_s = time.monotonic()
        n_failures = slot.n_fast_failures
        if n_failures >= self._options.fast_failures:
            slot.is_given_up = True
            slot.start_at_s = now_s + self._options.retry_failed_s
            log.error("given up", worker=slot.spec.name, reason=reason, failures=n_failures)
            return self._state(slot, WorkerState.FAILED, reason)
        delay_s = restart_delay_s(n_failures)
        slot.start_at_s = now_s + delay_s
        log.debug("restarting", worker=slot.spec.name, reason=reason, after_s=delay_s)
        return self._state(slot, WorkerState.RESTARTING, reason)

    def _state(self, slot: _Slot, state: WorkerState, reason: str | None) -> WorkerEvent:
        return WorkerEvent(slot.spec, slot.incarnation, Report(state, reason, {}))


def restart_delay_s(n_fast_failures: int) -> float:
    """Return how long to wait before the next start: at once after useful work, else 0.5 s,
    doubled with each failure in a row."""
    if n_fast_failures == 0:
        return 0.0
    return min(LONGEST_DELAY_S, 0.5 * 2.0 ** (n_fast_failures - 1))
