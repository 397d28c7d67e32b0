"""A catalog made ready to be searched and verified against."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from pipeline.calibration import Calibration
from pipeline.catalog import Catalog
from pipeline.catalog_format import INDEX
from pipeline.options import SearchOptions
from pipeline.search import Searcher, build_index, read_index
from pipeline.types import F32, Candidate, ItemId, Keypoints
from pipeline.verify import Picture
from pipeline.vote import Voter

VIEWS_KEPT = 64  # decoded views in memory, about 0.5 MB each


class Shelf:
    """One generation of a catalog with its index, its calibration and its last views.

    label: by item id.
    """

    def __init__(self, catalog: Catalog, options: SearchOptions) -> None:
        self.catalog = catalog
        self.calibration = Calibration.of_catalog(catalog.folder)
        self.label = {item.item_id: item.label for item in catalog.items}
        path = catalog.folder / INDEX
        n_views, dim = catalog.embeddings.shape
        if path.is_file():
            index = read_index(path, n_views, dim)
        else:
            index = build_index(catalog.embeddings, options)
        item_ids = [item.item_id for item in catalog.items]
        self.searcher = Searcher(index, catalog.view_item, item_ids, options)
        self._k = options.k
        self._voter = Voter(catalog) if Voter.serves(catalog) else None
        self._views: OrderedDict[int, Picture] = OrderedDict()

    def join_votes(
        self, shortlist: Sequence[Candidate], embedding: F32, keypoints: Keypoints
    ) -> list[Candidate]:
        """Return the shortlist of the search joined with that of the keypoints' votes.

        The first of both come first; at most k. embedding: (D,) float32 unit vector of the crop.
        """
        if self._voter is None:
            return list(shortlist)
        voted = []
        for item, view, lead in self._voter.vote(keypoints, self._k):
            views = self.catalog.embeddings[self.catalog.view_item == item]
            similarity = float((views @ embedding).max())
            voted.append(Candidate(self.catalog.items[item].item_id, view, similarity, lead))
        if voted:
            shortlist = [replace(candidate, vote_lead=-1.0) for candidate in shortlist]
        joined: dict[ItemId, Candidate] = {}
        for pair in zip_longest(voted, shortlist):
            for candidate in pair:
                if candidate is not None:
                    joined.setdefault(candidate.item_id, candidate)
        return list(joined.values())[: self._k]

    def view(self, view_index: int) -> Picture:
        """Return a view's keypoints and small picture, from memory when it was asked for lately."""
        picture = int(self.catalog.view_picture[view_index])
        if picture in self._views:
            self._views.move_to_end(picture)
            return self._views[picture]
        view = Picture(self.catalog.keypoints(view_index), self.catalog.view_image_bgr(view_index))
        self._views[picture] = view
        if len(self._views) > VIEWS_KEPT:
            self._views.popitem(last=False)
        return view
