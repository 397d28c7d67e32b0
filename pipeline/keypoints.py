"""Local features of a picture: SIFT by OpenCV, compared as RootSIFT.

Light on purpose (numpy and OpenCV only): catalog building, verification and training share it.
Kept as the first default because scale and rotation come with it and no network has to run.
"""

from __future__ import annotations

import re
from typing import Protocol

import cv2
import numpy as np

from pipeline.options import VerifyOptions
from pipeline.types import F32, U8, Keypoints

MAX_ENLARGEMENT = 2.0  # beyond it SIFT finds only the interpolation
CONTRAST_THRESHOLD = 0.02  # half of OpenCV's default: dim and blurred crops keep their features
MIN_SIDE_PX = 8  # SIFT's pyramid needs a few pixels; less holds no identity anyway


class Extractor(Protocol):
    """What finds a picture's keypoints: SIFT here, networks in learned_keypoints.py.

    descriptor_dim: numbers in a descriptor.
    """

    descriptor_dim: int

    @property
    def name(self) -> str:
        """What is extracted and how, `<method>-<side>px-<count>`."""
        ...

    def extract(self, image_bgr: U8) -> Keypoints:
        """Find the strongest features of a picture, (H, W, 3) uint8 BGR or (H, W) uint8."""
        ...


class KeypointExtractor:
    """Finds the strongest local features of a picture by SIFT."""

    descriptor_dim = 128

    def __init__(self, options: VerifyOptions) -> None:
        self._side_px = options.keypoint_side_px
        self._max_keypoints = options.max_keypoints
        # enable_precise_upscale: without it positions are off by a quarter of a pixel.
        self._sift = cv2.SIFT_create(  # type: ignore[attr-defined]
            nfeatures=options.max_keypoints,
            contrastThreshold=CONTRAST_THRESHOLD,
            enable_precise_upscale=True,
        )

    @property
    def name(self) -> str:
        """What is extracted and how; a catalog is bound to its method."""
        return f"rootsift-{self._side_px}px-{self._max_keypoints}"

    def extract(self, image_bgr: U8) -> Keypoints:
        """Find at most `max_keypoints` features, the strongest first.

        image_bgr: (H, W, 3) uint8 BGR, or (H, W) uint8 gray. It is scaled so that its longer
        side is `keypoint_side_px`, at most doubled; positions and scales come back in its own
        pixels. A flat, tiny or empty picture gives no keypoints: that is an answer, not an error.
        """
        gray = to_gray(image_bgr)
        height, width = gray.shape
        if min(height, width) < MIN_SIDE_PX:
            return no_keypoints((width, height))
        factor = min(self._side_px / max(height, width), MAX_ENLARGEMENT)
        scaled = resize_by(gray, factor)
        found, descriptors = self._sift.detectAndCompute(scaled, None)
        if descriptors is None or len(found) == 0:
            return no_keypoints((width, height))
        rows = np.array(
            [(*k.pt, k.size, np.deg2rad(k.angle), k.response) for k in found], np.float64
        )
        # OpenCV keeps ties beyond nfeatures, in an order that depends on nfeatures; ours is fixed.
        keys = (rows[:, 3], rows[:, 2], rows[:, 0], rows[:, 1], -rows[:, 4])
        order = np.lexsort(keys)[: self._max_keypoints]
        back_xy = np.array([width / scaled.shape[1], height / scaled.shape[0]])
        rows = rows[order]
        rows[:, :2] = (rows[:, :2] + 0.5) * back_xy  # OpenCV puts the first centre at 0
        rows[:, 2] *= np.sqrt(back_xy[0] * back_xy[1])
        return Keypoints(
            np.ascontiguousarray(rows[:, :4], np.float32),
            to_rootsift(descriptors[order]),
            (width, height),
        )


def method_of(extractor_name: str) -> str:
    """The method in an extractor's name; keypoints compare when it is the same."""
    return re.sub(r"-\d+px-\d+$", "", extractor_name)


def budget_of(extractor_name: str) -> int:
    """The count in an extractor's name: how many keypoints a picture has at most."""
    return int(extractor_name.rpartition("-")[2])


def to_gray(image: U8) -> U8:
    """The picture's luma, (H, W) uint8, from (H, W, 3) BGR or gray."""
    if (
        image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or (image.ndim == 3 and image.shape[2] != 3)
    ):
        raise ValueError(
            f"a picture must be (H, W, 3) uint8 BGR or (H, W) uint8, "
            f"got {image.shape} {image.dtype}"
        )
    if image.ndim == 2:
        return image
    if image.size == 0:
        return image[..., 0]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def resize_by(image: U8, factor: float) -> U8:
    """The picture scaled by `factor`, at least 1 px a side; area-averaged when it shrinks."""
    size_wh = (
        max(1, round(image.shape[1] * factor)),
        max(1, round(image.shape[0] * factor)),
    )
    if size_wh == (image.shape[1], image.shape[0]):
        return image
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_wh, interpolation=interpolation), np.uint8)


def to_rootsift(descriptors: F32) -> F32:
    """Unit vectors whose dot product is the Hellinger kernel of the SIFT histograms.

    descriptors: (N, 128) float32 >= 0. Method: Arandjelović and Zisserman, "Three things
    everyone should know to improve object retrieval" (CVPR 2012).
    """
    total = np.maximum(descriptors.sum(1, keepdims=True), 1e-9)
    return np.asarray(np.sqrt(descriptors / total), np.float32)


def no_keypoints(image_size_wh: tuple[int, int], dim: int = 128) -> Keypoints:
    """The keypoints of a picture in which nothing was found."""
    return Keypoints(np.zeros((0, 4), np.float32), np.zeros((0, dim), np.float32), image_size_wh)
