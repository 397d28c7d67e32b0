"""Reads and writes pictures and other results: whole or not at all, a full disk told by us alone.

The picture libraries never see the path: their own text about a disk that is full would reach the
terminal, some leave half a file behind and say that all is well, and OpenCV ends the process where
a name is not UTF-8.
"""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.errors import ConfigError
from pipeline.types import U8


def encode_picture(image_bgr: U8, suffix: str = ".png") -> bytes:
    """Return the picture as bytes of the format that a suffix names; ValueError when unknown.

    image_bgr: (h, w, 3) uint8.
    """
    try:
        done, data = cv2.imencode(suffix, image_bgr)
    except cv2.error:
        done = False
    if not done:
        raise ValueError(f"no picture format is called {suffix!r}")
    return data.tobytes()


def read_picture_bgr(path: Path) -> U8 | None:
    """Return a picture (H, W, 3) uint8 BGR, or None when it is none that OpenCV reads."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return None if image is None else np.asarray(image, np.uint8)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all; OSError leaves nothing of it behind."""
    path = path.resolve()  # a link stays one
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a device or a pipe is written to, not replaced
        return
    part = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_result(path: Path, data: bytes, where: str = "result") -> None:
    """Write a file that a user asked for, its folder too; ConfigError says why it cannot be.

    where: the option that names it, for the error.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        rule = f"must be a file that can be written ({error.strerror or error})"
        raise ConfigError.at(where, rule, str(path), "free some disk or choose another") from error


def write_picture(path: Path, image_bgr: U8, where: str = "picture") -> None:
    """Write a picture in the format of the path's suffix; ConfigError says why it cannot be."""
    try:
        data = encode_picture(image_bgr, path.suffix)
    except ValueError:
        raise ConfigError.at(where, "must end in .png or .jpg", str(path)) from None
    write_result(path, data, where)


def write_figure(path: Path, figure: Any, where: str = "figure", **options: Any) -> None:
    """Write a matplotlib figure, a PNG where the path has no suffix; ConfigError as above."""
    form = path.suffix.removeprefix(".").lower() or "png"
    if form not in figure.canvas.get_supported_filetypes():
        raise ConfigError.at(where, "must end in .png, .svg or .pdf", str(path))
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, **options)
    write_result(path, buffer.getvalue(), where)
