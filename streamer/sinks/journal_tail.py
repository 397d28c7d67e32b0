"""Reads the journal's end, event by event, without holding anybody up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streamer.publishing.events import SCHEMA
from streamer.publishing.journal_file import connect

_STARTED = """SELECT seq FROM events WHERE camera IS NULL AND json LIKE '%"process":"daemon"%'
    AND json LIKE '%"state":"starting"%' ORDER BY seq DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Letter:
    """One event on its way out, or news of a gap. text: the very JSON that was published."""

    seq: int
    text: str
    event: dict[str, Any]

    @property
    def is_gap(self) -> bool:
        return bool(self.event["type"] == "gap")


class JournalTail:
    """A reader's connection to the journal of a run. All methods raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, is_reader=True)
        self.journal_id = str(self._meta("journal_id"))

    def close(self) -> None:
        self._db.close()

    def version(self) -> int:
        """Return a number that differs whenever somebody has written meanwhile; cheap."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def last_seq(self) -> int:
        """Return the last number that the journal knows of."""
        tops = "SELECT (SELECT max(seq) FROM events), (SELECT max(last_seq) FROM gaps)"
        last_event, last_gap = self._db.execute(tops).fetchone()
        return max(last_event or 0, last_gap or 0, int(self._meta("pruned_seq")))

    def seq_before_this_run(self) -> int:
        """Return the last number of before the daemon's start: what a new sink begins behind."""
        found = self._db.execute(_STARTED).fetchone()
        return int(found[0]) - 1 if found else self.last_seq()

    def letters(self, after: int, limit: int) -> list[Letter]:
        """Return the next events after a number, in order, and a letter for each hole in them.

        Numbers that a crash left unused are no hole: what was published had been written down.
        """
        self._db.execute("BEGIN")  # everything is of one moment
        try:
            pruned_seq = int(self._meta("pruned_seq"))
            rows = self._db.execute(
                "SELECT seq, json FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
            ).fetchall()
            gaps = self._db.execute(
                "SELECT first_seq, last_seq FROM gaps WHERE last_seq > ? ORDER BY first_seq",
                (after,),
            ).fetchall()
        finally:
            self._db.execute("ROLLBACK")
        found: list[Letter] = []
        if pruned_seq > after:
            found.append(self._gap(after + 1, pruned_seq, "pruned"))
            after = pruned_seq
        for seq, text in rows:
            if seq > after + 1 and not _are_unused(after + 1, seq - 1, gaps):
                found.append(self._gap(after + 1, seq - 1, "unwritten"))
            found.append(Letter(seq, text, json.loads(text)))
            after = seq
        return found

    def open_sightings(self) -> list[dict[str, Any]]:
        """Return the last event of every sighting that is open now."""
        rows = self._db.execute("SELECT json FROM open_sightings ORDER BY seq")
        return [json.loads(text) for (text,) in rows]

    def camera_states(self) -> dict[str, str]:
        """Return the state of each camera's own worker now."""
        rows = self._db.execute("SELECT json FROM states WHERE process LIKE 'camera.%'")
        events = [json.loads(text) for (text,) in rows]
        return {e["camera"]: e["state"] for e in events if e["process"] == f"camera.{e['camera']}"}

    def _meta(self, key: str) -> Any:
        return self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]

    def _gap(self, first: int, last: int, reason: Literal["pruned", "unwritten"]) -> Letter:
        event = {
            "schema": SCHEMA,
            "journal_id": self.journal_id,
            "event_id": f"{self.journal_id}-gap-{first}-{last}",
            "type": "gap",
            "reason": reason,
            "first_seq": first,
            "last_seq": last,
        }
        return Letter(last, json.dumps(event), event)


def _are_unused(first: int, last: int, gaps: list[tuple[int, int]]) -> bool:
    """Whether every number from first to last lies in a declared gap."""
    for gap_first, gap_last in gaps:
        if gap_first <= first <= gap_last:
            first = gap_last + 1
    return first > last
