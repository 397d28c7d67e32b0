"""Turns what may be published into numbered events: the text on the wire and its journal entry."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from streamer.publishing.events import (
    SCHEMA,
    EventTime,
    MatchBody,
    MatchDraft,
    MatchEvent,
    PublishedTime,
    State,
    StatusEvent,
    camera_of,
    utc_from_ns,
)
from streamer.publishing.journal import Entry, Journal
from streamer.publishing.open_sightings import Step

_BODY_FIELDS = tuple(MatchBody.model_fields)


@dataclass(frozen=True, slots=True)
class StatusNote:
    """A worker's state, before it has numbers."""

    process: str
    state: State
    reason: str | None
    counters: Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event that is ready to be written down and sent."""

    event: MatchEvent | StatusEvent
    entry: Entry
    is_from_worker: bool


class Numbering:
    """Gives every event its numbers and its time; one thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def number(self, what: Step | StatusNote) -> Numbered:
        """Return the numbered event.

        Raises sqlite3.Error when no number can be had; none was used then.
        """
        if isinstance(what, StatusNote):
            return self._number_status(what)
        return self._number_match(what.body, what.draft)

    def _number_match(self, body: MatchBody, draft: MatchDraft | None) -> Numbered:
        seq, camera_seq = self._journal.next_number(body.camera)
        wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
        published = utc_from_ns(wall_ns)
        if draft is None:  # the daemon's own `left`: captured is when it noticed
            event_time = EventTime(captured=published, clock="arrival", published=published)
            latency_ms, stage_ms = 0.0, {}
        else:
            event_time = EventTime(captured=draft.captured, clock=draft.clock, published=published)
            latency_ms = round(max(0, now_ns - draft.captured_ns) / 1e6, 3)
            publish_ms = round(max(0, now_ns - draft.sent_ns) / 1e6, 3)
            stage_ms = {**draft.stage_ms, "publish": publish_ms}
        event = MatchEvent(
            schema_=SCHEMA,
            journal_id=self._journal.journal_id,
            seq=seq,
            camera_seq=camera_seq,
            event_id=f"{self._journal.journal_id}-{seq}",
            time=event_time,
            latency_ms=latency_ms,
            stage_ms=stage_ms,
            **{name: getattr(body, name) for name in _BODY_FIELDS},
        )
        entry = Entry(
            seq=seq,
            camera=body.camera,
            camera_seq=camera_seq,
            time_ns=self._journal.time.now_ns(),
            json=event.model_dump_json(),
            sighting_id=body.sighting_id,
            is_left=body.type == "left",
        )
        return Numbered(event, entry, draft is not None)

    def _number_status(self, note: StatusNote) -> Numbered:
        camera = camera_of(note.process)
        seq, camera_seq = self._journal.next_number(camera)
        event = StatusEvent(
            schema_=SCHEMA,
            journal_id=self._journal.journal_id,
            seq=seq,
            camera_seq=camera_seq,
            event_id=f"{self._journal.journal_id}-{seq}",
            process=note.process,
            camera=camera,
            state=note.state,
            reason=note.reason,
            counters=dict(note.counters),
            time=PublishedTime(published=utc_from_ns(time.time_ns())),
        )
        text = event.model_dump_json()
        time_ns = self._journal.time.now_ns()
        entry = Entry(seq, camera, camera_seq, time_ns, text, process=note.process)
        return Numbered(event, entry, False)
