"""The parent of a run: publisher first, then matchers, then cameras; back in reverse order.

It is the process that never restarts. It loads no network and decodes nothing; it starts, hears
and stops workers, says how they are over the wire, and keeps the promise that each sighting ends.
"""

import contextlib
import gc
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

from pipeline.errors import MagpieError, WorkerError
from pipeline.writable import make_file_ready, make_ready
from streamer.child import Note, Ready, Report, WorkerState
from streamer.config import AppConfig
from streamer.load_file import LoadFile, load_path
from streamer.matcher_args import DEFAULT_CREATOR, ended_mark, main_ring
from streamer.process_table import (
    build_process_table,
    camera_worker,
    main_worker,
    matcher_of,
    rings,
)
from streamer.publishing.journal import Journal
from streamer.publishing.options import journal_path
from streamer.publishing.publisher import Publisher
from streamer.publishing.sockets import refuse_used
from streamer.reporting import Log
from streamer.ring_file import check_room
from streamer.run_dir import create_run_dir, reclaim_dead_runs, remove_run_dir, vanishing_told
from streamer.run_figures import RunFigures
from streamer.summary import RunSummary
from streamer.supervisor import Supervisor, WorkerEvent
from streamer.web.options import check_access
from streamer.worker import Exit, WorkerKind, WorkerSpec

TURN_S = 0.1
SUMMARY_EVERY_S = 1.0
DRAIN_WITHIN_S = 10.0  # what an ended file left in its ring

_AT_ONCE: tuple[WorkerKind, ...] = ("web",)  # of the rest; they wait for no matcher
_TROUBLE = (
    WorkerState.RECONNECTING,
    WorkerState.STALLED,
    WorkerState.FROZEN,
    WorkerState.RESTARTING,
    WorkerState.FAILED,
)

log = Log("daemon")


class HopelessError(WorkerError):
    """No matcher can be kept alive."""

    exit_code = 4


