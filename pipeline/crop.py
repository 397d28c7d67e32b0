"""Regions cut from a picture, in colour and in their own memory."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.boxes import pad_and_clip
from pipeline.color import crop_bgr
from pipeline.options import CropOptions
from pipeline.types import U8, Crop, Frame, Track


class Cropper:
    """Cuts the tracks' boxes, a little wider, out of frames and pictures."""

    def __init__(self, options: CropOptions) -> None:
        self._options = options

    def crop(self, frame: Frame, tracks: Sequence[Track]) -> list[Crop]:
        """Return one crop a track, in the order given; a box outside the frame raises ValueError.

        Only the crop's own pixels are converted from the planes.
        """
        crops = []
        for track in tracks:
            x0, y0, x1, y1 = self._region(track, frame.size_wh)
            crops.append(self._scaled(track, (x0, y0, x1, y1), crop_bgr(frame, x0, y0, x1, y1)))
        return crops

    def crop_image(self, image_bgr: U8, tracks: Sequence[Track]) -> list[Crop]:
        """Return the same for a picture, (h, w, 3) uint8 BGR."""
        size_wh = (image_bgr.shape[1], image_bgr.shape[0])
        crops = []
        for track in tracks:
            x0, y0, x1, y1 = self._region(track, size_wh)
            crops.append(self._scaled(track, (x0, y0, x1, y1), image_bgr[y0:y1, x0:x1].copy()))
        return crops

    def _region(self, track: Track, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
        pad = 0.0 if track.is_whole_frame else self._options.pad
        x0, y0, x1, y1 = pad_and_clip(track.xyxy, pad, size_wh)
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"xyxy must share a pixel with the picture, got {track.xyxy}")
        return x0, y0, x1, y1

    def _scaled(self, track: Track, region: tuple[int, int, int, int], image_bgr: U8) -> Crop:
        longer = max(image_bgr.shape[:2])
        if longer > self._options.max_side_px:
            factor = self._options.max_side_px / longer
            size_wh = (
                max(1, round(image_bgr.shape[1] * factor)),
                max(1, round(image_bgr.shape[0] * factor)),
            )
            image_bgr = np.asarray(
                cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA), np.uint8
            )
        return Crop(track, np.array(region, np.float32), image_bgr)
