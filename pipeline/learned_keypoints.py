"""Keypoints by a network (ALIKED, XFeat): an alternative to SIFT that the user chooses.

Light like keypoints.py: the network itself is an engine's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np

from pipeline.engines import Engine, load_engine
from pipeline.errors import ConfigError, WeightsError
from pipeline.keypoints import (
    MAX_ENLARGEMENT,
    MIN_SIDE_PX,
    Extractor,
    KeypointExtractor,
    no_keypoints,
    resize_by,
)
from pipeline.options import EngineOptions, VerifyOptions
from pipeline.types import F32, U8, Keypoints
from pipeline.weights import find_weights, read_spec, sha256_of

STRIDE_PX = 32  # the networks' coarsest grid; their input is a multiple of it
# These methods tell no scale. The constant says "seen" to the correspondence network, whose
# padding has scale 0; about the side of what a descriptor looks at.
SCALE_PX = 8.0
DEFAULT_WEIGHTS = {"aliked": "aliked-n16", "xfeat": "xfeat"}


class LearnedKeypoints:
    """Finds the strongest local features of a picture by a network.

    method: what a catalog is bound to, with the weights' hash in it. descriptor_dim: numbers in a
    descriptor. Safe in several threads; their calls wait for each other.
    """

    def __init__(
        self, engine: Engine, options: VerifyOptions, method: str, descriptor_dim: int
    ) -> None:
        self._engine = engine
        self._side_px = options.keypoint_side_px
        self._max_keypoints = options.max_keypoints
        self._method = method
        self.descriptor_dim = descriptor_dim
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What is extracted and how; a catalog is bound to its method."""
        return f"{self._method}-{self._side_px}px-{self._max_keypoints}"

    def extract(self, image_bgr: U8) -> Keypoints:
        """Find at most `max_keypoints` features, the strongest first.

        image_bgr: (H, W, 3) uint8 BGR, or (H, W) uint8 gray. It is scaled so that its longer side
        is `keypoint_side_px`, at most doubled; positions come back in its own pixels, scales as a
        constant, orientations 0. A tiny or empty picture gives no keypoints.
        """
        height, width = image_bgr.shape[:2]
        if min(height, width) < MIN_SIDE_PX:
            return no_keypoints((width, height), self.descriptor_dim)
        factor = min(self._side_px / max(height, width), MAX_ENLARGEMENT)
        scaled = resize_by(image_bgr, factor)
        size_wh = np.array([scaled.shape[1], scaled.shape[0]], np.float32)
        with self._lock:
            positions, scores, descriptors = self._engine(to_input(scaled), size_wh[None])
        n = min(int((scores[0] > 0).sum()), self._max_keypoints)
        back_xy = np.array([width, height], np.float32) / size_wh
        rows = np.zeros((n, 4), np.float32)
        rows[:, :2] = positions[0, :n] * back_xy
        rows[:, 2] = SCALE_PX * np.sqrt(back_xy[0] * back_xy[1])
        return Keypoints(rows, np.array(descriptors[0, :n], np.float32), (width, height))


def to_input(image: U8) -> F32:
    """The picture as the networks take it: (1, 3, H, W) float32 RGB 0..1, H and W the next
    multiples of the stride; its border is repeated there.
    """
    image_bgr = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    below, right = (-side % STRIDE_PX for side in image_bgr.shape[:2])
    padded = cv2.copyMakeBorder(image_bgr, 0, below, 0, right, cv2.BORDER_REPLICATE)
    planes = padded[:, :, ::-1].transpose(2, 0, 1)[None]
    return np.ascontiguousarray(planes, np.float32) / np.float32(255)


def extractor_maker(engine: EngineOptions, options: VerifyOptions) -> Callable[[], Extractor]:
    """Return what makes an extractor for a thread, as the options ask; a network is loaded once.

    Raises ConfigError, WeightsError or EngineError at once, not when the first one is made.
    """
    if options.keypoints == "rootsift":
        if options.keypoint_weights is not None:
            raise ConfigError.at(
                "verify.keypoint_weights",
                "rootsift needs none",
                str(options.keypoint_weights),
                "set verify.method to one of aliked or xfeat, or leave the weights out",
            )
        return lambda: KeypointExtractor(options)
    learned = load_learned_keypoints(engine, options)
    return lambda: learned


def load_learned_keypoints(engine: EngineOptions, options: VerifyOptions) -> LearnedKeypoints:
    """Return ALIKED's or XFeat's keypoints, ready to run."""
    default = DEFAULT_WEIGHTS[options.keypoints]
    weights = find_weights("keypoints", options.keypoint_weights, default)
    spec = read_spec(weights)
    architecture = str(spec.get("architecture", ""))
    if not architecture.startswith(options.keypoints):
        raise WeightsError.at(
            f"verify.keypoint_weights {weights}",
            f"expected {options.keypoints} keypoints, as verify.method says",
            architecture or "weights of something else",
            f"leave them out to use {default}, or name others",
        )
    if options.max_keypoints > int(spec["count"]):
        raise ConfigError.at(
            "verify.max_keypoints",
            f"{architecture} gives at most {spec['count']}",
            options.max_keypoints,
        )
    method = f"{architecture}-{sha256_of(weights)[:8]}"
    network = load_engine(weights, engine)
    return LearnedKeypoints(network, options, method, int(spec["descriptor_dim"]))
