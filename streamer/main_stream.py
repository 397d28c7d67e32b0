"""A camera's main stream beside the small one that is searched: its picture of a moment.

Nothing here holds detection up for long: a live stream gives what it has by then, a recording is
waited for while it lives.
"""

import time
from collections import deque
from pathlib import Path

from pipeline.types import Frame
from streamer.frame_counters import Skip
from streamer.matcher_args import ended_mark, main_ring
from streamer.ring_reader import RingReader

# Two encoders and two connections bring the same moment by so much apart at most; in more, what a
# hand carries has left its box.
NEAR_NS = 150_000_000
# A recording's main stream that is behind for so long is not waited for until it is as far again:
# its worker has been restarted by then, or found hopeless, or has hours to catch up with.
WAIT_NS = 15_000_000_000
_KEPT = 2  # pictures: the last before a moment and the first after it


class MainStream:
    """Goes through a main stream in step with the small one."""

    def __init__(self, run_dir: Path, camera: str) -> None:
        self._reader = RingReader(run_dir, main_ring(camera))
        self._ended_mark = ended_mark(run_dir, main_ring(camera))
        self._held: deque[Frame] = deque()
        self._used: set[tuple[int, int]] = set()  # incarnation and generation of held pictures
        self._waits_since_ns: int | None = None

    def follow(self, frame: Frame) -> bool:
        """Go on to a frame's moment; returns False while a picture of it may still come."""
        while not self._has_reached(frame):
            picture = self._reader.take()
            if picture is None:
                return self._is_given_up()
            self._held.append(picture)
            if len(self._held) > _KEPT:
                self._let_go(self._held.popleft())
        self._waits_since_ns = None
        return True

    def picture_of(self, frame: Frame) -> Frame | None:
        """Return the picture of a frame's moment, or None where none is near or it is no larger.

        Its planes are valid until `follow` goes on.
        """
        if not self._held:
            return None
        nearest = min(self._held, key=lambda picture: abs(_after_ns(picture, frame)))
        is_near = abs(_after_ns(nearest, frame)) <= NEAR_NS
        return nearest if is_near and nearest.y.size > frame.y.size else None

    def note_use(self, picture: Frame) -> None:
        """A search had this picture at hand: it counts as processed, others as skipped."""
        self._used.add(_key(picture))

    def close(self) -> None:
        """Let go of everything. Twice is fine."""
        while self._held:
            self._let_go(self._held.popleft())
        self._reader.close()

    def _has_reached(self, frame: Frame) -> bool:
        return bool(self._held) and _after_ns(self._held[-1], frame) >= 0

    def _is_given_up(self) -> bool:
        """Whether a moment that is not reached yet was waited for long enough."""
        now_ns = time.monotonic_ns()
        if self._waits_since_ns is None:
            self._waits_since_ns = now_ns
        return now_ns - self._waits_since_ns >= WAIT_NS or self._ended_mark.exists()

    def _let_go(self, picture: Frame) -> None:
        is_used = _key(picture) in self._used
        self._used.discard(_key(picture))
        self._reader.release(picture, skipped=None if is_used else Skip.UNNEEDED)


def _after_ns(picture: Frame, frame: Frame) -> int:
    """Return how much later a picture is than a frame, by the best clock that both have."""
    if picture.media_ns >= 0 and frame.media_ns >= 0:
        return picture.media_ns - frame.media_ns
    if picture.clock == frame.clock == "rtcp":
        return picture.wall_ns - frame.wall_ns
    return picture.captured_ns - frame.captured_ns


def _key(picture: Frame) -> tuple[int, int]:
    return picture.incarnation, picture.generation
