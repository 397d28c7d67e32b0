"""Keys over HTTP, for administrators."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Path as PathPart
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from streamer.publishing.events import CAMERA_PATTERN
from streamer.web.access import Admin
from streamer.web.context import WebContext, context_of
from streamer.web.key_file import NAME_PATTERN, KeyEntry, Scope, change_key_file
from streamer.web.keys import is_over, make_key, with_key, without
from streamer.web.problems import Refusal, problem_responses

router = APIRouter(prefix="/keys", tags=["access"])

Context = Annotated[WebContext, Depends(context_of)]
CameraName = Annotated[str, Field(pattern=CAMERA_PATTERN)]


class NewKey(BaseModel):
    """What a new key is for."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME_PATTERN)
    scopes: list[Scope] = Field([Scope.READ], min_length=1)
    cameras: list[CameraName] | None = Field(None, description="that it may see; null: all")
    days: float | None = Field(None, gt=0, le=36_500, description="it holds so long; null: ever")


class KeyAnswer(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    cameras: list[str] | None
    created: AwareDatetime
    expires: AwareDatetime | None
    last_used: AwareDatetime | None
    is_over: bool


class MadeKey(KeyAnswer):
    """A new key; it is shown this once."""

    key: str


class KeyList(BaseModel):
    """All keys; there are few, so this is one page."""

    items: list[KeyAnswer]
    next_cursor: None = None


@router.get("", response_model=KeyList, responses=problem_responses(401, 403))
def list_keys(context: Context, _: Admin) -> KeyList:
    """Return all keys, without their secrets."""
    return KeyList(items=[KeyAnswer(**_told(key)) for key in context.keys.now().keys])


@router.post(
    "", status_code=201, response_model=MadeKey, responses=problem_responses(401, 403, 409, 422)
)
def add_key(new: NewKey, context: Context, _: Admin) -> MadeKey:
    """Make a key and return it: it is shown this once."""
    if any(new.name == key.name for key in context.keys.now().keys):
        raise Refusal(409, "body.name", "each key has its own name", new.name, "choose another")
    lasts = None if new.days is None else timedelta(days=new.days)
    text, entry = make_key(new.name, new.scopes, new.cameras, lasts)
    change_key_file(context.keys.path, lambda file: with_key(file, entry))
    return MadeKey(key=text, **_told(entry))


@router.delete("/{key_id}", status_code=204, responses=problem_responses(401, 403, 404, 422))
def revoke_key(
    key_id: Annotated[str, PathPart(pattern=r"^[0-9a-f]{8}$")], context: Context, _: Admin
) -> None:
    """Revoke a key, by its id; it is refused from now on."""
    if not any(key.id == key_id for key in context.keys.now().keys):
        raise Refusal(404, "key", "no key has this id", key_id, "GET /api/v1/keys lists them")
    change_key_file(context.keys.path, lambda file: without(file, key_id))


def _told(key: KeyEntry) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "cameras": None if key.cameras is None else list(key.cameras),
        "created": key.created,
        "expires": key.expires,
        "last_used": key.last_used,
        "is_over": is_over(key),
    }
