"""Looks a catalog over: whole files, and pictures that will make poor matches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.catalog import Catalog, current_generation
from pipeline.catalog_format import generation_folder, read_manifest, read_pictures
from pipeline.options import SearchOptions
from pipeline.search import Searcher, build_index
from pipeline.types import U8

MIN_SIDE_PX = 96  # of the original: less cannot fill the embedder's 128 px
MAX_BLUR = 0.65  # sharp pictures of packs measure 0.12-0.34, out of focus by 3 px 0.7-0.9
MIN_KEYPOINTS = 40
TWIN_SIMILARITY = 0.95


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know about a picture. kind: small, blurred, plain, twin or same_file."""

    kind: str
    item_id: str
    image: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    generation: int
    damaged: tuple[str, ...]
    findings: tuple[Finding, ...]


def check_catalog(directory: Path, progress: Callable[[int, int], None]) -> CheckReport:
    """Return what is wrong with the generation in use.

    Files are compared with the manifest's hashes; only where all are whole, the pictures are
    looked at. CatalogError when there is no catalog or its manifest is damaged.
    """
    generation = current_generation(directory)
    damaged = find_damage(directory, generation)
    if damaged:
        return CheckReport(generation, tuple(damaged), ())
    catalog = Catalog.load(directory, None, generation)
    findings = [*_check_pictures(catalog, progress), *_find_twins(catalog)]
    return CheckReport(generation, (), tuple(findings))


def find_damage(directory: Path, generation: int) -> list[str]:
    """Return the files of a generation that are missing or are not what was written."""
    folder = generation_folder(directory, generation)
    damaged = []
    for name, record in read_manifest(directory, generation).files.items():
        try:
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != record.sha256:
                    damaged.append(f"{name}: its content has changed")
        except OSError as error:
            damaged.append(f"{name}: {error.strerror}")
    return damaged


def _check_pictures(catalog: Catalog, progress: Callable[[int, int], None]) -> list[Finding]:
    findings = []
    records = read_pictures(catalog.directory, catalog.generation)
    n_turns = len(catalog.manifest.recipe.turns_deg)
    for picture, record in enumerate(records):
        progress(picture, len(records))
        view = picture * n_turns
        item_id = catalog.items[catalog.view_item[view]].item_id

        def tell(kind: str, text: str, item_id: str = item_id, image: str = record.image) -> None:
            findings.append(Finding(kind, item_id, image, text))

        width, height = record.size_wh
        if min(width, height) < MIN_SIDE_PX:
            tell("small", f"{width}x{height} px; take one of at least {MIN_SIDE_PX} px a side")
        blur = measure_blur(catalog.view_image_bgr(view))
        if blur > MAX_BLUR:
            tell("blurred", f"blur {blur:.2f}, above {MAX_BLUR}; take a sharper one")
        n_keypoints = len(catalog.keypoints(view))
        if n_keypoints < MIN_KEYPOINTS:
            tell(
                "plain",
                f"{n_keypoints} keypoints, below {MIN_KEYPOINTS}; "
                "matches can hardly be proved, show a printed side",
            )
    progress(len(records), len(records))
    return findings


def _find_twins(catalog: Catalog) -> list[Finding]:
    """Return the items that look like another one; each pair once."""
    records = read_pictures(catalog.directory, catalog.generation)
    searcher = Searcher(
        build_index(catalog.embeddings, SearchOptions()),
        catalog.view_item,
        [item.item_id for item in catalog.items],
        SearchOptions(),
    )
    best: dict[tuple[str, str], tuple[float, str, str]] = {}
    item_ids = [catalog.items[item].item_id for item in catalog.view_item]
    for start in range(0, len(item_ids), 1024):
        answers = searcher.search(catalog.embeddings[start : start + 1024], k=2)
        for view, candidates in enumerate(answers, start):
            for other in candidates:
                if other.item_id == item_ids[view] or other.similarity < TWIN_SIMILARITY:
                    continue
                first, second = sorted([(item_ids[view], view), (other.item_id, other.view_index)])
                known = best.get((first[0], second[0]))
                if known is None or known[0] < other.similarity:
                    images = [records[catalog.view_picture[v]].image for v in (first[1], second[1])]
                    best[first[0], second[0]] = (other.similarity, images[0], images[1])
    of_hash = {record.image: record.sha256 for record in records}
    findings = []
    for (first_id, second_id), (similarity, image, other_image) in best.items():
        if of_hash[image] == of_hash[other_image]:
            text = f"is the same file as {other_image} of {second_id!r}; they cannot be told apart"
            findings.append(Finding("same_file", first_id, image, text))
        else:
            text = f"looks like {other_image} of {second_id!r}, similarity {similarity:.3f}"
            findings.append(Finding("twin", first_id, image, text))
    return findings


def measure_blur(image_bgr: U8) -> float:
    """Return how blurred a picture is: 0 sharp .. 1 blurred, whatever it shows.

    image_bgr: (h, w, 3) uint8. Method: Crete et al., "The blur effect" (2007): what a further
    blur takes away from the differences of neighbours; little is left to lose in a blurred one.
    """
    gray = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    kept = []
    for axis, kernel_wh in ((0, (1, 9)), (1, (9, 1))):
        before = np.abs(np.diff(gray, axis=axis))
        after = np.abs(np.diff(cv2.blur(gray, kernel_wh), axis=axis))
        total = float(before.sum())
        lost = float(np.maximum(0, before - after).sum())
        kept.append(1 - lost / total if total > 0 else 1.0)
    return max(kept)
