"""The parent of a run: publisher first, then matchers, then cameras; back in reverse order.

It is the process that never restarts. It loads no network and decodes nothing; it starts, hears
and stops workers, says how they are over the wire, and keeps the promise that each sighting ends.
"""

import contextlib
import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.errors import MagpieError, WorkerError
from streamer.cameras import Cameras
from streamer.changes import CameraChanges, Reread
from streamer.child import Note, Ready, Report, WorkerState
from streamer.config import AppConfig
from streamer.control.answering import Answering
from streamer.load_file import LoadFile, load_path
from streamer.matcher_args import DEFAULT_CREATOR
from streamer.matchers import Matchers
from streamer.on_demand import OnDemand
from streamer.outputs import check_outputs, outputs_kept_small
from streamer.process_table import build_process_table, matcher_of, rings, sink_workers, web_workers
from streamer.publishing.journal import Journal
from streamer.publishing.options import journal_path
from streamer.publishing.publisher import Publisher
from streamer.publishing.sockets import refuse_used
from streamer.readiness import readiness
from streamer.reporting import Log
from streamer.ring_file import check_room
from streamer.run_dir import create_run_dir, reclaim_dead_runs, remove_run_dir, vanishing_told
from streamer.run_figures import RunFigures
from streamer.serving import Serving
from streamer.state_file import StateFile, state_path
from streamer.summary import RunSummary
from streamer.supervisor import Supervisor, WorkerEvent
from streamer.wanted_cameras import WantedCameras
from streamer.web.options import check_access
from streamer.worker import Exit, WorkerSpec
from streamer.worker_states import WorkerStates

