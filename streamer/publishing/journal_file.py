"""The journal's file: connections, transactions, what has reached the disk, who holds it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.errors import ConfigError
from pipeline.writable import make_ready

_BUSY_S = 0.25  # the keepers share a lock, so only a stranger (a shell) makes anyone wait


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def connect(path: Path, is_reader: bool = False) -> sqlite3.Connection:
    """Return a connection to a journal, for one thread at a time."""
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA wal_autocheckpoint=0")  # else a commit checkpoints, with the lock held
    if is_reader:
        db.execute("PRAGMA query_only=ON")
    return db


def sync_file(path: Path) -> None:
    """Return when all that was written to the file so far is on disk, by whomever.

    Not for the main file of a database: closing that would drop the locks that SQLite holds on it
    in this process. The log carries none.

    Raises OSError.
    """
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def lock_for_this_process(path: Path) -> IO[str]:
    """Hold the journal's lock file for as long as the returned file is open; raises ConfigError."""
    make_ready(path.parent, "journal folder", "name another: --journal", mode=0o700)
    try:
        file = open(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        rule = f"its lock must be this user's to write ({error.strerror})"
        raise ConfigError.at("journal", rule, str(path), "name another: --journal") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = file.read().strip() or "unknown"
        file.close()
        rule = f"belongs to one daemon at a time, process {holder} holds it"
        remedy = "stop that one or name another: --journal"
        raise ConfigError.at("journal", rule, str(path), remedy) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
