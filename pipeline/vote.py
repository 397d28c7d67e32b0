"""The second shortlist: which items share printed details with a crop, whatever it is embedded as.

Every keypoint of the crop votes for the items that it finds its like in. On packs it finds items
that the embedding misses (another size of text, a hand over half of it), and costs one matrix
product. Only for catalogs small enough for it; larger ones rely on the embedding.
"""

from __future__ import annotations

import numpy as np

from pipeline.catalog import Catalog
from pipeline.types import Keypoints

MAX_DESCRIPTORS = 60_000  # of all pictures together: 30 MB, 10-20 ms a crop on two cores
MIN_A_PICTURE = 32  # a picture of fewer keypoints says too little; above 1,875 pictures: no votes
RIVALS = 5  # a keypoint votes for an item by how much nearer it is than to the next so many items


class Voter:
    """Ranks a catalog's items by the votes of a crop's keypoints."""

    def __init__(self, catalog: Catalog) -> None:
        n_pictures = catalog.manifest.n_pictures
        first_view = np.unique(catalog.view_picture, return_index=True)[1]
        limit = MAX_DESCRIPTORS // max(1, n_pictures)
        parts = [catalog.keypoints(int(view)).descriptors[:limit] for view in first_view]
        kept = [i for i, part in enumerate(parts) if len(part)]
        self._first_view = first_view[kept]
        self._item = catalog.view_item[self._first_view]
        self._n_items = len(catalog.items)
        self._starts = np.cumsum([0, *(len(parts[i]) for i in kept)])[:-1]
        self._descriptors = np.concatenate([parts[i] for i in kept]) if kept else parts[0]

    @staticmethod
    def serves(catalog: Catalog) -> bool:
        """Whether the catalog is small enough."""
        return catalog.manifest.n_pictures * MIN_A_PICTURE <= MAX_DESCRIPTORS

    def vote(self, keypoints: Keypoints, k: int) -> list[tuple[int, int, float]]:
        """Return the items with most votes, at most k: (item index, view that got the most,
        vote lead as a Candidate has it).
        """
        if len(keypoints) == 0 or len(self._item) == 0:
            return []
        nearness = keypoints.descriptors @ self._descriptors.T
        of_picture = np.maximum.reduceat(nearness, self._starts, axis=1)
        distance = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * of_picture))
        of_item = np.full((self._n_items, len(keypoints)), 2.0, np.float32)
        np.minimum.at(of_item, self._item, distance.T)
        rank = min(RIVALS, self._n_items - 1)
        rival = np.partition(of_item, rank, axis=0)[rank]
        picture_votes = np.maximum(0.0, rival[:, None] - distance).sum(axis=0)
        item_votes = np.maximum(0.0, rival[None] - of_item).sum(axis=1)
        chosen = np.argsort(-item_votes, kind="stable")[:k]
        if item_votes[chosen[0]] <= 0:
            return []
        first, second = np.sort(item_votes)[::-1][:2] if self._n_items > 1 else (1.0, 0.0)
        found = []
        for item in chosen[item_votes[chosen] > 0]:
            mine = np.flatnonzero(self._item == item)
            best = mine[np.argmax(picture_votes[mine])]
            lead = (item_votes[item] - (second if item == chosen[0] else first)) / first
            found.append((int(item), int(self._first_view[best]), float(lead)))
        return found
