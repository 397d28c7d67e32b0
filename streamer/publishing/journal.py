"""The journal: every numbered event on disk, so that no number is used twice and none is lost.

SQLite in WAL mode, synchronous=NORMAL: a commit costs some ten microseconds and survives the
death of the process, but the last ones may be lost in a power cut, after they were published.
Numbers are therefore reserved in blocks by a commit that does reach the disk (synchronous=FULL):
the next start goes on behind the reserved block and declares the unused rest as a gap.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from streamer.publishing.journal_file import (
    connect,
    lock_for_this_process,
    sync_file,
    transaction,
)
from streamer.publishing.journal_time import (
    NOT_BEFORE_NS,
    WALL_CLOCK_STATE,
    JournalTime,
    newest_plausible_ns,
)

FORMAT = 1
BLOCK = 10_000  # numbers a reservation; one fsync in 5,000 events
_STAMPS_LOOKED_AT = 1000
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY, camera TEXT, wall_ns INTEGER, json TEXT NOT NULL);
CREATE INDEX events_by_camera ON events (camera, seq) WHERE camera IS NOT NULL;
CREATE TABLE cameras (camera TEXT PRIMARY KEY, camera_seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE open_sightings (sighting_id TEXT PRIMARY KEY, seq INTEGER, json TEXT NOT NULL);
CREATE TABLE states (process TEXT PRIMARY KEY, seq INTEGER, json TEXT NOT NULL);
CREATE TABLE gaps (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL);
"""
_LOG_KEPT_BYTES = 64 * 2**20  # a log that grew larger is cut to this when it begins anew
_NEW_RESERVED = "UPDATE meta SET value = ? WHERE key = 'reserved_seq'"


@dataclass(frozen=True, slots=True)
class Entry:
    """One numbered event as it is written down.

    json: the very text that is published. sighting_id: of a match; is_left ends it.
    process: of a status. time_ns: by JournalTime, for its age.
    """

    seq: int
    camera: str | None
    camera_seq: int | None
    time_ns: int
    json: str
    sighting_id: str | None = None
    is_left: bool = False
    process: str | None = None


