"""Where a matcher process puts its sightings: one hop, over a socket file, to the daemon.

That a camera has ended takes the same way: on any other it could overtake the last sightings.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import zmq
from pydantic import ConfigDict, Field

from streamer.publishing.events import (
    CAMERA_PATTERN,
    MatchDraft,
    Reason,
    WireModel,
    match_event_from,
)
from streamer.publishing.sockets import DRAFT_MAX_BYTES, LINGER_MS, sink_path
from streamer.reporting import Log, Tally

if TYPE_CHECKING:
    from pipeline.types import Sighting

_QUEUE = 2000  # sightings that wait here while the daemon is busy


class CameraEnd(WireModel):
    """A camera's source has ended, or its matcher let go of it: everything that was seen in it has
    been handed over.

    life: which of the camera's lives in this run it was.
    """

    model_config = ConfigDict(extra="forbid")

    ended_camera: str = Field(pattern=CAMERA_PATTERN)
    life: int = Field(0, ge=0)
    reason: Reason = "source_ended"


class Handover(WireModel):
    """What travels from a worker to the daemon: JSON, one message a match or a camera's end."""

    worker: str = Field(max_length=128)
    incarnation: int = Field(ge=0)
    what: MatchDraft | CameraEnd = Field(union_mode="left_to_right")


class EventSink:
    """Hands sightings to the daemon and never holds the matcher up for longer than its timeout."""

    def __init__(
        self, run_dir: Path, worker: str, incarnation: int = 0, timeout_ms: int = 200
    ) -> None:
        """Connect; the daemon need not listen yet.

        worker, incarnation: whose sightings these are (the child context's name and incarnation);
        the daemon ends them by these when the worker dies.
        """
        address = f"ipc://{sink_path(run_dir)}"
        self._worker = worker
        self._incarnation = incarnation
        self._lost = Tally(Log("sink"), "sightings lost on the way to the daemon")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.sndhwm = _QUEUE
        self._socket.sndtimeo = timeout_ms
        self._socket.linger = LINGER_MS
        self._socket.connect(address)

    @property
    def n_lost(self) -> int:
        """Sightings that could not be handed over since the start."""
        return sum(self._lost.total.values())

    def send_sighting(self, sighting: Sighting) -> bool:
        """Hand one sighting over; returns False (and counts) when the daemon did not take it.

        Raises pydantic.ValidationError for a sighting that the wire cannot carry: our own bug.
        """
        return self._hand_over(match_event_from(sighting, time.monotonic_ns()))

    def send_end(self, camera: str, life: int = 0, reason: Reason = "source_ended") -> bool:
        """Tell that no more comes of a camera in this life of it; returns as `send_sighting`.

        Where it is lost, the daemon ends the camera by itself after a while.
        """
        return self._hand_over(CameraEnd(ended_camera=camera, life=life, reason=reason))

    def _hand_over(self, what: MatchDraft | CameraEnd) -> bool:
        handover = Handover(worker=self._worker, incarnation=self._incarnation, what=what)
        payload = handover.model_dump_json().encode()
        if len(payload) > DRAFT_MAX_BYTES:
            self._lost.add("too_large")
            return False
        try:
            self._socket.send(payload)
        except zmq.Again:
            self._lost.add("daemon_busy")
            return False
        return True

    def close(self) -> None:
        """Send what still waits, for half a second at most, and close; twice is fine."""
        self._socket.close()
        self._context.term()
