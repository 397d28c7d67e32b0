"""The shortlist: which items of the catalog look most like a crop. faiss lives here.

Exact inner products up to `exact_up_to_views`, over fp16 vectors where there are many; above, an
inverted file over fp16 vectors, which is built with the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cublas_left_out import cublas_left_out
from pipeline.errors import CatalogError
from pipeline.options import SearchOptions
from pipeline.types import F32, I32, ItemId, Proposal

try:
    with cublas_left_out():
        import faiss
except ImportError:  # another build of faiss, which needs it after all
    import faiss

FULL_PRECISION_VIEWS = 5_000  # above, half floats: the same nearest item, in half the time
MAX_ROWS = 2048  # nearest views looked at to fill a shortlist of items
DESCRIPTOR_LISTS = 1024
DESCRIPTOR_LISTS_PROBED = 8
DESCRIPTOR_SAMPLE = 40_000
# What an approximate search visits: so many views, and lists at least. On 5,000 pool pictures that
# were asked by blurred, shifted cuts, 14 lists hold the nearest of 0.992 and 28 that of 0.999.
VISITED_VIEWS, LEAST_LISTS = 20_000, 32


class Searcher:
    """Finds the nearest items by the cosine of their best view.

    view_item: (V,) int32, the item index of each view; item_ids: by item index.
    """

    def __init__(
        self, index: Any, view_item: I32, item_ids: Sequence[ItemId], options: SearchOptions
    ) -> None:
        self._index = index
        self._view_item = view_item
        self._item_ids = item_ids
        self._k, self._threads = options.k, options.threads
        self._most_views = int(np.bincount(view_item).max(initial=0)) if len(view_item) else 0

    def search(self, embeddings: F32, k: int | None = None) -> list[list[Proposal]]:
        """Return at most k items for each vector, nearest first, each with its nearest view.

        embeddings: (N, D) float32 unit vectors. k: options.k where none is given.
        """
        k = k or self._k
        if len(embeddings) == 0 or len(self._view_item) == 0:
            return [[] for _ in range(len(embeddings))]
        # k times the views of the richest item hold at least k different items.
        n_rows = min(len(self._view_item), MAX_ROWS, k * self._most_views)
        faiss.omp_set_num_threads(self._threads)  # of the calling thread; 0.2 µs
        similarity, rows = self._index.search(np.ascontiguousarray(embeddings), n_rows)
        return [self._best_views(s, r, k) for s, r in zip(similarity, rows, strict=True)]

    def _best_views(self, similarity: F32, rows: Any, k: int) -> list[Proposal]:
        found: dict[int, Proposal] = {}
        for value, row in zip(similarity.tolist(), rows.tolist(), strict=True):
            if row < 0:  # an approximate index may find fewer than asked
                break
            item = int(self._view_item[row])
            if item not in found:
                found[item] = Proposal(self._item_ids[item], row, min(1.0, float(value)))
                if len(found) == k:
                    break
        return list(found.values())


def build_index(embeddings: F32, options: SearchOptions) -> Any:
    """Return a faiss index over unit vectors, (V, D) float32, in their order."""
    n_views, dim = embeddings.shape
    if n_views <= options.exact_up_to_views:
        index: Any = (
            faiss.IndexFlatIP(dim)
            if n_views <= FULL_PRECISION_VIEWS
            else faiss.IndexScalarQuantizer(
                dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
            )
        )
    else:
        n_lists = int(4 * np.sqrt(n_views))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim),
            dim,
            n_lists,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,  # whole vectors, not residuals: inner products stay cosines
        )
        index.cp.min_points_per_centroid = 1
        index.cp.niter = 8
        # Twenty vectors a list train the centroids as well as all of them do.
        sample = embeddings[:: max(1, n_views // (20 * n_lists))]
        index.train(np.ascontiguousarray(sample))
        index.nprobe = min(n_lists, max(LEAST_LISTS, n_lists * VISITED_VIEWS // n_views))
    index.add(np.ascontiguousarray(embeddings))
    return index


def build_descriptor_index(descriptors: F32) -> Any:
    """Return an inverted file of keypoint descriptors, (N, D) float32 unit vectors, as 8-bit
    numbers, in their order.
    """
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(descriptors.shape[1]),
        descriptors.shape[1],
        DESCRIPTOR_LISTS,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
        False,
    )
    index.cp.min_points_per_centroid = 1
    index.cp.niter = 6
    step = max(1, len(descriptors) // DESCRIPTOR_SAMPLE)
    index.train(np.ascontiguousarray(descriptors[::step]))
    index.nprobe = DESCRIPTOR_LISTS_PROBED
    index.add(np.ascontiguousarray(descriptors))
    return index


def read_descriptor_index(path: Path, n_descriptors: int) -> Any:
    """Return the index of a file; CatalogError when it is damaged or of another catalog.

    In memory (55 MB at most): a mapped file that shrinks under its reader ends the process.
    """
    return _read(path, n_descriptors, None)


def write_index(index: Any, path: Path) -> None:
    """Write an index to a file; OSError when the disk is full.

    Who writes a generation makes it appear whole.
    """
    # faiss never sees the path: it takes only UTF-8, and tells of a full disk on stderr alone.
    with path.open("wb") as file:
        writer = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
        faiss.write_index(index, writer)


def read_index(path: Path, n_views: int, dim: int) -> Any:
    """Return the index of a file; CatalogError when it is damaged or of another catalog."""
    return _read(path, n_views, dim)


def _read(path: Path, n_rows: int, dim: int | None) -> Any:
    try:
        with path.open("rb") as file:
            # A descriptor's name, for a path may be of another encoding than faiss takes.
            index = faiss.read_index(f"/dev/fd/{file.fileno()}")
    except (RuntimeError, OSError) as error:
        raise CatalogError.at(
            f"index {path}", "expected a whole faiss index", remedy="rebuild the catalog"
        ) from error
    if index.ntotal != n_rows or dim not in (None, index.d):
        raise CatalogError.at(
            f"index {path}",
            f"expected {n_rows} rows of {dim or index.d} numbers",
            f"{index.ntotal} of {index.d}",
            "rebuild the catalog",
        )
    return index
