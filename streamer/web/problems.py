"""What goes wrong as RFC 9457 problem+json, in the house's wording: where, rule, got, remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from pipeline.errors import CatalogError, ConfigError, MagpieError
from pipeline.printable import printable
from streamer.redaction import redact
from streamer.reporting import Log

REFUSED = "magpie.refused"  # of a request's scope: why its body was not read
MEDIA_TYPE = "application/problem+json"
_SHOWN_MAX = 200
_SECRET = re.compile(r"pass|secret|key|token|url|auth", re.IGNORECASE)
_PARTS = re.compile(
    r"(?P<where>.{1,200}?): (?P<rule>.*?)(?:, got (?P<got>.*?))?(?:; (?P<remedy>.*))?", re.DOTALL
)

log = Log("web")


class Problem(BaseModel):
    """Why a request was refused."""

    type: str = Field("about:blank", description="always about:blank: status and rule tell")
    title: str = Field(description="the status in words")
    status: int = Field(ge=400, le=599)
    where: str = Field(description="what of the request it is about")
    rule: str = Field(description="what it must be")
    got: str | None = Field(None, description="what it was, where that tells no secret")
    remedy: str | None = Field(None, description="what helps")


class Refusal(Exception):
    """A request that cannot be done, with its status; becomes a Problem."""

    def __init__(
        self,
        status: int,
        where: str,
        rule: str,
        got: object = None,
        remedy: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{where}: {rule}")
        self.problem = Problem(
            title=HTTPStatus(status).phrase,
            status=status,
            where=_shown(where),
            rule=_shown(rule),
            got=None if got is None else _shown(str(got)),
            remedy=None if remedy is None else _shown(remedy),
        )
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """Return it as it goes over the wire."""
        content = self.problem.model_dump(exclude_none=True)
        return JSONResponse(
            content, self.problem.status, headers=self.headers, media_type=MEDIA_TYPE
        )


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route declares of its refusals, for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {s: {"description": HTTPStatus(s).phrase, "content": content} for s in statuses}


def refusal_of(error: MagpieError, status: int | None = None) -> Refusal:
    """Return an error of ours as a refusal: its text is taken apart again."""
    if status is None:
        status = 422 if isinstance(error, ConfigError | CatalogError) else 503
    found = _PARTS.fullmatch(str(error))
    if found is None:
        return Refusal(status, "request", str(error))
    return Refusal(status, found["where"], found["rule"], found["got"], found["remedy"])


def add_problems(app: FastAPI) -> None:
    """Let every error of a route leave as a problem."""

    async def on_refusal(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)
        return error.response()

    async def on_own_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, MagpieError)
        return refusal_of(error).response()

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if isinstance(refusal := request.scope.get(REFUSED), Refusal):
            return refusal.response()
        got = f"{request.method} {request.scope.get('path', '')}"
        rules = {404: "no such address", 405: "this address takes other methods"}
        rule = rules.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        return Refusal(error.status_code, "request", rule, got, headers=headers).response()

    async def on_invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _invalid(error).response()

    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", request=f"{request.method} {request.url.path}")
        return Refusal(
            500, "server", "an error of its own", remedy="the daemon's log tells more"
        ).response()

    app.add_exception_handler(Refusal, on_refusal)
    app.add_exception_handler(MagpieError, on_own_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_bug)


def _invalid(error: RequestValidationError) -> Refusal:
    mistakes = error.errors()
    first = mistakes[0]
    place = [str(part) for part in first["loc"]]
    where = ".".join(place)
    rule = str(first["msg"]).removeprefix("Value error, ")
    if len(mistakes) > 1:
        rule += f" (and {len(mistakes) - 1} more)"
    got = first.get("input")
    is_plain = isinstance(got, str | int | float | bool) and not _SECRET.search(where)
    return Refusal(422, where, rule, got if is_plain else None)


def _shown(text: str) -> str:
    text = printable(redact(text))
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"
