"""Regions of a frame that may hold an item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.color import Letterbox, letterbox_rgb
from pipeline.engines import Engine, batch_size, load_engine, split_batch
from pipeline.errors import ConfigError
from pipeline.options import DetectOptions, EngineOptions
from pipeline.types import F32, I32, U8, Detections, Frame
from pipeline.weights import find_weights, read_spec

STRIDE_PX = 32  # the network's coarsest grid; its input is a multiple of it
LEAST_CELLS = 300  # as many as the network gives boxes
CELLS_OF_A_STRIDE = 16 + 4 + 1  # of strides 8, 16 and 32, in 32 x 32 px
MAX_BATCH = 8  # on a GPU; on a CPU one by one takes no longer, and the first is known sooner


class Detector:
    """Finds boxes by an end-to-end detection network (no suppression of overlaps after it).

    class_names: of the network's classes, by number. ConfigError when the options name another.
    frames_at_once: how many share a call at most.
    """

    def __init__(
        self, engine: Engine, options: DetectOptions, class_names: Sequence[str] = ("item",)
    ) -> None:
        self._engine = engine
        self._options = options
        self._class_ids = find_classes(options.classes, class_names)
        self.frames_at_once = batch_size(engine, 0, cpu=1, gpu=MAX_BATCH)
        self._input: U8 = np.zeros((0, 0, 0, 3), np.uint8)  # of the last call, used again

    def detect(self, frames: Sequence[Frame], side_px: int = 0) -> list[Detections]:
        """Return what was found in each frame, best first, in px of the frame.

        side_px: the longer side of the network's input; 0: as configured. Frames of one shape
        share a call.
        """
        side_px = side_px or self._options.input_side_px
        sizes = [input_size_wh(frame.size_wh, side_px) for frame in frames]
        results = [Detections.empty()] * len(frames)
        for size in dict.fromkeys(sizes):
            rows = [i for i, own in enumerate(sizes) if own == size]
            for piece in split_batch(len(rows), self.frames_at_once):
                inputs = self._input_of(len(rows[piece]), size)
                letterboxes = [
                    letterbox_rgb(frames[i], into)
                    for i, into in zip(rows[piece], inputs, strict=True)
                ]
                boxes = self._engine(inputs)[0]
                for i, found, letterbox in zip(rows[piece], boxes, letterboxes, strict=True):
                    results[i] = self._detections(found, letterbox)
        return results

    def _input_of(self, n_rows: int, size_wh: tuple[int, int]) -> U8:
        """(n_rows, h, w, 3) uint8 to be written over: the last call's where the shape is the same.

        Without it each frame would cost 0.7 MB anew.
        """
        shape = (n_rows, size_wh[1], size_wh[0], 3)
        if self._input.shape != shape:
            self._input = np.empty(shape, np.uint8)
        return self._input

    def _detections(self, found: F32, letterbox: Letterbox) -> Detections:
        """found: (M, 6) float32: xyxy px of the input, score, class."""
        keep = found[found[:, 4] >= self._options.min_score]
        if self._class_ids is not None:
            keep = keep[np.isin(keep[:, 5].astype(np.int32), self._class_ids)]
        keep = keep[np.argsort(-keep[:, 4], kind="stable")][: self._options.max_boxes]
        xyxy = letterbox.to_frame(keep[:, :4])
        is_box = np.all(xyxy[:, 2:] - xyxy[:, :2] >= 1.0, axis=1)
        return Detections(xyxy[is_box], keep[is_box, 4].copy(), keep[is_box, 5].astype(np.int32))


def load_detector(engine: EngineOptions, options: DetectOptions) -> Detector:
    """Return the detector that the options name; ConfigError, WeightsError or EngineError."""
    weights = find_weights("detector", options.weights)
    names = read_spec(weights).get("class_names", ["item"])
    find_classes(options.classes, names)  # a mistake is told before the network is loaded
    return Detector(load_engine(weights, engine), options, names)


def find_classes(wanted: Sequence[str], class_names: Sequence[str]) -> I32 | None:
    """Return the numbers of the named classes, (N,) int32; None when all are wanted."""
    unknown = [name for name in wanted if name not in class_names]
    if unknown:
        raise ConfigError.at(
            "detect.classes",
            f"expected names of the detector's classes: {', '.join(class_names)}",
            ", ".join(unknown),
        )
    ids = [number for number, name in enumerate(class_names) if name in wanted]
    return np.array(ids, np.int32) if wanted else None


def input_size_wh(size_wh: tuple[int, int], side_px: int) -> tuple[int, int]:
    """Return the smallest input of whole strides with this longer side: 640x384 for 16:9.

    The network gives its best LEAST_CELLS boxes, so it must have as many cells, those of strides 8,
    16 and 32: a strip, or a small picture, gets more margin on its shorter side.
    """
    factor = side_px / max(size_wh)
    strides = [max(1, -(-round(side * factor) // STRIDE_PX)) for side in size_wh]
    shorter = strides.index(min(strides))
    longer_one = strides[1 - shorter]
    strides[shorter] = max(strides[shorter], -(-LEAST_CELLS // (CELLS_OF_A_STRIDE * longer_one)))
    return strides[0] * STRIDE_PX, strides[1] * STRIDE_PX
