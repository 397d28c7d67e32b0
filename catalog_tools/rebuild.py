"""Builds a catalog anew with other weights, from what it keeps: its originals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from catalog_tools.build import (
    BuildReport,
    describe_found,
    no_progress,
    nothing_usable,
    recipe_of,
    write_catalog,
)
from catalog_tools.describe import Description, Progress, WorkFolder, shrink, turn_picture
from catalog_tools.draft import Draft
from catalog_tools.etag import changing
from catalog_tools.images import Found, Source
from catalog_tools.networks import Networks
from catalog_tools.originals import Originals
from pipeline.catalog import Catalog, Recipe
from pipeline.catalog_format import current_generation, read_pictures


def rebuild_catalog(
    directory: Path,
    networks: Networks,
    *,
    if_match: str | None = None,
    progress: Progress = no_progress,
) -> BuildReport:
    """Describe all pictures of a catalog by these networks, as a new generation; return it.

    A picture without its original is described from the small one that is stored, none is lost.
    The calibration, which is of the old weights, stays behind unless nothing else changes. Goes on
    where a rebuild that was killed ended. CatalogError as `changing`.
    """
    current_generation(directory)
    with changing(directory, if_match):
        catalog = Catalog.load(directory, None)
        manifest = catalog.manifest
        is_turned = len(manifest.recipe.turns_deg) > 1
        recipe = recipe_of(networks, Draft(turns=is_turned, trim=manifest.recipe.trim))
        found = Found(catalog.items, tuple(_sources(catalog)), ())
        work, originals = WorkFolder(directory, recipe), Originals(directory)
        small = {s.sha256 for s in found.sources if not originals.has(s.sha256)}
        _describe_small(catalog, small, recipe, networks, work)
        pictures, left_out = describe_found(found, directory, recipe, networks, {}, None, progress)
        if left_out:  # damaged originals
            small |= {s.sha256 for s in found.sources} - {p.record.sha256 for p in pictures}
            _describe_small(catalog, small, recipe, networks, work)
            pictures, left_out = describe_found(found, directory, recipe, networks, {})
        if not pictures:
            raise nothing_usable(f"catalog '{directory}'", left_out)
        unchanged = catalog if recipe == manifest.recipe else None
        report = write_catalog(
            directory,
            recipe,
            catalog.items,
            pictures,
            networks.n_threads,
            manifest.sources,
            unchanged,
        )
        return replace(report, left_out=tuple(left_out), n_from_small=len(small))


def _sources(catalog: Catalog) -> Iterable[Source]:
    """Give each picture of a catalog as a source: its original, which may be missing."""
    originals = Originals(catalog.directory)
    records = read_pictures(catalog.directory, catalog.generation)
    for picture, record in enumerate(records):
        item = catalog.items[catalog.view_item[catalog.first_view(picture)]]
        path = originals.path(record.sha256)
        name = record.image
        yield Source(item.item_id, path, name, name, record.sha256, record.size_wh)


def _describe_small(
    catalog: Catalog, hashes: set[str], recipe: Recipe, networks: Networks, work: WorkFolder
) -> None:
    """Describe pictures from what is stored of them, and leave that where the build looks first."""
    extractor = networks.make_extractor()
    for picture, record in enumerate(read_pictures(catalog.directory, catalog.generation)):
        if record.sha256 not in hashes or work.find(record.sha256) is not None:
            continue
        image_bgr = catalog.view_image_bgr(catalog.first_view(picture))
        picture_bgr = shrink(image_bgr, recipe.picture_side_px)
        turned = [turn_picture(picture_bgr, turn) for turn in recipe.turns_deg]
        description = Description(
            record.size_wh,
            np.asarray(networks.embed(turned), np.float32),
            extractor.extract(picture_bgr),
            catalog.picture_jpeg(picture),
        )
        work.put(record.sha256, description)
