"""Keeps the journal small, in a thread of its own: checkpoints and retention.

Both are kept off the publishing path: a checkpoint costs some 20 ms of disk time but does not hold
up a commit, and old events go in small batches between two commits.
"""

from __future__ import annotations

import sqlite3
import threading
import time

from streamer.publishing.event_age import RELEASED_NS, ClockWatch, count_old
from streamer.publishing.journal import Journal, connect, transaction
from streamer.publishing.options import PublishOptions
from streamer.reporting import Log

_EVERY_S = 5.0
_BATCH = 200  # events a deletion; holds a commit up for about a millisecond
_WAL_MAX_BYTES = 64 * 2**20
_log = Log("journal")


class JournalKeeper:
    """Forgets the oldest events by age and size, and moves commits into the main file."""

    def __init__(
        self, journal: Journal, options: PublishOptions, every_s: float = _EVERY_S
    ) -> None:
        self._journal = journal
        self._options = options
        self._every_s = every_s
        self._clock = ClockWatch(journal.newest_wall_ns())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the thread has ended; twice is fine."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        db = connect(self._journal.path)
        try:
            while not self._stop.wait(self._every_s):
                try:
                    self.tidy(db)
                except sqlite3.Error as error:
                    _log.error("the journal could not be tidied", cause=error)
        finally:
            db.close()

    def tidy(self, db: sqlite3.Connection) -> None:
        """Do one round of both.

        Raises sqlite3.Error.
        """
        now_ns = time.time_ns()
        may_age = self._clock.trusts(now_ns, time.monotonic())
        while not self._stop.is_set() and self._forget_batch(db, now_ns if may_age else None):
            pass
        self._checkpoint(db)

    def _forget_batch(self, db: sqlite3.Connection, now_ns: int | None) -> bool:
        """Forget up to a batch of the oldest events; returns whether there may be more to do.

        now_ns: None while the clock is not believed: then size alone counts.
        """
        oldest = "SELECT seq, wall_ns FROM events ORDER BY seq LIMIT ?"
        rows = db.execute(oldest, (_BATCH,)).fetchall()
        if not rows:
            return False
        n_doomed = len(rows)
        if _used_bytes(db) <= self._options.journal_max_bytes:
            n_doomed = 0 if now_ns is None else self._count_old(db, rows, now_ns)
        if not n_doomed:
            return False
        last_seq = rows[n_doomed - 1][0]
        with self._journal.write_lock, transaction(db):
            db.execute("DELETE FROM events WHERE seq <= ?", (last_seq,))
            db.execute("DELETE FROM gaps WHERE last_seq <= ?", (last_seq,))
            db.execute("UPDATE meta SET value = ? WHERE key = 'pruned_seq'", (last_seq,))
        with self._journal.write_lock:
            db.executescript("PRAGMA incremental_vacuum(200)")  # execute() frees one page only
        return True

    def _count_old(self, db: sqlite3.Connection, rows: list[tuple[int, int]], now_ns: int) -> int:
        behind = (
            "SELECT wall_ns FROM events WHERE seq > ? AND wall_ns BETWEEN ? AND ? "
            "ORDER BY seq LIMIT 1"
        )
        later = db.execute(behind, (rows[-1][0], RELEASED_NS, now_ns)).fetchone()
        keep_ns = int(self._options.journal_keep_days * 86_400e9)
        return count_old([row[1] for row in rows], later and later[0], now_ns, keep_ns)

    def _checkpoint(self, db: sqlite3.Connection) -> None:
        """Move the log into the main file; a log that grew large is cut, which holds writers up."""
        busy, n_logged, n_moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if not busy and n_moved < n_logged:  # commits came in meanwhile: few, so soon done
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
        if n_logged * page_bytes > _WAL_MAX_BYTES:
            with self._journal.write_lock:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _used_bytes(db: sqlite3.Connection) -> int:
    """Bytes of the main file that hold something."""
    n_pages = int(db.execute("PRAGMA page_count").fetchone()[0])
    n_free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
    return (n_pages - n_free) * int(db.execute("PRAGMA page_size").fetchone()[0])
