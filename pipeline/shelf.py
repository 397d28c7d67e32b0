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
from pipeline.panels import Panel, PanelFinder
from pipeline.search import Searcher, build_index, read_index
from pipeline.types import F32, U8, Candidate, ItemId, Keypoints
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
        self._panel_finder = PanelFinder(catalog)
        self._views: OrderedDict[int, Picture] = OrderedDict()

    def find_panels(self, luma: U8) -> list[Panel]:
        """Return where plain pictures of the catalog may lie in a picture, (H, W) uint8."""
        return self._panel_finder.find(luma)

    def join_votes(
        self, shortlist: Sequence[Candidate], embedding: F32, keypoints: Keypoints
    ) -> list[Candidate]:
        """Return the shortlist of the search joined with that of the keypoints' votes.

        The first of both come first; at most k. embedding: (D,) float32 unit vector of the crop.
        """
        if self._voter is None:
            return list(shortlist)
        voted = [
            self._candidate(item, view, embedding, lead)
            for item, view, lead in self._voter.vote(keypoints, self._k)
        ]
        if voted:
            shortlist = [replace(candidate, vote_lead=-1.0) for candidate in shortlist]
        joined: dict[ItemId, Candidate] = {}
        for pair in zip_longest(voted, shortlist):
            for candidate in pair:
                if candidate is not None:
                    joined.setdefault(candidate.item_id, candidate)
        return list(joined.values())[: self._k]

    def put_first(
        self, view_index: int, shortlist: Sequence[Candidate], embedding: F32
    ) -> list[Candidate]:
        """Return the shortlist led by the item of a view, that view as its best."""
        item = int(self.catalog.view_item[view_index])
        item_id = self.catalog.items[item].item_id
        known = [c for c in shortlist if c.item_id == item_id]
        lead = known[0].vote_lead if known else 0.0
        others = [c for c in shortlist if c.item_id != item_id]
        return [self._candidate(item, view_index, embedding, lead), *others][: self._k]

    def _candidate(self, item: int, view_index: int, embedding: F32, lead: float) -> Candidate:
        similarity = (self.catalog.embeddings[self.catalog.view_item == item] @ embedding).max()
        return Candidate(self.catalog.items[item].item_id, view_index, float(similarity), lead)

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
