"""Leaves pictures out of a stream, evenly, so that no more than a rate remain."""

from typing import Protocol


class Timed(Protocol):
    """A picture with its times: media_ns of a recording, -1 else; captured_ns (monotonic)."""

    @property
    def media_ns(self) -> int: ...
    @property
    def captured_ns(self) -> int: ...


def time_ns_of(picture: Timed) -> int:
    """Return the time that a picture is paced by: a recording's own, else that of its capture."""
    return picture.media_ns if picture.media_ns >= 0 else picture.captured_ns


class Pacer:
    """Says which pictures remain. max_fps: 0: all.

    period_ns: between them; due_ns: from when on the next one remains.
    """

    def __init__(self, max_fps: float) -> None:
        self.period_ns = 1e9 / max_fps if max_fps else 0.0
        self.due_ns = 0.0

    def is_due(self, picture: Timed) -> bool:
        """Return whether this picture remains."""
        if not self.period_ns:
            return True
        time_ns = time_ns_of(picture)
        if time_ns < self.due_ns - self.period_ns * 0.01:
            return False
        late_ns = time_ns - self.due_ns
        self.due_ns = (time_ns if late_ns > self.period_ns else self.due_ns) + self.period_ns
        return True
