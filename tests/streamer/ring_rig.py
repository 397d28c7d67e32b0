"""Both ends of a frame ring for tests, pictures that say their number, processes to kill."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.types import ColorMatrix, ColorRange, Frame
from streamer.frame_ring import FrameCounters, RingWriter
from streamer.ring_reader import RingReader
from streamer.sources.base import Picture
from tests.fakes import wait_until

ROOT = Path(__file__).resolve().parents[2]


def picture(value: int, size_wh: tuple[int, int] = (64, 48)) -> Picture:
    """A picture whose every pixel says its number."""
    width, height = size_wh
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return Picture(
        np.full((height, width), value % 256, np.uint8),
        np.full(chroma, (value + 1) % 256, np.uint8),
        np.full(chroma, (value + 2) % 256, np.uint8),
        ColorMatrix.BT709,
        ColorRange.FULL,
        captured_ns=1000 + value,
        wall_ns=2000 + value,
        clock="rtcp",
        media_ns=3000 + value,
        decode_ms=1.5,
    )


def assert_shows(frame: Frame, value: int) -> None:
    """Every pixel is of the same picture."""
    for offset, plane in enumerate((frame.y, frame.u, frame.v)):
        assert (plane == (value + offset) % 256).all()


def assert_sum_holds(counters: FrameCounters) -> None:
    parts = counters.processed + sum(counters.skipped.values()) + sum(counters.dropped.values())
    assert counters.decoded == parts + counters.pending


class Rings:
    """Makes both ends in a folder and closes them after the test."""

    def __init__(self, run_dir: Path, stack: contextlib.ExitStack) -> None:
        self._run_dir, self._stack = run_dir, stack

    def writer(
        self, camera: str, incarnation: int, size_wh: tuple[int, int], policy: Any, **options: Any
    ) -> RingWriter:
        writer = RingWriter(self._run_dir, camera, incarnation, size_wh, policy, **options)
        self._stack.callback(writer.close)
        return writer

    def reader(self, camera: str) -> RingReader:
        reader = RingReader(self._run_dir, camera)
        self._stack.callback(reader.close)
        return reader


def take(reader: RingReader) -> Frame:
    frame = reader.take()
    assert frame is not None
    return frame


def take_soon(reader: RingReader) -> Frame:
    """Wait for the next frame with a deadline."""
    found: list[Frame] = []

    def is_there() -> bool:
        frame = reader.take()
        found.extend([] if frame is None else [frame])
        return bool(found)

    wait_until(is_there)
    return found[0]


def start(code: str, *arguments: object) -> tuple[subprocess.Popen[str], str]:
    """Start a process that runs the code; return it with the first line that it has printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line
    return process, line.strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
