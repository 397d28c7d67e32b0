"""Up to which event a sink has delivered: a small file beside the journal, replaced in one step."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamer.reporting import Log

_SYNC_EVERY_S = 1.0
_MOST_BYTES = 4096
_log = Log("sink")


class _Content(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    format: int = 1
    journal_id: str = Field(max_length=64)
    seq: int = Field(ge=0, le=2**62)


def position_path(journal: Path, kind: str, name: str) -> Path:
    """Return where a sink's position lies."""
    return journal.with_name(f"{journal.name}.sink-{kind}-{name}.json")


def read_position(path: Path, journal_id: str) -> int | None:
    """Return the number up to which all was delivered; None when nothing is known.

    What another journal had in this place, or a damaged file, is told in the log; then 0: all that
    the journal holds is delivered, rather twice than never.
    """
    try:
        with path.open("rb") as file:
            content = _Content.model_validate_json(file.read(_MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        cause = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        _log.warning("its position cannot be read; it begins anew", file=path, cause=cause)
        return 0
    if content.journal_id != journal_id:
        _log.warning("another journal lies here; it begins with its first event", file=path)
        return 0
    return content.seq


class Position:
    """The number up to which all was delivered. What cannot be written is said once in the log."""

    def __init__(self, path: Path, journal_id: str, seq: int) -> None:
        self._path = path
        self._journal_id = journal_id
        self._kept_seq = -1
        self._synced_s = 0.0
        self._is_refused = False
        self.seq = seq

    def keep(self) -> None:
        """Write it down if it moved: the death of a process loses nothing, a power cut a second."""
        if self.seq == self._kept_seq:
            return
        content = _Content(journal_id=self._journal_id, seq=self.seq)
        is_sync = time.monotonic() - self._synced_s > _SYNC_EVERY_S
        try:
            write_in_one_step(self._path, content.model_dump_json() + "\n", is_sync)
        except OSError as error:
            if not self._is_refused:
                self._is_refused = True
                _log.warning("its position cannot be kept", file=self._path, cause=error)
            return
        self._kept_seq = self.seq
        if is_sync:
            self._synced_s = time.monotonic()


def write_in_one_step(path: Path, text: str, is_sync: bool) -> None:
    """Replace a file (0600) so that a reader sees the old or the new one.

    is_sync: the new one is on disk before it takes the name. Raises OSError.
    """
    unfinished = path.with_name(f"{path.name}.new")
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            if is_sync:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
