"""Finds the pictures and clips of a catalog: a folder with a sub-folder an item, flat files, a CSV,
or one clip.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from catalog_tools.csv_file import read_csv
from catalog_tools.picture_formats import CLIP_SUFFIXES, SUFFIXES, is_clip, why_no_picture
from pipeline.catalog import Item
from pipeline.errors import CatalogError, ConfigError
from pipeline.folders import entries_of, files_below
from pipeline.printable import printable
from pipeline.types import ItemId

CSV_COLUMNS = ("item_id", "label", "image")
CSV_SUFFIXES = (".csv", ".tsv", ".txt")  # Excel calls one with tabs .txt
MAX_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Source:
    """A picture or clip of an item.

    name, place: printable; below IMAGES, and where the user named it (a path, a line of the CSV).
    sha256: what its content is known by before it is read; empty: by its bytes. size_wh: of the
    picture that the file is a smaller copy of; None: it is that picture.
    """

    item_id: ItemId
    path: Path
    name: str
    place: str
    sha256: str = ""
    size_wh: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A file that did not get into the catalog, and why; both printable."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    items: tuple[Item, ...]
    sources: tuple[Source, ...]
    left_out: tuple[Left, ...]


def find_images(images: Path) -> Found:
    """Return the items, pictures and clips that IMAGES names.

    ConfigError when there is no such thing; CatalogError with both places when an item is named
    twice. Files that are no pictures are listed as left out; hidden ones, and what a NAS or a
    system puts into folders, are passed over.
    """
    if not images.exists():
        raise ConfigError.at(f"IMAGES {images}", "no such folder, CSV file or clip")
    if images.is_dir():
        try:
            found = _find_in_folder(images)
        except OSError as error:
            rule = f"cannot be read: {error.strerror}"
            raise ConfigError.at(f"IMAGES {images}", rule, error.filename) from None
    elif images.suffix.lower() in CSV_SUFFIXES:
        found = _read_csv(images)
    elif is_clip(images):
        found = _one_clip(images)
    else:
        raise ConfigError.at(
            f"IMAGES {images}",
            f"must be a folder, a .csv file or a clip ({' '.join(sorted(CLIP_SUFFIXES))})",
            images.suffix or images.name,
            f"put the pictures into a folder, or write a CSV with {','.join(CSV_COLUMNS)}",
        )
    if not found.sources:
        raise CatalogError.at(
            f"IMAGES {images}",
            f"must hold pictures ({' '.join(sorted(SUFFIXES))}) or clips "
            f"({' '.join(sorted(CLIP_SUFFIXES))}), holds none "
            f"and {len(found.left_out)} other files",
        )
    return found


def _find_in_folder(folder: Path) -> Found:
    items: dict[ItemId, str] = {}
    sources: list[Source] = []
    left_out: list[Left] = []
    twice: list[str] = []
    entries = entries_of(folder)
    pictured = {entry.stem for entry in entries if entry.suffix.lower() in SUFFIXES}
    for entry in entries:
        if is_clip(entry) and entry.stem in pictured and not entry.is_dir():
            # A telephone writes IMG_1.MOV beside IMG_1.JPG: two seconds round the picture.
            left_out.append(Left(printable(str(entry)), "a picture of this name lies beside it"))
            continue
        files = _picture_files(entry, left_out)
        if not files:
            continue
        name = entry.name if entry.is_dir() else entry.stem
        reason = refuse_item_id(name)
        if reason:
            left_out.append(Left(printable(str(entry)), reason))
            continue
        item_id = ItemId(name)
        if item_id in items:
            twice.append(f"{item_id!r} in {items[item_id]} and {printable(str(entry))}")
            continue
        items[item_id] = printable(str(entry))
        for path in files:
            name = printable(str(path.relative_to(folder)))
            sources.append(Source(item_id, path, name, printable(str(path))))
    _refuse_twice(folder, twice)
    return Found(tuple(Item(i, i) for i in items), tuple(sources), tuple(left_out))


def _one_clip(path: Path) -> Found:
    reason = refuse_item_id(path.stem)
    if reason:
        raise ConfigError.at(f"IMAGES {path}", reason, remedy="rename it")
    item_id, name, place = ItemId(path.stem), printable(path.name), printable(str(path))
    return Found((Item(item_id, item_id),), (Source(item_id, path, name, place),), ())


def _picture_files(entry: Path, left_out: list[Left]) -> list[Path]:
    """Return an item's pictures and clips, those of deeper folders too, in order of their paths."""

    def leave(error: OSError) -> None:
        place = printable(str(error.filename))
        left_out.append(Left(place, f"cannot be read: {error.strerror}"))

    files = []
    for path in files_below(entry, leave) if entry.is_dir() else [entry]:
        reason = why_no_picture(path)
        if reason:
            left_out.append(Left(printable(str(path)), reason))
        else:
            files.append(path)
    return files


def _read_csv(path: Path) -> Found:
    labels: dict[ItemId, tuple[str, int]] = {}
    lines: dict[tuple[ItemId, Path], int] = {}
    sources: list[Source] = []
    left_out: list[Left] = []
    twice: list[str] = []
    for line, row in read_csv(path, CSV_COLUMNS, str(path), CatalogError):
        name, label, image = (row[column] for column in CSV_COLUMNS)
        place = printable(f"{path}:{line}")
        reason = refuse_item_id(name) or ("" if image else "names no image")
        if reason:
            left_out.append(Left(place, reason))
            continue
        item_id = ItemId(name)
        label = label or (labels[item_id][0] if item_id in labels else name)
        file = Path(image) if Path(image).is_absolute() else path.parent / image
        known_label, first_line = labels.setdefault(item_id, (label, line))
        if known_label != label:
            twice.append(
                f"{item_id!r} is {known_label!r} in line {first_line} and {label!r} in line {line}"
            )
        elif (item_id, file) in lines:
            twice.append(f"{item_id!r} with {image} in lines {lines[item_id, file]} and {line}")
        else:
            lines[item_id, file] = line
            shown = f"{place} {printable(str(file))}"
            sources.append(Source(item_id, file, printable(image), shown))
    _refuse_twice(path, twice)
    named = {source.item_id for source in sources}
    items = tuple(Item(i, label) for i, (label, _) in labels.items() if i in named)
    return Found(items, tuple(sources), tuple(left_out))


def refuse_item_id(name: str) -> str:
    """Return why this cannot be an item id, or an empty text."""
    if not name:
        return "has an empty item id"
    if "/" in name:
        return 'has an item id with "/"'
    kinds = {unicodedata.category(character) for character in name}
    if "Cs" in kinds:
        return "has a name that is not UTF-8"
    return "has an item id with a control character" if "Cc" in kinds else ""


def _refuse_twice(where: Path, twice: list[str]) -> None:
    if twice:
        more = f", and {len(twice) - MAX_SHOWN} more" if len(twice) > MAX_SHOWN else ""
        raise CatalogError.at(
            f"IMAGES {where}",
            f"an item may be named once: {', '.join(twice[:MAX_SHOWN])}{more}",
            remedy="rename one of each pair",
        )
