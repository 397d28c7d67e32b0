"""A catalog made ready to be searched and verified against."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from threading import Lock

import numpy as np

from pipeline.catalog import Catalog
from pipeline.catalog_format import INDEX
from pipeline.identify.agreement import NearTwin, Picture
from pipeline.identify.calibration import Calibration
from pipeline.identify.search import Searcher, build_index, read_index
from pipeline.identify.vote import Voter
from pipeline.options import MatcherOptions, SearchOptions
from pipeline.panels import Panel, PanelFinder
from pipeline.types import F32, I32, U8, ItemId, Keypoints, Proposal

VIEWS_KEPT = 64  # decoded views in memory, about 0.5 MB each
NEAR_TWINS_KEPT = 256  # about 60 kB each


class Shelf:
    """One generation of a catalog with its index, its calibration and its last views.

    label: by item id.
    """

    def __init__(self, catalog: Catalog, options: SearchOptions, panels: bool = False) -> None:
        """panels: whether plain pictures will be looked for (`find_panels`)."""
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
        self.k = options.k
        self._voter = Voter(catalog)
        self._panel_finder = PanelFinder(catalog) if panels else None
        self._views: OrderedDict[int, Picture] = OrderedDict()
        self._near_twins: OrderedDict[int, NearTwin] = OrderedDict()  # by picture
        near_twins = catalog.near_twins()
        self._has_near_twin = near_twins["view"] >= 0  # (P,) bool
        self._same_as = near_twins["same_as"].copy()  # (P,) int32
        self._views_of_same = _group(self._same_as, catalog)

    def find_panels(self, luma: U8) -> list[Panel]:
        """Return where plain pictures of the catalog may lie in a picture, (H, W) uint8."""
        return self._panel_finder.find(luma) if self._panel_finder is not None else []

    def join_votes(
        self, shortlist: Sequence[Proposal], embedding: F32, keypoints: Keypoints
    ) -> list[Proposal]:
        """Return the shortlist of the search joined with that of the keypoints' votes.

        The first of both come first; at most k. embedding: (D,) float32 unit vector of the crop.
        """
        voted = [
            self._proposal(item, view, embedding, lead)
            for item, view, lead in self._voter.vote(keypoints, self.k)
        ]
        if voted:
            shortlist = [replace(proposal, vote_lead=-1.0) for proposal in shortlist]
        joined: dict[ItemId, Proposal] = {}
        for pair in zip_longest(voted, shortlist):
            for proposal in pair:
                if proposal is not None:
                    joined.setdefault(proposal.item_id, proposal)
        return list(joined.values())[: self.k]

    def proposals_of(
        self, view_indices: Sequence[int], shortlist: Sequence[Proposal], embedding: F32
    ) -> list[Proposal]:
        """Return the items of views, each once, in their order and with that view as their best."""
        lead_of = {proposal.item_id: proposal.vote_lead for proposal in shortlist}
        without_votes = -1.0 if any(lead_of.values()) else 0.0
        found: dict[ItemId, Proposal] = {}
        for view_index in view_indices:
            item = int(self.catalog.view_item[view_index])
            item_id = self.catalog.items[item].item_id
            lead = lead_of.get(item_id, without_votes)
            found.setdefault(item_id, self._proposal(item, view_index, embedding, lead))
        return list(found.values())

    def _proposal(self, item: int, view_index: int, embedding: F32, lead: float) -> Proposal:
        similarity = (self.catalog.embeddings[self.catalog.view_item == item] @ embedding).max()
        return Proposal(self.catalog.items[item].item_id, view_index, float(similarity), lead)

    def view(self, view_index: int) -> Picture:
        """Return a view's keypoints and small picture, from memory when it was asked for lately."""
        picture = int(self.catalog.view_picture[view_index])
        view = self._views.pop(picture, None) or self.load_view(view_index)
        self._views[picture] = view  # the last one now
        if len(self._views) > VIEWS_KEPT:
            self._views.popitem(last=False)
        return view

    def near_twin(self, view_index: int) -> NearTwin | None:
        """Return the near-twin of a view's picture, or None where the catalog lists none."""
        picture = int(self.catalog.view_picture[view_index])
        if not self._has_near_twin[picture]:
            return None
        near_twin = self._near_twins.pop(picture, None) or self._read_near_twin(view_index, picture)
        self._near_twins[picture] = near_twin  # the last one now
        if len(self._near_twins) > NEAR_TWINS_KEPT:
            self._near_twins.popitem(last=False)
        return near_twin

    def has_near_twin(self, view_index: int) -> bool:
        """Whether the catalog lists a near-twin of a view's picture."""
        return bool(self._has_near_twin[self.catalog.view_picture[view_index]])

    def same_picture(self, view_index: int) -> int:
        """Return a number that views have in common if and only if their pictures show the same:
        what is seen cannot tell their items apart.
        """
        return int(self._same_as[self.catalog.view_picture[view_index]])

    def with_same_pictures(self, shortlist: Sequence[Proposal], embedding: F32) -> list[Proposal]:
        """Return a shortlist with every item whose picture shows the same as one on it, beside it.

        embedding: (D,) float32 unit vector of the crop.
        """
        if not self._views_of_same:
            return list(shortlist)
        lead_of = {proposal.item_id: proposal.vote_lead for proposal in shortlist}
        found: dict[ItemId, Proposal] = {}
        for proposal in shortlist:
            found.setdefault(proposal.item_id, proposal)
            for view_index in self._views_of_same.get(self.same_picture(proposal.view_index), ()):
                item = int(self.catalog.view_item[view_index])
                item_id = self.catalog.items[item].item_id
                if item_id not in found and item_id not in lead_of:
                    other = self._proposal(item, view_index, embedding, proposal.vote_lead)
                    found[item_id] = other
        return list(found.values())

    def load_view(self, view_index: int) -> Picture:
        """Return a view's keypoints and small picture from disk; any thread may call."""
        return Picture(self.catalog.keypoints(view_index), self.catalog.view_image_bgr(view_index))

    def _read_near_twin(self, view_index: int, picture: int) -> NearTwin:
        (row,) = self.catalog.near_twins(picture)
        view, twin = self.view(view_index), self.view(int(row["view"]))
        return NearTwin(
            self.catalog.items[row["item"]].item_id,
            twin.place(view, row["homography"]).lay_to_measure(),
            row["difference"],
            float(row["distance"]),
            float(row["apart"]),
        )


