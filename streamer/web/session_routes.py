"""Logging in and out on the page, and who one is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from streamer.web.access import Anyone, Caller, caller_of, may, refuse_if_slowed
from streamer.web.context import WebContext, context_of
from streamer.web.gate import peer_of
from streamer.web.key_file import NAME_PATTERN, KeyEntry, Scope, UserEntry
from streamer.web.problems import Refusal, problem_responses
from streamer.web.sessions import COOKIE, LONGEST_S

router = APIRouter(prefix="/session", tags=["access"])

Context = Annotated[WebContext, Depends(context_of)]


class Login(BaseModel):
    """A user and password, or a key."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    user: str | None = Field(None, pattern=NAME_PATTERN)
    password: SecretStr | None = Field(None, max_length=1024)
    key: SecretStr | None = Field(None, max_length=256)

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Login:
        if (self.key is None) == (self.user is None or self.password is None):
            raise ValueError("expected user and password, or key")
        return self


class WhoAmI(BaseModel):
    """Who asks, and what is allowed."""

    name: str
    kind: str = Field(description="open (no key is needed), key or user")
    scopes: list[Scope]
    cameras: list[str] | None = Field(description="those that may be seen; null: all")


@router.post(
    "", dependencies=[Anyone], response_model=WhoAmI,
    responses=problem_responses(401, 403, 422, 429),
)  # fmt: skip
def log_in(login: Login, request: Request, response: Response, context: Context) -> WhoAmI:
    """Begin a session: the answer sets its cookie."""
    peer = peer_of(request.scope)
    refuse_if_slowed(context, peer)
    if login.key is not None:
        key = context.keys.find(login.key.get_secret_value())
        entry: KeyEntry | UserEntry | None = key
        kind, name = "key", key.id if key is not None else ""
    else:
        assert login.user is not None and login.password is not None
        user = context.keys.login(login.user, login.password.get_secret_value())
        entry, kind, name = user, "user", login.user
    if entry is None:
        context.slowing.note_failure(peer.address)
        raise Refusal(401, "login", "not a user and password, or key, that holds")
    context.slowing.note_success(peer.address)
    context.keys.touch(entry)
    response.set_cookie(
        COOKIE,
        context.sessions.begin("key" if kind == "key" else "user", name),
        max_age=int(LONGEST_S),
        path=context.options.base_path or "/",
        secure=peer.is_secure,
        httponly=True,
        samesite="strict",
    )
    return _told(caller_of(entry))


@router.get("", response_model=WhoAmI, responses=problem_responses(401, 403))
def who_am_i(caller: Annotated[Caller, Depends(may(None))]) -> WhoAmI:
    """Return who asks and what is allowed."""
    return _told(caller)


@router.delete("", status_code=204, responses=problem_responses(401, 403))
def log_out(
    request: Request, context: Context, _: Annotated[Caller, Depends(may(None))]
) -> Response:
    """End the session."""
    context.sessions.end(request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path=context.options.base_path or "/")
    return response


def _told(caller: Caller) -> WhoAmI:
    cameras = None if caller.cameras is None else sorted(caller.cameras)
    scopes = [scope for scope in Scope if caller.may(scope)]
    return WhoAmI(name=caller.name, kind=caller.kind, scopes=scopes, cameras=cameras)
