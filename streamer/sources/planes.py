"""From FFmpeg's decoded frame to upright 8-bit 4:2:0 planes, with matrix and range said.

4:2:0 in 8 bit with square pixels passes without a copy. Everything else is converted once, here, by
swscale: 4:2:2, 4:4:4, 10 bit, RGB, semi-planar, pixels that are not square. The matrix is kept
where a Frame can say it (BT.601, BT.709), other matrices become BT.709, and one that swscale does
not know counts as not said; HDR transfer curves are left as they are. RGB becomes BT.601, full
range.
"""

from collections.abc import Callable
from fractions import Fraction

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from pipeline.types import U8, ColorMatrix, ColorRange
from streamer.errors import CodecError
from streamer.sources.frame_facts import Turn, TurnReader, shown_size

_DIRECT = frozenset(("yuv420p", "yuvj420p"))
_GRAY = frozenset(("gray", "gray10le", "gray12le", "gray16le", "ya8"))
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_MATRIX = {1: ColorMatrix.BT709, 5: ColorMatrix.BT601, 6: ColorMatrix.BT601}
_CONVERTIBLE = frozenset((1, 2, 4, 5, 6, 7, 9))  # the matrices that swscale knows
_SWS_BT709, _SWS_BT601 = 1, 5
_LIMITED, _FULL = 1, 2  # AVCOL_RANGE_*
_HD_LINES = 720

Planes = tuple[U8, U8, U8]


class PlaneMaker:
    """Makes planes from one stream's frames; keeps what can be used again."""

    def __init__(self, aspect: Callable[[], Fraction] = lambda: Fraction(1)) -> None:
        """aspect: says how wide the stream's pixels are for their height now."""
        self._aspect = aspect
        self._reformatter = VideoReformatter()
        self._turn_reader = TurnReader()
        self._neutral: U8 = np.zeros((0, 0), np.uint8)
        self._looked_at: tuple[int, int, int] | None = None
        self._turn: Turn | None = None
        self._shown_wh = (0, 0)

    def planes(self, frame: VideoFrame) -> tuple[Planes, ColorMatrix, ColorRange]:
        """Return y (H, W), u, v ((H+1)//2, (W+1)//2) uint8, upright, and how to read them.

        The planes may be views into the decoder's frame. Raises CodecError for a pixel format
        that swscale does not know.
        """
        # a frame without a pixel format has None, whatever the stubs say
        if getattr(frame, "format", None) is None:
            raise CodecError.at("stream", "expected a known pixel format", "none")
        if not frame.format.is_rgb and frame.colorspace not in _CONVERTIBLE:
            frame.colorspace = _UNSPECIFIED
        self._look_at(frame)
        is_scaled = self._shown_wh != (frame.width, frame.height)
        matrix, color_range = matrix_of(frame), range_of(frame)
        if frame.format.name in _GRAY:
            if frame.format.name != "gray" or is_scaled:
                frame = self._convert(frame, "gray")
            y = _view(frame, 0)
            planes = (y, *self._neutral_chroma(y))
        else:
            if frame.format.name not in _DIRECT or is_scaled:
                frame, matrix, color_range = self._to_420(frame, matrix, color_range)
            planes = (_view(frame, 0), _view(frame, 1), _view(frame, 2))
        if self._turn is not None:
            y, u, v = planes
            planes = (_turned(y, self._turn), _turned(u, self._turn), _turned(v, self._turn))
        return planes, matrix, color_range

    def _look_at(self, frame: VideoFrame) -> None:
        """Note how the frame is turned and how large it is shown.

        At each key frame, where both may change, and when size or rotation changed: a look takes
        0.03 ms, and the rotation alone does not tell a mirrored picture.
        """
        looked_at = (frame.width, frame.height, frame.rotation)
        if frame.key_frame or looked_at != self._looked_at:
            self._looked_at = looked_at
            self._turn = self._turn_reader.turn_of(frame)
            self._shown_wh = shown_size((frame.width, frame.height), self._aspect())

    def _to_420(
        self, frame: VideoFrame, matrix: ColorMatrix, color_range: ColorRange
    ) -> tuple[VideoFrame, ColorMatrix, ColorRange]:
        if frame.format.is_rgb:
            converted = self._convert(frame, "yuv420p", None, _SWS_BT601, None, _FULL)
            return converted, ColorMatrix.BT601, ColorRange.FULL
        av_range = _FULL if color_range is ColorRange.FULL else _LIMITED
        if frame.colorspace == _UNSPECIFIED or frame.colorspace in _MATRIX:
            return (
                self._convert(frame, "yuv420p", None, None, av_range, av_range),
                matrix,
                color_range,
            )
        converted = self._convert(frame, "yuv420p", None, _SWS_BT709, av_range, av_range)
        return converted, ColorMatrix.BT709, color_range

    def _convert(
        self,
        frame: VideoFrame,
        format_name: str,
        src_colorspace: int | None = None,
        dst_colorspace: int | None = None,
        src_range: int | None = None,
        dst_range: int | None = None,
    ) -> VideoFrame:
        width, height = self._shown_wh
        try:
            return self._reformatter.reformat(
                frame,
                width=width,
                height=height,
                format=format_name,
                src_colorspace=src_colorspace,
                dst_colorspace=dst_colorspace,
                src_color_range=src_range,
                dst_color_range=dst_range,
                threads=1,
            )
        except (av.error.FFmpegError, ValueError, RuntimeError) as error:
            raise CodecError.at(
                "stream", f"its pixels cannot be converted to 4:2:0 ({error})", frame.format.name
            ) from None

    def _neutral_chroma(self, y: U8) -> tuple[U8, U8]:
        shape = ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
        if self._neutral.shape != shape:
            self._neutral = np.full(shape, 128, np.uint8)
        return self._neutral, self._neutral


def matrix_of(frame: VideoFrame) -> ColorMatrix:
    """Return the frame's matrix; unspecified: BT.709 from 720 lines up, else BT.601."""
    by_size = ColorMatrix.BT709 if frame.height >= _HD_LINES else ColorMatrix.BT601
    return _MATRIX.get(frame.colorspace, by_size)


def range_of(frame: VideoFrame) -> ColorRange:
    """Return the frame's range; unspecified: full for the formats that are (yuvj, gray)."""
    if frame.color_range in (_LIMITED, _FULL):
        return ColorRange.FULL if frame.color_range == _FULL else ColorRange.LIMITED
    is_full = frame.format.name.startswith("yuvj") or frame.format.name in _GRAY
    return ColorRange.FULL if is_full else ColorRange.LIMITED


def _view(frame: VideoFrame, index: int) -> U8:
    plane: VideoPlane = frame.planes[index]
    stride = plane.line_size
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(stride))
    return (rows if stride > 0 else rows[::-1])[:, : plane.width]


def _turned(plane: U8, turn: Turn) -> U8:
    is_transposed, is_mirrored_x, is_mirrored_y = turn
    if is_transposed:
        plane = plane.T
    return plane[:: -1 if is_mirrored_y else 1, :: -1 if is_mirrored_x else 1]
