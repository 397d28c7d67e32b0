"""Packs kept ready for training: families of a pack and its twins, ever more of them as training
goes on.
"""

from __future__ import annotations

import cv2
import numpy as np

from catalog_tools.packs import DEMO_SEED_START, natural_size_wh, render_pack, render_twin

HELD_OUT_SEED_START = DEMO_SEED_START // 2
"""Seeds from here to DEMO_SEED_START are for the trainings' own checks; training draws below."""


class PackBank:
    """Rendered packs by family (seed); rendering costs 20 ms, so each is used many times before it
    is replaced.
    """

    def __init__(self, capacity: int, side_px: int, twins: int) -> None:
        self._capacity, self._side_px, self._twins = capacity, side_px, twins
        self._families: list[tuple[int, list[np.ndarray]]] = []
        self._next = 0

    def refresh(self, rng: np.random.Generator, count: int) -> None:
        """Render `count` new families; the oldest make room."""
        for _ in range(count):
            seed = int(rng.integers(HELD_OUT_SEED_START))
            family = (seed, render_family(seed, self._twins, self._side_px))
            if len(self._families) < self._capacity:
                self._families.append(family)
            else:
                self._families[self._next % self._capacity] = family
            self._next += 1

    def draw(self, rng: np.random.Generator, count: int) -> list[tuple[int, list[np.ndarray]]]:
        """Draw different families: (seed, pictures of the pack and its twins)."""
        picks = rng.choice(len(self._families), min(count, len(self._families)), replace=False)
        return [self._families[int(pick)] for pick in picks]


def render_family(seed: int, twins: int, side_px: int) -> list[np.ndarray]:
    """Render a pack and its first twins, (h, w, 3) uint8 BGR each, `side_px` on the longer side."""
    size = natural_size_wh(seed, side_px)
    return [
        render_pack(seed, size),
        *(render_twin(seed, twin, size) for twin in range(1, twins + 1)),
    ]


def to_rgb_batch(images: list[np.ndarray]) -> np.ndarray:
    """Stack (h, w, 3) uint8 BGR pictures of one size into (B, 3, h, w) uint8 RGB."""
    rgb = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images])
    return np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))
