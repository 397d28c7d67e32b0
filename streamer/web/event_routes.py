"""GET /events and /events/stream: what was published, in pages and live."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, Field

from streamer.publishing.events import CAMERA_PATTERN, MatchEvent, StatusEvent
from streamer.web.access import Caller, Reader, who
from streamer.web.context import WebContext, context_of
from streamer.web.event_stream import stream_events
from streamer.web.journal_reader import EventFilter, JournalReader
from streamer.web.key_file import Scope
from streamer.web.pages import Cursor, Limit, cursor_of, value_of
from streamer.web.problems import Refusal, problem_responses

router = APIRouter(prefix="/events", tags=["events"])

Context = Annotated[WebContext, Depends(context_of)]
Type = Literal["appeared", "updated", "left", "status"]
Tier = Literal["exact", "very_similar", "similar"]


class EventList(BaseModel):
    """One page of events."""

    items: list[MatchEvent | StatusEvent]
    next_cursor: str | None = Field(description="for `cursor` of the next page; null: no more")


def filter_of(
    request: Request,
    camera: Annotated[str | None, Query(pattern=CAMERA_PATTERN)] = None,
    item: Annotated[str | None, Query(max_length=2048)] = None,
    tier: Tier | None = None,
    type: Type | None = None,
) -> EventFilter:
    """Return the filter that a query asks for."""
    return EventFilter(camera=camera, item=item, tier=tier, type=type)


Wanted = Annotated[EventFilter, Depends(filter_of)]


@router.get("", response_model=EventList, responses=problem_responses(401, 403, 422))
def list_events(
    context: Context,
    caller: Reader,
    wanted: Wanted,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    order: Annotated[Literal["newest", "oldest"], Query(description="which come first")] = "newest",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Return published events, page by page.

    A page may hold fewer events than `limit`, or none, and yet have a `next_cursor`: what is
    looked for is rare. from, to: when they were published.
    """
    wanted = _narrowed(wanted, caller)
    wanted = EventFilter(
        wanted.camera, wanted.item, wanted.tier, wanted.type, since, until, wanted.cameras
    )
    reader = JournalReader(context.journal_path)
    place = value_of(cursor, order)
    if order == "newest":
        page = reader.newest(wanted, place, limit)
    else:
        page = reader.oldest(wanted, (place or 1) - 1, limit)
    next_cursor = cursor_of(order, page.next_seq)
    told = "null" if next_cursor is None else f'"{next_cursor}"'
    text = f'{{"items":[{",".join(page.events)}],"next_cursor":{told}}}'
    return Response(text, media_type="application/json")  # as it was published, not built anew


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `id` is the number, `data` an event as in /events; "
            "`event: gap` tells numbers that the journal no longer holds.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problem_responses(401, 403, 422, 503),
    },
)
async def stream(
    request: Request,
    context: Context,
    caller: Reader,
    wanted: Wanted,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$")] = None,
    after: Annotated[
        int | None, Query(ge=0, le=2**62, description="as Last-Event-ID; 0: all that is held")
    ] = None,
) -> StreamingResponse:
    """Send every event as it is published, beginning after `Last-Event-ID` where one is given."""
    wanted = _narrowed(wanted, caller)
    if context.hub.n_streams >= context.options.streams_max:
        rule = f"at most {context.options.streams_max} at once"
        raise Refusal(503, "stream", rule, remedy="close others", headers={"Retry-After": "5"})
    seq = after if last_event_id is None else int(last_event_id)
    reader = JournalReader(context.journal_path)

    def is_welcome() -> bool:
        try:
            now = who(request)
        except Refusal:
            return False
        return now.may(Scope.READ) and now.cameras == caller.cameras

    content = stream_events(context.hub, reader, wanted, seq, is_welcome)
    headers = {"X-Accel-Buffering": "no"}  # a proxy must not gather
    return StreamingResponse(content, media_type="text/event-stream", headers=headers)


def _narrowed(wanted: EventFilter, caller: Caller) -> EventFilter:
    """Return the filter without what the caller may not see; a Refusal for a camera that it names
    and may not."""
    if wanted.camera is not None:
        caller.require_camera(wanted.camera)
    return EventFilter(wanted.camera, wanted.item, wanted.tier, wanted.type, cameras=caller.cameras)
