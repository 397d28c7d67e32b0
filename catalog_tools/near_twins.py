"""Finds what a catalog's pictures have for near-twins, when it is built or changed.

Packs of one brand share most of their print. What tells them apart is in a few places: the fruit,
the name, the fat content. Two listed siblings show where, and there a third one, which is not
listed, differs as well; so agreement counts most there (docs/decisions/006). Two pictures that
differ nowhere show the same: what is seen cannot tell their items apart.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.catalog import Catalog
from pipeline.catalog_format import (
    NEAR_TWIN_ROW,
    NEAR_TWINS,
    PictureKey,
    no_near_twins,
    read_pictures_of,
)
from pipeline.geometry import corners_of, fit_view
from pipeline.identify.agreement import (
    Laid,
    Picture,
    local_correlation,
    measure_apart,
    to_lab,
)
from pipeline.identify.ratio_test import pair_by_ratio
from pipeline.identify.shelf import Shelf
from pipeline.identify.tuning import (
    LOOK_ALIKES,
    SAME_COLOR,
    SAME_PICTURE,
    SAME_SHAPE,
    SAME_SHOWN,
    SIBLING_INLIER_SHARE,
    SIBLING_INLIERS,
    SIBLING_SHARED,
)
from pipeline.options import SearchOptions
from pipeline.types import F32, F64, U8

Rows = NDArray[Any]  # of NEAR_TWIN_ROW, one a picture


@dataclass(frozen=True, slots=True)
class Sibling:
    """How another picture is like a view.

    homography: (3, 3) float64, view px -> its px. difference: (MAP_PX, MAP_PX) uint8, how much the
    view differs from it in each place, 255 where most. distance: 0..1, how much in the mean over
    what both show. apart: 0..1, what they lack of agreement in such places. is_same: they differ
    nowhere.
    """

    homography: F64
    difference: U8
    distance: float
    apart: float
    is_same: bool


def compare_pictures(view: Picture, other: Picture) -> Sibling | None:
    """Return how another picture is like a view; None: it does not share the view's print."""
    by_corners = _by_corners(view, other)
    homography = _by_keypoints(view, other) if by_corners is None else by_corners
    if homography is None:
        return None
    found = _compare_laid(other.place(view, homography).lay_to_measure(), homography)
    # What few keypoints prove no common print, only that it is the same picture.
    return None if found is None or (by_corners is not None and not found.is_same) else found


def _by_keypoints(view: Picture, other: Picture) -> F64 | None:
    if min(len(view.keypoints), len(other.keypoints)) < SIBLING_INLIERS:
        return None
    view_wh, other_wh = view.keypoints.image_size_wh, other.keypoints.image_size_wh
    rows, columns = pair_by_ratio(view.keypoints, other.keypoints)
    if len(rows) < SIBLING_INLIERS:
        return None
    homography, agrees = fit_view(
        view.keypoints.xy_scale_ori[rows, :2],
        other.keypoints.xy_scale_ori[columns, :2],
        view_wh,
        other_wh,
        SIBLING_INLIER_SHARE * max(other_wh),
    )
    return homography if agrees.sum() >= SIBLING_INLIERS else None


def _by_corners(view: Picture, other: Picture) -> F64 | None:
    """Plain pictures have too few keypoints: those of one shape are laid corner on corner."""
    if min(len(view.keypoints), len(other.keypoints)) >= SIBLING_INLIERS:
        return None
    view_wh, other_wh = view.keypoints.image_size_wh, other.keypoints.image_size_wh
    shapes = view_wh[0] * other_wh[1], view_wh[1] * other_wh[0]
    if min(shapes) < SAME_SHAPE * max(shapes):
        return None
    corners = corners_of(view_wh), corners_of(other_wh)
    return np.asarray(cv2.getPerspectiveTransform(*corners), np.float64)


