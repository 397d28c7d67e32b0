"""How the daemon stands: its answer to `{"state": true}`, asked at most once a second."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from pipeline.errors import MagpieError
from streamer.control.asking import ask
from streamer.control.requests import IsReady, Readiness
from streamer.publishing.asking import ask_state
from streamer.publishing.sockets import private_endpoints

KEEP_S = 1.0
_WAIT_S = 2.0


class DaemonState:
    """Asks for all callers; they may be threads."""

    def __init__(self, run_dir: Path, keep_s: float = KEEP_S) -> None:
        self._live, self._ask = private_endpoints(run_dir)
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._answer: dict[str, Any] | None = None
        self._asked_at_s = float("-inf")
        self._run_dir = run_dir
        self._ready_lock = threading.Lock()
        self._readiness: Readiness | None = None
        self._ready_at_s = float("-inf")

    def now(self) -> dict[str, Any] | None:
        """Return the daemon's answer, at most `keep_s` old; None when it gives none in time."""
        with self._lock:
            if time.monotonic() - self._asked_at_s >= self._keep_s:
                self._answer = ask_state(self._live, _WAIT_S, ask_endpoint=self._ask)
                self._asked_at_s = time.monotonic()
            return self._answer

    def readiness(self) -> Readiness:
        """Return whether the run does its work, at most `keep_s` old."""
        with self._ready_lock:
            if self._readiness is None or time.monotonic() - self._ready_at_s >= self._keep_s:
                try:
                    self._readiness = ask(self._run_dir, IsReady(), Readiness, _WAIT_S)
                except MagpieError as error:
                    self._readiness = Readiness(is_ready=False, reasons=(str(error),))
                self._ready_at_s = time.monotonic()
            return self._readiness
