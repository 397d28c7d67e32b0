"""The cameras of a run: each is brought, step by step, to what is wanted of it now.

idle -> coming (its matcher loads the catalog) -> running -> draining -> finished
  ^------- letting go <- leaving (its workers stop) <---- from any of them

What is wanted may change at any time, as often as one likes; only where a camera stands decides
what is done next, and no camera waits for another.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Literal

from streamer.child import Report, WorkerState
from streamer.config import CameraOptions
from streamer.matcher_args import WhyGone, ended_mark, main_ring
from streamer.matchers import Matchers
from streamer.process_table import camera_specs, camera_worker, main_worker
from streamer.publishing.publisher import Publisher
from streamer.reporting import Log
from streamer.run_figures import RunFigures
from streamer.supervisor import Supervisor, SupervisorOptions
from streamer.worker import Exit
from streamer.worker_states import WorkerStates

DRAIN_WITHIN_S = 10.0  # what an ended file left in its ring
LET_GO_WITHIN_S = 10.0

CameraOrigin = Literal["file", "api"]

log = Log("cameras")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a camera shall be: options with a catalog, and where it comes from."""

    options: CameraOptions
    origin: CameraOrigin = "file"
    is_paused: bool = False


class Stage(Enum):
    """Where a camera stands."""

    IDLE = auto()
    COMING = auto()
    RUNNING = auto()
    DRAINING = auto()
    FINISHED = auto()
    LEAVING = auto()
    LETTING_GO = auto()


class Camera:
    """One camera. options: those that it runs by. life: of the feed that its matcher is told of.

    is_removed: since it was last idle; what it has left in the run folder is not a later one's.
    """

    def __init__(self, name: str, wanted: Wanted) -> None:
        self.name = name
        self.wanted: Wanted | None = wanted
        self.options = wanted.options
        self.stage = Stage.IDLE
        self.life = 0
        self.why: WhyGone = "camera_changed"
        self.failure: str | None = None  # for good
        self.is_removed = False
        self.until_s = 0.0

    @property
    def worker(self) -> str:
        return camera_worker(self.name)

    @property
    def workers(self) -> list[str]:
        """The names of its workers, that of its main stream if it has one, too."""
        both = [self.worker, main_worker(self.name)]
        return both if self.options.main is not None else both[:1]

    @property
    def is_as_wanted(self) -> bool:
        wanted = self.wanted
        if wanted is None or wanted.is_paused or self.is_removed:
            return False
        return wanted.options == self.options