def _compare_laid(laid: Laid, homography: F64) -> Sibling | None:
    if laid.inside.mean() < SIBLING_SHARED:
        return None
    labs = to_lab(laid.view_bgr), to_lab(laid.picture_bgr)
    alike = local_correlation(*labs, laid.inside).min(axis=2).clip(0, 1)
    difference = _shrunk(np.where(laid.inside, 1 - alike, 0))
    share = _shrunk(laid.inside)
    # What the sibling does not show may be the view's own.
    own = difference + 1 - share
    # Correlation is blind to the colour of what is flat: it must be alike by itself.
    color = _shrunk(np.where(laid.inside, np.abs(labs[0] - labs[1]).max(axis=2), 0))
    is_shown = laid.inside.mean() >= SAME_SHOWN
    is_alike = bool(is_shown and difference.max() < SAME_PICTURE)
    is_same = is_alike and bool(color.max() < SAME_COLOR)
    own = color if is_alike and not is_same else own
    places = np.asarray(own / max(float(own.max()), 1e-6) * 255, np.uint8)
    distance = float(difference.sum() / share.sum())
    apart = measure_apart(laid, places)
    return Sibling(homography, places, distance, apart, is_same)


def _shrunk(places: np.ndarray) -> F32:
    side = NEAR_TWIN_ROW["difference"].shape
    return np.asarray(
        cv2.resize(places.astype(np.float32), side, interpolation=cv2.INTER_AREA), np.float32
    )


def write_near_twins(catalog: Catalog, before: Catalog | None, n_threads: int = 0) -> None:
    """Write the near-twins of a new generation into its folder.

    catalog: opened for the folder that is being written. before: the generation that it was changed
    from: what is known of its pictures is taken over where their near-twins are still there.
    n_threads: how many pictures are compared at once; 0: one a core.
    """
    known = _taken_over(catalog, before) if before else {}
    rows = find_near_twins(catalog, known, n_threads)
    with (catalog.folder / NEAR_TWINS).open("wb") as file:
        np.save(file, rows)


def find_near_twins(
    catalog: Catalog, known: Mapping[int, Any] | None = None, n_threads: int = 0
) -> Rows:
    """Return the near-twin of each picture and what shows the same: (P,) NEAR_TWIN_ROW.

    known: rows of pictures that need not be looked for; those that are new are held against them.
    """
    known = known or {}
    rows = no_near_twins(catalog.manifest.n_pictures)
    for picture, row in known.items():
        rows[picture] = row
    shelf = Shelf(catalog, SearchOptions())
    new = [picture for picture in range(len(rows)) if picture not in known]
    same = _same_files(catalog)
    with ThreadPoolExecutor(n_threads or os.cpu_count()) as pool:
        found = pool.map(lambda picture: _siblings(shelf, picture, known), new)
        for picture, siblings in zip(new, found, strict=True):
            for other, there, back in siblings:
                if there.is_same:
                    same.append((picture, other))
                    continue
                _take_if_nearer(rows, catalog, picture, other, there)
                if back is not None and not back.is_same:
                    _take_if_nearer(rows, catalog, other, picture, back)
    _join_same(rows, same)
    return rows


def _same_files(catalog: Catalog) -> list[tuple[int, int]]:
    """Return the pictures that are the very same file, each with the first of them."""
    first_of: dict[str, int] = {}
    hashes = [sha256 for _, sha256 in _keys(catalog)]
    pairs = [(first_of.setdefault(sha256, i), i) for i, sha256 in enumerate(hashes)]
    return [pair for pair in pairs if pair[0] != pair[1]]


def _siblings(
    shelf: Shelf, picture: int, known: Collection[int]
) -> list[tuple[int, Sibling, Sibling | None]]:
    """Return the pictures of other items that share a picture's print: each as it is like this one,
    and this one like it if it is one of the known ones.
    """
    catalog = shelf.catalog
    view_index = catalog.first_view(picture)
    view = shelf.load_view(view_index)
    found: list[tuple[int, Sibling, Sibling | None]] = []
    n_left = LOOK_ALIKES
    for other in _look_alikes(shelf, view_index, view):
        if n_left == 0:
            break
        other_view = shelf.load_view(other)
        sibling = compare_pictures(view, other_view)
        n_left -= sibling is None or not sibling.is_same
        if sibling is not None:
            number = int(catalog.view_picture[other])
            back = compare_pictures(other_view, view) if number in known else None
            found.append((number, sibling, back))
    return found


