"""The second shortlist: which items share printed details with a crop, whatever it is embedded as.

Every keypoint of the crop votes for the items that it finds its like in. On packs it finds items
that the embedding misses (another size of text, a hand over half of it). Small catalogs are
searched exactly, larger ones by an index that is built with them.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.catalog import Catalog
from pipeline.catalog_format import VOTES
from pipeline.identify.search import build_descriptor_index, read_descriptor_index, write_index
from pipeline.types import F32, Keypoints

MAX_EXACT = 12_800  # descriptors of all pictures: 12 ms a crop on one core, as the index takes
DIRECTIONS = 64  # in which they vary most: half the work, and as many right items among the first 4
LEAST_EXACT = 100  # a picture; above 128 pictures the index takes over (32 a picture mislead)
MAX_INDEXED = 400_000  # 55 MB on disk, mapped
MOST_INDEXED, LEAST_INDEXED = 128, 16  # a picture; above 25,000 pictures: no votes
NEAREST = 64  # descriptors that a keypoint looks at
RIVALS = 5  # a keypoint votes for an item by how much nearer it is than to the next so many items


class Voter:
    """Ranks a catalog's items by the votes of a crop's keypoints."""

    def __init__(self, catalog: Catalog) -> None:
        """Raises CatalogError when the catalog's index of descriptors is damaged."""
        counts = np.minimum(catalog.keypoint_counts, kept_a_picture(len(catalog.keypoint_counts)))
        self._first_view = np.unique(catalog.view_picture, return_index=True)[1]
        self._item_of = catalog.view_item[self._first_view].astype(np.int64)
        self._picture_of = np.repeat(np.arange(len(counts)), counts)
        self._voting, self._starts = np.unique(self._picture_of, return_index=True)
        self._n_items = len(catalog.items)
        self._exact: tuple[F32, F32] | None = None  # directions, and descriptors along them
        self._index = None  # both None: too large a catalog, or built before it had an index
        path = catalog.folder / VOTES
        if path.is_file():
            self._index = read_descriptor_index(path, len(self._picture_of))
        elif 0 < len(self._picture_of) <= MAX_EXACT:
            pairs = zip(self._first_view, counts, strict=True)
            # Copies: a slice would keep all of a picture's descriptors in memory.
            kept = [catalog.keypoints(int(v)).descriptors[:n].copy() for v, n in pairs]
            descriptors = np.concatenate(kept)
            directions = _main_directions(descriptors)
            self._exact = directions, descriptors @ directions

    def vote(self, keypoints: Keypoints, k: int) -> list[tuple[int, int, float]]:
        """Return the items with most votes, at most k: (item index, view that got the most,
        vote lead as a Proposal has it).
        """
        if len(keypoints) == 0:
            return []
        if self._exact is not None:
            directions, descriptors = self._exact
            votes = self._votes_exact(keypoints.descriptors @ directions, descriptors)
            return self._ranked(*votes, k)
        if self._index is not None:
            return self._ranked(*self._votes_by_index(keypoints.descriptors), k)
        return []

    def _votes_exact(self, asked: F32, descriptors: F32) -> tuple[np.ndarray, np.ndarray]:
        """Return the votes of each item and of each picture, in a quarter of faiss's time."""
        nearness = asked @ descriptors.T
        of_picture = np.maximum.reduceat(nearness, self._starts, axis=1)
        distance = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * of_picture))
        of_item = np.full((self._n_items, len(asked)), 2.0, np.float32)
        np.minimum.at(of_item, self._item_of[self._voting], distance.T)
        rank = min(RIVALS, self._n_items - 1)
        rival = np.partition(of_item, rank, axis=0)[rank]
        picture_votes = np.zeros(len(self._item_of))
        picture_votes[self._voting] = np.maximum(0.0, rival[:, None] - distance).sum(axis=0)
        return np.maximum(0.0, rival[None] - of_item).sum(axis=1), picture_votes

    def _votes_by_index(self, asked: F32) -> tuple[np.ndarray, np.ndarray]:
        """Return the same by the nearest descriptors alone."""
        assert self._index is not None
        nearness, rows = self._index.search(asked, NEAREST)
        found = np.flatnonzero(rows >= 0)  # an index may find fewer than asked
        if len(found) == 0:  # an extractor that gave no numbers
            return np.zeros(1), np.zeros(1)
        voter = found // NEAREST
        distance = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * nearness.ravel()[found]))
        picture = self._picture_of[rows.ravel()[found]]
        farthest = np.zeros(len(asked))
        farthest[voter] = distance  # ascending: the last one stays
        first = _nearest_of_each(voter, self._item_of[picture])
        rival = _rival_distance(voter[first], distance[first], farthest, self._n_items)
        lead = np.maximum(0.0, rival[voter] - distance)
        votes = np.bincount(self._item_of[picture[first]], lead[first])
        first = _nearest_of_each(voter, picture)
        n_pictures = len(self._item_of)
        return votes, np.bincount(picture[first], lead[first], minlength=n_pictures)

    def _ranked(
        self, votes: np.ndarray, picture_votes: np.ndarray, k: int
    ) -> list[tuple[int, int, float]]:
        chosen = np.argsort(-votes, kind="stable")[:k]
        if votes[chosen[0]] <= 0:
            return []
        first, second = np.sort(np.r_[votes, 0.0])[::-1][:2]
        ranked = []
        for item in chosen[votes[chosen] > 0]:
            mine = np.flatnonzero(self._item_of == item)
            best = mine[np.argmax(picture_votes[mine])]
            lead = (votes[item] - (second if item == chosen[0] else first)) / first
            ranked.append((int(item), int(self._first_view[best]), float(lead)))
        return ranked


