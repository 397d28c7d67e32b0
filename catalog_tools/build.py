"""Builds catalogs, and adds and removes items: each step ends in a new generation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from catalog_tools.clip_sources import ClipSources, clip_name
from catalog_tools.clips import ClipReader
from catalog_tools.describe import Describer, Embed, Progress, WorkFolder, turn_picture
from catalog_tools.images import Found, Left, find_images
from catalog_tools.key_views import MAX_VIEWS
from catalog_tools.near_twins import AlikePair, list_alike, write_near_twins
from catalog_tools.picture_formats import is_clip
from pipeline.catalog import (
    CALIBRATION,
    INDEX,
    Catalog,
    Item,
    Recipe,
    StoredPicture,
    current_generation,
    list_generations,
    write_generation,
)
from pipeline.catalog_format import Manifest, PictureKey, build_command, catalog_error
from pipeline.catalog_writing import catalog_lock, require_room
from pipeline.embed import Embedder, load_embedder
from pipeline.errors import CatalogError, ConfigError, MagpieError
from pipeline.identify.search import build_index, write_index
from pipeline.identify.vote import write_votes_index
from pipeline.keypoints import Extractor
from pipeline.learned_keypoints import extractor_maker
from pipeline.options import EmbedOptions, EngineOptions, SearchOptions, VerifyOptions
from pipeline.types import ItemId

# A picture's part of a generation at 256 keypoints, and the same again in the work folder.
BYTES_A_PICTURE = 220_000
BYTES_A_CLIP = MAX_VIEWS * (BYTES_A_PICTURE + 300_000)  # its views also wait as pictures of 1280 px
STEPS_A_CLIP = 100  # of progress: hundredths of the reading
ALL_TURNS_DEG = (0, 90, 180, 270)


@dataclass(frozen=True, slots=True)
class Networks:
    """What describes pictures: the embedder with its weights' hash and name, and keypoints."""

    embed: Embed
    embedder_sha256: str
    embedder: str
    make_extractor: Callable[[], Extractor]


