"""Packs for training: families of a pack and its twins, ever more of them as training goes on."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from catalog_tools.synthesize.packs import (
    DEMO_SEED_START,
    natural_size_wh,
    render_pack,
    render_twin,
)

HELD_OUT_SEED_START = DEMO_SEED_START // 2
"""Seeds from here to DEMO_SEED_START are for the trainings' own checks; training draws below."""

SHELVES = 8
"""Steps draw from their own of so many shelves, so that processes that each make every n-th batch
render different packs."""


class PackBank:
    """Which families a step may draw is a function of the bank's seed and the step alone.

    A shelf gets one new family at each of its steps, and the oldest goes. Rendering costs 20 ms a
    pack, so what was drawn is kept while it is on the shelf. capacity: families on all shelves;
    first: on each one at its first step.
    """

    def __init__(self, seed: int, capacity: int, first: int, side_px: int, twins: int) -> None:
        self._seed, self._side_px, self._twins = seed, side_px, twins
        self._first, self._capacity = first, max(first, capacity // SHELVES)
        self._rendered: dict[tuple[int, int], tuple[int, list[np.ndarray]]] = {}

    def draw(
        self, rng: np.random.Generator, step: int, count: int
    ) -> list[tuple[int, list[np.ndarray]]]:
        """Draw different families, `count` or as many as there are: (seed, pictures of the pack and
        its twins).
        """
        shelf, age = step % SHELVES, step // SHELVES
        newest = age + self._first
        oldest = max(0, newest - self._capacity)
        for key in [k for k in self._rendered if k[0] == shelf and k[1] < oldest]:
            del self._rendered[key]
        picks = rng.choice(newest - oldest, min(count, newest - oldest), replace=False)
        return [self._family(shelf, oldest + int(pick)) for pick in picks]

    def _family(self, shelf: int, number: int) -> tuple[int, list[np.ndarray]]:
        key = shelf, number
        if key not in self._rendered:
            own = np.random.default_rng([self._seed, shelf, number])
            seed = int(own.integers(HELD_OUT_SEED_START))
            self._rendered[key] = seed, render_family(seed, self._twins, self._side_px)
        return self._rendered[key]


def render_family(seed: int, twins: int, side_px: int) -> list[np.ndarray]:
    """Render a pack and its first twins, (h, w, 3) uint8 BGR each, `side_px` on the longer side."""
    size = natural_size_wh(seed, side_px)
    return [
        render_pack(seed, size),
        *(render_twin(seed, twin, size) for twin in range(1, twins + 1)),
    ]


def to_rgb_batch(images: Sequence[np.ndarray]) -> np.ndarray:
    """Stack (h, w, 3) uint8 BGR pictures of one size into (B, 3, h, w) uint8 RGB."""
    rgb = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images])
    return np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))
