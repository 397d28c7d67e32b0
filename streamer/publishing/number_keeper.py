"""Reserves numbers ahead of their use, in a thread of its own: the disk holds no event up."""

from __future__ import annotations

import sqlite3
import threading

from streamer.publishing.journal import Journal
from streamer.publishing.journal_file import connect
from streamer.reporting import Log

_AFTER_FAILURE_S = 1.0
_log = Log("journal")


class NumberKeeper:
    """Has the next block of numbers on disk by the time that the publisher needs it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._is_stopping = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="number-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def reserve_soon(self) -> None:
        """Ask for the next block; returns at once, and may be asked again and again."""
        self._wanted.set()

    def stop(self) -> None:
        """Return when the thread has ended; twice is fine."""
        self._is_stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        db = connect(self._journal.path)
        try:
            while self._wanted.wait() and not self._is_stopping.is_set():
                self._wanted.clear()
                try:
                    if self._journal.is_block_low:
                        self._journal.reserve_ahead(db)
                except (sqlite3.Error, OSError) as error:  # the publisher tries itself in the end
                    _log.error("no numbers could be reserved ahead", cause=error)
                    self._is_stopping.wait(_AFTER_FAILURE_S)
        finally:
            db.close()
