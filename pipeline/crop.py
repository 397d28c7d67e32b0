"""Regions cut from a frame, or its sharper picture, in colour and in their own memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.color import crop_bgr
from pipeline.options import CropOptions
from pipeline.types import Crop, Frame, Track


class Cropper:
    """Cuts the tracks' boxes, a little wider, out of frames."""

    def __init__(self, options: CropOptions) -> None:
        self._options = options

    def crop(self, frame: Frame, tracks: Sequence[Track]) -> list[Crop]:
        """Return one crop a track, in the order given; a box outside the frame raises ValueError.

        Only the crop's own pixels are converted from the planes.
        """
        cut_from = frame.sharper or frame
        scale = np.tile(frame.detail_xy, 2)
        crops = []
        for track in tracks:
            sides = np.tile(track.xyxy[2:] - track.xyxy[:2], 2)
            pad = 0.0 if track.is_whole_frame else self._options.pad
            wanted = track.xyxy + sides * np.array([-pad, -pad, pad, pad], np.float32)
            image_bgr, xyxy = crop_bgr(cut_from, wanted * scale, self._options.max_side_px)
            crops.append(Crop(track, np.asarray(xyxy / scale, np.float32), image_bgr))
        return crops
