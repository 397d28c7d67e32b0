"""Between a frame's planes and colours: crops, the detector's input, photos as frames.

Matrix and range of the frame are honoured, because near-twins differ by a colour. Chroma is taken
as lying in the centre of its 2×2 luma pixels. The conversion is one affine map a pixel (ITU-R
BT.601 and BT.709 luma weights), done on the region's planes only.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from pipeline.types import F32, F64, U8, ColorMatrix, ColorRange, Frame

_LUMA_WEIGHTS_RB = {ColorMatrix.BT601: (0.299, 0.114), ColorMatrix.BT709: (0.2126, 0.0722)}
_PAD_GRAY = 114


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a frame lies in a network's input: frame px * scale + offset = input px, exactly.

    The scale differs a little by axis, because the scaled frame has whole pixels.
    """

    scale_xy: tuple[float, float]
    offset_xy: tuple[int, int]
    frame_size_wh: tuple[int, int]

    def to_frame(self, xyxy: F32) -> F32:
        """Return boxes (N, 4) of the input as boxes of the frame, clipped to it; float32 px."""
        boxes = (xyxy.reshape(-1, 4) - np.tile(self.offset_xy, 2)) / np.tile(self.scale_xy, 2)
        limits = np.tile(self.frame_size_wh, 2)
        clipped: F32 = np.clip(boxes, 0, limits).astype(np.float32)
        return clipped


