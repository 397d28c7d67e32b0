"""How good a reference picture is: what it lacks, and one score out of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.types import U8, Detections

MIN_SIDE_PX = 96  # of the original: less cannot fill the embedder's 128 px
MAX_BLUR = 0.65  # sharp pictures of packs measure 0.12-0.34, out of focus by 3 px 0.7-0.9
MIN_KEYPOINTS = 40
MIN_HAND = 0.1  # share of the picture; at 0.04, 8 of 69 packs without a hand would be named
MIN_THING_SHARE = 0.04  # of the picture, to count as a thing of its own
MIN_THING_SCORE = 0.4
# Values from which on more is no better.
GOOD_SIDE_PX, GOOD_BLUR, GOOD_KEYPOINTS = 256, 0.35, 150


@dataclass(frozen=True, slots=True)
class ReferenceQuality:
    """Measures of one reference picture.

    size_wh: of the original. blur: 0 sharp .. 1. hand: share 0..1 that looks like skin and comes
    in from a border. n_beside: things beside the main one. nearest_similarity: to the likest
    picture of another item, -1..1.
    """

    item_id: str
    image: str
    size_wh: tuple[int, int]
    blur: float
    n_keypoints: int
    hand: float
    n_beside: int
    nearest_similarity: float

    @property
    def score(self) -> float:
        """0..1: the worst of all respects, so that it says what to mend first. The hand is left
        out: colour tells it from a print too poorly.
        """
        return round(
            min(
                _rise(min(self.size_wh), 0, GOOD_SIDE_PX),
                _rise(-self.blur, -1.0, -GOOD_BLUR),
                _rise(self.n_keypoints, 0, GOOD_KEYPOINTS),
                1 / (1 + self.n_beside),
                _rise(-self.nearest_similarity, -1.0, -0.8),
            ),
            3,
        )


def measure_blur(image_bgr: U8) -> float:
    """Return how blurred a picture is: 0 sharp .. 1 blurred, whatever it shows.

    image_bgr: (h, w, 3) uint8. Method: Crete et al., "The blur effect" (2007): what a further
    blur takes away from the differences of neighbours; little is left to lose in a blurred one.
    """
    gray = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    kept = []
    for axis, kernel_wh in ((0, (1, 9)), (1, (9, 1))):
        before = np.abs(np.diff(gray, axis=axis))
        after = np.abs(np.diff(cv2.blur(gray, kernel_wh), axis=axis))
        total = float(before.sum())
        lost = float(np.maximum(0, before - after).sum())
        kept.append(1 - lost / total if total > 0 else 1.0)
    return max(kept)


def measure_hand(image_bgr: U8) -> float:
    """Return the share of a picture, 0..1, that has the colour of skin, shaded like something
    round, and comes in from a border.

    image_bgr: (h, w, 3) uint8. Method: the Cr and Cb ranges of Chai and Ngan, "Face segmentation
    using skin-color map" (1999); a print of that colour is flat or sharp, a hand is neither.
    """
    scale = 160 / max(image_bgr.shape[:2])
    size = tuple(max(8, round(side * scale)) for side in image_bgr.shape[1::-1])
    small = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA)
    luma, cr, cb = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb))
    skin = ((cr >= 136) & (cr <= 173) & (cb >= 77) & (cb <= 125) & (luma > 50)).astype(np.uint8)
    skin = cv2.morphologyEx(skin, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    edges = cv2.magnitude(
        cv2.Sobel(luma, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(luma, cv2.CV_32F, 0, 1, ksize=3)
    )
    _, parts = cv2.connectedComponents(skin)
    at_border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    share = 0.0
    for part in at_border[at_border > 0]:
        inner = cv2.erode((parts == part).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        if inner.sum() < 20:
            continue
        shading = float(luma[inner].std())
        if shading > 6 and float(np.median(edges[inner])) < 60:
            share += float((parts == part).mean())
    return share


def count_beside(found: Detections, size_wh: tuple[int, int]) -> int:
    """Return how many things lie beside the largest one: clutter, or several items at once."""
    sides = found.xyxy[:, 2:] - found.xyxy[:, :2]
    areas = sides.prod(axis=1)
    counted = (found.score >= MIN_THING_SCORE) & (areas >= MIN_THING_SHARE * np.prod(size_wh))
    boxes, areas = found.xyxy[counted], areas[counted]
    if len(boxes) < 2:
        return 0
    main = boxes[int(areas.argmax())]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    is_inside = np.all((centers >= main[:2]) & (centers <= main[2:]), axis=1)
    return int((~is_inside).sum())


def _rise(value: float, zero: float, one: float) -> float:
    return max(0.0, min(1.0, (value - zero) / (one - zero)))
