"""Changes of a catalog that need no file of the user's at hand: each ends in a new generation.

All of them take `if_match` as `changing` does, and raise NotInCatalogError for an item or picture
that is not there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from catalog_tools.build import BuildReport, add_found, no_progress, write_catalog
from catalog_tools.describe import Progress
from catalog_tools.etag import changing
from catalog_tools.images import Found, Left, Source, refuse_item_id
from catalog_tools.networks import Networks
from catalog_tools.originals import Originals
from catalog_tools.reading import PictureError
from pipeline.catalog import Catalog, Item, StoredPicture
from pipeline.catalog_format import PictureKey, catalog_error, current_generation
from pipeline.errors import ConfigError, NotInCatalogError
from pipeline.printable import printable
from pipeline.types import ItemId

MAX_ID_CHARACTERS = 200
MAX_LABEL_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class NewPicture:
    """A picture that was sent. name: as its sender calls it. label: of the item; empty: as it is.

    read: returns the file's bytes; PictureError says why there are none.
    """

    item_id: ItemId
    name: str
    read: Callable[[], bytes]
    label: str = ""


def add_pictures(
    directory: Path,
    pictures: Sequence[NewPicture],
    networks: Networks,
    *,
    if_match: str | None = None,
    progress: Progress = no_progress,
) -> BuildReport:
    """Add pictures to items, known or new ones, or a draft's first; return what was done.

    Their originals are kept, and what is stored is made from these, so that a rebuild gives the
    same. A picture that is none is told in `left_out`. CatalogError when none is usable.
    """
    for picture in pictures:
        check_item_id(picture.item_id)
        check_label(picture.label)
    with changing(directory, if_match):
        originals = Originals(directory)
        try:
            found = _receive(originals, pictures, progress)
            steps = len(found.sources)
            return add_found(
                directory,
                found,
                networks,
                "pictures",
                progress=lambda n_done, n: progress(steps + n_done, steps + n),
            )
        except BaseException:
            originals.drop_unused()
            raise


def _receive(originals: Originals, pictures: Sequence[NewPicture], progress: Progress) -> Found:
    sources: list[Source] = []
    left_out: list[Left] = []
    labels: dict[ItemId, str] = {}
    for n_done, picture in enumerate(pictures):
        progress(n_done, 2 * len(pictures))
        name = printable(picture.name)
        labels[picture.item_id] = picture.label or labels.get(picture.item_id, "")
        try:
            sha256, size_wh = originals.receive(picture.read())
        except PictureError as error:
            left_out.append(Left(name, str(error)))
            continue
        path = originals.path(sha256)
        sources.append(Source(picture.item_id, path, name, name, sha256, size_wh))
    items = tuple(Item(item_id, label) for item_id, label in labels.items())
    return Found(items, tuple(sources), tuple(left_out))


def remove_from_catalog(
    directory: Path, item_ids: Sequence[str], *, if_match: str | None = None, n_threads: int = 0
) -> int:
    """Remove items; return the number of the new generation.

    CatalogError when none would be left.
    """
    gone = set(item_ids)

    def without(catalog: Catalog) -> tuple[list[Item], list[StoredPicture]]:
        _require_items(catalog, gone)
        items = [item for item in catalog.items if item.item_id not in gone]
        if not items:
            raise catalog_error(
                directory, "must keep at least one item", "the removal of all", "delete the folder"
            )
        return items, [p for p in catalog.stored_pictures() if p.item_id not in gone]

    return _change(directory, without, if_match, n_threads)


def remove_pictures(
    directory: Path,
    keys: Collection[PictureKey],
    *,
    if_match: str | None = None,
    n_threads: int = 0,
) -> int:
    """Remove single pictures, each named by its item and its hash; return the new generation.

    CatalogError when an item would have none left.
    """

    def without(catalog: Catalog) -> tuple[list[Item], list[StoredPicture]]:
        pictures = catalog.stored_pictures()
        _require_pictures(catalog, pictures, keys)
        kept = [p for p in pictures if (p.item_id, p.record.sha256) not in keys]
        bare = {p.item_id for p in pictures} - {p.item_id for p in kept}
        if bare:
            rule = f"item {min(bare)!r} must keep a picture"
            raise catalog_error(directory, rule, "the removal of all", "remove the item")
        return list(catalog.items), kept

    return _change(directory, without, if_match, n_threads)


def label_item(
    directory: Path, item_id: str, label: str, *, if_match: str | None = None, n_threads: int = 0
) -> int:
    """Give an item another label; return the number of the new generation."""
    check_label(label)

    def labelled(catalog: Catalog) -> tuple[list[Item], list[StoredPicture]]:
        _require_items(catalog, {item_id})
        items = [
            Item(item.item_id, (label or item_id) if item.item_id == item_id else item.label)
            for item in catalog.items
        ]
        return items, catalog.stored_pictures()

    return _change(directory, labelled, if_match, n_threads)


def merge_items(
    directory: Path, into: str, gone: str, *, if_match: str | None = None, n_threads: int = 0
) -> int:
    """Let one item have the pictures of another, which goes; return the new generation."""

    def merged(catalog: Catalog) -> tuple[list[Item], list[StoredPicture]]:
        _require_items(catalog, {into, gone})
        if into == gone:
            raise catalog_error(directory, "two items must be named to be merged", into)
        pictures = catalog.stored_pictures()
        there = {p.record.sha256 for p in pictures if p.item_id == into}
        kept = [
            replace(p, item_id=ItemId(into)) if p.item_id == gone else p
            for p in pictures
            if p.item_id != gone or p.record.sha256 not in there
        ]
        return [item for item in catalog.items if item.item_id != gone], kept

    return _change(directory, merged, if_match, n_threads)


def delete_catalog(directory: Path, *, if_match: str | None = None) -> None:
    """Remove a catalog, or a draft, with all its generations: at once, or not at all."""
    with changing(directory, if_match):
        gone = directory.with_name(f".{directory.name}.{os.getpid()}.gone")
        directory.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def check_item_id(item_id: str) -> None:
    """Raise ConfigError for a text that can't be an item's id."""
    reason = refuse_item_id(item_id)
    if not reason and len(item_id) > MAX_ID_CHARACTERS:
        reason = f"has an item id of more than {MAX_ID_CHARACTERS} characters"
    if reason:
        raise ConfigError.at("item_id", reason, item_id[:80], "choose another")


def check_label(label: str) -> None:
    """Raise ConfigError for a text that can't be a label."""
    if len(label) > MAX_LABEL_CHARACTERS or label != "".join(c for c in label if c.isprintable()):
        rule = f"must be at most {MAX_LABEL_CHARACTERS} printable characters"
        raise ConfigError.at("label", rule, printable(label[:80]))


