"""Builds catalogs and adds to them: each step ends in a new generation."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from catalog_tools.clip_sources import ClipSources, clip_name
from catalog_tools.clips import ClipReader
from catalog_tools.describe import Describer, Progress, WorkFolder, turn_picture
from catalog_tools.draft import DRAFT, Draft, end_draft, read_draft
from catalog_tools.images import Found, Left, find_images
from catalog_tools.key_views import MAX_VIEWS
from catalog_tools.near_twins import AlikePair, list_alike, write_near_twins
from catalog_tools.networks import Networks
from catalog_tools.originals import ORIGINALS, Originals
from catalog_tools.picture_formats import is_clip
from pipeline.catalog import (
    CALIBRATION,
    INDEX,
    Catalog,
    Item,
    Recipe,
    StoredPicture,
    list_generations,
    write_generation,
)
from pipeline.catalog_format import Manifest, PictureKey, catalog_error, rebuild_command
from pipeline.catalog_writing import catalog_lock, require_room
from pipeline.embed import Embedder
from pipeline.errors import CatalogError, ConfigError, MagpieError
from pipeline.identify.search import build_index, write_index
from pipeline.identify.vote import write_votes_index
from pipeline.options import SearchOptions
from pipeline.types import ItemId

# A picture's part of a generation at 256 keypoints, and the same again in the work folder.
BYTES_A_PICTURE = 220_000
BYTES_AN_ORIGINAL = 350_000
BYTES_A_CLIP = MAX_VIEWS * (BYTES_A_PICTURE + 300_000)  # its views also wait as pictures of 1280 px
STEPS_A_CLIP = 100  # of progress: hundredths of the reading
ALL_TURNS_DEG = (0, 90, 180, 270)


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. left_out: files that are not in the catalog; empty_items: items none of
    whose files was usable; same_pictures: items that what is seen cannot tell apart; n_from_small:
    pictures that were rebuilt from what is stored of them, for want of their original.
    """

    directory: Path
    generation: int
    n_items: int
    n_pictures: int
    left_out: tuple[Left, ...]
    empty_items: tuple[ItemId, ...]
    same_pictures: tuple[AlikePair, ...] = ()
    n_from_small: int = 0


def no_progress(n_done: int, n_total: int) -> None:
    """Show nothing."""


def build_catalog(
    images: Path,
    out: Path,
    networks: Networks,
    *,
    turns: bool = False,
    trim: bool = True,
    keep_originals: bool = True,
    clips: ClipReader | None = None,
    progress: Progress = no_progress,
) -> BuildReport:
    """Build a catalog from IMAGES, or build an existing one anew; return what was done.

    Goes on where a killed build of the same pictures ended; takes unchanged pictures over from the
    generation in use. turns: views at 90, 180 and 270 degrees too. trim: cut plain margins off.
    keep_originals: so that it can be rebuilt without IMAGES. clips: reads clips, which are left out
    without it. CatalogError when nothing is usable, OUT holds something else, or the disk is too
    small.
    """
    found = find_images(images)
    _refuse_other_folder(out)
    recipe = recipe_of(networks, Draft(turns=turns, trim=trim))
    with catalog_lock(out):
        if keep_originals:
            Originals(out).keep_from_now_on()
        known = _known_pictures(out, recipe)
        pictures, left_out = describe_found(found, out, recipe, networks, known, clips, progress)
        if not pictures:
            raise nothing_usable(f"IMAGES {images}", left_out)
        sources = [str(images.resolve())]
        report = write_catalog(out, recipe, found.items, pictures, networks.n_threads, sources)
        if not keep_originals:
            shutil.rmtree(Originals(out).folder, ignore_errors=True)
        return replace(report, left_out=tuple(left_out))


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
    read_draft(directory)
    with catalog_lock(directory):
        return add_found(
            directory, found, networks, f"IMAGES {images}", [str(images.resolve())], clips, progress
        )


def add_found(
    directory: Path,
    found: Found,
    networks: Networks,
    where: str,
    sources: Sequence[str] = (),
    clips: ClipReader | None = None,
    progress: Progress = no_progress,
) -> BuildReport:
    """Add what was found to a catalog, or to a draft its first pictures; return what was done.

    An item without a label keeps its own, or is called by its id. where: begins the sentence that
    nothing is usable. sources: what is named from then on as what the catalog was built from. The
    caller holds `catalog_lock`.
    """
    draft = read_draft(directory)
    catalog = Catalog.load(directory, networks.embedder_sha256) if draft is None else None
    recipe = recipe_of(networks, draft) if catalog is None else catalog.manifest.recipe
    if catalog is not None:
        _refuse_other_keypoints(catalog, networks)
    old = [] if catalog is None else catalog.stored_pictures()
    known = {picture.record.sha256: picture for picture in old}
    new, left_out = describe_found(found, directory, recipe, networks, known, clips, progress)
    if not new:
        raise nothing_usable(where, left_out)
    there = {(p.item_id, p.record.sha256): p.record.image for p in old}
    fresh = [p for p in new if (p.item_id, p.record.sha256) not in there]
    left_out += _left_as_known(new, there)
    labels = {} if catalog is None else {item.item_id: item.label for item in catalog.items}
    for item in found.items:
        labels[item.item_id] = item.label or labels.get(item.item_id) or item.item_id
    items = [Item(item_id, label) for item_id, label in labels.items()]
    named = [*(catalog.manifest.sources if catalog is not None else ()), *sources]
    report = write_catalog(
        directory,
        recipe,
        items,
        [*old, *fresh],
        networks.n_threads,
        list(dict.fromkeys(named)),
        catalog,
    )
    return replace(report, left_out=tuple(left_out))


