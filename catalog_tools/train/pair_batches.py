"""Batches for the correspondence network, out of a store of pairs that grows while it learns.

Rendering a pair costs more than learning from it, so each is used several times, under changes
that are exact on keypoints: swapped, turned by quarters, thinned out, given a foreign partner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from catalog_tools.train.batches_ahead import made_ahead
from catalog_tools.train.options import MatcherOptions
from catalog_tools.train.pairs import IGNORED, UNMATCHED, Drawer, Pair, assign, make_pair
from pipeline.keypoints import KeypointExtractor
from pipeline.options import VerifyOptions
from pipeline.types import Keypoints

COUNTS = (96, 128, 160, 256)  # keypoints a picture, drawn anew for every batch
FOREIGN_SHARE = 0.12  # pairs that share nothing
TWIN_SHARE = 0.1  # pairs of a pack and its near-twin: what is printed otherwise has no partner
TURN_SHARE = 0.3
USES_PER_PAIR = 5.0
KEPT_PAIRS = 5000
FIRST_BATCHES = 15  # pairs to begin with, in batches
PAIRS_A_DRAW = 4
CHECK_SEED = 0x4E1D0000  # above the seeds that trainings are given

Example = tuple[Keypoints, Keypoints, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class PairBatch:
    """The network's six inputs, and the true partners: (B, N) int64 on both sides."""

    inputs: list[Tensor]
    partner0: Tensor
    partner1: Tensor


class PairMaker:
    """Makes a few pairs out of the seed and their number."""

    def __init__(self, options: MatcherOptions, seed: int) -> None:
        assert options.pool is not None, "the options see to it"
        self._options, self._seed = options, seed
        self._drawer, self._extractor = (
            Drawer(options.pool, seed),
            KeypointExtractor(VerifyOptions()),
        )

    def __reduce__(self) -> tuple[object, ...]:
        # A process that makes pairs reads the pool by itself: cheaper than a pickle of it.
        return PairMaker, (self._options, self._seed)

    def make(self, number: int) -> list[Pair]:
        """Make PAIRS_A_DRAW pairs."""
        rng = np.random.default_rng([self._seed, number])
        return [self._make_one(rng, number) for _ in range(PAIRS_A_DRAW)]

    def _make_one(self, rng: np.random.Generator, number: int) -> Pair:
        is_twin = rng.random() < TWIN_SHARE
        twins = self._drawer.draw_twins(rng, number) if is_twin else None
        return make_pair(rng, self._drawer.at(number), self._extractor, twins)


class PairStore:
    """The newest pairs; new ones are rendered beside the learning. Close it when done."""

    def __init__(self, options: MatcherOptions, first_number: int) -> None:
        maker = PairMaker(options, options.seed)
        self._options = options
        self._ahead = made_ahead(maker.make, first_number, options.workers)
        self.pairs: list[Pair] = []
        self._n_made = 0
        self._n_used = 0

    def make(self, step: int) -> PairBatch:
        """Draw the batch of a step, after waiting for as many new pairs as the uses call for."""
        batch = self._options.batch
        self.fill(FIRST_BATCHES * batch + int(self._n_used / USES_PER_PAIR))
        self._n_used += batch
        return sample_batch(self.pairs, np.random.default_rng([self._options.seed, step, 1]), batch)

    def fill(self, wanted: int) -> None:
        """Take over rendered pairs until so many were made in all."""
        while self._n_made < wanted:
            for pair in next(self._ahead):
                if len(self.pairs) < KEPT_PAIRS:
                    self.pairs.append(pair)
                else:
                    self.pairs[self._n_made % KEPT_PAIRS] = pair
                self._n_made += 1

    def close(self) -> None:
        """End the rendering."""
        self._ahead.close()


def make_pairs(options: MatcherOptions, count: int) -> list[Pair]:
    """Pairs for checks: the same ones for the same seed, none of which is learnt from."""
    maker = PairMaker(options, options.seed + CHECK_SEED)
    made = [pair for number in range(-(-count // PAIRS_A_DRAW)) for pair in maker.make(number)]
    return made[:count]


def sample_batch(pairs: Sequence[Pair], rng: np.random.Generator, batch: int) -> PairBatch:
    """Draw pairs and change them as the module says."""
    count = int(rng.choice(COUNTS))
    examples: list[Example] = []
    for index in rng.integers(len(pairs), size=batch):
        pair = pairs[int(index)]
        partner0, partner1 = assign(pair, count)
        scene = pair.scene
        if rng.random() < FOREIGN_SHARE:
            scene = pairs[int(rng.integers(len(pairs)))].scene
            if scene is not pair.scene:
                partner0 = np.full(len(partner0), UNMATCHED)
                partner1 = np.full(min(count, len(scene)), UNMATCHED)
        if rng.random() < TURN_SHARE:
            scene = turn_quarters(scene, int(rng.integers(1, 4)))
        example = (pair.view, scene, partner0, partner1)
        if rng.random() < 0.5:
            example = (scene, pair.view, partner1, partner0)
        examples.append(example)
    return collate(examples, count)


def collate(examples: Sequence[Example], count: int) -> PairBatch:
    """Stack examples, padded to `count` keypoints; padding is IGNORED in the truth."""
    partners = np.full((2, len(examples), count), IGNORED)
    padded = []
    for row, (first, second, partner0, partner1) in enumerate(examples):
        padded.append((*first.padded(count), *second.padded(count)))
        partners[0, row, : len(partner0)] = partner0
        partners[1, row, : len(partner1)] = partner1
    kpts0, desc0, kpts1, desc1 = (
        torch.from_numpy(np.stack(part)) for part in zip(*padded, strict=True)
    )
    sizes0 = torch.tensor([e[0].image_size_wh for e in examples], dtype=torch.float32)
    sizes1 = torch.tensor([e[1].image_size_wh for e in examples], dtype=torch.float32)
    truth = torch.from_numpy(partners)
    return PairBatch([kpts0, kpts1, desc0, desc1, sizes0, sizes1], truth[0], truth[1])


def turn_quarters(keypoints: Keypoints, quarters: int) -> Keypoints:
    """The keypoints as if their picture had been turned clockwise by quarters of a turn."""
    rows, (width, height) = keypoints.xy_scale_ori.copy(), keypoints.image_size_wh
    for _ in range(quarters):
        rows[:, 0], rows[:, 1] = height - rows[:, 1], rows[:, 0].copy()
        width, height = height, width
    rows[:, 3] = np.mod(rows[:, 3] + quarters * np.pi / 2, 2 * np.pi)
    return Keypoints(rows, keypoints.descriptors, (width, height))
