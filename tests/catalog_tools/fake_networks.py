"""What stands for the networks where catalogs are tested, and pictures for them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from catalog_tools.build import Networks
from pipeline.keypoints import KeypointExtractor
from pipeline.options import VerifyOptions


class FakeEmbedder:
    """A picture's 8x8 thumbnail as a unit vector; counts what it was asked."""

    def __init__(self) -> None:
        self.n_pictures = 0
        self.fail_after: int | None = None

    def __call__(self, images_bgr: Sequence[np.ndarray]) -> np.ndarray:
        if self.fail_after is not None and self.n_pictures >= self.fail_after:
            raise KeyboardInterrupt
        self.n_pictures += len(images_bgr)
        rows = np.stack(
            [cv2.resize(i, (8, 8), interpolation=cv2.INTER_AREA).ravel() for i in images_bgr]
        ).astype(np.float32)
        rows -= rows.mean(axis=1, keepdims=True)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def make_networks(embed: FakeEmbedder, sha256: str = "ab" * 32) -> Networks:
    return Networks(embed, sha256, "fake", lambda: KeypointExtractor(VerifyOptions()))


def draw(path: Path, seed: int) -> Path:
    """A blocky picture that no other seed draws."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (12, 9, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.resize(blocks, (180, 240), interpolation=cv2.INTER_NEAREST)
    assert cv2.imwrite(str(path), picture)
    return path
