"""What the daemon can be asked to do while it runs, and what it answers. Light: no zmq.

A request is one JSON object, told apart by "do". The answer is {"answer": …} or {"refused": …}.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.errors import MagpieError
from streamer.names import NAME_PATTERN

Status = Literal["invalid", "conflict", "missing", "busy"]


class ControlModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListCameras(ControlModel):
    """Asks for all cameras; answered by CameraList."""

    do: Literal["cameras"] = "cameras"


class _OfCamera(ControlModel):
    name: str = Field(pattern=NAME_PATTERN)


class AddCamera(_OfCamera):
    """Asks for one more camera; answered by CameraView.

    options: as a camera's section in the configuration. Relative paths count from where the daemon
    was started.
    """

    do: Literal["add_camera"] = "add_camera"
    options: dict[str, Any]
    is_paused: bool = False


class ChangeCamera(_OfCamera):
    """Asks for other options of a camera; answered by CameraView. options: those that change."""

    do: Literal["change_camera"] = "change_camera"
    options: dict[str, Any]


class RemoveCamera(_OfCamera):
    """Asks that there be no such camera; answered by CameraView, as it was."""

    do: Literal["remove_camera"] = "remove_camera"


class PauseCamera(_OfCamera):
    """Asks that nothing of a camera run until it is resumed; answered by CameraView."""

    do: Literal["pause_camera"] = "pause_camera"


class ResumeCamera(_OfCamera):
    """Asks that a paused camera go on; answered by CameraView."""

    do: Literal["resume_camera"] = "resume_camera"


class Reload(ControlModel):
    """Asks to read the configuration file again; answered by Reloaded."""

    do: Literal["reload"] = "reload"


class StartQuery(ControlModel):
    """Asks for the query worker, or that it stay awake; answered by QueryPlace when it is ready."""

    do: Literal["start_query"] = "start_query"


class IsReady(ControlModel):
    """Asks whether the run does its work; answered by Readiness."""

    do: Literal["is_ready"] = "is_ready"


Request = (
    ListCameras
    | AddCamera
    | ChangeCamera
    | RemoveCamera
    | PauseCamera
    | ResumeCamera
    | Reload
    | StartQuery
    | IsReady
)
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="do")])


class CameraView(ControlModel):
    """A camera as it is told of. options: those that were given, without secrets.

    is_changed: its options are others than the configuration's. state, reason: of its worker.
    """

    name: str
    options: dict[str, Any]
    origin: Literal["file", "api"]
    is_paused: bool
    is_changed: bool
    state: str
    reason: str | None
    matcher: str | None
    catalog: str | None


class CameraList(ControlModel):
    """All cameras. removed: those of the configuration that were removed while running."""

    cameras: tuple[CameraView, ...]
    removed: tuple[str, ...]


class Reloaded(ControlModel):
    """What a reload did, cameras by name. needs_restart: keys that changed and are not applied.

    kept: changes of while it ran that go on, as the file says nothing newer of these cameras.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class QueryPlace(ControlModel):
    """Where the query worker listens."""

    endpoint: str


class Readiness(ControlModel):
    """Whether the run does its work, and if not, why: a sentence each."""

    is_ready: bool
    reasons: tuple[str, ...]


Answer = CameraList | CameraView | Reloaded | QueryPlace | Readiness


class Refusal(ControlModel):
    """Why a request was not done; nothing was changed."""

    status: Status
    where: str
    rule: str
    got: str | None = None
    remedy: str = ""


class RefusedError(MagpieError):
    """A request to a running daemon was refused; carries the refusal."""

    exit_code = 2

    def __init__(self, refusal: Refusal) -> None:
        got = None if refusal.got is None else _Bare(refusal.got)
        super().__init__(str(MagpieError.at(refusal.where, refusal.rule, got, refusal.remedy)))
        self.refusal = refusal


class _Bare:
    """A text that stands in a sentence as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def refused(
    status: Status, where: str, rule: str, got: str | None = None, remedy: str = ""
) -> RefusedError:
    """Return the error to raise for a request that is refused."""
    return RefusedError(Refusal(status=status, where=where, rule=rule, got=got, remedy=remedy))


def refused_as(error: MagpieError, status: Status) -> RefusedError:
    """Return the error to raise for a request that is refused because of another one."""
    return RefusedError(refusal_of(error, status))


def refusal_of(error: MagpieError, status: Status) -> Refusal:
    """Return an error as a refusal; its parts where they are known, else its sentence."""
    if isinstance(error, RefusedError):
        return error.refusal
    first, *more = str(error).split("\n")
    where, _, rest = first.partition(": ")
    if more:  # several mistakes, a line each
        rule = " | ".join((rest, *(line.strip() for line in more)))
        return Refusal(status=status, where=where, rule=rule)
    rule, _, remedy = rest.partition("; ")
    rule, _, got = rule.partition(", got ")
    return Refusal(status=status, where=where, rule=rule or where, got=got or None, remedy=remedy)