def _group(same_as: I32, catalog: Catalog) -> dict[int, list[int]]:
    """Return the first views of pictures that show the same, by what `same_picture` says."""
    numbers, counts = np.unique(same_as, return_counts=True)
    return {
        int(number): [catalog.first_view(int(p)) for p in np.flatnonzero(same_as == number)]
        for number in numbers[counts > 1]
    }


class Shelves:
    """The catalogs' generations in use, each made ready once. Any thread may call."""

    def __init__(self, options: MatcherOptions) -> None:
        self._options = options
        self._shelves: dict[tuple[Path, str], Shelf] = {}  # in the order in which they were made
        self._lock = Lock()

    def of(self, catalog: Catalog) -> Shelf:
        """Return the shelf of a catalog's generation: what one thread prepares another takes."""
        key = (catalog.directory, catalog.identity)
        known = self._shelves.get(key)
        if known is None:
            known = Shelf(catalog, self._options.search, self._options.detect.panels)
            with self._lock:
                self._shelves[key] = known
        return known

    def keep(self, in_use: Iterable[Catalog]) -> None:
        """Let go of what was made before the generations in use: what came after is prepared.

        So is what was made of a catalog that is not in use yet.
        """
        used = {(catalog.directory, catalog.identity) for catalog in in_use}
        with self._lock:
            reached = {directory for directory, _ in self._shelves} - {key[0] for key in used}
            kept: dict[tuple[Path, str], Shelf] = {}
            for key, shelf in self._shelves.items():
                if key in used:
                    reached.add(key[0])
                if key[0] in reached:
                    kept[key] = shelf
            self._shelves = kept

    def drop(self, directory: Path, in_use: Iterable[Catalog]) -> None:
        """Let go of all generations of a catalog, unless one of it is in use."""
        if any(catalog.directory == directory for catalog in in_use):
            return
        with self._lock:
            self._shelves = {k: shelf for k, shelf in self._shelves.items() if k[0] != directory}