def recipe_of(networks: Networks, draft: Draft) -> Recipe:
    """Return what a catalog is built with by these networks."""
    return Recipe(
        embedder_sha256=networks.embedder_sha256,
        embedder=networks.embedder,
        extractor=networks.make_extractor().name,
        turns_deg=ALL_TURNS_DEG if draft.turns else (0,),
        trim=draft.trim,
    )


def _refuse_other_keypoints(catalog: Catalog, networks: Networks) -> None:
    built, loaded = catalog.manifest.recipe.extractor, networks.make_extractor().name
    if built != loaded:
        raise catalog_error(
            catalog.directory,
            f"built with keypoints {built}, the config asks for {loaded}",
            None,
            f"rebuild it: {rebuild_command(catalog.directory)}",
        )


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
        sources = catalog.manifest.sources
        return write_catalog(out, recipe, catalog.items, pictures, sources=sources)


def _left_as_known(new: Sequence[StoredPicture], there: Mapping[PictureKey, str]) -> Iterable[Left]:
    """Return what of the new pictures is known by those names; of a clip one line tells it."""
    found: dict[Left, None] = {}
    for picture in new:
        image = there.get((picture.item_id, picture.record.sha256))
        if image is not None:
            reason = f"is in the catalog already as {clip_name(image)}"
            found[Left(clip_name(picture.record.image), reason)] = None
    return found


def nothing_usable(where: str, left_out: Sequence[Left]) -> MagpieError:
    """Return the CatalogError about pictures of which none could be used."""
    shown = "; ".join(f"{left.place} {left.reason}" for left in left_out[:3])
    more = f"; and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return CatalogError.at(where, f"no picture is usable: {shown}{more}")


def _refuse_other_folder(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError.at(f"--out {out}", "must be a folder, is a file")
    ours = {"CURRENT", "generations", ".work", ".lock", ".CURRENT.new", DRAFT, ORIGINALS}
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


def describe_found(
    found: Found,
    directory: Path,
    recipe: Recipe,
    networks: Networks,
    known: dict[str, StoredPicture],
    clips: ClipReader | None = None,
    progress: Progress = no_progress,
) -> tuple[list[StoredPicture], list[Left]]:
    """Return what is stored of each usable picture, and the files left out.

    known: pictures that the same recipe made, by the content of their file; taken over. Originals
    are kept where the catalog keeps any. CatalogError when the disk is too small.
    """
    originals = Originals(directory) if Originals(directory).are_kept else None
    n_clips = sum(is_clip(source.path) for source in found.sources)
    n_pictures, n_before = len(found.sources) - n_clips, n_clips * STEPS_A_CLIP
    a_picture = BYTES_A_PICTURE + (BYTES_AN_ORIGINAL if originals is not None else 0)
    require_room(directory, n_pictures * a_picture + n_clips * BYTES_A_CLIP)
    work = WorkFolder(directory, recipe)
    images = {sha256: picture.record.image for sha256, picture in known.items()}
    sources, left_out = ClipSources(clips, recipe, networks.embed, images, work).put_views(
        found.sources,
        lambda n_done: progress(round(n_done * STEPS_A_CLIP), n_before + n_pictures),
    )
    describer = Describer(
        recipe,
        networks.embed,
        networks.make_extractor,
        networks.threads,
        None if originals is None else partial(_keep_original, originals),
    )
    pictures, not_described = describer.describe(
        sources, known, work, lambda n_done, n: progress(n_before + n_done, n_before + n)
    )
    return pictures, [*found.left_out, *left_out, *not_described]


def _keep_original(originals: Originals, path: Path, sha256: str) -> None:
    if not originals.has(sha256):
        originals.put_file(path, sha256)


def write_catalog(
    directory: Path,
    recipe: Recipe,
    items: Sequence[Item],
    pictures: Sequence[StoredPicture],
    n_threads: int = 0,
    sources: Sequence[str] = (),
    changed_from: Catalog | None = None,
) -> BuildReport:
    """Write a generation and put it in use; return what is in it. The caller holds `catalog_lock`.

    changed_from: the one whose calibration and near-twins still hold.
    """
    usable = {picture.item_id for picture in pictures}
    kept = [item for item in items if item.item_id in usable]
    generation = write_generation(
        directory,
        recipe,
        kept,
        pictures,
        sources=sources,
        add_files=partial(_add_files, directory, changed_from, n_threads),
    )
    end_draft(directory)
    WorkFolder(directory, recipe).remove()
    Originals(directory).drop_unused()
    empty = tuple(item.item_id for item in items if item.item_id not in usable)
    same, _ = list_alike(Catalog.load(directory, None, generation))
    return BuildReport(directory, generation, len(kept), len(pictures), (), empty, tuple(same))


def _add_files(
    directory: Path, changed_from: Catalog | None, n_threads: int, folder: Path, manifest: Manifest
) -> None:
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
    write_index(build_index(embeddings, SearchOptions()), folder / INDEX)
    write_votes_index(folder)
    write_near_twins(Catalog.open_folder(directory, folder, manifest), changed_from, n_threads)
    if changed_from is not None and (changed_from.folder / CALIBRATION).is_file():
        shutil.copyfile(changed_from.folder / CALIBRATION, folder / CALIBRATION)
