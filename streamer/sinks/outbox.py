"""What a sink still has to deliver: the journal behind its position, less what it does not want."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from pathlib import Path

from pipeline.errors import WorkerError
from streamer.publishing.options import journal_path
from streamer.reporting import Log, Tally
from streamer.sinks.journal_tail import JournalTail, Letter
from streamer.sinks.options import SinkArgs
from streamer.sinks.position import Position, position_path, read_position

_PAGE = 100
_KEEP_EVERY_S = 1.0  # of a position that moves over what nobody wanted
_log = Log("sink")


class Outbox:
    """Letters in order, each at least once. Whoever delivers says which of them has arrived; all
    before it had."""

    def __init__(self, args: SinkArgs, run_dir: Path) -> None:
        """Open the journal; a sink that is new begins with this run's first event.

        Raises sqlite3.Error.
        """
        self._options = args.options
        self.journal = journal_path(args.publish, run_dir)
        self.tail = JournalTail(self.journal)
        path = position_path(self.journal, args.kind, args.name)
        seq = read_position(path, self.tail.journal_id)
        self._position = Position(
            path, self.tail.journal_id, self.tail.seq_before_this_run() if seq is None else seq
        )
        self._position.keep()
        self._taken_seq = self._position.seq
        self._read: deque[Letter] = deque()  # a page of the journal, not taken yet
        self._before: dict[int, int] = {}  # number of each letter under way: where it was taken
        self._is_behind = True
        self._version = -1
        self._keep_at_s = 0.0
        self._trouble = Tally(_log, "the journal cannot be read now")
        self.n_delivered = self.n_refused = self.n_lost = 0

    def take(self, limit: int) -> list[Letter]:
        """Return up to `limit` letters that were not taken yet; [] when there are none now."""
        letters: list[Letter] = []
        while len(letters) < limit and (self._read or self._read_on()):
            letter = self._read.popleft()
            if letter.is_gap or self._options.wants(letter.event):
                letters.append(letter)
                self._before[letter.seq] = self._taken_seq
            self._taken_seq = letter.seq
        if not self._before:
            self._position.seq = self._taken_seq  # nothing of what came was wanted
            if time.monotonic() >= self._keep_at_s:
                self._keep_at_s = time.monotonic() + _KEEP_EVERY_S
                self._position.keep()
        return letters

    def _read_on(self) -> bool:
        """Read the next page of the journal; returns whether there was anything."""
        try:
            version = self.tail.version()
            if not self._is_behind and version == self._version:
                return False
            self._version = version
            self._read.extend(self.tail.letters(self._taken_seq, _PAGE))
            self._is_behind = len(self._read) >= _PAGE
        except sqlite3.Error as error:
            self._is_behind = True
            self._trouble.add(type(error).__name__)
        return bool(self._read)

    def has_arrived(self, letter: Letter, is_refused: bool = False) -> None:
        """A letter under way is delivered, or refused for good: remember it on disk.

        The position is in front of the oldest that is still under way.
        """
        del self._before[letter.seq]
        self._position.seq = next(iter(self._before.values()), self._taken_seq)
        if letter.is_gap:
            self.n_lost += letter.event["last_seq"] - letter.event["first_seq"] + 1
            tell_gap(letter)
        self.n_refused += is_refused
        self.n_delivered += not is_refused
        self._position.keep()

    def take_back(self) -> None:
        """What is under way is taken anew: the connection broke."""
        self._taken_seq = next(iter(self._before.values()), self._taken_seq)
        self._is_behind = True
        self._before.clear()
        self._read.clear()

    def close(self) -> None:
        """Keep the position and close the journal."""
        self._position.keep()
        self.tail.close()

    def counters(self) -> dict[str, int]:
        """Return what became of the letters of this process's life."""
        return {
            "delivered": self.n_delivered,
            "refused": self.n_refused,
            "lost": self.n_lost,
            "under_way": len(self._before),
        }


def open_outbox(args: SinkArgs, run_dir: Path) -> Outbox:
    """Return the outbox of a sink's worker; raises WorkerError when the journal refuses."""
    try:
        return Outbox(args, run_dir)
    except (sqlite3.Error, TypeError) as error:  # TypeError: no journal's tables in it yet
        raise WorkerError.at("journal", f"a sink must be able to read it ({error})") from error


def tell_gap(letter: Letter) -> None:
    """Say in the log what was not delivered and never will be."""
    why = {
        "pruned": "the journal has forgotten them",
        "unwritten": "the journal could not be written",
    }[letter.event["reason"]]
    _log.warning(
        f"events were never delivered: {why}",
        first_seq=letter.event["first_seq"],
        last_seq=letter.event["last_seq"],
    )
