"""Turns what may be published into numbered events: the text on the wire and its journal entry."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic_core import to_json

from streamer.publishing.events import (
    SCHEMA,
    PublishedTime,
    State,
    StatusEvent,
    camera_of,
    match_topic,
    utc_from_ns,
)
from streamer.publishing.journal import Entry, Journal
from streamer.publishing.open_sightings import Step


@dataclass(frozen=True, slots=True)
class StatusNote:
    """A worker's state, before it has numbers."""

    process: str
    state: State
    reason: str | None
    counters: Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event that is ready to be written down and sent.

    latency_ms, publish_ms: of a match that a worker handed over, since its access unit left the
    demuxer and since the hand-over; None of others.
    """

    topic: bytes
    entry: Entry
    type: str
    latency_ms: float | None = None
    publish_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When the events of one commit are published. journal_ns: by JournalTime, for their age."""

    wall: datetime
    journal_ns: int


class Numbering:
    """Gives every event its numbers and its time; one thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def moment(self) -> Moment:
        """Return now, for all that is numbered at once."""
        return Moment(utc_from_ns(time.time_ns()), self._journal.time.now_ns())

    def number(self, what: Step | StatusNote, moment: Moment) -> Numbered:
        """Return the numbered event.

        Raises sqlite3.Error when no number can be had; none was used then.
        """
        if isinstance(what, StatusNote):
            return self._number_status(what, moment)
        return self._number_match(what, moment)

    def _number_match(self, step: Step, moment: Moment) -> Numbered:
        """Put numbers before and times behind the body's text: a MatchEvent, which is not built,
        for that and writing it out again cost half of all that an event costs the daemon."""
        body, draft = step.body, step.draft
        seq, camera_seq = self._journal.next_number(body.camera)
        published = moment.wall
        if draft is None:  # the daemon's own `left`: captured is when it noticed
            event_time = {"captured": published, "clock": "arrival", "published": published}
            latency_ms, publish_ms, stage_ms = None, None, {}
        else:
            event_time = {"captured": draft.captured, "clock": draft.clock, "published": published}
            now_ns = time.monotonic_ns()
            latency_ms = round(max(0, now_ns - draft.captured_ns) / 1e6, 3)
            publish_ms = round(max(0, now_ns - draft.sent_ns) / 1e6, 3)
            stage_ms = {**draft.stage_ms, "publish": publish_ms}
        journal_id = self._journal.journal_id
        numbers = (
            f'{{"schema":{SCHEMA},"journal_id":"{journal_id}","seq":{seq},'
            f'"camera_seq":{camera_seq},"event_id":"{journal_id}-{seq}"'
        )
        times = {"time": event_time, "latency_ms": latency_ms or 0.0, "stage_ms": stage_ms}
        entry = Entry(
            seq=seq,
            camera=body.camera,
            camera_seq=camera_seq,
            time_ns=moment.journal_ns,
            json=f"{numbers},{step.body_json[1:-1]},{to_json(times).decode()[1:]}",
            sighting_id=body.sighting_id,
            is_left=body.type == "left",
        )
        topic = match_topic(body.camera, body.item_id).encode()
        return Numbered(topic, entry, body.type, latency_ms, publish_ms)

    def _number_status(self, note: StatusNote, moment: Moment) -> Numbered:
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
            time=PublishedTime(published=moment.wall),
        )
        text = event.model_dump_json()
        entry = Entry(seq, camera, camera_seq, moment.journal_ns, text, process=note.process)
        return Numbered(event.topic().encode(), entry, event.type)
