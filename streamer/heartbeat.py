"""A worker's proof of progress: a page of shared memory that its working loop stamps.

The parent creates the file before it starts the worker and reads it without ever waiting for it.
Each stamp is one aligned 8-byte store: a reader sees the old one or the new one. struct.pack_into
would not do: it clears the bytes before it writes them, and a reader may see the zero between.
"""

import mmap
import os
import time
from dataclasses import dataclass
from pathlib import Path

from streamer.run_dir import create_shared_file

_FIRST_AT, _LAST_AT, _COUNT_AT = 0, 1, 2
_SIZE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Beats:
    """What a heartbeat page said at one moment; all zero until the first beat.

    first_ns, last_ns: time.monotonic_ns of the first and the newest beat. n_beats: their number.
    """

    first_ns: int
    last_ns: int
    n_beats: int

    @property
    def useful_s(self) -> float:
        """Seconds between the first and the newest beat."""
        return (self.last_ns - self.first_ns) / 1e9

    def silent_s(self, now_ns: int) -> float:
        """Seconds since the newest beat; 0 before the first (the ready deadline covers those)."""
        return (now_ns - self.last_ns) / 1e9 if self.n_beats else 0.0


class Heartbeat:
    """One worker's page; the worker beats, the parent reads."""

    def __init__(self, path: Path) -> None:
        """Open an existing page; raises FileNotFoundError."""
        self.path = path
        descriptor = os.open(path, os.O_RDWR)
        try:
            self._page = mmap.mmap(descriptor, _SIZE_BYTES)
        finally:
            os.close(descriptor)
        self._cells = memoryview(self._page).cast("Q")
        self._n_beats = 0

    @classmethod
    def create(cls, path: Path) -> "Heartbeat":
        """Make a page that has no beat yet, readable by this user only.

        Raises WorkerError when shared memory has no room for it or cannot be written.
        """
        create_shared_file(path, _SIZE_BYTES, f"worker {path.stem}")
        return cls(path)

    def beat(self) -> None:
        """Stamp now; called by the loop that does the work, never by a helper thread."""
        now_ns = time.monotonic_ns()
        if self._n_beats == 0:
            self._cells[_FIRST_AT] = now_ns
        self._n_beats += 1
        self._cells[_LAST_AT] = now_ns
        self._cells[_COUNT_AT] = self._n_beats

    def read(self) -> Beats:
        """Return what the page says now."""
        n_beats = self._cells[_COUNT_AT]
        if n_beats == 0:
            return Beats(0, 0, 0)
        return Beats(self._cells[_FIRST_AT], self._cells[_LAST_AT], n_beats)

    def close(self) -> None:
        """Unmap the page; the file stays."""
        self._cells.release()
        self._page.close()

    def remove(self) -> None:
        """Unmap the page and delete its file."""
        self.close()
        self.path.unlink(missing_ok=True)
