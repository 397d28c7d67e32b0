"""Server-sent events: the id is the sequence number, so that Last-Event-ID heals every gap."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool

from streamer.reporting import Log
from streamer.web.event_hub import EventHub, LiveEvent
from streamer.web.journal_reader import EventFilter, JournalReader

ALIVE_EVERY_S = 10.0
_PAGE = 200
_SEND_BYTES = 64 * 1024

log = Log("web")


async def stream_events(
    hub: EventHub,
    reader: JournalReader,
    wanted: EventFilter,
    after_seq: int | None,
    is_welcome: Callable[[], bool],
) -> AsyncIterator[bytes]:
    """Yield the stream's bytes until the hub closes, or the caller is no longer welcome.

    after_seq: events after this number come first; None, or a number of another journal: from now
    on only.
    """
    hub.n_streams += 1
    try:
        seq = await _beginning(hub, reader, after_seq)
        yield b"retry: 2000\n: from %d\n\n" % seq
        while not hub.is_closed:
            news = hub.news()
            events = hub.after(seq)
            if events is None:
                events, gap = await _healed(hub, reader, seq)
                if gap is not None:
                    yield gap
            for piece in _pieces([event for event in events if wanted.wants(event)]):
                yield piece
            if events:
                seq = events[-1].seq
                continue
            if hub.floor_seq is not None and seq < hub.floor_seq:
                seq = hub.floor_seq
                continue
            try:
                await asyncio.wait_for(news.wait(), ALIVE_EVERY_S)
            except TimeoutError:
                if not await run_in_threadpool(is_welcome):
                    return
                yield b"id: %d\n: alive\n\n" % seq
    finally:
        hub.n_streams -= 1


async def _beginning(hub: EventHub, reader: JournalReader, after_seq: int | None) -> int:
    last_seq = hub.last_seq if hub.floor_seq is not None else None
    if last_seq is None:
        last_seq = await run_in_threadpool(reader.last_seq)
    return last_seq if after_seq is None or after_seq > last_seq else after_seq


async def _healed(
    hub: EventHub, reader: JournalReader, seq: int
) -> tuple[list[LiveEvent], bytes | None]:
    """Return the next events after a number from the journal, and what tells that some are gone.

    None at all: the journal has no more, and what comes next is live.
    """
    try:
        events, oldest_seq = await run_in_threadpool(reader.missed, seq, _PAGE)
    except sqlite3.Error as error:
        log.error("the journal cannot be read", cause=error)
        events, oldest_seq = [], (hub.floor_seq or seq) + 1
    if hub.floor_seq is not None and not events:
        oldest_seq = max(oldest_seq, hub.floor_seq + 1)
    if oldest_seq <= seq + 1:
        return events, None
    told = json.dumps({"type": "gap", "first_seq": seq + 1, "last_seq": oldest_seq - 1})
    return events, f"event: gap\ndata: {told}\n\n".encode()


def _pieces(events: list[LiveEvent]) -> list[bytes]:
    """Return events as they are sent, some tens of kilobytes at once."""
    pieces: list[bytes] = []
    part = bytearray()
    for event in events:
        part += b"id: %d\ndata: %b\n\n" % (event.seq, event.json)
        if len(part) >= _SEND_BYTES:
            pieces.append(bytes(part))
            part.clear()
    return [*pieces, bytes(part)] if part else pieces
