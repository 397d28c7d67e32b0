"""A clip for enrolment: a video file of some seconds, read for its pictures and not watched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av

from pipeline.errors import SourceError
from pipeline.printable import printable
from pipeline.types import Frame
from streamer.errors import CodecError
from streamer.sources.base import Picture, SourceOptions
from streamer.sources.failures import source_name
from streamer.sources.video_file import VideoFileSource


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A video file that could be opened. length_s: as it says itself; 0: it doesn't."""

    source: VideoFileSource
    length_s: float

    def frames(self, fps: float) -> Iterator[Frame]:
        """Yield its pictures, at most so many a second, by their time in the file.

        The same ones each time. Planes are valid until the next one is asked for; what cannot be
        decoded is passed over. SourceError when there is no picture, or nothing decodes it.
        """
        number = -1
        with _unnamed(self.source):
            for picture in self.source.pictures(lambda _: False):
                if not isinstance(picture, Picture):
                    continue
                due = int(picture.media_ns * fps // 1_000_000_000)
                if due > number:
                    number = due
                    yield _frame(picture, number)


def open_clip(path: Path) -> ClipFile:
    """Return a video file, to be read; SourceError when it is none, without the file's name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # nor options nor PyAV take such a name
        raise CodecError("must have a name in UTF-8; rename it") from None
    source = VideoFileSource(SourceOptions(url=os.path.abspath(path)))
    with _unnamed(source), source.open() as container:
        return ClipFile(source, max(0.0, (container.duration or 0) / av.time_base))


def _frame(picture: Picture, number: int) -> Frame:
    return Frame(
        camera="clip", number=number, captured_ns=picture.captured_ns, wall_ns=picture.wall_ns,
        y=picture.y, u=picture.u, v=picture.v, matrix=picture.matrix, range=picture.range,
        clock=picture.clock, media_ns=picture.media_ns,
    )  # fmt: skip


@contextmanager
def _unnamed(source: VideoFileSource) -> Iterator[None]:
    """Raise SourceErrors without the source's name: who lists the file names it already."""
    try:
        yield
    except SourceError as error:
        name = printable(source_name(source.options.url))
        raise type(error)(str(error).removeprefix(f"{name}: ")) from None