def _look_alikes(shelf: Shelf, view_index: int, view: Picture) -> Iterator[int]:
    """Give the view of each other item that is most like a view, the nearest first."""
    catalog = shelf.catalog
    embedding = catalog.embeddings[view_index]
    found = shelf.searcher.search(embedding[None])[0]
    item_id = catalog.items[catalog.view_item[view_index]].item_id
    joined = shelf.join_votes(found, embedding, view.keypoints)
    return (other.view_index for other in joined if other.item_id != item_id)


def _take_if_nearer(
    rows: Rows, catalog: Catalog, picture: int, other: int, sibling: Sibling
) -> None:
    """Of several siblings the nearest counts: a distant relative differs everywhere, which tells
    nothing.
    """
    row = rows[picture]
    if row["view"] >= 0 and row["distance"] <= sibling.distance:
        return
    view = catalog.first_view(other)
    row["item"], row["view"] = catalog.view_item[view], view
    row["homography"], row["difference"] = sibling.homography, sibling.difference
    row["distance"], row["apart"] = sibling.distance, sibling.apart


def _join_same(rows: Rows, same: Iterable[tuple[int, int]]) -> None:
    """Let pictures that show the same name the first of them all."""
    for one, other in same:
        first, second = sorted((int(rows["same_as"][one]), int(rows["same_as"][other])))
        rows["same_as"][rows["same_as"] == second] = first


def _taken_over(catalog: Catalog, before: Catalog) -> dict[int, Any]:
    """Return what the generation before knows of pictures that are in the new one too."""
    number_of = {key: picture for picture, key in enumerate(_keys(catalog))}
    keys_before = _keys(before)
    rows = before.near_twins()
    known: dict[int, Any] = {}
    first_of: dict[int, int] = {}
    for picture, key in enumerate(keys_before):
        number = number_of.get(key)
        if number is None:
            continue
        row = rows[picture].copy()
        if row["view"] >= 0:
            twin = number_of.get(keys_before[int(before.view_picture[row["view"]])])
            if twin is None:
                continue  # its near-twin is gone: another may be the nearest now
            row["view"] = catalog.first_view(twin)
            row["item"] = catalog.view_item[row["view"]]
        row["same_as"] = first_of.setdefault(int(row["same_as"]), number)
        known[number] = row
    return known


def _keys(catalog: Catalog) -> list[PictureKey]:
    """Return what names each picture in every generation: its item and its content."""
    item_ids = [
        catalog.items[catalog.view_item[catalog.first_view(picture)]].item_id
        for picture in range(catalog.manifest.n_pictures)
    ]
    records = read_pictures_of(catalog.directory, catalog.folder)
    return [(item_id, record.sha256) for item_id, record in zip(item_ids, records, strict=True)]


@dataclass(frozen=True, slots=True)
class AlikePair:
    """Two items of which a picture each is alike. image, other_image: the files' names.

    distance: 0..1, how far apart; 0: what is seen cannot tell them apart.
    """

    item_id: str
    image: str
    other_id: str
    other_image: str
    distance: float


def list_alike(catalog: Catalog) -> tuple[list[AlikePair], list[AlikePair]]:
    """Return the pairs of items with the same picture, and the near-twins, the closest first."""
    keys = _keys(catalog)
    images = [record.image for record in read_pictures_of(catalog.directory, catalog.folder)]
    rows = catalog.near_twins()
    same: dict[tuple[str, str], AlikePair] = {}
    near: dict[tuple[str, str], AlikePair] = {}
    for picture, row in enumerate(rows):
        first = int(row["same_as"])
        if first != picture and keys[first][0] != keys[picture][0]:
            _note(same, keys, images, (first, picture), 0.0)
        if row["view"] >= 0:
            twin = int(catalog.view_picture[row["view"]])
            _note(near, keys, images, (picture, twin), float(row["distance"]))
    return list(same.values()), sorted(near.values(), key=lambda pair: pair.distance)


def _note(
    pairs: dict[tuple[str, str], AlikePair],
    keys: list[PictureKey],
    images: list[str],
    pictures: tuple[int, int],
    distance: float,
) -> None:
    """Keep the nearest pair of pictures of two items."""
    one, other = sorted(pictures, key=lambda picture: keys[picture][0])
    names = keys[one][0], keys[other][0]
    known = pairs.get(names)
    if known is None or distance < known.distance:
        pairs[names] = AlikePair(names[0], images[one], names[1], images[other], distance)
