"""What FFmpeg says about a frame beside its pixels: how it is turned, how wide its pixels are.

The only place that reads it, for PyAV's own way to side data is not safe: it raises on a type that
it has no name for (EXIF), and frees metadata that is not its own (a PNG with a named ICC profile
ends the process with a segmentation fault).
"""

from __future__ import annotations  # PyAV's classes are generic for the type checker only

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av.container
import av.error
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamer.errors import CodecError

if TYPE_CHECKING:
    from typing_extensions import Buffer

Turn = tuple[bool, bool, bool]
"""Transpose, then mirror left-right, then up-down."""

_DISPLAY_MATRIX = 6  # AV_FRAME_DATA_DISPLAYMATRIX
_LAST_TYPE = 63  # of side data; FFmpeg 8 has them up to 31
_LARGEST_SIDE_PX = 16384
_SQUARE = Fraction(1)
_STRANGEST = Fraction(4)  # pixels wider or narrower than that are a mistake of the file
_NEARLY_SQUARE = Fraction(1, 100)
_STILLS = ("image2", "mjpeg", "mpjpeg", "video4linux2,v4l2", "avfoundation")


class TurnReader:
    """Reads how a frame is turned: 0.03 ms, and 2 ms more where size or pixel format changed.

    FFmpeg gives EXIF's orientation as a display matrix too, for every format that has it. A chain
    of filters takes all other side data off a second reference to the frame (no pixel is copied)
    before PyAV looks.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._made_for: tuple[int, int, str] | None = None

    def turn_of(self, frame: VideoFrame) -> Turn | None:
        """Return how to turn the frame upright; None when it is. Raises CodecError."""
        try:
            graph = self._graph_for(frame)
            graph.push(frame)
            stripped = cast("VideoFrame", graph.pull())
        except (av.error.FFmpegError, ValueError) as error:
            raise CodecError.at("stream", f"its side data cannot be read ({error})") from None
        # a container of our own: the frame's would tie the two in a circle, and its pixels would
        # live until the garbage collector comes by
        for data in SideDataContainer(stripped):  # type: ignore[call-arg]
            matrix = np.frombuffer(memoryview(cast("Buffer", data)), np.int32)
            return _turn_by(matrix) if matrix.size >= 5 else None
        return None

    def _graph_for(self, frame: VideoFrame) -> Graph:
        made_for = (frame.width, frame.height, frame.format.name)
        if self._graph is None or made_for != self._made_for:
            graph = Graph()
            chain = [
                graph.add_buffer(
                    width=frame.width,
                    height=frame.height,
                    format=frame.format,
                    time_base=Fraction(1, 25),
                )
            ]
            for number in range(_LAST_TYPE + 1):
                if number != _DISPLAY_MATRIX:
                    chain.append(graph.add("sidedata", f"mode=delete:type={number}"))
            chain.append(graph.add("buffersink"))
            for first, second in itertools.pairwise(chain):
                first.link_to(second)
            graph.configure()
            self._graph, self._made_for = graph, made_for
        return self._graph


def _turn_by(matrix: np.ndarray) -> Turn | None:
    """Return the turn of a display matrix (int32), or None when it does not turn.

    The matrix takes a pixel (x, y) to (a x + c y, b x + d y); angles between the right ones are
    taken to the nearest.
    """
    a, b, _, c, d = matrix[:5].tolist()
    if abs(a) >= abs(b):
        turn = (False, a < 0, d < 0)
    else:
        turn = (True, c < 0, b < 0)
    return turn if any(turn) else None


class PixelAspect:
    """How wide a stream's pixels are for their height, by its container or else its codec.

    A picture's own density (dots an inch, of JPEG and PNG) is not followed: no viewer does.
    """

    def __init__(self, container: av.container.InputContainer, stream: VideoStream) -> None:
        name = container.format.name
        self._is_still = name in _STILLS or name.endswith("_pipe")
        self._context = stream.codec_context
        by_both, by_codec = stream.sample_aspect_ratio, self._context.sample_aspect_ratio
        # what the codec says can change in mid-stream, what the container says cannot
        self._by_container = by_both if by_both and by_both != by_codec else None

    def now(self) -> Fraction:
        """Return width by height; 1 where nothing sensible is said, or less than 1 % from 1."""
        if self._is_still:
            return _SQUARE
        said = self._by_container or self._context.sample_aspect_ratio or _SQUARE
        is_followed = 1 / _STRANGEST <= said <= _STRANGEST and abs(said - 1) >= _NEARLY_SQUARE
        return said if is_followed else _SQUARE


def shown_size(stored_wh: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """Return the size at which a picture's pixels are square; no direction loses any.

    What grows is rounded to an even number; beyond 16384 pixels it does not grow at all.
    """
    if aspect == 1:
        return stored_wh
    width, height = stored_wh
    if aspect > 1:
        width = 2 * round(width * aspect / 2) or 1
    else:
        height = 2 * round(height / aspect / 2) or 1
    return (width, height) if max(width, height) <= _LARGEST_SIDE_PX else stored_wh
