"""Whether a run does its work, as a load balancer or a container's probe asks."""

from streamer.cameras import Cameras
from streamer.child import WorkerState
from streamer.control.requests import Readiness
from streamer.publishing.publisher import Publisher
from streamer.supervisor import Supervisor
from streamer.worker_states import WorkerStates

_GIVING = {WorkerState.RUNNING, WorkerState.ENDED}


def readiness(
    supervisor: Supervisor, states: WorkerStates, cameras: Cameras, publisher: Publisher
) -> Readiness:
    """Return whether every matcher runs, events are written down, and a camera gives frames (or
    there is none that should); and what is missing, a sentence each."""
    reasons = [
        f"{name} is {states.of(name)}"
        for name in supervisor.names()
        if name.startswith("matcher.") and states.of(name) != WorkerState.RUNNING
    ]
    if not publisher.is_journal_well:
        reasons.append("the journal cannot be written")
    wanted = [name for name, one in cameras.wanted().items() if not one.is_paused]
    if wanted and not any(cameras.state(name)[0] in _GIVING for name in wanted):
        reasons.append("no camera gives frames")
    return Readiness(is_ready=not reasons, reasons=tuple(reasons))
