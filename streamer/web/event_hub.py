"""Live events for all streams: one ring that everybody reads at their own pace.

There is no queue a client. Who falls behind the ring reads what is missing from the journal; who
does not read at all holds up nobody but itself, in its own socket.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from pipeline.errors import MagpieError
from streamer.publishing import Subscriber
from streamer.publishing.sockets import private_endpoints
from streamer.reporting import Log

RING = 2000
_BATCH = 200
_LOOK_S = 0.5

log = Log("web")


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event, ready to be sent: what it is filtered by, and its JSON."""

    seq: int
    type: str
    camera: str | None
    item_id: str | None
    tier: str | None
    json: bytes


def live_event(event: dict[str, Any], json: bytes | None = None) -> LiveEvent:
    """Return a decoded event with its JSON (made anew where it is not given)."""
    return LiveEvent(
        seq=event["seq"],
        type=event["type"],
        camera=event.get("camera"),
        item_id=event.get("item_id"),
        tier=event.get("tier"),
        json=to_json(event) if json is None else json,
    )


class EventHub:
    """The newest events; belongs to the event loop's thread."""

    def __init__(self, size: int = RING) -> None:
        self._size = size
        self._ring: deque[LiveEvent] = deque()
        self._news = asyncio.Event()
        self.floor_seq: int | None = None  # the ring holds all after it; None: not live yet
        self.last_seq = 0
        self.is_closed = False
        self.n_streams = 0
        self.n_events = 0

    def begin(self, last_seq: int) -> None:
        """Live from behind this number on."""
        if self.floor_seq is None:
            self.floor_seq = self.last_seq = last_seq
            self._tell()

    def give(self, events: Sequence[LiveEvent]) -> None:
        """Take the next events, in order."""
        for event in events:
            if self.floor_seq is None or event.seq <= self.last_seq:  # or a new journal's
                self._ring.clear()
                self.floor_seq = event.seq - 1
            self._ring.append(event)
            self.last_seq = event.seq
            if len(self._ring) > self._size:
                self.floor_seq = self._ring.popleft().seq
        self.n_events += len(events)
        self._tell()

    def after(self, seq: int) -> list[LiveEvent] | None:
        """Return the events after a number, or None when the ring does not reach back so far."""
        if self.floor_seq is None or seq < self.floor_seq:
            return None
        found: list[LiveEvent] = []
        for event in reversed(self._ring):
            if event.seq <= seq:
                break
            found.append(event)
        found.reverse()
        return found

    def news(self) -> asyncio.Event:
        """Return what is set when more has come; to be taken before looking."""
        return self._news

    def close(self) -> None:
        """Let all streams end."""
        self.is_closed = True
        self._tell()

    def _tell(self) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()


class Follower:
    """Hears the daemon's events in a thread of its own and hands them to the hub in order."""

    def __init__(
        self,
        run_dir: Path,
        hub: EventHub,
        loop: asyncio.AbstractEventLoop,
        on_error: Callable[[MagpieError], None],
    ) -> None:
        """on_error: called in the loop when what publishes there can't be understood."""
        self._live, self._ask = private_endpoints(run_dir)
        self._hub = hub
        self._loop = loop
        self._on_error = on_error
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does within half a second."""
        self._is_stopping = True

    def _run(self) -> None:
        try:
            with Subscriber(self._live, ask_endpoint=self._ask) as subscriber:
                self._follow(subscriber)
        except MagpieError as error:
            self._call(lambda error=error: self._on_error(error))

    def _follow(self, subscriber: Subscriber) -> None:
        is_live = False
        while not self._is_stopping:
            event = subscriber.receive_dict(_LOOK_S if is_live else 0.02)
            if not is_live and subscriber.last_seq is not None:
                is_live = True
                self._call(self._hub.begin, subscriber.last_seq)
            batch = []
            while event is not None:
                batch.append(live_event(event))
                event = subscriber.receive_dict(0) if len(batch) < _BATCH else None
            if batch:
                self._call(self._hub.give, batch)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop has ended
            self._is_stopping = True
