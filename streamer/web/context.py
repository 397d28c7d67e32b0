"""What every route is given: where things lie, and whom to ask. One frozen object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from streamer.web.daemon_state import DaemonState
from streamer.web.event_hub import EventHub
from streamer.web.keys import Keys
from streamer.web.options import WebOptions
from streamer.web.sessions import Sessions
from streamer.web.slowing import Slowing


@dataclass(frozen=True, slots=True)
class WebContext:
    """One web worker's state. evidence: the folder of pictures, where they are kept."""

    options: WebOptions
    run_dir: Path
    journal_path: Path
    evidence: Path | None
    keys: Keys
    sessions: Sessions
    slowing: Slowing
    hub: EventHub
    state: DaemonState


def context_of(request: Request) -> WebContext:
    """Return the worker's context; what a route asks for by Depends."""
    context: WebContext = request.app.state.context
    return context
