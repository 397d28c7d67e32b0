"""What is in a catalog, and switching back to what was in it before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from catalog_tools.etag import changing
from catalog_tools.originals import Originals
from pipeline.catalog import Catalog, current_generation, list_generations
from pipeline.catalog_format import catalog_error, read_manifest, read_pictures
from pipeline.catalog_writing import catalog_lock, switch_generation
from pipeline.errors import CatalogError, NotInCatalogError


def list_catalog_items(directory: Path) -> list[dict[str, Any]]:
    """Return a record an item: item_id, label, how many pictures."""
    catalog = Catalog.load(directory, None)
    n_turns = len(catalog.manifest.recipe.turns_deg)
    n_views = np.bincount(catalog.view_item, minlength=len(catalog.items))
    return [
        {"item_id": item.item_id, "label": item.label, "pictures": int(n) // n_turns}
        for item, n in zip(catalog.items, n_views, strict=True)
    ]


def list_catalog_generations(directory: Path) -> list[dict[str, Any]]:
    """Return a record a generation on disk, oldest first; `in_use` is true for one."""
    in_use = current_generation(directory)
    records = []
    for generation in list_generations(directory):
        manifest = read_manifest(directory, generation)
        records.append(
            {
                "generation": generation,
                "in_use": generation == in_use,
                "created": manifest.created,
                "items": manifest.n_items,
                "pictures": manifest.n_pictures,
                "embedder": manifest.recipe.embedder,
                "embedder_sha256": manifest.recipe.embedder_sha256,
            }
        )
    return records


def list_item_pictures(directory: Path, item_id: str) -> list[dict[str, Any]]:
    """Return a record a picture of an item: image (its name), sha256, size_wh, has_original.

    NotInCatalogError when there is no such item.
    """
    catalog = Catalog.load(directory, None)
    originals = Originals(directory)
    numbers = [n for n, item in enumerate(catalog.items) if item.item_id == item_id]
    if not numbers:
        raise catalog_error(directory, f"must hold item {item_id!r}", kind=NotInCatalogError)
    records = read_pictures(directory, catalog.generation)
    pictures = np.unique(catalog.view_picture[catalog.view_item == numbers[0]])
    return [
        {
            "image": records[picture].image,
            "sha256": records[picture].sha256,
            "size_wh": records[picture].size_wh,
            "has_original": originals.has(records[picture].sha256),
        }
        for picture in pictures
    ]


def read_stored_picture(directory: Path, sha256: str) -> bytes:
    """Return the JPEG of a picture: its original, or else the small one that is stored.

    NotInCatalogError when the generation in use has none that is known by that hash.
    """
    catalog = Catalog.load(directory, None)
    for picture, record in enumerate(read_pictures(directory, catalog.generation)):
        if record.sha256 == sha256:
            try:
                return Originals(directory).path(sha256).read_bytes()
            except OSError:
                return catalog.picture_jpeg(picture)
    raise catalog_error(directory, f"must hold picture {sha256!r}", kind=NotInCatalogError)


def roll_back(directory: Path, generation: int | None, *, if_match: str | None = None) -> int:
    """Put an earlier generation in use, the one before by default; return its number.

    CatalogError when it is not on disk or damaged; if_match as `changing`.
    """
    there = list_generations(directory)
    if not there:
        current_generation(directory)  # tells what is missing
    # CURRENT may be damaged, which is what a rollback mends: then nothing is compared.
    with catalog_lock(directory) if if_match is None else changing(directory, if_match):
        if generation is None:
            generation = _before(directory, there)
        if generation in there:
            Catalog.load(directory, None, generation)
        switch_generation(directory, generation)
    return generation


def _before(directory: Path, there: list[int]) -> int:
    try:
        in_use = current_generation(directory)
    except CatalogError:
        return there[-1]  # CURRENT is damaged: the newest one is what was in use
    older = [number for number in there if number < in_use]
    if not older:
        raise catalog_error(
            directory, f"generation {in_use} is the oldest on disk, none is before it"
        )
    return older[-1]
