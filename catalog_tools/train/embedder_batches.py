"""Batches for the embedder: clean pictures of things and a camera's views of them, with labels."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from catalog_tools.catalog_pictures import read_items
from catalog_tools.synthesize.views import camera_view, clean_view, recolour
from catalog_tools.train.options import EmbedderOptions
from catalog_tools.train.pack_bank import PackBank, to_rgb_batch
from catalog_tools.train.pool import Pool, decode, hold_out, open_pool

# Small pictures first: four times as many of them are seen in the same time, and what they teach
# carries over. A fine-tuning starts from weights that have learnt it.
SHARE_OF_SIDE = ((0.5, 0.5), (0.85, 0.75), (1.0, 1.0))
SHARE_OF_SIDE_FINE_TUNING = ((0.6, 0.75), (1.0, 1.0))
# Things of one source are told apart by what they are, things of many by their source alone: shop
# photos, which are of one kind, were all given nearly the same vector by weights trained on many.
KINDS_A_BATCH = 2
PHOTO_SOURCES = ("boofcv", "grocery_fruitveg")  # places and things as cameras see them
TWIN_SHARE = 0.12  # of the real pictures get a twin of another colour beside them

Thing = tuple[int, np.ndarray, np.ndarray]  # label, picture for the clean view, for the camera's


class Progress(Protocol):
    """A clock: see batches_ahead.Clock."""

    def progress(self) -> float: ...


class EmbedderBatches:
    """Makes the batch of any step out of the seed, the step and the clock's progress; held-out
    things are never in one.

    Half of a batch are the catalog's items when there is a catalog; half of the rest are synthetic
    packs with near-twins among them, half pool pictures of two sources, each as often as any other.
    """

    def __init__(
        self, options: EmbedderOptions, side_px: int, clock: Progress, fit: str = "stretch"
    ) -> None:
        self._options, self._side_px, self._clock, self._fit = options, side_px, clock, fit
        self.seed, self.turns = options.seed, options.turns
        self.pool = open_pool(options.pool) if options.pool else Pool({}, {})
        self.items = read_items(options.catalog) if options.catalog else []
        self.held_out = hold_out(self.pool)
        self._bank = PackBank(
            options.seed, capacity=1500, first=max(2, options.batch // 2), side_px=192, twins=2
        )

    def __reduce__(self) -> tuple[object, ...]:
        # A process that makes batches reads the pictures by itself: cheaper than a pickle of them.
        return EmbedderBatches, (self._options, self._side_px, self._clock, self._fit)

    def make(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Make the batch of this step: images (2·T, 3, S, S) uint8 RGB and their labels (2·T,)
        int64.
        """
        rng = np.random.default_rng([self._options.seed, step])
        side = self._side_now()
        batch = self._options.batch
        things = self._draw_items(rng, batch // 2)
        rest = batch - len(things)
        n_packs = rest // 2 if self.pool.groups else rest
        things += self._draw_packs(rng, step, n_packs, len(things))
        while self.pool.groups and len(things) < batch:
            n_kin = min(batch - len(things), -(-(rest - n_packs) // KINDS_A_BATCH))
            things += self._draw_pool(rng, n_kin, len(things))
        seen = [second for _, _, second in things]
        clean = [clean_view(rng, first, side, self._fit) for _, first, _ in things]
        camera = [self._camera_view(rng, second, seen, side) for second in seen]
        labels = np.array([label for label, _, _ in things], np.int64)
        return to_rgb_batch(clean + camera), np.concatenate([labels, labels])

    def photos(self, count: int) -> list[np.ndarray]:
        """Return about so many photographs, each (h, w, 3) uint8 BGR: of PHOTO_SOURCES and those
        with boxes, as many of each; of a pool without either, any of its pictures.
        """
        pool, rng = self.pool, np.random.default_rng(self.seed)
        kinds = [
            [pool.encoded[name] for group in pool.groups.get(source, []) for name in group]
            for source in PHOTO_SOURCES
        ]
        kinds.append([p.encoded for pictures in pool.labelled.values() for p in pictures])
        kinds = [kind for kind in kinds if kind] or [list(pool.encoded.values())]
        each = -(-count // len(kinds))
        picked = [kind[int(i)] for kind in kinds for i in rng.permutation(len(kind))[:each]]
        found = (decode(picked[int(i)]) for i in rng.permutation(len(picked)))
        return [picture[..., :3] for picture in found if picture is not None]

    def _side_now(self) -> int:
        shares = SHARE_OF_SIDE_FINE_TUNING if self.items else SHARE_OF_SIDE
        now = self._clock.progress()
        share = next(share for until, share in shares if now <= until)
        return max(32, round(self._side_px * share / 32) * 32)

    def _camera_view(
        self, rng: np.random.Generator, picture: np.ndarray, seen: list[np.ndarray], side: int
    ) -> np.ndarray:
        near = [seen[int(pick)] for pick in rng.integers(len(seen), size=8)]
        return camera_view(rng, picture, side, near, turns=self.turns, fit=self._fit)

    def _draw_items(self, rng: np.random.Generator, count: int) -> list[Thing]:
        """Draw the catalog's items, each at most twice; their labels are their numbers."""
        numbers = [*rng.permutation(len(self.items)), *rng.permutation(len(self.items))][:count]
        things = [(int(n), *_two_of(rng, self.items[int(n)])) for n in numbers]
        found = (_twin(rng, thing) for thing in things if rng.random() < TWIN_SHARE)
        twins = [twin for twin in found if twin is not None]
        n_kept = len(things) - len(twins)
        return [
            *things[:n_kept],
            *((self._label(n_kept + at), *twin) for at, twin in enumerate(twins)),
        ]

    def _label(self, place: int) -> int:
        """The label of what stands at this place of the batch and is no item."""
        return len(self.items) + place

    def _draw_packs(
        self, rng: np.random.Generator, step: int, count: int, place: int
    ) -> list[Thing]:
        pictures: list[np.ndarray] = []
        for _, family in self._bank.draw(rng, step, count):
            n_members = int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))
            pictures += [family[m] for m in rng.permutation(len(family))[:n_members]]
            if len(pictures) >= count:
                break
        return [(self._label(place + at), p, p) for at, p in enumerate(pictures[:count])]

    def _draw_pool(self, rng: np.random.Generator, count: int, place: int) -> list[Thing]:
        """Draw things of one source, now and then with a twin of another colour."""
        things: list[Thing] = []
        for group in self.pool.draw_kin(rng, count, self.held_out):
            # Another side of the same product counts as the same thing where the pool has one.
            pictures = [self.pool.read(name) for name in group[:4]]
            thing = (self._label(place + len(things)), *_two_of(rng, pictures))
            things.append(thing)
            twin = _twin(rng, thing) if rng.random() < TWIN_SHARE else None
            if twin is not None:
                things.append((self._label(place + len(things)), *twin))
        return things[:count]


def _two_of(rng: np.random.Generator, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of a thing, the same one half of the time."""
    first = pictures[int(rng.integers(len(pictures)))]
    other = pictures[int(rng.integers(len(pictures)))]
    return first, other if rng.random() < 0.5 else first


def _twin(rng: np.random.Generator, thing: Thing) -> tuple[np.ndarray, np.ndarray] | None:
    twins = recolour(rng, [thing[1], thing[2]])
    return None if twins is None else (twins[0], twins[1])
