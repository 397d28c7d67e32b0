"""Stand-ins for trained networks, and what a catalog is built with on top of them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from catalog_tools.describe import Embed
from catalog_tools.networks import Networks
from pipeline.embed import Embedder
from pipeline.engines import Array
from pipeline.keypoints import KeypointExtractor
from pipeline.options import EmbedOptions, VerifyOptions

EMBEDDER_SHA256 = "f" * 64


class ColorsEngine:
    """An embedder of 9 x 9 colours."""

    name = "fake"
    device = "cpu"
    calls_at_once = 1

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        images = arrays[0]
        if len(images):
            self.batches.append(len(images))
        rows = np.zeros((len(images), 256), np.float32)
        for row, image in zip(rows, images, strict=True):
            rgb = image.astype(np.float32) / 255
            small = cv2.resize(rgb, (9, 9), interpolation=cv2.INTER_AREA)
            row[:243] = (small - small.mean()).ravel()
            row /= max(float(np.linalg.norm(row)), 1e-6)
        return (rows,)


class BoxesEngine:
    """A detector that finds what it is told: boxes in px of its own input, by brightness."""

    name = "fake"
    device = "cpu"
    calls_at_once = 1

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Packs lie on a dark ground here: what is brighter is a box."""
        images = arrays[0]
        if len(images):
            self.batches.append(len(images))
        found = np.zeros((len(images), 300, 6), np.float32)
        for rows, image in zip(found, images, strict=True):
            bright = (np.ptp(image, axis=2) + image.mean(axis=2) > 0.35 * 255).astype(np.uint8)
            bright[(image == 114).all(axis=2)] = 0  # the letterbox's border
            joined = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
            _, _, stats, _ = cv2.connectedComponentsWithStats(joined)
            boxes = [s for s in stats[1:] if s[2] > 20 and s[3] > 20]
            for row, (x, y, w, h, _) in zip(rows, boxes, strict=False):
                row[:] = (x, y, x + w, y + h, 0.9, 0)
        return (found,)


def colors_embedder(options: EmbedOptions | None = None) -> Embedder:
    """The real embedder on the fake network."""
    return Embedder(ColorsEngine(), options or EmbedOptions(), EMBEDDER_SHA256, "colours")


class FakeEmbedder:
    """Embeds pictures by their colours; counts what it was asked, and fails after `fail_after`."""

    def __init__(self) -> None:
        self._embedder = colors_embedder()
        self.n_pictures = 0
        self.fail_after: int | None = None

    def __call__(self, images_bgr: Sequence[np.ndarray]) -> np.ndarray:
        if self.fail_after is not None and self.n_pictures >= self.fail_after:
            raise KeyboardInterrupt
        self.n_pictures += len(images_bgr)
        return self._embedder.embed(images_bgr)


def make_networks(embed: Embed | None = None, sha256: str = EMBEDDER_SHA256) -> Networks:
    """What a catalog is built with."""
    return Networks(
        embed or FakeEmbedder(), sha256, "colours", lambda: KeypointExtractor(VerifyOptions())
    )
