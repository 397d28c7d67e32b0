"""What the way from a camera's process to a matcher's costs: `magpie bench ring`.

Real rings, a process at each end. *write*: the copy into a slot alone. *hand-over*: from the moment
before the write until the reader has the frame, at 30 frames a second. *flat out*: frames a second
of a lossless ring whose reader gives back at once. Prints a table, writes JSON, draws the write.
"""

from __future__ import annotations

import multiprocessing
import select
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import percentiles, time_calls, write_result
from benchmarks.plots import draw_ring
from pipeline.types import ColorMatrix, ColorRange
from streamer.bell import Bell, matcher_bell
from streamer.frame_ring import Policy, RingWriter
from streamer.ring_reader import RingReader
from streamer.sources.base import Picture

SIZES_WH = ((1280, 720), (1920, 1080), (3840, 2160))
CAMERA = "cam"
_FPS = 30.0
_SILENT_S = 5.0


def run_benchmark(out: Path, seconds: float = 3.0) -> Path:
    """Measure each size for `seconds` a figure; return the JSON's path."""
    rows = []
    for size_wh in SIZES_WH:
        flat_out = _between_processes(size_wh, "lossless", 0.0, seconds)
        rows.append(
            {
                "size": "{}x{}".format(*size_wh),
                "write_ms": percentiles(write_times_ms(size_wh, seconds)),
                "hand_over_ms": percentiles(_between_processes(size_wh, "newest", _FPS, seconds)),
                "flat_out_fps": round(len(flat_out) / seconds, 1),
            }
        )
    path = write_result(out, "ring", {"seconds": seconds, "paced_fps": _FPS}, {"sizes": rows})
    print_rows(rows)
    draw_ring(rows, path.with_suffix(".png"))
    print(path)
    return path


def draw_picture(size_wh: tuple[int, int], seed: int = 0) -> Picture:
    """A picture of noise, captured now."""
    width, height = size_wh
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 255, (height, width)).astype(np.uint8)
    u, v = (rng.integers(0, 255, ((height + 1) // 2, (width + 1) // 2)) for _ in range(2))
    return Picture(
        y, u.astype(np.uint8), v.astype(np.uint8), ColorMatrix.BT709, ColorRange.LIMITED,
        captured_ns=time.monotonic_ns(), wall_ns=time.time_ns(),
    )  # fmt: skip


def write_times_ms(size_wh: tuple[int, int], seconds: float) -> list[float]:
    """What the copy takes with nobody at the other end, ms; pictures differ, as real ones do."""
    pictures = [draw_picture(size_wh, seed) for seed in range(8)]
    number = 0
    with tempfile.TemporaryDirectory(prefix="mb-", dir=_memory_folder()) as folder:
        writer = RingWriter(Path(folder), CAMERA, 1, size_wh, "newest")

        def write() -> None:
            nonlocal number
            number += 1
            writer.write(pictures[number % len(pictures)])

        times_ms = time_calls(write, seconds / 2)
        writer.close()
    return times_ms


def _memory_folder() -> str | None:
    """Where rings lie in a run, too; None where the machine has no such folder."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _between_processes(
    size_wh: tuple[int, int], policy: Policy, fps: float, seconds: float
) -> list[float]:
    """What frames take until the reader has them, ms. fps: 0: as fast as the reader goes."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="mb-", dir=_memory_folder()) as folder:
        ours, theirs = spawn.Pipe()
        reader = spawn.Process(target=_read, args=(Path(folder), theirs))
        reader.start()
        ours.recv()  # it listens
        writer = RingWriter(
            Path(folder), CAMERA, 1, size_wh, policy, bell=matcher_bell(Path(folder), 0)
        )
        picture = draw_picture(size_wh)
        _write_for(writer, picture, fps, seconds)
        ours.send("enough")
        times_ms: list[float] = ours.recv()
        reader.join()
        writer.close()
    return times_ms


def _write_for(writer: RingWriter, picture: Picture, fps: float, seconds: float) -> None:
    from dataclasses import replace

    begin_s = next_s = time.monotonic()
    while time.monotonic() - begin_s < seconds:
        if fps:
            next_s += 1 / fps
            time.sleep(max(0.0, next_s - time.monotonic()))
        writer.write(replace(picture, captured_ns=time.monotonic_ns()), timeout_s=1.0)


def _read(folder: Path, results: Connection) -> None:
    times_ms: list[float] = []
    reader = RingReader(folder, CAMERA)
    with Bell(matcher_bell(folder, 0)) as bell:
        results.send("listening")
        while not results.poll():
            frame = reader.take()
            if frame is None:
                select.select([bell.fileno(), results.fileno()], [], [], _SILENT_S)
                bell.clear()
                continue
            times_ms.append((time.monotonic_ns() - frame.captured_ns) / 1e6)
            reader.release(frame)
    results.recv()
    results.send(times_ms)
    reader.close()


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line a size."""
    table = Table("size", "write p50 ms", "p99", "hand-over p50 ms", "p99", "flat out fps")
    for row in rows:
        shown = [row[kind][key] for kind in ("write_ms", "hand_over_ms") for key in ("p50", "p99")]
        table.add_row(row["size"], *(f"{ms:.2f}" for ms in shown), f"{row['flat_out_fps']:.0f}")
    Console(width=110).print(table)
