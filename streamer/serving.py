"""Serves what a running daemon is asked for: one turn at a time, in the daemon's own loop."""

from collections.abc import Callable
from typing import Any

from streamer.changes import CameraChanges, Reread
from streamer.config import AppConfig
from streamer.control.answering import Answering
from streamer.control.requests import (
    AddCamera,
    Answer,
    ChangeCamera,
    IsReady,
    ListCameras,
    PauseCamera,
    Readiness,
    RefusedError,
    Reload,
    RemoveCamera,
    ResumeCamera,
    StartQuery,
)
from streamer.on_demand import OnDemand

_AtOnce = (
    ListCameras
    | AddCamera
    | ChangeCamera
    | RemoveCamera
    | PauseCamera
    | ResumeCamera
    | Reload
    | IsReady
)


class Serving:
    """The requests of a run, and how each is done."""

    def __init__(
        self,
        answering: Answering,
        running: AppConfig,
        changes: CameraChanges,
        query: OnDemand,
        reread: Reread | None,
        readiness: Callable[[], Readiness],
    ) -> None:
        """running: what the run was started with. reread: reads its configuration file again."""
        self._answering = answering
        self._running, self._changes, self._query = running, changes, query
        self._reread, self._readiness = reread, readiness
        self.endpoint = self._answering.endpoint

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when something is asked; then `serve`."""
        return self._answering.fileno()

    def serve(self) -> bool:
        """Do what was asked since the last call; returns whether anything was."""
        asked = self._answering.take()
        for each in asked:
            if isinstance(each.request, StartQuery):
                self._query.ask(each)  # answered when it is ready
                continue
            try:
                self._answering.answer(each, self._do(each.request))
            except RefusedError as error:
                self._answering.refuse(each, error.refusal)
        return bool(asked)

    def reload(self) -> None:
        """Read the configuration again, because a signal asks for it; the log says what came."""
        try:
            self._changes.reload(self._reread, self._running)
        except RefusedError:
            pass  # said in the log

    def told(self) -> dict[str, Any]:
        """Return what `magpie status` says of all this: where to ask, and whence each camera is."""
        listed = self._changes.list()
        keys = {"origin", "is_paused", "is_changed"}
        return {
            "endpoint": self.endpoint,
            "cameras": {one.name: one.model_dump(include=keys) for one in listed.cameras},
            "removed": list(listed.removed),
        }

    def close(self) -> None:
        self._answering.close()

    def _do(self, request: _AtOnce) -> Answer:
        match request:
            case ListCameras():
                return self._changes.list()
            case AddCamera():
                return self._changes.add(request)
            case ChangeCamera():
                return self._changes.change(request)
            case RemoveCamera(name=name):
                return self._changes.remove(name)
            case PauseCamera(name=name):
                return self._changes.pause(name, True)
            case ResumeCamera(name=name):
                return self._changes.pause(name, False)
            case Reload():
                return self._changes.reload(self._reread, self._running)
            case IsReady():
                return self._readiness()
