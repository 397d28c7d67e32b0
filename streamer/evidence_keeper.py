"""Forgets old evidence by age and size, in a thread of the daemon that always yields. Light.

Not in the matcher: several may write into one folder, and none should look through it.
"""

import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from streamer.reporting import Log

EVERY_S = 60.0
_STRIDE = 100  # files between two rests
_REST_S = 0.01
_NAME = re.compile(
    r"(?P<stem>\d{8}T\d{6}\.\d{3}-.+-(?:exact|very_similar|similar))\.(?:png|json)", re.DOTALL
)

log = Log("evidence")


@dataclass(slots=True)
class _Piece:
    """The picture and the JSON of one moment."""

    newest_s: float
    n_bytes: int
    names: list[str]


class EvidenceKeeper:
    """Looks through the folder now and then; touches nothing but what Magpie wrote."""

    def __init__(
        self, folder: Path, keep_days: float, keep_mb: float, every_s: float = EVERY_S
    ) -> None:
        """keep_days, keep_mb: 0 is no limit."""
        self._folder = folder
        self._keep_s = keep_days * 86_400 or float("inf")
        self._keep_bytes = keep_mb * 2**20 or float("inf")
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evidence-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the thread has ended; twice is fine."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.tidy()
            except OSError as error:
                log.error("old evidence could not be forgotten", cause=error.strerror)

    def tidy(self) -> int:
        """Forget what is too old or too much, the oldest first; returns how many moments went.

        Raises OSError.
        """
        pieces = sorted(self._pieces(), key=lambda piece: piece.newest_s)
        n_bytes = sum(piece.n_bytes for piece in pieces)
        now_s = time.time()
        n_gone = 0
        for piece in pieces:
            is_old = now_s - piece.newest_s > self._keep_s
            if (not is_old and n_bytes <= self._keep_bytes) or self._stop.is_set():
                break
            for name in piece.names:
                (self._folder / name).unlink(missing_ok=True)
            n_bytes -= piece.n_bytes
            n_gone += 1
            if n_gone % _STRIDE == 0:
                self._stop.wait(_REST_S)
        if n_gone:
            log.info("forgot old evidence", pictures=n_gone)
        return n_gone

    def _pieces(self) -> list[_Piece]:
        found: dict[str, _Piece] = {}
        try:
            entries = os.scandir(self._folder)
        except FileNotFoundError:
            return []
        with entries:
            for number, entry in enumerate(entries, 1):
                if number % _STRIDE == 0 and self._stop.wait(_REST_S):
                    break
                named = _NAME.fullmatch(entry.name)
                if named is None or not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                piece = found.setdefault(named["stem"], _Piece(0.0, 0, []))
                piece.newest_s = max(piece.newest_s, stat.st_mtime)
                piece.n_bytes += stat.st_size
                piece.names.append(entry.name)
        return list(found.values())
