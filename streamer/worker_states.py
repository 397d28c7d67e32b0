"""Where each worker stands: the last that was said of it, in the log and over the wire."""

from collections.abc import Mapping

from streamer.child import WorkerState
from streamer.publishing.publisher import Publisher
from streamer.reporting import Log

_TROUBLE = (
    WorkerState.RECONNECTING,
    WorkerState.STALLED,
    WorkerState.FROZEN,
    WorkerState.RESTARTING,
    WorkerState.FAILED,
)
_OVER = (WorkerState.ENDED, WorkerState.FAILED)
_UNKNOWN = (WorkerState.STARTING, None)

log = Log("daemon")


class WorkerStates:
    """The workers' states by name; what changes is told."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._states: dict[str, tuple[WorkerState, str | None]] = {}

    def say(
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

    def of(self, worker: str) -> WorkerState:
        """Return a worker's state; one that nothing was said of is about to start."""
        return self._states.get(worker, _UNKNOWN)[0]

    def reason(self, worker: str) -> str | None:
        """Return why a worker is in its state, if that was said."""
        return self._states.get(worker, _UNKNOWN)[1]

    def reason_of_kind(self, prefix: str) -> str:
        """Return the first reason that was said of workers whose names begin so."""
        whys = (why for name, (_, why) in self._states.items() if name.startswith(prefix))
        return next((why for why in whys if why), "no reason known")

    def forget(self, worker: str) -> None:
        """A worker is gone for good; one that comes under its name begins anew."""
        self._states.pop(worker, None)

    def say_stopped(self, worker: str) -> None:
        """Say that a worker was stopped, unless its work was over before."""
        if self.of(worker) not in _OVER:
            self.say(worker, WorkerState.STOPPED)

    def say_trouble(self, trouble: tuple[str, ...]) -> None:
        """Say what is wrong with the machine, once: in the log and as the daemon's reason."""
        state, reason = self._states.get("daemon", _UNKNOWN)
        text = "; ".join(trouble) or None
        if state == WorkerState.RUNNING and text != reason:
            if text is not None:
                log.warning(text)
            self.say("daemon", state, text)

    def by_camera(self, camera_of: Mapping[str, str]) -> dict[str, WorkerState]:
        """Return the states of these workers, by camera."""
        return {camera: self.of(worker) for worker, camera in camera_of.items()}
