"""From FFmpeg's decoded frame to upright 8-bit 4:2:0 planes, with matrix and range said.

4:2:0 in 8 bit passes without a copy. Everything else is converted once, here, by swscale: 4:2:2,
4:4:4, 10 bit, RGB, semi-planar. The matrix is kept where a Frame can say it (BT.601, BT.709), other
matrices become BT.709; HDR transfer curves are left as they are. RGB becomes BT.601 full range.
"""

from typing import TYPE_CHECKING, cast

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from pipeline.types import U8, ColorMatrix, ColorRange
from streamer.errors import CodecError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_DIRECT = frozenset(("yuv420p", "yuvj420p"))
_GRAY = frozenset(("gray", "gray10le", "gray12le", "gray16le", "ya8"))
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_MATRIX = {1: ColorMatrix.BT709, 5: ColorMatrix.BT601, 6: ColorMatrix.BT601}
_SWS_BT709, _SWS_BT601 = 1, 5
_LIMITED, _FULL = 1, 2  # AVCOL_RANGE_*
_HD_LINES = 720

Planes = tuple[U8, U8, U8]
_Turn = tuple[bool, bool, bool]  # transpose, then mirror left-right, then up-down


class PlaneMaker:
    """Makes planes from one stream's frames; keeps what can be used again."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._neutral: U8 = np.zeros((0, 0), np.uint8)
        self._turned_by: tuple[int, int, int] | None = None
        self._turn: _Turn | None = None

    def planes(self, frame: VideoFrame) -> tuple[Planes, ColorMatrix, ColorRange]:
        """Return y (H, W), u, v ((H+1)//2, (W+1)//2) uint8, upright, and how to read them.

        The planes may be views into the decoder's frame. Raises CodecError for a pixel format
        that swscale does not know.
        """
        matrix, color_range = matrix_of(frame), range_of(frame)
        if frame.format.name in _GRAY:
            y = _view((self._convert(frame, "gray") if frame.format.name != "gray" else frame), 0)
            planes = (y, *self._neutral_chroma(y))
        else:
            if frame.format.name not in _DIRECT:
                frame, matrix, color_range = self._to_420(frame, matrix, color_range)
            planes = (_view(frame, 0), _view(frame, 1), _view(frame, 2))
        turn = self._turn_for(frame)
        if turn is not None:
            planes = (_turned(planes[0], turn), _turned(planes[1], turn), _turned(planes[2], turn))
        return planes, matrix, color_range

    def _turn_for(self, frame: VideoFrame) -> _Turn | None:
        """Return how to turn the frame upright; looks again when its size or rotation changes.

        Not at every frame: a frame whose side data was looked at lives until the garbage collector
        comes by (PyAV ties the two in a circle), and a hundred frames of 1080p are 300 MB.
        """
        known_by = (frame.width, frame.height, frame.rotation)
        if known_by != self._turned_by:
            self._turned_by, self._turn = known_by, _turn_of(frame)
        return self._turn

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
        try:
            return self._reformatter.reformat(
                frame,
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


def _turn_of(frame: VideoFrame) -> _Turn | None:
    """Return how the display matrix turns the frame, or None when it does not.

    The matrix takes a pixel (x, y) to (a x + c y, b x + d y); angles between the right ones are
    taken to the nearest.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    a, b, _, c, d = np.frombuffer(memoryview(cast("Buffer", data)), np.int32, 5).tolist()
    if abs(a) >= abs(b):
        turn = (False, a < 0, d < 0)
    else:
        turn = (True, c < 0, b < 0)
    return turn if any(turn) else None


def _turned(plane: U8, turn: _Turn) -> U8:
    is_transposed, is_mirrored_x, is_mirrored_y = turn
    if is_transposed:
        plane = plane.T
    return plane[:: -1 if is_mirrored_y else 1, :: -1 if is_mirrored_x else 1]