def load_networks(
    engine: EngineOptions, embed: EmbedOptions, verify: VerifyOptions | None = None
) -> Networks:
    """Return what the options name, ready to run; WeightsError or EngineError when it is not."""
    embedder = load_embedder(engine, embed)
    return Networks(
        embedder.embed,
        embedder.weights_sha256,
        embedder.name,
        extractor_maker(engine, verify or VerifyOptions()),
    )


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. left_out: files that are not in the catalog; empty_items: items none of
    whose files was usable; same_pictures: items that what is seen cannot tell apart.
    """

    directory: Path
    generation: int
    n_items: int
    n_pictures: int
    left_out: tuple[Left, ...]
    empty_items: tuple[ItemId, ...]
    same_pictures: tuple[AlikePair, ...] = ()


def no_progress(n_done: int, n_total: int) -> None:
    """Show nothing."""


def build_catalog(
    images: Path,
    out: Path,
    networks: Networks,
    *,
    turns: bool = False,
    trim: bool = True,
    clips: ClipReader | None = None,
    progress: Progress = no_progress,
) -> BuildReport:
    """Build a catalog from IMAGES, or build an existing one anew; return what was done.

    Goes on where a killed build of the same pictures ended; takes unchanged pictures over from the
    generation in use. turns: views at 90, 180 and 270 degrees too. trim: cut plain margins off.
    clips: reads clips, which are left out without it. CatalogError when nothing is usable, OUT
    holds something else, or the disk is too small.
    """
    found = find_images(images)
    _refuse_other_folder(out)
    recipe = Recipe(
        embedder_sha256=networks.embedder_sha256,
        embedder=networks.embedder,
        extractor=networks.make_extractor().name,
        turns_deg=ALL_TURNS_DEG if turns else (0,),
        trim=trim,
    )
    with catalog_lock(out):
        known = _known_pictures(out, recipe)
        pictures, left_out = _describe(found, out, recipe, networks, known, clips, progress)
        if not pictures:
            raise nothing_usable(images, left_out)
        return _write(out, recipe, found.items, pictures, left_out, [str(images.resolve())])


def add_to_catalog(
    directory: Path,
    images: Path,
    networks: Networks,
    *,
    clips: ClipReader | None = None,
    progress: Progress = no_progress,
) -> BuildReport:
    """Add items, or pictures of known items, to a catalog; return what was done. clips: as above.

    CatalogError when the catalog was built with another embedder or keypoints.
    """
    found = find_images(images)
    current_generation(directory)
    with catalog_lock(directory):
        catalog = Catalog.load(directory, networks.embedder_sha256)
        recipe = catalog.manifest.recipe
        extractor = networks.make_extractor().name
        if extractor != recipe.extractor:
            raise catalog_error(
                directory,
                f"built with keypoints {recipe.extractor}, the config asks for {extractor}",
                None,
                f"rebuild it: {build_command(directory, catalog.manifest.sources)}",
            )
        old = catalog.stored_pictures()
        known = {picture.record.sha256: picture for picture in old}
        new, left_out = _describe(found, directory, recipe, networks, known, clips, progress)
        if not new:
            raise nothing_usable(images, left_out)
        there = {(p.item_id, p.record.sha256): p.record.image for p in old}
        fresh = [p for p in new if (p.item_id, p.record.sha256) not in there]
        left_out += _left_as_known(new, there)
        labels = {item.item_id: item for item in (*catalog.items, *found.items)}
        sources = dict.fromkeys([*catalog.manifest.sources, str(images.resolve())])
        items = tuple(labels.values())
        return _write(directory, recipe, items, [*old, *fresh], left_out, list(sources), catalog)


def embed_anew(
    catalog: Catalog, out: Path, embedder: Embedder, *, progress: Progress = no_progress
) -> BuildReport:
    """Write a catalog's items and pictures into another directory, described by other weights.

    Of the stored small pictures, which is what the embedder sees of any: the files that they came
    from need not be at hand. The catalog's calibration, which is of the old weights, stays behind.
    """
    recipe = catalog.manifest.recipe
    turns = recipe.turns_deg
    pictures = []
    for number, stored in enumerate(catalog.stored_pictures()):
        progress(number, catalog.manifest.n_pictures)
        picture_bgr = catalog.view_image_bgr(number * len(turns))
        rows = embedder.embed([turn_picture(picture_bgr, turn) for turn in turns])
        pictures.append(replace(stored, embeddings=rows))
    named = {"embedder_sha256": embedder.weights_sha256, "embedder": embedder.name}
    recipe = recipe.model_copy(update=named)
    with catalog_lock(out):
        return _write(out, recipe, catalog.items, pictures, [], catalog.manifest.sources)


def remove_from_catalog(directory: Path, item_ids: Sequence[str]) -> int:
    """Remove items; return the number of the new generation.

    CatalogError when one is not there, or none would be left.
    """
    current_generation(directory)
    with catalog_lock(directory):
        catalog = Catalog.load(directory, None)
        gone = set(item_ids)
        missing = sorted(gone - {item.item_id for item in catalog.items})
        if missing:
            raise catalog_error(
                directory,
                "must hold each item to be removed, does not hold "
                + ", ".join(map(repr, missing[:10])),
                None,
                f"see the items: magpie catalog list {directory}",
            )
        items = tuple(item for item in catalog.items if item.item_id not in gone)
        if not items:
            raise catalog_error(
                directory, "must keep at least one item", "the removal of all", "delete the folder"
            )
        kept = [p for p in catalog.stored_pictures() if p.item_id not in gone]
        manifest = catalog.manifest
        report = _write(directory, manifest.recipe, items, kept, [], manifest.sources, catalog)
        return report.generation


def _left_as_known(new: Sequence[StoredPicture], there: Mapping[PictureKey, str]) -> Iterable[Left]:
    """Return what of the new pictures is known by those names; of a clip one line tells it."""
    found: dict[Left, None] = {}
    for picture in new:
        image = there.get((picture.item_id, picture.record.sha256))
        if image is not None:
            reason = f"is in the catalog already as {clip_name(image)}"
            found[Left(clip_name(picture.record.image), reason)] = None
    return found


def nothing_usable(images: Path, left_out: Sequence[Left]) -> MagpieError:
    """Return the CatalogError about pictures of which none could be used."""
    shown = "; ".join(f"{left.place} {left.reason}" for left in left_out[:3])
    more = f"; and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return CatalogError.at(f"IMAGES {images}", f"no picture is usable: {shown}{more}")


def _refuse_other_folder(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError.at(f"--out {out}", "must be a folder, is a file")
    ours = {"CURRENT", "generations", ".work", ".lock", ".CURRENT.new"}
    strange = sorted(path.name for path in out.iterdir() if path.name not in ours)
    if strange and not (out / "CURRENT").exists():
        raise ConfigError.at(
            f"--out {out}",
            "must be new, empty or a catalog",
            f"a folder with {strange[0]}",
            "name another folder",
        )


def _known_pictures(out: Path, recipe: Recipe) -> dict[str, StoredPicture]:
    """Return the pictures in use that the same recipe made, by the content of their file."""
    if not list_generations(out):
        return {}
    try:
        catalog = Catalog.load(out, None)
        if catalog.manifest.recipe != recipe:
            return {}
        return {picture.record.sha256: picture for picture in catalog.stored_pictures()}
    except CatalogError:
        return {}  # damaged: building anew is what mends it


def _describe(
    found: Found,
    directory: Path,
    recipe: Recipe,
    networks: Networks,
    known: dict[str, StoredPicture],
    clips: ClipReader | None,
    progress: Progress,
) -> tuple[list[StoredPicture], list[Left]]:
    n_clips = sum(is_clip(source.path) for source in found.sources)
    n_pictures, n_before = len(found.sources) - n_clips, n_clips * STEPS_A_CLIP
    require_room(directory, n_pictures * BYTES_A_PICTURE + n_clips * BYTES_A_CLIP)
    work = WorkFolder(directory, recipe)
    images = {sha256: picture.record.image for sha256, picture in known.items()}
    sources, left_out = ClipSources(clips, recipe, networks.embed, images, work).put_views(
        found.sources,
        lambda n_done: progress(round(n_done * STEPS_A_CLIP), n_before + n_pictures),
    )
    describer = Describer(recipe, networks.embed, networks.make_extractor)
    pictures, not_described = describer.describe(
        sources, known, work, lambda n_done, n: progress(n_before + n_done, n_before + n)
    )
    return pictures, [*found.left_out, *left_out, *not_described]


def _write(
    directory: Path,
    recipe: Recipe,
    items: Sequence[Item],
    pictures: Sequence[StoredPicture],
    left_out: Sequence[Left],
    sources: Sequence[str],
    changed_from: Catalog | None = None,
) -> BuildReport:
    """Write the generation; changed_from: the one whose calibration and near-twins still hold."""
    usable = {picture.item_id for picture in pictures}
    kept = [item for item in items if item.item_id in usable]
    generation = write_generation(
        directory,
        recipe,
        kept,
        pictures,
        sources=sources,
        add_files=partial(_add_files, directory, changed_from),
    )
    WorkFolder(directory, recipe).remove()
    empty = tuple(item.item_id for item in items if item.item_id not in usable)
    same, _ = list_alike(Catalog.load(directory, None, generation))
    return BuildReport(
        directory, generation, len(kept), len(pictures), tuple(left_out), empty, tuple(same)
    )


def _add_files(
    directory: Path, changed_from: Catalog | None, folder: Path, manifest: Manifest
) -> None:
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
    write_index(build_index(embeddings, SearchOptions()), folder / INDEX)
    write_votes_index(folder)
    write_near_twins(Catalog.open_folder(directory, folder, manifest), changed_from)
    if changed_from is not None and (changed_from.folder / CALIBRATION).is_file():
        shutil.copyfile(changed_from.folder / CALIBRATION, folder / CALIBRATION)
