"""Reads sources in tests."""

import time
from pathlib import Path

import numpy as np

from pipeline.color import frame_bgr
from pipeline.types import Frame
from streamer.sources.base import Damaged, Picture, SourceOptions, create_source


def read(path: Path | str, **options: object) -> list[Picture | Damaged]:
    """Everything that a source gives; its planes are copied, for they live one picture long."""
    source = create_source(SourceOptions(url=str(path), **options))  # type: ignore[arg-type]
    return [keep(each) for each in source.pictures(sleep)]


def keep(each: Picture | Damaged) -> Picture | Damaged:
    if isinstance(each, Damaged):
        return each
    return Picture(
        each.y.copy(), each.u.copy(), each.v.copy(), each.matrix, each.range,
        each.captured_ns, each.wall_ns, each.clock, each.media_ns, each.decode_ms,
    )  # fmt: skip


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def pictures_of(path: Path | str, **options: object) -> list[Picture]:
    return [each for each in read(path, **options) if isinstance(each, Picture)]


def bgr(picture: Picture) -> np.ndarray:
    planes = (picture.y, picture.u, picture.v)
    return frame_bgr(Frame("c", 0, 0, 0, *planes, picture.matrix, picture.range))