class StartError(MagpieError):
    """A worker could not start, for a reason that the user can mend; keeps its exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Daemon:
    """One run. `run` returns its summary; `stop` may be called from a signal or another thread."""

    def __init__(self, config: AppConfig, creator: str = DEFAULT_CREATOR) -> None:
        self._config = config
        self._creator = creator
        self._is_stopping = False
        self._states: dict[str, tuple[WorkerState, str | None]] = {}
        self._camera_of: dict[str, str] = {}  # by worker
        self._main_of: dict[str, str] = {}  # cameras with a main stream beside, by its worker
        self._drain_until_s: dict[str, float] = {}  # cameras that ended, not yet emptied
        self._finished: set[str] = set()
        self._failed: dict[str, str] = {}  # cameras that failed for good
        self._waiting_matchers: set[str] = set()
        self._end_at_s = float("inf")
        self._summary_at_s = 0.0
        self.endpoint = ""
        self.ask_endpoint = ""

    def stop(self) -> None:
        """Ask the run to end; it does within three seconds."""
        self._is_stopping = True

    def run(self, on_start: Callable[["Daemon"], None] | None = None) -> RunSummary:
        """Run until asked to stop, until `duration_s` is over, or until every source has ended.

        on_start: called once the sockets are bound (`endpoint`, `ask_endpoint` are known).
        Raises a MagpieError whose exit_code says what kind of failure it was.
        """
        _check_outputs(self._config)
        for folder in reclaim_dead_runs():
            log.info("removed what a dead run left behind", folder=folder)
        run_dir = create_run_dir()
        try:
            check_access(self._config.web, journal_path(self._config.publish, run_dir))
            table = build_process_table(self._config, self._creator)
            check_room(run_dir, rings(table))
            with vanishing_told(run_dir), contextlib.ExitStack() as open_things:
                refuse_used(self._config.publish)
                journal = Journal(journal_path(self._config.publish, run_dir))
                open_things.callback(journal.close)
                publisher = Publisher(self._config.publish, journal, run_dir)
                publisher.start()
                open_things.callback(publisher.stop)
                gc.collect()
                gc.freeze()  # what is loaded stays; looked through each time, it holds events up
                self.endpoint, self.ask_endpoint = publisher.endpoint, publisher.ask_endpoint
                if on_start is not None:
                    on_start(self)
                self._load_file = LoadFile(load_path(journal.path, run_dir))
                return self._run_workers(run_dir, publisher)
        finally:
            remove_run_dir(run_dir)

    def _run_workers(self, run_dir: Path, publisher: Publisher) -> RunSummary:
        table = build_process_table(self._config, self._creator, self._load_file.loads())
        cameras = self._config.cameras
        self._camera_of = {camera_worker(name): name for name in cameras}
        self._main_of = {main_worker(name): name for name in cameras if cameras[name].main}
        self._run_dir, self._publisher = run_dir, publisher
        self._supervisor = Supervisor(
            table, run_dir, self._config.supervisor, self._config.log_level
        )
        self._figures = RunFigures(run_dir, matcher_of(table))
        log.info("starting", events=self.endpoint, ask=self.ask_endpoint, run_dir=run_dir.name)
        self._say("daemon", WorkerState.STARTING)
        try:
            self._start_matchers(table)
            self._start_others(table)
            while not self._is_over():
                for event in self._supervisor.poll(TURN_S):
                    self._hear(event)
                publisher.check()
                self._finish_drained()
                self._tell_summary()
        finally:
            summary = self._stop_workers()
        return summary

    def _start_matchers(self, table: list[WorkerSpec]) -> None:
        for spec in table:
            if spec.kind == "matcher":
                cameras = [
                    name for name, has in self._figures.matcher_of.items() if has == spec.name
                ]
                log.info("cameras dealt out", worker=spec.name, cameras=",".join(cameras))
                self._waiting_matchers.add(spec.name)
                self._say(spec.name, WorkerState.STARTING)
                self._supervisor.start(spec.name)

    def _start_others(self, table: list[WorkerSpec]) -> None:
        for spec in table:
            if spec.kind in _AT_ONCE:
                self._say(spec.name, WorkerState.STARTING)
                self._supervisor.start(spec.name)

    def _start_cameras(self) -> None:
        self._figures.begin()
        self._say("daemon", WorkerState.RUNNING)
        if self._config.duration_s:
            self._end_at_s = time.monotonic() + self._config.duration_s
        for worker in (*self._camera_of, *self._main_of):
            self._say(worker, WorkerState.STARTING)
            self._supervisor.start(worker)

    def _is_over(self) -> bool:
        """Whether the run has come to its end; raises when it cannot go on."""
        if self._is_stopping or time.monotonic() >= self._end_at_s:
            return True
        if self._supervisor.is_hopeless():
            whys = (why for name, (_, why) in self._states.items() if name.startswith("matcher."))
            reason = next((why for why in whys if why), "no reason known")
            raise HopelessError.at(
                "matcher", f"could not be kept alive: {reason}", remedy="its log lines say more"
            )
        if self._finished != set(self._camera_of.values()):
            return False
        if len(self._failed) == len(self._finished):
            raise StartError("; ".join(self._failed.values()), MagpieError.exit_code)
        return True

    def _hear(self, event: WorkerEvent) -> None:
        what, name = event.what, event.worker.name
        if isinstance(what, Ready):
            self._on_ready(event)
        elif isinstance(what, Report):
            self._on_report(event.worker, what)
        elif isinstance(what, Note) and what.topic == "figures":
            self._figures.add(name, event.incarnation, what.content)
        elif isinstance(what, Exit):
            self._on_exit(event, what)

    def _on_ready(self, event: WorkerEvent) -> None:
        name = event.worker.name
        if event.worker.kind == "matcher":
            self._say(name, WorkerState.RUNNING)
            if name in self._waiting_matchers:
                self._waiting_matchers.discard(name)
                if not self._waiting_matchers:
                    self._start_cameras()

    def _on_report(self, worker: WorkerSpec, report: Report) -> None:
        self._say(worker.name, report.state, report.reason, **report.counters)
        camera = self._camera_of.get(worker.name)
        if camera:
            self._figures.note_state(camera, report.state)
        if camera and report.state == WorkerState.FAILED and self._supervisor.is_done(worker.name):
            self._failed[camera] = report.reason or "failed"
            self._finished.add(camera)
            log.error(f"camera {camera}: {report.reason}")

    def _on_exit(self, event: WorkerEvent, exited: Exit) -> None:
        """A worker's process is gone: close what it left open, remember what must not go on."""
        worker = event.worker
        if not self._supervisor.is_done(worker.name):
            self._figures.count_restart(worker.name)
        if worker.kind == "matcher":
            self._publisher.close_open_sightings(
                "matcher_restarted", worker=worker.name, incarnation=event.incarnation
            )
        if worker.kind != "camera":
            is_first = event.incarnation == 1 and not exited.was_ready
            if is_first and exited.death is not None and exited.death.is_user_error:
                raise StartError(exited.death.text, exited.death.exit_code)
        elif worker.name in self._main_of and self._supervisor.is_done(worker.name):
            self._mark_ended(main_ring(self._main_of[worker.name]))  # also one that failed
        elif self._supervisor.is_done(worker.name) and exited.exit_code == 0:
            camera = self._camera_of[worker.name]
            self._drain_until_s[camera] = time.monotonic() + DRAIN_WITHIN_S
            self._mark_ended(camera)

    def _mark_ended(self, ring: str) -> None:
        """Tell the matcher that no more pictures come into a ring."""
        try:
            ended_mark(self._run_dir, ring).touch(mode=0o600)
        except OSError as error:  # both ends have a time limit for it
            log.warning("the matcher cannot be told of an end", ring=ring, cause=error)

    def _finish_drained(self) -> None:
        """Call cameras finished whose last frames have been matched, or should long have been."""
        for camera, until_s in list(self._drain_until_s.items()):
            if not self._publisher.has_ended(camera):
                if time.monotonic() < until_s:
                    continue
                self._publisher.close_open_sightings("source_ended", camera=camera)
            del self._drain_until_s[camera]
            self._finished.add(camera)

    def _tell_summary(self) -> None:
        """Renew, once a second, what `magpie status` is answered."""
        if time.monotonic() >= self._summary_at_s:
            self._summary_at_s = time.monotonic() + SUMMARY_EVERY_S
            self._load_file.keep_now_and_then(self._figures.loads())
            summary = self._summary()
            self._publisher.set_summary(summary.as_json())
            self._tell_trouble(summary.trouble)

    def _tell_trouble(self, trouble: tuple[str, ...]) -> None:
        """Say what is wrong with the machine, once: in the log and as the daemon's reason."""
        state, reason = self._states.get("daemon", (WorkerState.STARTING, None))
        text = "; ".join(trouble) or None
        if state == WorkerState.RUNNING and text != reason:
            if text is not None:
                log.warning(text)
            self._say("daemon", state, text)

    def _stop_workers(self) -> RunSummary:
        """Stop cameras, then matchers; every sighting ends; returns the summary."""
        self._is_stopping = True
        for event in self._supervisor.stop():
            if isinstance(event.what, Note | Report):
                self._hear(event)
        for name in self._supervisor.names():
            if self._states.get(name, (None, None))[0] not in (
                WorkerState.ENDED,
                WorkerState.FAILED,
            ):
                self._say(name, WorkerState.STOPPED)
        self._publisher.close_open_sightings("stopped")
        self._say("daemon", WorkerState.STOPPED)
        self._publisher.stop()
        self._load_file.keep(self._figures.loads())
        return self._summary(is_last=True)

    def _summary(self, is_last: bool = False) -> RunSummary:
        states, mains = self._states_by(self._camera_of), self._states_by(self._main_of)
        return self._figures.summary(states, mains, self._publisher.summary(), is_last)

    def _states_by(self, camera_of: Mapping[str, str]) -> dict[str, WorkerState]:
        """Return the states of these workers, by camera."""
        starting = (WorkerState.STARTING, None)
        return {camera: self._states.get(name, starting)[0] for name, camera in camera_of.items()}

    def _say(
        self, worker: str, state: WorkerState, reason: str | None = None, **counters: int | float
    ) -> None:
        """Publish a worker's state when it has changed; the log says it as well."""
        if self._states.get(worker) == (state, reason):
            return
        self._states[worker] = (state, reason)
        fields = {"worker": worker, **({"reason": reason} if reason else {})}
        if state in _TROUBLE:
            log.warning(str(state), **fields)
        else:
            (log.debug if worker == "daemon" else log.info)(str(state), **fields)
        self._publisher.publish_status(worker, state.value, reason, counters)


def _check_outputs(config: AppConfig) -> None:
    """Raise ConfigError when what a run leaves behind could not be written."""
    if config.evidence is not None:
        make_ready(config.evidence, "evidence", "choose another")
    if config.summary_json is not None:
        make_file_ready(config.summary_json, "summary_json", "choose another")


@contextlib.contextmanager
def stop_on_signals(daemon: Daemon) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the run in order, while in this context."""

    def on_signal(number: int, _: FrameType | None) -> None:
        daemon.stop()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
