"""Regions of a picture that may hold an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.color import planes_to_rgb
from pipeline.engines import Engine, split_batch
from pipeline.options import DetectOptions
from pipeline.types import F32, U8, Detections, Frame

STRIDE_PX = 32  # the network's coarsest grid; its input is a multiple of it
MAX_BATCH = 8
FILL = np.float32(114 / 255)  # gray of the border, as in training


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture lies in the network's input: scaled about its corner, then moved.

    With pixel centres at halves, x_input = x_picture * scale_x + left, exactly.
    """

    input_wh: tuple[int, int]
    inner_wh: tuple[int, int]
    left_px: int
    top_px: int
    scale_xy: tuple[float, float]

    @classmethod
    def fit(cls, size_wh: tuple[int, int], side_px: int) -> Letterbox:
        """Return the smallest input of whole strides whose longer side is side_px."""
        factor = side_px / max(size_wh)
        inner_w = max(1, round(size_wh[0] * factor))
        inner_h = max(1, round(size_wh[1] * factor))
        input_w = -(-inner_w // STRIDE_PX) * STRIDE_PX
        input_h = -(-inner_h // STRIDE_PX) * STRIDE_PX
        return cls(
            (input_w, input_h),
            (inner_w, inner_h),
            (input_w - inner_w) // 2,
            (input_h - inner_h) // 2,
            (inner_w / size_wh[0], inner_h / size_wh[1]),
        )

    def place(self, rgb: U8) -> F32:
        """Return the network's input, (3, H, W) float32 0..1, for a picture of size inner_wh."""
        canvas = np.full((3, self.input_wh[1], self.input_wh[0]), FILL, np.float32)
        bottom, right = self.top_px + self.inner_wh[1], self.left_px + self.inner_wh[0]
        inner = canvas[:, self.top_px : bottom, self.left_px : right]
        np.multiply(rgb.transpose(2, 0, 1), np.float32(1 / 255), out=inner)
        return canvas

    def to_picture(self, xyxy: F32, size_wh: tuple[int, int]) -> F32:
        """Return (N, 4) boxes of the input as boxes of the picture, kept inside it."""
        offset = np.array([self.left_px, self.top_px] * 2, np.float32)
        boxes = (xyxy - offset) / np.array(self.scale_xy * 2, np.float32)
        return np.clip(boxes, 0, np.array(size_wh * 2, np.float32)).astype(np.float32)


class _Input(NamedTuple):
    letterbox: Letterbox
    size_wh: tuple[int, int]
    rgb: U8


class Detector:
    """Finds boxes by an end-to-end detection network (no suppression of overlaps after it)."""

    def __init__(self, engine: Engine, options: DetectOptions) -> None:
        self._engine = engine
        self._options = options

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return what was found in each frame, best first, in px of the frame."""
        return self._run([self._from_planes(frame) for frame in frames])

    def detect_images(self, images_bgr: Sequence[U8], side_px: int) -> list[Detections]:
        """Return what was found in each picture; side_px: longer side of the network's input.

        images_bgr: each (h, w, 3) uint8 BGR.
        """
        return self._run([_from_image(image, side_px) for image in images_bgr])

    def _from_planes(self, frame: Frame) -> _Input:
        letterbox = Letterbox.fit(frame.size_wh, self._options.input_side_px)
        return _Input(letterbox, frame.size_wh, planes_to_rgb(frame, letterbox.inner_wh))

    def _run(self, inputs: list[_Input]) -> list[Detections]:
        results = [Detections.empty()] * len(inputs)
        sizes = sorted({item.letterbox.input_wh for item in inputs})
        for size in sizes:  # cameras of one shape share a call
            rows = [i for i, item in enumerate(inputs) if item.letterbox.input_wh == size]
            for piece in split_batch(len(rows), MAX_BATCH):
                batch = [inputs[i] for i in rows[piece]]
                stacked = np.stack([item.letterbox.place(item.rgb) for item in batch])
                boxes = self._engine(stacked)[0]
                for i, item, found in zip(rows[piece], batch, boxes, strict=True):
                    results[i] = self._detections(found, item)
        return results

    def _detections(self, found: F32, item: _Input) -> Detections:
        """found: (M, 6) float32 xyxy px of the input, score, class."""
        keep = found[found[:, 4] >= self._options.min_score]
        keep = keep[np.argsort(-keep[:, 4], kind="stable")][: self._options.max_boxes]
        xyxy = item.letterbox.to_picture(keep[:, :4], item.size_wh)
        is_box = np.all(xyxy[:, 2:] - xyxy[:, :2] >= 1.0, axis=1)
        return Detections(xyxy[is_box], keep[is_box, 4].copy(), keep[is_box, 5].astype(np.int32))


def _from_image(image_bgr: U8, side_px: int) -> _Input:
    size_wh = (image_bgr.shape[1], image_bgr.shape[0])
    letterbox = Letterbox.fit(size_wh, side_px)
    shrinks = letterbox.inner_wh[0] < size_wh[0]
    scaled = cv2.resize(
        image_bgr,
        letterbox.inner_wh,
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    return _Input(letterbox, size_wh, np.ascontiguousarray(scaled[:, :, ::-1]))