class Journal:
    """The daemon's one journal: gives numbers, writes events down, knows what was left open.

    One thread numbers and appends (the publisher's); the keeper shares `write_lock`.
    """

    def __init__(
        self, path: Path, block: int = BLOCK, sync_log: Callable[[Path], None] = sync_file
    ) -> None:
        """Open or make the journal and lock it for this process.

        sync_log: returns when the log, given its path, has reached the disk.

        Raises ConfigError when another daemon holds it, when it cannot be written, or when the
        file is not a journal.
        """
        self.path = path
        self.write_lock = threading.Lock()
        self._block = block
        self._sync_log = sync_log
        self._lock_file = lock_for_this_process(path)
        try:
            self._db = connect(path)
            if self._db.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                raise sqlite3.OperationalError("its file system cannot share memory")
            self._db.execute(f"PRAGMA journal_size_limit={_LOG_KEPT_BYTES}")
            self._prepare()
            self._take_up()
            self._main_file = path.open("rb")
        except (sqlite3.Error, OSError) as error:
            self._lock_file.close()
            rule = f"must be a journal that this user can write ({error})"
            remedy = "move it away or name another: --journal"
            raise ConfigError.at("journal", rule, str(path), remedy) from error
        except ConfigError:
            self._lock_file.close()
            raise

    def _prepare(self) -> None:
        """Make the tables of a new journal; check the format of an old one."""
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        n_tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and n_tables == 0:
            os.chmod(self.path, 0o600)
            self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            self._db.execute("VACUUM")  # auto_vacuum of a WAL file takes effect only now
            meta = {"journal_id": secrets.token_hex(8), "reserved_seq": 0}
            meta |= {"pruned_seq": 0, "camera_floor": 0}
            with self._transaction():
                for statement in _TABLES.strip().split("\n"):
                    self._db.execute(statement)
                self._db.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
                self._db.execute(f"PRAGMA user_version={FORMAT}")
        elif version != FORMAT:
            rule = f"must be a journal of format {FORMAT}"
            remedy = "name another: --journal"
            raise ConfigError.at("journal", rule, f"format {version} in {self.path}", remedy)

    def _take_up(self) -> None:
        """Go on where the last daemon ended; what it reserved and never used is a gap.

        Fewer events can have been lost than numbers were left, so that jumping by the gap keeps
        every camera's numbers unused as well, those of a camera that this journal never saw too.
        """
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.journal_id: str = meta["journal_id"]
        last_gap = self._db.execute("SELECT coalesce(max(last_seq), 0) FROM gaps").fetchone()[0]
        last_event = self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        last_used = max(last_event, last_gap, meta["pruned_seq"])
        self._reserved: int = meta["reserved_seq"]
        jump = self._reserved - last_used
        with self._transaction():
            self._db.execute("DELETE FROM states")  # of processes that are gone
            if jump > 0:
                self._db.execute("INSERT INTO gaps VALUES (?, ?)", (last_used + 1, self._reserved))
                self._db.execute("UPDATE cameras SET camera_seq = camera_seq + ?", (jump,))
                bump = "UPDATE meta SET value = value + ? WHERE key = 'camera_floor'"
                self._db.execute(bump, (jump,))
        self.last_seq = self._reserved
        self._camera_floor: int = meta["camera_floor"] + max(0, jump)
        self._camera_seq: dict[str, int] = dict(
            self._db.execute("SELECT camera, camera_seq FROM cameras")
        )
        self.time = self._take_up_time(meta.get("time"))
        self.reserve()

    def _take_up_time(self, state: str | None) -> JournalTime:
        """Return the journal's time, which goes on behind its newest event."""
        newest = "SELECT wall_ns FROM events ORDER BY seq DESC LIMIT ?"
        if state is not None:
            row = self._db.execute(newest, (1,)).fetchone()
            return JournalTime(row and row[0], state)
        # Stamps were the wall clock's until now: those that make no sense are taken for new.
        stamps = [row[0] for row in self._db.execute(newest, (_STAMPS_LOOKED_AT,))]
        last_ns = newest_plausible_ns(stamps)
        with self._transaction():
            mend = "UPDATE events SET wall_ns = ? WHERE wall_ns NOT BETWEEN ? AND ?"
            mended_ns = last_ns or NOT_BEFORE_NS
            self._db.execute(mend, (mended_ns, NOT_BEFORE_NS, mended_ns))
        return JournalTime(last_ns, None if last_ns is None else WALL_CLOCK_STATE)

    def next_number(self, camera: str | None) -> tuple[int, int | None]:
        """Return the next `seq`, and the next `camera_seq` for an event of a camera.

        Raises sqlite3.Error when no number is left and none can be reserved.
        """
        if self.last_seq >= self._reserved:
            self.reserve()
        self.last_seq += 1
        if camera is None:
            return self.last_seq, None
        number = self._camera_seq.get(camera, self._camera_floor) + 1
        self._camera_seq[camera] = number
        return self.last_seq, number

    @property
    def last_camera_seq(self) -> dict[str, int]:
        """The last number of each camera."""
        return dict(self._camera_seq)

    @property
    def is_block_low(self) -> bool:
        """Whether it is time to reserve, which costs an fsync, at a quiet moment."""
        return bool(self._reserved - self.last_seq < self._block // 2)

    def reserve(self) -> None:
        """Reserve the next block of numbers so that it survives a power cut.

        Raises sqlite3.Error; nothing was reserved then.
        """
        with self.write_lock:
            self._write_reserved(self._reserved + self._block)

    def reserve_ahead(self, db: sqlite3.Connection) -> None:
        """Do the same from another thread, without holding a commit up while the disk works.

        db: that thread's own connection. The commit is an ordinary one; the numbers may be used
        when the log with it has reached the disk, and until then the old ones are.

        Raises sqlite3.Error or OSError; no number may be used for it then.
        """
        with self.write_lock, transaction(db):
            reserved = self._reserved + self._block
            db.execute(_NEW_RESERVED, (reserved,))
        self._sync_log(self.path.with_name(f"{self.path.name}-wal"))
        with self.write_lock:
            self._reserved = max(self._reserved, reserved)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write events down, with what they change, in one commit.

        Raises sqlite3.Error; nothing was written then.
        """
        with self._transaction():
            self._db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?)",
                [(entry.seq, entry.camera, entry.time_ns, entry.json) for entry in entries],
            )
            self._write_changes(entries)

    def _write_changes(self, entries: Sequence[Entry]) -> None:
        """Write down how things stand after these events: of each thing its last alone."""
        last_seqs = {e.camera: e.camera_seq for e in entries if e.camera_seq is not None}
        sightings = {e.sighting_id: e for e in entries if e.sighting_id is not None}
        processes = {e.process: e for e in entries if e.process is not None}
        for statement, rows in (
            ("REPLACE INTO cameras VALUES (?, ?)", list(last_seqs.items())),
            (
                "DELETE FROM open_sightings WHERE sighting_id = ?",
                [(name,) for name, entry in sightings.items() if entry.is_left],
            ),
            (
                "REPLACE INTO open_sightings VALUES (?, ?, ?)",
                [(name, e.seq, e.json) for name, e in sightings.items() if not e.is_left],
            ),
            (
                "REPLACE INTO states VALUES (?, ?, ?)",
                [(name, entry.seq, entry.json) for name, entry in processes.items()],
            ),
        ):
            self._db.executemany(statement, rows)

    def sync_main_file(self) -> None:
        """Return when the main file's pages, as far as they were moved from the log, are on disk.

        Raises OSError. The file stays open for as long as the journal: closing it would drop the
        locks that SQLite holds on it in this process.
        """
        os.fsync(self._main_file.fileno())

    def declare_gap(self, first_seq: int, last_seq: int) -> None:
        """Write down that these numbers hold no event that can be asked for.

        Raises sqlite3.Error.
        """
        with self._transaction():
            self._db.execute("REPLACE INTO gaps VALUES (?, ?)", (first_seq, last_seq))

    def open_sightings(self) -> list[str]:
        """Return the last event (JSON) of every sighting that has not left, the oldest first."""
        return [row[0] for row in self._db.execute("SELECT json FROM open_sightings ORDER BY seq")]

    def oldest_seq(self) -> int:
        """Return the first number that the journal still answers for."""
        pruned = "SELECT value FROM meta WHERE key = 'pruned_seq'"
        return int(self._db.execute(pruned).fetchone()[0]) + 1

    def close(self) -> None:
        """Give the unused numbers back (a clean end leaves no gap), close, unlock."""
        if self._lock_file.closed:
            return
        try:
            with self.write_lock:
                self._write_reserved(self.last_seq)
            with self._transaction():
                self._db.execute("REPLACE INTO meta VALUES ('time', ?)", (self.time.state(),))
        except sqlite3.Error:
            pass  # then the rest is a gap, as after a crash
        finally:
            self._db.close()
            self._main_file.close()
            self._lock_file.close()

    def _write_reserved(self, reserved: int) -> None:
        """Write down up to where numbers may be used, by the holder of `write_lock`."""
        self._db.execute("PRAGMA synchronous=FULL")
        try:
            with transaction(self._db):
                self._db.execute(_NEW_RESERVED, (reserved,))
            self._reserved = reserved
        finally:
            self._db.execute("PRAGMA synchronous=NORMAL")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.write_lock, transaction(self._db):
            yield
