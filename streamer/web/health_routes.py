"""/healthz, /readyz, /metrics: for those who watch the service. Outside of /api."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from streamer.publishing.publish_figures import JOURNAL_TROUBLE
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


class Readiness(BaseModel):
    """Whether all of the rest are true. cameras: one gives frames, or there is none."""

    ready: bool
    daemon: bool
    matcher: bool
    journal: bool
    cameras: bool


@router.get("/healthz", dependencies=[Anyone], response_model=Health)
async def is_alive() -> Health:
    """Return ok while the server is alive."""
    return Health()


@router.get(
    "/readyz", dependencies=[Anyone], response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Not ready"}},
)  # fmt: skip
def is_ready(context: Context, response: Response) -> Readiness:
    """Return whether the daemon is ready; 503 while it is not."""
    found = readiness_of(context.state.now())
    response.status_code = 200 if found.ready else 503
    return found


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


def readiness_of(state: Mapping[str, Any] | None) -> Readiness:
    """Return what the daemon's answer says of its readiness; None: it gave none."""
    summary = (state or {}).get("summary") or {}
    if state is None or not summary:
        return Readiness(ready=False, daemon=False, matcher=False, journal=False, cameras=False)
    cameras = summary["cameras"].values()
    matchers = {camera["matcher"] for camera in cameras if camera["matcher"]}
    states = [state["workers"].get(name, {}).get("state") for name in matchers]
    is_matching = all(each == "running" for each in states)
    is_journal_well = JOURNAL_TROUBLE not in summary["trouble"]
    has_frames = not cameras or any(camera["state"] == "running" for camera in cameras)
    return Readiness(
        ready=is_matching and is_journal_well and has_frames,
        daemon=True,
        matcher=is_matching,
        journal=is_journal_well,
        cameras=has_frames,
    )