TURN_S = 0.1
SUMMARY_EVERY_S = 1.0

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

    def __init__(
        self,
        config: AppConfig,
        creator: str = DEFAULT_CREATOR,
        reread: Reread | None = None,
        may_be_empty: bool = False,
        query: WorkerSpec | None = None,
    ) -> None:
        """reread: reads the configuration file again, where there is one. may_be_empty: something
        can add cameras, so that a run may begin, and go on, without any. query: the worker that is
        started when a search is asked for."""
        self._config = config
        self._creator = creator
        self._reread = reread
        self._may_be_empty = may_be_empty or config.web.enabled
        self._query = query
        self._is_stopping = self._is_to_reload = False
        self._waiting_matchers: set[str] = set()
        self._end_at_s = float("inf")
        self._summary_at_s = 0.0
        self.endpoint = ""
        self.ask_endpoint = ""

    def stop(self) -> None:
        """Ask the run to end; it does within three seconds."""
        self._is_stopping = True

    @property
    def can_reload(self) -> bool:
        """Whether there is a configuration file to read again."""
        return self._reread is not None

    def reload(self) -> None:
        """Ask the run to read its configuration again; it does between two turns."""
        self._is_to_reload = True

    def run(self, on_start: Callable[["Daemon"], None] | None = None) -> RunSummary:
        """Run until asked to stop, until `duration_s` is over, or until every source has ended.

        on_start: called once the sockets are bound (`endpoint`, `ask_endpoint` are known).
        Raises a MagpieError whose exit_code says what kind of failure it was.
        """
        check_outputs(self._config)
        self._wanted = WantedCameras(self._config, StateFile(state_path(self._config.publish)))
        self._wanted.check_any(self._may_be_empty)
        self._first = self._wanted.at_start()
        for folder in reclaim_dead_runs():
            log.info("removed what a dead run left behind", folder=folder)
        run_dir = create_run_dir()
        try:
            with vanishing_told(run_dir), contextlib.ExitStack() as open_things:
                check_access(self._config.web, journal_path(self._config.publish, run_dir))
                check_room(run_dir, rings(build_process_table(self._first, self._creator)))
                refuse_used(self._config.publish)
                journal = Journal(journal_path(self._config.publish, run_dir))
                open_things.callback(journal.close)
                publisher = Publisher(self._config.publish, journal, run_dir)
                publisher.start()
                open_things.callback(publisher.stop)
                open_things.enter_context(outputs_kept_small(self._config))
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
        self._set_up(run_dir, publisher)
        answering = Answering(run_dir)
        place = f"ipc://{run_dir / 'query'}"
        self._on_demand = OnDemand(self._query, place, self._supervisor, answering)
        self._serving = Serving(
            answering,
            self._config,
            CameraChanges(self._wanted, self._cameras, run_dir),
            self._on_demand,
            self._reread,
            partial(readiness, self._supervisor, self._states, self._cameras, publisher),
        )
        publisher.set_control(self._serving.told())
        log.info("starting", events=self.endpoint, ask=self.ask_endpoint, run_dir=run_dir.name)
        self._states.say("daemon", WorkerState.STARTING)
        try:
            self._start_matchers()
            self._start_beside()
            while not self._is_over():
                for event in self._supervisor.poll(TURN_S, [self._serving.fileno()]):
                    self._hear(event)
                publisher.check()
                self._serve()
                self._cameras.advance()
                self._tell_summary()
        finally:
            self._serving.close()
            summary = self._stop_workers()
        return summary

    def _serve(self) -> None:
        """Do what was asked for over the control socket, or by a signal."""
        is_changed = self._serving.serve()
        if self._is_to_reload:
            self._is_to_reload, is_changed = False, True
            self._serving.reload()
        if is_changed:
            self._publisher.set_control(self._serving.told())

    def _set_up(self, run_dir: Path, publisher: Publisher) -> None:
        """Make what a run has: its table with the matchers, its cameras, what is known of them."""
        config, self._publisher = self._first, publisher
        table = build_process_table(config, self._creator, self._load_file.loads())
        self._matcher_table = [spec for spec in table if spec.kind == "matcher"]
        self._supervisor = Supervisor(
            self._matcher_table,
            run_dir,
            config.supervisor,
            config.log_level,
            config.log_format,
        )
        self._figures, self._states = RunFigures(run_dir), WorkerStates(publisher)
        self._matchers = Matchers(
            config, self._creator, self._supervisor, self._states, self._known_loads
        )
        self._cameras = Cameras(
            run_dir,
            config.supervisor,
            self._supervisor,
            self._matchers,
            publisher,
            self._figures,
            self._states,
        )
        for name, wanted in self._wanted.cameras.items():
            self._cameras.want(name, wanted)
        self._cameras.deal(matcher_of(table))

    def _start_matchers(self) -> None:
        has = self._cameras.matcher_of()
        for spec in self._matcher_table:
            cameras = ",".join(name for name, worker in has.items() if worker == spec.name)
            log.info("cameras dealt out", worker=spec.name, cameras=cameras)
            self._waiting_matchers.add(spec.name)
            self._states.say(spec.name, WorkerState.STARTING)
            self._supervisor.start(spec.name)
        if not self._matcher_table:
            self._start_cameras()

    def _start_beside(self) -> None:
        """Start who serves events, or brings them elsewhere; they wait for no matcher."""
        for spec in (*web_workers(self._config), *sink_workers(self._config)):
            self._states.say(spec.name, WorkerState.STARTING)
            self._supervisor.add(spec)

    def _start_cameras(self) -> None:
        self._figures.begin()
        self._states.say("daemon", WorkerState.RUNNING)
        if self._config.duration_s:
            self._end_at_s = time.monotonic() + self._config.duration_s
        self._cameras.start()

    def _is_over(self) -> bool:
        """Whether the run has come to its end; raises when it cannot go on."""
        if self._is_stopping or time.monotonic() >= self._end_at_s:
            return True
        if self._supervisor.is_hopeless():
            reason = self._states.reason_of_kind("matcher.")
            raise HopelessError.at(
                "matcher", f"could not be kept alive: {reason}", remedy="its log lines say more"
            )
        if self._may_be_empty or not self._cameras.is_over():
            return False
        failures = self._cameras.failures()
        if failures is not None:
            raise StartError("; ".join(failures), MagpieError.exit_code)
        return True

    def _hear(self, event: WorkerEvent) -> None:
        what, name = event.what, event.worker.name
        self._on_demand.hear(event)
        if isinstance(what, Ready):
            self._on_ready(event.worker)
        elif isinstance(what, Report):
            self._states.say(name, what.state, what.reason, **what.counters)
            self._cameras.hear_report(name, what)
        elif isinstance(what, Note) and what.topic == "figures":
            self._figures.add(name, event.incarnation, what.content)
        elif isinstance(what, Note) and what.topic == "feeds":
            self._matchers.hear(name, what)
        elif isinstance(what, Exit):
            self._on_exit(event, what)

    def _on_ready(self, worker: WorkerSpec) -> None:
        if worker.kind == "camera":
            return  # it says more of itself
        self._states.say(worker.name, WorkerState.RUNNING)
        if worker.name in self._waiting_matchers:
            self._waiting_matchers.discard(worker.name)
            if not self._waiting_matchers:
                self._start_cameras()

    def _on_exit(self, event: WorkerEvent, exited: Exit) -> None:
        """A worker's process is gone: close what it left open, remember what must not go on."""
        name = event.worker.name
        if self._supervisor.has(name) and not self._supervisor.is_done(name):
            self._figures.count_restart(name)
        if event.worker.kind == "matcher":
            self._matchers.hear_exit(name)
            self._publisher.close_open_sightings(
                "matcher_restarted", worker=name, incarnation=event.incarnation
            )
        elif event.worker.kind == "camera":
            self._cameras.hear_exit(name, exited)
        is_new = name in self._waiting_matchers or event.worker.kind == "web"
        is_new = is_new and event.incarnation == 1 and not exited.was_ready
        if is_new and exited.death is not None and exited.death.is_user_error:
            raise StartError(exited.death.text, exited.death.exit_code)

    def _known_loads(self) -> dict[str, float]:
        """Return the cameras' loads: those of earlier runs, and over them those of this one."""
        measured = {camera: load.share for camera, load in self._figures.loads().items()}
        return self._load_file.loads() | measured

    def _tell_summary(self) -> None:
        """Renew, once a second, what `magpie status` is answered."""
        if time.monotonic() >= self._summary_at_s:
            self._summary_at_s = time.monotonic() + SUMMARY_EVERY_S
            self._load_file.keep_now_and_then(self._figures.loads())
            summary = self._summary()
            self._publisher.set_summary(summary.as_json())
            self._states.say_trouble(summary.trouble)

    def _stop_workers(self) -> RunSummary:
        """Stop sinks, cameras, then matchers; every sighting ends; returns the summary."""
        self._is_stopping = True
        for event in self._supervisor.stop():
            if isinstance(event.what, Note | Report):
                self._hear(event)
        for name in self._supervisor.names():
            self._states.say_stopped(name)
        self._publisher.close_open_sightings("stopped")
        self._states.say("daemon", WorkerState.STOPPED)
        self._publisher.stop()
        self._load_file.keep(self._figures.loads())
        return self._summary(is_last=True)

    def _summary(self, is_last: bool = False) -> RunSummary:
        return self._figures.summary(
            self._states.by_camera(self._cameras.camera_of()),
            self._states.by_camera(self._cameras.main_of()),
            self._cameras.matcher_of(),
            self._publisher.summary(),
            is_last,
        )
