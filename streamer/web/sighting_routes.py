"""GET /sightings/{id} and its evidence: one sighting from appeared to left."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi import Path as PathPart
from pydantic import BaseModel, Field
from pydantic_core import from_json

from streamer.publishing.events import MatchEvent
from streamer.web.access import Reader
from streamer.web.context import WebContext, context_of
from streamer.web.journal_reader import JournalReader
from streamer.web.problems import Refusal, problem_responses

router = APIRouter(prefix="/sightings", tags=["events"])

Context = Annotated[WebContext, Depends(context_of)]
SightingId = Annotated[str, PathPart(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
_SHORT = 12  # characters of the id in a file's name (streamer/evidence.py)
_QUALITY = 90


class SightingAnswer(BaseModel):
    """One sighting as it was published."""

    sighting_id: str
    camera: str
    item_id: str
    is_open: bool = Field(description="it has not left yet")
    evidence: str | None = Field(description="address of its picture, from this answer's own")
    events: list[MatchEvent] = Field(description="the oldest first")


@router.get(
    "/{sighting_id}", response_model=SightingAnswer, responses=problem_responses(401, 403, 404, 422)
)
def read_sighting(sighting_id: SightingId, context: Context, caller: Reader) -> Response:
    """Return all events of a sighting."""
    texts = JournalReader(context.journal_path).sighting(sighting_id)
    last = from_json(texts[-1]) if texts else None
    if last is None or not caller.may_see(last["camera"]):
        raise _unknown(sighting_id)
    has_picture = evidence_of(context.evidence, sighting_id) is not None
    head = {
        "sighting_id": sighting_id,
        "camera": last["camera"],
        "item_id": last["item_id"],
        "is_open": last["type"] != "left",
        "evidence": f"{sighting_id}/evidence.jpg" if has_picture else None,
    }
    text = f'{json.dumps(head)[:-1]}, "events": [{",".join(texts)}]}}'
    return Response(text, media_type="application/json")


@router.get(
    "/{sighting_id}/evidence.jpg",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        **problem_responses(401, 403, 404, 422),
    },
)
def read_evidence(sighting_id: SightingId, context: Context, caller: Reader) -> Response:
    """Return the newest picture of a sighting: the crop beside the catalog's view."""
    found = evidence_of(context.evidence, sighting_id)
    if found is None or not caller.may_see(found[1]):
        raise _unknown(sighting_id)
    try:
        data = _as_jpeg(found[0])
    except OSError:  # pruned in this very moment
        raise _unknown(sighting_id) from None
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})


def evidence_of(folder: Path | None, sighting_id: str) -> tuple[Path, str] | None:
    """Return the newest picture of a sighting and its camera; None where there is none."""
    if folder is None:
        return None
    for path in sorted(folder.glob(f"*-{sighting_id[:_SHORT]}-*.json"), reverse=True):
        try:
            told = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        picture = path.with_suffix(".png")
        if told.get("sighting_id") == sighting_id and picture.is_file():
            return picture, str(told["camera"])
    return None


def _as_jpeg(path: Path) -> bytes:
    from PIL import Image  # only where a picture is asked for

    data = io.BytesIO()
    with Image.open(path, formats=("PNG",)) as picture:
        picture.convert("RGB").save(data, "JPEG", quality=_QUALITY)
    return data.getvalue()


def _unknown(sighting_id: str) -> Refusal:
    remedy = "the journal and the evidence are kept for a time only"
    return Refusal(404, "sighting", "no such sighting, or no picture of it", sighting_id, remedy)
