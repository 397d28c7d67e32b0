"""Reads events from the journal: pages with filters, what a stream has missed, one sighting.

Every call has a connection of its own and a bound on its time: the journal may be large, and a page
may hold less than was asked for when what is looked for is rare.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic_core import from_json

from streamer.publishing.journal_file import connect
from streamer.web.event_hub import LiveEvent, live_event

_STRIDE = 5000  # numbers looked through at once
_WITHIN_S = 0.5


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What events are wanted; None: any. cameras: those that the caller may see."""

    camera: str | None = None
    item: str | None = None
    tier: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cameras: frozenset[str] | None = None

    def wants(self, event: LiveEvent) -> bool:
        """Whether a live event is one of them; times are not looked at: it is new."""
        return (
            (self.camera is None or event.camera == self.camera)
            and (self.item is None or event.item_id == self.item)
            and (self.tier is None or event.tier == self.tier)
            and (self.type is None or event.type == self.type)
            and (self.cameras is None or event.camera in self.cameras)
        )

    def where(self) -> tuple[str, list[object]]:
        """Return the condition in SQL and its values."""
        terms, values = ["1"], list[object]()
        if self.camera is not None:
            terms.append("camera = ?")
            values.append(self.camera)
        if self.cameras is not None:
            terms.append(f"camera IN ({','.join('?' * len(self.cameras))})")
            values += sorted(self.cameras)
        for key, value in (("item_id", self.item), ("tier", self.tier), ("type", self.type)):
            if value is not None:
                terms.append(f"json_extract(json, '$.{key}') = ?")
                values.append(value)
        published = "julianday(json_extract(json, '$.time.published'))"
        for sign, moment in ((">=", self.since), ("<", self.until)):
            if moment is not None:
                terms.append(f"{published} {sign} julianday(?)")
                values.append(moment.isoformat())
        return " AND ".join(terms), values


@dataclass(frozen=True, slots=True)
class EventPage:
    """JSON of events; next_seq: where the next page begins, None: this was the last."""

    events: list[str]
    next_seq: int | None


class JournalReader:
    """The journal of the daemon that runs. Raises sqlite3.Error when it can't be read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def newest(self, wanted: EventFilter, before_seq: int | None, limit: int) -> EventPage:
        """Return events with numbers below `before_seq` (None: the newest), the newest first."""
        with self._open() as db:
            oldest, last = _bounds(db)
            top = last if before_seq is None else min(last, before_seq - 1)
            return _page(db, wanted, limit, top, oldest, -1)

    def oldest(self, wanted: EventFilter, after_seq: int, limit: int) -> EventPage:
        """Return events with numbers above `after_seq`, the oldest first."""
        with self._open() as db:
            oldest, last = _bounds(db)
            return _page(db, wanted, limit, max(oldest, after_seq + 1), last, 1)

    def missed(self, after_seq: int, limit: int) -> tuple[list[LiveEvent], int]:
        """Return the next events after a number, and the first number that is still held."""
        query = "SELECT json FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        with self._open() as db:
            rows = db.execute(query, (after_seq, limit)).fetchall()
            oldest, _ = _bounds(db)
        return [live_event(from_json(text), text.encode()) for (text,) in rows], oldest

    def last_seq(self) -> int:
        """Return the newest number."""
        with self._open() as db:
            return _bounds(db)[1]

    def sighting(self, sighting_id: str) -> list[str]:
        """Return the events (JSON) of a sighting, the oldest first; none: not known (any more).

        sighting_id: of letters, digits, _ and -.
        """
        found: list[str] = []
        mark = f'"sighting_id":"{sighting_id}"'
        query = "SELECT json FROM events WHERE camera IS NOT NULL AND instr(json, ?)"
        with self._open() as db:
            for (text,) in db.execute(f"{query} ORDER BY seq DESC", (mark,)):
                found.append(text)
                if from_json(text)["type"] == "appeared":
                    break
        return found[::-1]

    def newest_of_cameras(self) -> dict[str, float]:
        """Return when each camera's newest event was published, in Unix seconds."""
        query = "SELECT json FROM events WHERE camera = ? ORDER BY seq DESC LIMIT 1"
        found = {}
        with self._open() as db:
            for (camera,) in db.execute("SELECT camera FROM cameras").fetchall():
                for (text,) in db.execute(query, (camera,)):
                    moment = from_json(text)["time"]["published"]
                    found[camera] = datetime.fromisoformat(moment).timestamp()
        return found

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = connect(self._path, is_reader=True)
        try:
            yield db
        finally:
            db.close()


def _bounds(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the first and the last number that the journal answers for."""
    pruned = int(db.execute("SELECT value FROM meta WHERE key = 'pruned_seq'").fetchone()[0])
    last = db.execute("SELECT max(seq) FROM events").fetchone()[0]
    return pruned + 1, max(last or 0, pruned)


def _page(
    db: sqlite3.Connection, wanted: EventFilter, limit: int, first: int, end: int, step: int
) -> EventPage:
    """Look through the numbers from `first` to `end` (with it), up or down, until the page is full
    or the time is over."""
    where, values = wanted.where()
    order = "ASC" if step > 0 else "DESC"
    # names of ours and placeholders only
    query = f"SELECT seq, json FROM events WHERE seq BETWEEN ? AND ? AND {where}"  # noqa: S608
    query = f"{query} ORDER BY seq {order} LIMIT ?"
    events: list[str] = []
    give_up_s = time.monotonic() + _WITHIN_S
    while (end - first) * step >= 0:
        last = first + step * (_STRIDE - 1)
        last = min(last, end) if step > 0 else max(last, end)
        low, high = sorted((first, last))
        rows = db.execute(query, (low, high, *values, limit - len(events))).fetchall()
        events += [text for _, text in rows]
        if len(events) == limit:
            first = rows[-1][0] + step
            return EventPage(events, first if (end - first) * step >= 0 else None)
        first = last + step
        if time.monotonic() > give_up_s and (end - first) * step >= 0:
            return EventPage(events, first)
    return EventPage(events, None)
