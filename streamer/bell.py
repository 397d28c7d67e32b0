"""Waking another process: a datagram on a unix socket, no content, nothing waits for it.

Whoever listens sleeps in `wait` (or in select, with `fileno`) and looks for work when it returns;
a lost or doubled ring costs nothing, because the work is found in shared memory.
"""

import contextlib
import os
import select
import socket
from pathlib import Path
from typing import Self

from streamer.run_dir import socket_path

_QUIET = (BlockingIOError, FileNotFoundError, ConnectionRefusedError)


def matcher_bell(run_dir: Path, matcher: int) -> Path:
    """Return where matcher number `matcher` listens for new frames."""
    return socket_path(run_dir, f"matcher.{matcher}.bell")


class Bell:
    """The listening end; a context manager."""

    def __init__(self, path: Path) -> None:
        """Listen at `path`; one that a dead process left there is taken over."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        path.unlink(missing_ok=True)
        previous_umask = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        except BaseException:
            self._socket.close()
            raise
        finally:
            os.umask(previous_umask)
        self._inode = path.stat().st_ino

    def fileno(self) -> int:
        """Return the descriptor for select or poll; `clear` after it was readable."""
        return self._socket.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the bell was rung; returns False when the time ran out."""
        is_rung = bool(select.select([self._socket], [], [], timeout_s)[0])
        if is_rung:
            self.clear()
        return is_rung

    def clear(self) -> None:
        """Forget every ring so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(16)

    def close(self) -> None:
        """Stop listening; the name stays when a successor took it. Twice is fine."""
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Ringer:
    """The other end: rings a bell, never waits, does not mind when nobody listens."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def ring(self) -> None:
        with contextlib.suppress(*_QUIET):
            self._socket.sendto(b"\0", self._path)

    def close(self) -> None:
        self._socket.close()
