"""What a taught embedder learns to tell apart: pool pictures, what real boxes hold, packs and
their twins."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context

import numpy as np

from catalog_tools.train.options import TaughtOptions
from catalog_tools.train.pack_bank import HELD_OUT_SEED_START, render_family
from catalog_tools.train.pool import Pool, decode, hold_out, open_pool

PACK_SHARE = 0.3  # of a batch; the rest are pictures of real things
KINDS_A_BATCH = 4  # sources of a batch's real pictures: things of a kind are hard to tell apart
HUE_SHARE = 0.1  # of the real things get a twin in other colours beside them
LEAST_BOX_PX = 40
TWINS = 2
PACK_SIDE_PX = 224
MAX_HELD_OUT = 400


@dataclass(frozen=True, slots=True)
class Things:
    """Pictures, and what they show.

    pictures: (h, w, 3) BGR or (h, w, 4) BGRA uint8 each. kinds: by source, things as arrays of
    picture numbers (several views of a thing are one). packs: families as arrays, a pack and its
    twins. held_out: picture numbers for the checks, never drawn.
    """

    pictures: list[np.ndarray]
    kinds: dict[str, list[np.ndarray]]
    packs: list[np.ndarray]
    held_out: dict[str, np.ndarray]

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
        """Draw so many things: numbers of the picture for the clean view and for the camera's (B,)
        int64 each, labels (B,) int64, turns of their colours (B,) float32 rad.
        """
        rows: list[tuple[int, int, float]] = []
        for place in rng.permutation(len(self.packs)):
            family = self.packs[int(place)]
            members = rng.permutation(family)[: int(rng.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))]
            rows += [(int(m), int(m), 0.0) for m in members]
            if len(rows) >= count * PACK_SHARE:
                break
        names = list(self.kinds)
        chosen = rng.choice(len(names), min(KINDS_A_BATCH, len(names)), replace=False)
        each = -(-(count - len(rows)) // len(chosen))
        for kind in chosen:
            rows += list(islice(self._drawn(rng, self.kinds[names[int(kind)]]), each))
        rows = rows[:count]
        first, second, hue = zip(*rows, strict=True)
        labels = np.arange(len(rows), dtype=np.int64)
        return (
            np.array(first, np.int64),
            np.array(second, np.int64),
            labels,
            np.array(hue, np.float32),
        )

    def _drawn(
        self, rng: np.random.Generator, things: list[np.ndarray]
    ) -> Iterator[tuple[int, int, float]]:
        for place in rng.permutation(len(things)):
            views = things[int(place)]
            first = int(rng.choice(views))
            second = int(rng.choice(views)) if rng.random() < 0.5 else first
            yield first, second, 0.0
            if rng.random() < HUE_SHARE:
                yield first, second, float(rng.uniform(0.7, 5.6))


def gather_things(options: TaughtOptions) -> Things:
    """Read the pool and render the packs; the same options give the same things."""
    pool = open_pool(options.pool) if options.pool else Pool({}, {})
    kept = hold_out(pool)
    pictures: list[np.ndarray] = []
    kinds: dict[str, list[np.ndarray]] = {}
    held: list[int] = []
    for source, groups in sorted(pool.groups.items()):
        for group in groups:
            numbers = _add(pictures, [decode(pool.encoded[name]) for name in group[:6]])
            if group[0] in kept:
                held += [int(n) for n in numbers[:1]]
            elif len(numbers):
                kinds.setdefault(source, []).append(numbers)
    for source, crops in _boxed(pool):
        kinds.setdefault(source, []).append(_add(pictures, [crops]))
    rendered = _render(options)
    packs = [_add(pictures, family) for family in rendered[: options.packs]]
    unseen = [n for family in rendered[options.packs :] for n in _add(pictures, family)]
    held_out = {
        "pool": np.array(held[:: -(-len(held) // MAX_HELD_OUT) or 1]),
        "packs": np.array(unseen),
    }
    return Things(pictures, kinds, packs, {k: v for k, v in held_out.items() if len(v)})


def _add(pictures: list[np.ndarray], found: list[np.ndarray | None]) -> np.ndarray:
    """Append the pictures that are ones; give their numbers."""
    first = len(pictures)
    pictures += [
        picture for picture in found if picture is not None and min(picture.shape[:2]) >= 8
    ]
    return np.arange(first, len(pictures))


def _boxed(pool: Pool) -> Iterator[tuple[str, np.ndarray]]:
    """Cut out what the real boxes of the training split hold, with its source."""
    for split, labelled in sorted(pool.labelled.items()):
        if split == "val":
            continue
        for picture in labelled:
            image = decode(picture.encoded)
            if image is None:
                continue
            height, width = image.shape[:2]
            boxes = picture.xyxy_share * (width, height, width, height)
            for x0, y0, x1, y1 in np.clip(boxes, 0, (width, height, width, height)).astype(int):
                if min(x1 - x0, y1 - y0) >= LEAST_BOX_PX:
                    yield f"boxes of {picture.source}", image[y0:y1, x0:x1]


def _render(options: TaughtOptions) -> list[list[np.ndarray]]:
    """Families of packs, the last of them of seeds that are kept for checks."""
    rng = np.random.default_rng([options.seed, 0x9AC4])
    seeds = [int(seed) for seed in rng.integers(HELD_OUT_SEED_START, size=options.packs)]
    seeds += [HELD_OUT_SEED_START + number for number in range(options.check_count)]
    render = partial(render_family, twins=TWINS, side_px=PACK_SIDE_PX)
    if not options.workers:
        return [render(seed) for seed in seeds]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as processes:
        return list(processes.map(render, seeds, chunksize=8))
