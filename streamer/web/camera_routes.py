"""Cameras over HTTP: listed, added, changed, paused and removed while all others run on."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from fastapi import Path as PathPart
from pydantic import BaseModel, ConfigDict, Field

from streamer.control.asking import ask
from streamer.control.requests import (
    AddCamera,
    CameraList,
    CameraView,
    ChangeCamera,
    ControlModel,
    ListCameras,
    PauseCamera,
    RefusedError,
    RemoveCamera,
    Request,
    ResumeCamera,
    Status,
)
from streamer.names import NAME_PATTERN
from streamer.redaction import remember_secrets
from streamer.web.access import Caller, Reader, Writer
from streamer.web.context import WebContext, context_of
from streamer.web.pages import Cursor, Limit, cursor_of, value_of
from streamer.web.problems import Refusal, problem_responses

router = APIRouter(prefix="/cameras", tags=["cameras"])

Context = Annotated[WebContext, Depends(context_of)]
Name = Annotated[str, PathPart(pattern=NAME_PATTERN)]
_STATUS: dict[Status, int] = {"invalid": 422, "conflict": 409, "missing": 404, "busy": 503}
_WAIT_S = 10.0
_A = TypeVar("_A", bound=ControlModel)


class NewCamera(BaseModel):
    """A camera to add. All else is as in a camera's section of the configuration."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(pattern=NAME_PATTERN)
    url: str = Field(min_length=1, max_length=4096, description="as for `magpie run`")
    is_paused: bool = False


class CameraPage(BaseModel):
    """Cameras, by name."""

    items: list[CameraView]
    next_cursor: str | None


@router.get("", response_model=CameraPage, responses=problem_responses(401, 403, 422, 503))
def list_cameras(
    context: Context, caller: Reader, limit: Limit = 100, cursor: Cursor = None
) -> CameraPage:
    """Return all cameras that the caller may see; secrets in their options are hidden."""
    found = _ask(context, ListCameras(), CameraList).cameras
    seen = sorted((one for one in found if caller.may_see(one.name)), key=lambda one: one.name)
    first = value_of(cursor, "camera") or 0
    rest = first + limit if first + limit < len(seen) else None
    return CameraPage(items=seen[first : first + limit], next_cursor=cursor_of("camera", rest))


@router.post(
    "",
    status_code=201,
    response_model=CameraView,
    responses=problem_responses(401, 403, 409, 422, 503),
)
def add_camera(new: NewCamera, context: Context, caller: Writer) -> CameraView:
    """Add a camera; it is kept across restarts."""
    caller.require_camera(new.name)
    options = {"url": new.url, **(new.model_extra or {})}
    _remember(options)
    asked = AddCamera(name=new.name, options=options, is_paused=new.is_paused)
    return _ask(context, asked, CameraView)


@router.get("/{name}", response_model=CameraView, responses=problem_responses(401, 403, 404, 503))
def read_camera(name: Name, context: Context, caller: Reader) -> CameraView:
    """Return one camera."""
    caller.require_camera(name)
    for one in _ask(context, ListCameras(), CameraList).cameras:
        if one.name == name:
            return one
    raise Refusal(404, "camera", "no camera has this name", name, "GET /api/v1/cameras lists them")


@router.patch(
    "/{name}",
    response_model=CameraView,
    responses=problem_responses(401, 403, 404, 409, 422, 503),
)
def change_camera(
    name: Name, options: dict[str, Any], context: Context, caller: Writer
) -> CameraView:
    """Change some of a camera's options; the others stay as they are."""
    caller.require_camera(name)
    _remember(options)
    return _ask(context, ChangeCamera(name=name, options=options), CameraView)


@router.delete(
    "/{name}", response_model=CameraView, responses=problem_responses(401, 403, 404, 409, 422, 503)
)
def remove_camera(name: Name, context: Context, caller: Writer) -> CameraView:
    """Remove a camera, in whatever state it is; returns it as it was."""
    return _on_camera(context, caller, RemoveCamera(name=name))


@router.post(
    "/{name}/pause",
    response_model=CameraView,
    responses=problem_responses(401, 403, 404, 409, 422, 503),
)
def pause_camera(name: Name, context: Context, caller: Writer) -> CameraView:
    """Let nothing of a camera run until it is resumed."""
    return _on_camera(context, caller, PauseCamera(name=name))


@router.post(
    "/{name}/resume",
    response_model=CameraView,
    responses=problem_responses(401, 403, 404, 409, 422, 503),
)
def resume_camera(name: Name, context: Context, caller: Writer) -> CameraView:
    """Let a paused camera go on."""
    return _on_camera(context, caller, ResumeCamera(name=name))


def _on_camera(
    context: WebContext, caller: Caller, asked: RemoveCamera | PauseCamera | ResumeCamera
) -> CameraView:
    caller.require_camera(asked.name)
    return _ask(context, asked, CameraView)


def _ask(context: WebContext, asked: Request, answer: type[_A]) -> _A:
    """Return the daemon's answer; raises its refusal as one of ours."""
    try:
        return ask(context.run_dir, asked, answer, _WAIT_S)
    except RefusedError as error:
        told = error.refusal
        status = _STATUS[told.status]
        headers = {"Retry-After": "1"} if status == 503 else {}
        raise Refusal(
            status, told.where, told.rule, told.got, told.remedy or None, headers
        ) from None


def _remember(options: dict[str, Any]) -> None:
    """Hide the passwords of what was sent from every text of this process."""
    for value in options.values():
        if isinstance(value, str):
            remember_secrets(value)