class Cameras:
    """All cameras of a run, by name."""

    def __init__(
        self,
        run_dir: Path,
        limits: SupervisorOptions,
        supervisor: Supervisor,
        matchers: Matchers,
        publisher: Publisher,
        figures: RunFigures,
        states: WorkerStates,
    ) -> None:
        self._run_dir, self._limits = run_dir, limits
        self._supervisor, self._matchers = supervisor, matchers
        self._publisher, self._figures, self._states = publisher, figures, states
        self._by_name: dict[str, Camera] = {}
        self._by_worker: dict[str, Camera] = {}
        self._n_lives = 0
        self._may_start = False

    def want(self, name: str, wanted: Wanted) -> None:
        """Let a camera be so from now on: a new one, or one that is there."""
        camera = self._by_name.get(name)
        if camera is None:
            camera = self._by_name[name] = Camera(name, wanted)
            self._by_worker[camera.worker] = self._by_worker[main_worker(name)] = camera
        camera.wanted = wanted

    def unwant(self, name: str) -> None:
        """Let there be no such camera."""
        self._by_name[name].wanted = None
        self._by_name[name].is_removed = True

    def deal(self, hands: Mapping[str, int]) -> None:
        """Say which matchers the first cameras were dealt out to; they are told of them already."""
        for name, index in hands.items():
            camera = self._by_name[name]
            camera.stage = Stage.COMING
            self._matchers.take(index, name, camera.options, camera.life)

    def start(self) -> None:
        """Every matcher is ready: the cameras begin."""
        self._may_start = True

    def wanted(self) -> dict[str, Wanted]:
        """Return what is wanted, by camera; those on their way out are not among them."""
        return {
            name: camera.wanted
            for name, camera in self._by_name.items()
            if camera.wanted is not None
        }

    def state(self, name: str) -> tuple[WorkerState, str | None]:
        """Return where a camera's worker stands, and why."""
        worker = camera_worker(name)
        return self._states.of(worker), self._states.reason(worker)

    def matcher_of(self) -> dict[str, str]:
        """Return the matcher's worker, by camera that has one."""
        return {
            name: worker for name in self._by_name if (worker := self._matchers.worker_of(name))
        }

    def is_over(self) -> bool:
        """Whether every camera has come to its end; not while one is paused, or there is none."""
        cameras = self._by_name.values()
        return bool(cameras) and all(camera.stage == Stage.FINISHED for camera in cameras)

    def failures(self) -> list[str] | None:
        """Return why the cameras failed for good; None when one of them did not."""
        failures = [camera.failure for camera in self._by_name.values()]
        return [each for each in failures if each] if all(failures) else None

    def main_of(self) -> dict[str, str]:
        """Return the cameras that have a main stream beside, by its worker."""
        cameras = self._by_name.values()
        return {main_worker(one.name): one.name for one in cameras if one.options.main is not None}

    def camera_of(self) -> dict[str, str]:
        """Return the cameras that are wanted, by worker."""
        return {camera_worker(name): name for name in self.wanted()}

    def hear_report(self, worker: str, report: Report) -> None:
        """A camera's worker has said where it stands."""
        camera = self._by_worker.get(worker)
        if camera is None or worker != camera.worker:
            return
        self._figures.note_state(camera.name, report.state)
        is_failed = report.state == WorkerState.FAILED and self._is_done(worker)
        if is_failed and camera.stage == Stage.RUNNING:
            camera.failure = report.reason or "failed"
            camera.stage = Stage.FINISHED
            log.error(f"camera {camera.name}: {report.reason}")

    def hear_exit(self, worker: str, exited: Exit) -> None:
        """A camera's process is gone."""
        camera = self._by_worker.get(worker)
        if camera is None or not self._is_done(worker) or camera.stage != Stage.RUNNING:
            return
        if worker != camera.worker:
            self._mark_ended(main_ring(camera.name))  # also one that failed
        elif exited.exit_code == 0:
            camera.stage = Stage.DRAINING
            camera.until_s = time.monotonic() + DRAIN_WITHIN_S
            self._mark_ended(camera.name)

    def advance(self) -> None:
        """Take each camera one step nearer to what is wanted of it, if one is due."""
        for camera in list(self._by_name.values()):
            if camera.stage == Stage.IDLE:
                self._leave_idle(camera)
            elif camera.stage == Stage.LEAVING:
                if not any(map(self._supervisor.has, camera.workers)):
                    camera.stage = Stage.LETTING_GO
                    camera.until_s = time.monotonic() + LET_GO_WITHIN_S
                    self._matchers.drop(camera.name, camera.why)
            elif camera.stage == Stage.LETTING_GO:
                self._let_go(camera)
            elif not camera.is_as_wanted:
                self._leave(camera)
            elif camera.stage == Stage.COMING:
                self._start(camera)
            elif camera.stage == Stage.DRAINING:
                self._finish_drained(camera)

    def _leave_idle(self, camera: Camera) -> None:
        wanted = camera.wanted
        if camera.is_removed:
            camera.is_removed = False
            _remove_files(self._run_dir, camera.name, with_counts=True)
            self._figures.forget(camera.name)
        if wanted is None:
            del self._by_name[camera.name]
            for worker in (camera.worker, main_worker(camera.name)):
                self._by_worker.pop(worker, None)
                self._states.forget(worker)
        elif not wanted.is_paused:
            self._n_lives += 1
            camera.options, camera.life = wanted.options, self._n_lives
            camera.stage, camera.failure = Stage.COMING, None
            for worker in camera.workers:
                self._states.say(worker, WorkerState.STARTING)
            self._matchers.choose(camera.name, camera.options, camera.life)
        elif self._states.of(camera.worker) != WorkerState.STOPPED:  # paused from the beginning on
            self._states.say(camera.worker, WorkerState.STOPPED, "paused")

    def _start(self, camera: Camera) -> None:
        """Start a camera's workers, once its matcher looks for its frames: none is lost so."""
        if not self._may_start:
            return
        if self._matchers.has_taken(camera.name, camera.life):
            camera.stage = Stage.RUNNING
            index = self._matchers.index_of(camera.name)
            for spec in camera_specs(camera.name, camera.options, index, self._limits):
                self._states.say(spec.name, WorkerState.STARTING)
                self._supervisor.add(spec)
        elif reason := self._matchers.trouble(camera.name):
            self._states.say(
                camera.worker, WorkerState.STARTING, f"waits for its catalog: {reason}"
            )

    def _leave(self, camera: Camera) -> None:
        camera.stage = Stage.LEAVING
        camera.why = "camera_changed"
        if camera.wanted is None or camera.is_removed:
            camera.why = "camera_removed"
        elif camera.wanted.is_paused:
            camera.why = "camera_paused"
        for worker in camera.workers:
            self._supervisor.remove(worker)

    def _let_go(self, camera: Camera) -> None:
        """Go on when the matcher has ended what it saw, and does not use the rings any more."""
        is_late = time.monotonic() >= camera.until_s
        has_ended = self._publisher.has_ended(camera.name, camera.life)
        if not (has_ended or is_late or not self._matchers.has_taken(camera.name, camera.life)):
            return
        self._publisher.close_open_sightings(camera.why, camera=camera.name)
        self._matchers.forget(camera.name)
        _remove_files(self._run_dir, camera.name, with_counts=False)
        wanted = camera.wanted
        reason = "removed" if wanted is None else "paused" if wanted.is_paused else "changed"
        for worker in camera.workers:
            self._states.say(worker, WorkerState.STOPPED, reason)
        camera.stage = Stage.IDLE
        self._leave_idle(camera)

    def _finish_drained(self, camera: Camera) -> None:
        """Call a camera finished whose last frames were matched, or should long have been."""
        if not self._publisher.has_ended(camera.name, camera.life):
            if time.monotonic() < camera.until_s:
                return
            self._publisher.close_open_sightings("source_ended", camera=camera.name)
        camera.stage = Stage.FINISHED

    def _is_done(self, worker: str) -> bool:
        return self._supervisor.has(worker) and self._supervisor.is_done(worker)

    def _mark_ended(self, ring: str) -> None:
        """Tell the matcher that no more pictures come into a ring."""
        try:
            ended_mark(self._run_dir, ring).touch(mode=0o600)
        except OSError as error:  # both ends have a time limit for it
            log.warning("the matcher cannot be told of an end", ring=ring, cause=error)


def _remove_files(run_dir: Path, camera: str, with_counts: bool) -> None:
    """Remove a camera's rings and marks; its counts stay as long as it is there."""
    endings = ["*.ring", "credit", "ended", *(["*.counts"] if with_counts else [])]
    for ring in (camera, main_ring(camera)):
        for ending in endings:  # each by itself: a camera may be called as other files here are
            for file in run_dir.glob(f"{ring}.{ending}"):
                file.unlink(missing_ok=True)
