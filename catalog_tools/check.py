"""Looks a catalog over: whole files, and pictures that will make poor matches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catalog_tools.near_twins import list_alike
from catalog_tools.reference_quality import (
    MAX_BLUR,
    MIN_HAND,
    MIN_KEYPOINTS,
    MIN_SIDE_PX,
    ReferenceQuality,
    count_beside,
    measure_blur,
    measure_hand,
)
from pipeline.catalog import Catalog, current_generation
from pipeline.catalog_format import generation_folder, read_manifest, read_pictures
from pipeline.types import U8, Detections


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know about a picture. kind: small, blurred, plain, hand, clutter,
    same_picture or near_twin.
    """

    kind: str
    item_id: str
    image: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """qualities: of each reference picture, the poorest first."""

    generation: int
    damaged: tuple[str, ...]
    findings: tuple[Finding, ...]
    qualities: tuple[ReferenceQuality, ...] = ()


def check_catalog(
    directory: Path,
    progress: Callable[[int, int], None],
    detect: Callable[[U8], Detections] | None = None,
) -> CheckReport:
    """Return what is wrong with the generation in use, and how good each reference is.

    Files are compared with the manifest's hashes; only where all are whole, the pictures are
    looked at. detect: finds things in a picture (h, w, 3) uint8 BGR; without it clutter is not
    looked for. CatalogError when there is no catalog or its manifest is damaged.
    """
    generation = current_generation(directory)
    damaged = find_damage(directory, generation)
    if damaged:
        return CheckReport(generation, tuple(damaged), ())
    catalog = Catalog.load(directory, None, generation)
    alike = _find_alike(catalog)
    qualities = _measure_pictures(catalog, progress, detect)
    findings = [finding for quality in qualities for finding in _poor_in(quality)]
    poorest_first = sorted(qualities, key=lambda quality: quality.score)
    return CheckReport(generation, (), (*findings, *alike), tuple(poorest_first))


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


def _measure_pictures(
    catalog: Catalog,
    progress: Callable[[int, int], None],
    detect: Callable[[U8], Detections] | None,
) -> list[ReferenceQuality]:
    qualities = []
    records = read_pictures(catalog.directory, catalog.generation)
    n_turns = len(catalog.manifest.recipe.turns_deg)
    for picture, record in enumerate(records):
        progress(picture, len(records))
        view = picture * n_turns
        image = catalog.view_image_bgr(view)
        item = int(catalog.view_item[view])
        others = catalog.embeddings[catalog.view_item != item]
        likest = float((others @ catalog.embeddings[view]).max(initial=-1.0))
        size_wh = (image.shape[1], image.shape[0])
        qualities.append(
            ReferenceQuality(
                item_id=catalog.items[item].item_id,
                image=record.image,
                size_wh=record.size_wh,
                blur=round(measure_blur(image), 3),
                n_keypoints=len(catalog.keypoints(view)),
                hand=round(measure_hand(image), 3),
                n_beside=count_beside(detect(image), size_wh) if detect else 0,
                nearest_similarity=round(likest, 3),
            )
        )
    progress(len(records), len(records))
    return qualities


def _poor_in(quality: ReferenceQuality) -> list[Finding]:
    width, height = quality.size_wh
    told = {
        "small": f"{width}x{height} px; take one of at least {MIN_SIDE_PX} px a side"
        if min(width, height) < MIN_SIDE_PX
        else "",
        "blurred": f"blur {quality.blur:.2f}, above {MAX_BLUR}; take a sharper one"
        if quality.blur > MAX_BLUR
        else "",
        "plain": f"{quality.n_keypoints} keypoints, below {MIN_KEYPOINTS}; "
        "matches can hardly be proved, show a printed side"
        if quality.n_keypoints < MIN_KEYPOINTS
        else "",
        "hand": f"{quality.hand:.0%} of it has the colour of skin; if a hand, take one without"
        if quality.hand >= MIN_HAND
        else "",
        "clutter": f"{quality.n_beside} more things beside it; cut the picture to the item"
        if quality.n_beside
        else "",
    }
    return [
        Finding(kind, quality.item_id, quality.image, text) for kind, text in told.items() if text
    ]


def _find_alike(catalog: Catalog) -> list[Finding]:
    """Return the items whose pictures show the same, and the near-twins; each pair once."""
    same, near = list_alike(catalog)
    findings = []
    for pair in same:
        text = (
            f"shows the same as {pair.other_image} of {pair.other_id!r}; they cannot be told apart"
        )
        findings.append(Finding("same_picture", pair.item_id, pair.image, text))
    for pair in near:
        text = (
            f"shares most of its print with {pair.other_image} of {pair.other_id!r}, "
            f"distance {pair.distance:.2f}"
        )
        findings.append(Finding("near_twin", pair.item_id, pair.image, text))
    return findings