def crop_bgr(frame: Frame, xyxy: F32, max_side_px: int = 0) -> tuple[U8, F32]:
    """Return a region of the frame in colour, and where it lies.

    xyxy: (4,) px; clipped to the frame and widened to even pixels. max_side_px: a larger region is
    scaled down to it (0: never).
    Returns image_bgr (h, w, 3) uint8, its own memory, and its box (4,) float32 px of the frame.
    Raises ValueError when the box lies outside the frame or is empty.
    """
    width, height = frame.size_wh
    x0, y0 = (max(0, int(np.floor(edge))) // 2 * 2 for edge in (xyxy[0], xyxy[1]))
    x1, y1 = int(np.ceil(xyxy[2])), int(np.ceil(xyxy[3]))
    x1, y1 = min(width, x1 + x1 % 2), min(height, y1 + y1 % 2)
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"xyxy must lie in the frame of {width}x{height}, got {xyxy.tolist()}")
    region_wh = (x1 - x0, y1 - y0)
    shrink = min(1.0, max_side_px / max(region_wh)) if max_side_px else 1.0
    size_wh = (max(1, round(region_wh[0] * shrink)), max(1, round(region_wh[1] * shrink)))
    luma = (slice(y0, y1), slice(x0, x1))
    chroma = (slice(y0 // 2, (y1 + 1) // 2), slice(x0 // 2, (x1 + 1) // 2))
    planes = (frame.y[luma], frame.u[chroma], frame.v[chroma])
    image = _to_colors(planes, size_wh, _to_bgr(frame.matrix, frame.range))
    return image, np.array([x0, y0, x1, y1], np.float32)


def frame_bgr(frame: Frame, max_side_px: int = 0) -> U8:
    """Return the whole frame as (h, w, 3) uint8 BGR, scaled down to max_side_px (0: never)."""
    width, height = frame.size_wh
    return crop_bgr(frame, np.array([0, 0, width, height], np.float32), max_side_px)[0]


def letterbox_rgb(frame: Frame, into: U8) -> Letterbox:
    """Write the frame into a network's input, (h, w, 3) uint8 RGB; return how to come back.

    Scaled to fit with its proportions kept, centred, gray around it.
    """
    (width, height), (out_height, out_width) = frame.size_wh, into.shape[:2]
    scale = min(out_width / width, out_height / height)
    inner_wh = (
        max(1, min(out_width, round(width * scale))),
        max(1, min(out_height, round(height * scale))),
    )
    left, top = (out_width - inner_wh[0]) // 2, (out_height - inner_wh[1]) // 2
    to_rgb = _to_bgr(frame.matrix, frame.range)[::-1]
    right, bottom = left + inner_wh[0], top + inner_wh[1]
    into[:top], into[bottom:], into[:, :left], into[:, right:] = (_PAD_GRAY,) * 4
    into[top:bottom, left:right] = _to_colors((frame.y, frame.u, frame.v), inner_wh, to_rgb)
    scale_xy = (inner_wh[0] / width, inner_wh[1] / height)
    return Letterbox(scale_xy, (left, top), frame.size_wh)


def planes_from_bgr(
    image_bgr: U8,
    matrix: ColorMatrix = ColorMatrix.BT601,
    color_range: ColorRange = ColorRange.FULL,
) -> tuple[U8, U8, U8]:
    """Return a picture as 4:2:0 planes: y (H, W), u, v ((H+1)//2, (W+1)//2) uint8.

    image_bgr: (H, W, 3) uint8.
    """
    yuv = cv2.transform(image_bgr, _from_bgr(matrix, color_range))
    y, u, v = cv2.split(yuv)
    height, width = y.shape
    half_wh = ((width + 1) // 2, (height + 1) // 2)
    if width % 2 or height % 2:
        edges = (0, height % 2, 0, width % 2)
        u, v = (cv2.copyMakeBorder(plane, *edges, cv2.BORDER_REPLICATE) for plane in (u, v))
    u, v = (cv2.resize(plane, half_wh, interpolation=cv2.INTER_AREA) for plane in (u, v))
    return _u8(y), _u8(u), _u8(v)


def frame_from_bgr(image_bgr: U8, camera: str = "photo", number: int = 0) -> Frame:
    """Return a photo as a frame: BT.601 full range, no times. image_bgr: (H, W, 3) uint8."""
    y, u, v = planes_from_bgr(image_bgr)
    return Frame(
        camera=camera, number=number, captured_ns=0, wall_ns=0, y=y, u=u, v=v,
        matrix=ColorMatrix.BT601, range=ColorRange.FULL, clock="file",
    )  # fmt: skip


def _to_colors(planes: tuple[U8, U8, U8], size_wh: tuple[int, int], colors: F64) -> U8:
    """Scale each plane to size_wh and map y, u, v to three colours by a (3, 4) matrix."""
    scaled = [
        plane if plane.shape == size_wh[::-1] else _resize(plane, size_wh) for plane in planes
    ]
    return _u8(cv2.transform(cv2.merge(scaled), colors))


def _resize(plane: U8, size_wh: tuple[int, int]) -> U8:
    """Scale a plane: halve it by averaging while it can be, then linear.

    Plain linear scaling lets small print flicker; averaging in one step is several times slower
    except for exact halves.
    """
    width, height = size_wh
    while plane.shape[1] >= 2 * width and plane.shape[0] >= 2 * height:
        half_wh = (plane.shape[1] // 2, plane.shape[0] // 2)
        even = plane[: half_wh[1] * 2, : half_wh[0] * 2]
        plane = _u8(cv2.resize(even, half_wh, interpolation=cv2.INTER_AREA))
    if plane.shape == (height, width):
        return plane
    return _u8(cv2.resize(plane, size_wh, interpolation=cv2.INTER_LINEAR))


@cache
def _to_bgr(matrix: ColorMatrix, color_range: ColorRange) -> F64:
    """Return the (3, 4) map from y, u, v (0..255) to b, g, r (0..255)."""
    inverse = np.linalg.inv(np.vstack((_from_bgr(matrix, color_range), (0, 0, 0, 1))))
    colors: F64 = inverse[:3]
    return colors


@cache
def _from_bgr(matrix: ColorMatrix, color_range: ColorRange) -> F64:
    """Return the (3, 4) map from b, g, r (0..255) to y, u, v (0..255)."""
    red, blue = _LUMA_WEIGHTS_RB[matrix]
    luma = np.array([blue, 1 - red - blue, red])
    u = (np.array([1.0, 0, 0]) - luma) / (2 * (1 - blue))
    v = (np.array([0, 0, 1.0]) - luma) / (2 * (1 - red))
    is_full = color_range is ColorRange.FULL
    luma_gain, luma_zero, chroma_gain = (1.0, 0.0, 1.0) if is_full else (219 / 255, 16.0, 224 / 255)
    rows = np.vstack((luma * luma_gain, u * chroma_gain, v * chroma_gain))
    return np.hstack((rows, [[luma_zero], [128.0], [128.0]]))


def _u8(image: object) -> U8:
    """Say that OpenCV's answer is uint8 (its stubs do not)."""
    assert isinstance(image, np.ndarray)
    return image
