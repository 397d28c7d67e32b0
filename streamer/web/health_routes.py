"""/healthz, /readyz, /metrics: for those who watch the service. Outside of /api."""

from __future__ import annotations

import sqlite3
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from streamer.web.access import Anyone, Scraper
from streamer.web.context import WebContext, context_of
from streamer.web.journal_reader import JournalReader
from streamer.web.problems import problem_responses

router = APIRouter(tags=["health"])

Context = Annotated[WebContext, Depends(context_of)]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """The server is alive."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(BaseModel):
    """Whether matchers run, events are written down and a camera gives frames; why not."""

    ready: bool
    reasons: list[str]


@router.get("/healthz", dependencies=[Anyone], response_model=Health)
async def is_alive() -> Health:
    """Return ok while the server is alive."""
    return Health()


@router.get(
    "/readyz",
    dependencies=[Anyone],
    response_model=ReadyAnswer,
    responses={503: {"model": ReadyAnswer, "description": "Not ready"}},
)
def is_ready(context: Context, response: Response) -> ReadyAnswer:
    """Return whether the run does its work; 503 while it does not."""
    found = context.state.readiness()
    response.status_code = 200 if found.is_ready else 503
    return ReadyAnswer(ready=found.is_ready, reasons=list(found.reasons))


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problem_responses(401, 403),
    },
)
def metrics(context: Context, _: Scraper) -> Response:
    """Return the figures of the run for Prometheus."""
    from streamer.web.metric_lines import metrics_text

    try:
        newest = JournalReader(context.journal_path).newest_of_cameras()
    except sqlite3.Error:
        newest = {}
    text = metrics_text(context.state.now(), newest, context.hub.n_streams)
    return Response(text, media_type=METRICS_TYPE)