def kept_a_picture(n_pictures: int) -> int:
    """Return how many descriptors of each picture vote, the strongest; 0: the catalog has none."""
    exact = MAX_EXACT // max(1, n_pictures)
    if exact >= LEAST_EXACT:
        return exact
    indexed = min(MOST_INDEXED, MAX_INDEXED // n_pictures)
    return indexed if indexed >= LEAST_INDEXED else 0


def write_votes_index(folder: Path) -> None:
    """Write the index of a generation's descriptors if it is too large to be searched exactly."""
    starts = np.load(folder / "keypoint_starts.npy")
    kept = kept_a_picture(len(starts) - 1)
    n_voting = int(np.minimum(np.diff(starts), kept).sum())
    if n_voting <= MAX_EXACT:
        return
    stored = np.load(folder / "descriptors.npy", mmap_mode="r")
    ranges = [np.arange(a, min(a + kept, b)) for a, b in pairwise(starts)]
    voting = stored[np.concatenate(ranges)].astype(np.float32)
    voting /= np.maximum(np.linalg.norm(voting, axis=1, keepdims=True), np.float32(1e-6))
    write_index(build_descriptor_index(voting), folder / VOTES)


def _main_directions(descriptors: F32) -> F32:
    """(D, <= DIRECTIONS) float32: orthonormal, those that carry most of the descriptors.

    Method: Ke and Sukthankar, "PCA-SIFT" (CVPR 2004), of finished descriptors and about the origin,
    so that inner products stay what they are. descriptors: (N, D) float32.
    """
    _, directions = np.linalg.eigh(descriptors.T @ descriptors)  # ascending
    return np.ascontiguousarray(directions[:, ::-1][:, :DIRECTIONS], np.float32)


def _nearest_of_each(voter: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Return the rows, ascending, in which a voter meets an owner first; nearest come first."""
    keys = voter * (int(owner.max()) + 1) + owner
    return np.sort(np.unique(keys, return_index=True)[1])


def _rival_distance(
    voter: np.ndarray, distance: np.ndarray, farthest: np.ndarray, n_items: int
) -> np.ndarray:
    """Return each voter's distance to its item number RIVALS, or what it is at least.

    voter, distance: (M,) by voter, then ascending; one row an item. farthest: (N,) of all that a
    voter found. A voter that found no such item, as all its nearest are of a few items with many
    pictures, has it no nearer than the farthest; one that found all items there are takes the last.
    """
    counts = np.bincount(voter, minlength=len(farthest))
    starts = np.cumsum(counts) - counts
    rank = min(RIVALS, n_items - 1)
    rival = farthest.copy()
    met = counts > rank
    rival[met] = distance[starts[met] + rank]
    return rival
