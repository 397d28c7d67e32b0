"""Keeps the journal small, in a thread of its own: checkpoints and retention.

Both are kept off the publishing path: a checkpoint costs some 20 ms of disk time but does not hold
up a commit, and old events go in small batches between two commits.
"""

from __future__ import annotations

import sqlite3
import threading
from itertools import takewhile

from streamer.publishing.journal import Journal
from streamer.publishing.journal_file import connect, transaction
from streamer.publishing.journal_time import DAY_NS
from streamer.publishing.options import PublishOptions
from streamer.reporting import Log

_EVERY_S = 5.0
_BATCH = 200  # events a deletion; holds a commit up for about a millisecond
_LOG_LARGE_BYTES = 32 * 2**20
_log = Log("journal")


class JournalKeeper:
    """Forgets the oldest events by age and size, and moves commits into the main file."""

    def __init__(
        self, journal: Journal, options: PublishOptions, every_s: float = _EVERY_S
    ) -> None:
        self._journal = journal
        self._options = options
        self._every_s = every_s
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
        while not self._stop.is_set() and self._forget_batch(db):
            pass
        self._keep_time(db)
        self._checkpoint(db)

    def _forget_batch(self, db: sqlite3.Connection) -> bool:
        """Forget up to a batch of the oldest events; returns whether there may be more to do."""
        if _used_bytes(db) > self._options.journal_max_bytes:
            doomed = db.execute("SELECT seq FROM events ORDER BY seq LIMIT ?", (_BATCH,)).fetchall()
        else:
            oldest = "SELECT seq, wall_ns FROM events ORDER BY seq LIMIT ?"
            doomed = list(takewhile(self._is_old, db.execute(oldest, (_BATCH,))))
        if not doomed:
            return False
        last_seq = doomed[-1][0]
        with self._journal.write_lock, transaction(db):
            db.execute("DELETE FROM events WHERE seq <= ?", (last_seq,))
            db.execute("DELETE FROM gaps WHERE last_seq <= ?", (last_seq,))
            db.execute("UPDATE meta SET value = ? WHERE key = 'pruned_seq'", (last_seq,))
        with self._journal.write_lock:
            db.executescript("PRAGMA incremental_vacuum(200)")  # execute() frees one page only
        return True

    def _is_old(self, row: tuple[int, int]) -> bool:
        """Whether an event, its number and its stamp, is older than events are kept."""
        return self._journal.time.age_ns(row[1]) > self._options.journal_keep_days * DAY_NS

    def _keep_time(self, db: sqlite3.Connection) -> None:
        """Write down what is known of the clocks when it has changed."""
        journal_time = self._journal.time
        if not journal_time.is_changed:
            return
        oldest = db.execute("SELECT wall_ns FROM events ORDER BY seq LIMIT 1").fetchone()
        if oldest is not None:
            journal_time.forget_before(oldest[0])
        with self._journal.write_lock, transaction(db):
            db.execute("REPLACE INTO meta VALUES ('time', ?)", (journal_time.state(),))

    def _checkpoint(self, db: sqlite3.Connection) -> None:
        """Move the log into the main file.

        The next commit begins the log anew if none came in meanwhile. Where they never cease, a
        log that grew large gets a moment without: only the last pages are moved and reach the
        disk in it, the others have before.
        """
        page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
        _, n_logged, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if n_logged * page_bytes > _LOG_LARGE_BYTES:
            self._journal.sync_main_file()
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            with self._journal.write_lock:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def _used_bytes(db: sqlite3.Connection) -> int:
    """Bytes of the main file that hold something."""
    n_pages = int(db.execute("PRAGMA page_count").fetchone()[0])
    n_free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
    return (n_pages - n_free) * int(db.execute("PRAGMA page_size").fetchone()[0])
