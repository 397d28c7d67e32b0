"""POST /search: what pictures show of a catalog."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from streamer.query.requests import CATALOG_PATTERN, Search
from streamer.query.results import SearchResult
from streamer.web.access import Searcher
from streamer.web.context import WebContext, context_of
from streamer.web.problems import problem_responses
from streamer.web.query_desk import job_of
from streamer.web.uploads import body_of, sent_in

SEARCH_WITHIN_S = 30.0

router = APIRouter(prefix="/search", tags=["search"])
Context = Annotated[WebContext, Depends(context_of)]


class SearchFields(BaseModel):
    """What is asked beside the pictures."""

    model_config = ConfigDict(extra="forbid")

    catalog: str = Field(pattern=CATALOG_PATTERN)
    k: int = Field(5, ge=1, le=100)
    min_probability: float = Field(0.0, ge=0, le=1)
    one_per_item: bool = False
    tie_epsilon: float = Field(0.02, ge=0, le=1)


@router.post(
    "",
    response_model=SearchResult,
    responses=problem_responses(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=body_of("Search", **SearchFields.model_json_schema()["properties"]),
)
async def search_pictures(request: Request, context: Context, caller: Searcher) -> Response:
    """Return what each picture shows: matches with their places, and the likeliest items.

    A picture that can't be read has an `error` in place of them. 503 with Retry-After when too many
    searches wait.
    """
    async with sent_in(request) as sent:
        sent.require_pictures()
        fields = sent.as_model(SearchFields)
        asked = Search(pictures=sent.pictures, **fields.model_dump())
        return await job_of(context, asked, sent.frames, wait_s=SEARCH_WITHIN_S, is_given_up=True)
