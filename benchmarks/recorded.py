"""A recording's frames in memory, as a matcher gets them, and the costs of its steps alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.types import Frame
from streamer.sources.base import Picture, SourceOptions, create_source


@dataclass(frozen=True, slots=True)
class Decoding:
    """What decoding cost. core_ms: a frame, of all threads; wall_ms: a frame."""

    n_frames: int
    core_ms: float
    wall_ms: float


def pictures_of(clip: Path, threads: int = 1) -> Iterator[Picture]:
    """Yield a recording's pictures as fast as they can be decoded."""
    source = create_source(SourceOptions(url=str(clip), decoder_threads=threads))
    for picture in source.pictures(lambda _: False):
        if isinstance(picture, Picture):
            yield picture


def frames_of(clip: Path, camera: str, at_most: int, every: int = 1) -> list[Frame]:
    """Return a recording's first frames, or each so many, in memory of their own."""
    frames: list[Frame] = []
    for number, picture in enumerate(pictures_of(clip)):
        if number % every:
            continue
        frames.append(
            Frame(
                camera,
                number,
                picture.captured_ns,
                picture.wall_ns,
                picture.y.copy(),
                picture.u.copy(),
                picture.v.copy(),
                picture.matrix,
                picture.range,
                clock=picture.clock,
                media_ns=picture.media_ns,
            )
        )
        if len(frames) >= at_most:
            break
    return frames


def measure_decoding(clip: Path, threads: int = 1, at_most: int = 300) -> Decoding:
    """Decode a recording's first frames and return what that cost."""
    n_frames = 0
    began_s, core_s = time.perf_counter(), time.process_time()
    for _ in pictures_of(clip, threads):
        n_frames += 1
        if n_frames >= at_most:
            break
    wall_s, core_s = time.perf_counter() - began_s, time.process_time() - core_s
    return Decoding(n_frames, 1e3 * core_s / n_frames, 1e3 * wall_s / n_frames)