def _change(
    directory: Path,
    change: Callable[[Catalog], tuple[list[Item], list[StoredPicture]]],
    if_match: str | None,
    n_threads: int,
) -> int:
    """Write what `change` makes of the generation in use as the next one; return its number."""
    current_generation(directory)
    with changing(directory, if_match):
        catalog = Catalog.load(directory, None)
        items, pictures = change(catalog)
        manifest = catalog.manifest
        report = write_catalog(
            directory, manifest.recipe, items, pictures, n_threads, manifest.sources, catalog
        )
        return report.generation


def _require_items(catalog: Catalog, item_ids: Collection[str]) -> None:
    missing = sorted(set(item_ids) - {item.item_id for item in catalog.items})
    if missing:
        raise catalog_error(
            catalog.directory,
            "must hold each item that is named, does not hold "
            + ", ".join(map(repr, missing[:10])),
            None,
            f"see the items: magpie catalog list {catalog.directory}",
            NotInCatalogError,
        )


def _require_pictures(
    catalog: Catalog, pictures: Sequence[StoredPicture], keys: Collection[PictureKey]
) -> None:
    missing = sorted(set(keys) - {(p.item_id, p.record.sha256) for p in pictures})
    if missing:
        item_id, sha256 = missing[0]
        rule = f"item {item_id!r} must hold each picture that is named, does not hold {sha256!r}"
        raise catalog_error(catalog.directory, rule, kind=NotInCatalogError)
