"""Pictures of a request: files of a form, or the addresses in JSON."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from streamer.query.requests import (
    FRAMES_MAX_BYTES,
    MAX_PICTURES,
    AddressPicture,
    FramePicture,
    Picture,
)
from streamer.web.problems import Refusal

FIELDS_MAX = 300  # of a form, addresses among them
UPLOAD_MAX_BYTES = FRAMES_MAX_BYTES - 2**20  # the question itself goes with them
IN_FLIGHT_MAX_BYTES = 48 * 2**20  # of all requests: this process stays small
_NAME_MAX = 300
_B = TypeVar("_B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request holds. frames: the files' bytes, in the order of their pictures."""

    pictures: tuple[Picture, ...]
    frames: list[bytes]
    fields: dict[str, Any]

    def as_model(self, model: type[_B]) -> _B:
        """Return the fields checked; raises a Refusal with the first mistake."""
        try:
            return model.model_validate(self.fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(["body", *(str(part) for part in first["loc"])])
            got = first["input"]
            shown = got if isinstance(got, str | int | float | bool) else None
            raise Refusal(422, where, str(first["msg"]).lower(), shown) from None

    def require_pictures(self) -> None:
        """Raise a Refusal when there is none."""
        if not self.pictures:
            raise Refusal(422, "body", "needs a file, or an address in `urls`")


@asynccontextmanager
async def sent_in(request: Request) -> AsyncIterator[Sent]:
    """Give what a request holds; raises a Refusal: 413 too much, 415 another kind of body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=MAX_PICTURES, max_fields=FIELDS_MAX) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            n_bytes = sum(file.size or 0 for file in files)
            if n_bytes > UPLOAD_MAX_BYTES:
                rule = f"at most {UPLOAD_MAX_BYTES} bytes of pictures a request"
                raise Refusal(413, "body", rule, n_bytes, "send fewer at once")
            texts = [(k, v) for k, v in form.multi_items() if isinstance(v, str)]
            fields: dict[str, Any] = {name: value for name, value in texts if name != "urls"}
            urls = [value for name, value in texts if name == "urls" and value]
            with _IN_FLIGHT.hold(n_bytes):
                frames = [await file.read() for file in files]
                names = [(file.filename or "picture")[:_NAME_MAX] for file in files]
                yield Sent(_pictures(names, urls), frames, fields)
    elif kind == "application/json":
        try:
            raw = await request.json()
        except (ValueError, RecursionError):
            raise Refusal(422, "body", "expected JSON") from None
        if not isinstance(raw, dict):
            raise Refusal(422, "body", "expected a JSON object")
        urls = raw.pop("urls", [])
        if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
            raise Refusal(422, "body.urls", "expected a list of addresses")
        yield Sent(_pictures([], urls), [], raw)
    else:
        rule = "must be multipart/form-data or application/json"
        raise Refusal(415, "Content-Type", rule, kind or "none")


def _pictures(names: list[str], urls: list[str]) -> tuple[Picture, ...]:
    if len(names) + len(urls) > MAX_PICTURES:
        raise Refusal(413, "body", f"at most {MAX_PICTURES} pictures a request")
    try:
        addresses = [AddressPicture(url=url) for url in urls]
    except ValidationError:
        raise Refusal(422, "body.urls", "an address may have 4000 characters") from None
    files = [FramePicture(name=name, frame=number) for number, name in enumerate(names)]
    return (*files, *addresses)


class _InFlight:
    """How many bytes of pictures this process holds, so that they stay few."""

    def __init__(self, most_bytes: int) -> None:
        self._free_bytes = most_bytes
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, n_bytes: int) -> Iterator[None]:
        """Raise a Refusal, busy, when there is no room for so many now."""
        with self._lock:
            if n_bytes > self._free_bytes:
                rule = "too many pictures are on their way"
                raise Refusal(503, "body", rule, None, "send it again", {"Retry-After": "2"})
            self._free_bytes -= n_bytes
        try:
            yield
        finally:
            with self._lock:
                self._free_bytes += n_bytes


_IN_FLIGHT = _InFlight(IN_FLIGHT_MAX_BYTES)


def body_of(model: str, **properties: dict[str, Any]) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that `sent_in` reads: properties beside the
    files and addresses."""
    urls = {"type": "array", "items": {"type": "string"}, "description": "https:// or s3://"}
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    named = {"title": model, "type": "object"}
    as_form = {**named, "properties": {"files": files, "urls": urls, **properties}}
    as_json = {**named, "properties": {"urls": urls, **properties}}
    content = {
        "multipart/form-data": {"schema": as_form},
        "application/json": {"schema": as_json},
    }
    return {"requestBody": {"required": True, "content": content}}
