"""Clocks: what each stage of a batch took, and a camera's time that never goes back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from pipeline.types import Frame

_STEPS_KEPT = 5
_USUAL_STEP_S = 0.4


class StageTimer:
    """Adds up milliseconds by stage; a stage may run several times in a batch."""

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}
        self.started_ns = time.monotonic_ns()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside towards this stage."""
        start_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            spent_ms = (time.perf_counter_ns() - start_ns) / 1e6
            self.stage_ms[name] = self.stage_ms.get(name, 0.0) + spent_ms

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """Count what others have measured."""
        for name, spent_ms in stage_ms.items():
            self.stage_ms[name] = self.stage_ms.get(name, 0.0) + spent_ms

    def of_frame(self, frame: Frame) -> dict[str, float]:
        """Return the stages of one frame of the batch, with its decoding and its wait before."""
        waited_ms = (self.started_ns - frame.captured_ns) / 1e6 - frame.decode_ms
        before = {"decode": frame.decode_ms, "wait": max(0.0, waited_ms)}
        return {name: round(ms, 3) for name, ms in (before | self.stage_ms).items()}


@dataclass(frozen=True, slots=True)
class FrameStamp:
    """A frame without its planes, which belong to the ring."""

    camera: str
    number: int
    size_wh: tuple[int, int]
    captured_ns: int
    wall_ns: int
    clock: str

    @classmethod
    def of(cls, frame: Frame) -> FrameStamp:
        """Return when and where a frame was taken."""
        return cls(
            frame.camera,
            frame.number,
            frame.size_wh,
            frame.captured_ns,
            frame.wall_ns,
            frame.clock,
        )


class FrameClock:
    """One camera's time in seconds: media time for files, capture time for live; never back.

    A file's time must not depend on how fast this machine reads it. A clip that starts again
    (`--loop`), or a stream whose times jump, goes on from where the clock stands.

    slowness: 1 for cameras from 2.5 pictures a second on; where pictures come further apart, by how
    much. It stretches what is said in seconds for faster ones: how long a track or a sighting
    without a picture lives.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slowness = 1.0
        self._last: tuple[int, int] | None = None  # media_ns, captured_ns
        self._steps_s: deque[float] = deque(maxlen=_STEPS_KEPT)

    def advance(self, frame: Frame) -> float:
        """Return the time of this frame, which is not before the last one."""
        now_s = self.would_be(frame)
        if self._last is not None:
            self._steps_s.append(now_s - self.now_s)
            self.slowness = max(1.0, median(self._steps_s) / _USUAL_STEP_S)
        self._last = (frame.media_ns, frame.captured_ns)
        self.now_s = now_s
        return now_s

    def would_be(self, frame: Frame) -> float:
        """Return what `advance` would; the clock stays where it is."""
        if self._last is None:
            return self.now_s
        last_media_ns, last_captured_ns = self._last
        step_ns = frame.media_ns - last_media_ns
        if frame.media_ns < 0 or last_media_ns < 0 or step_ns < 0:
            step_ns = max(0, frame.captured_ns - last_captured_ns)
        return self.now_s + step_ns / 1e9
