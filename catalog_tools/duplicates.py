"""Pictures of a catalog that may be one picture twice, and what its owner has decided of them.

Two measures, for each sees what the other doesn't: a perceptual hash (another size, encoding or
light of one picture), and the embedding (another cut of it). Near-twins, packs that differ in a
word, may be among them: which are which only their owner knows, so nothing is done unasked, and a
decision is remembered (DIR/duplicates.json) so that no pair is asked about twice.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imagehash
import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from catalog_tools.build import no_progress
from catalog_tools.changes import merge_items, remove_pictures
from catalog_tools.etag import changing
from pipeline.catalog import Catalog
from pipeline.catalog_format import catalog_error, damaged, read_pictures
from pipeline.errors import ConfigError, NotInCatalogError
from pipeline.types import F32

DECISIONS = "duplicates.json"
# Bits of 64 by which the hashes of one picture, made smaller, compressed or lit otherwise, differ
# at most, and how alike the embeddings must be beside that: plain pictures have hashes alike.
MAX_HASH_DISTANCE = 8
MIN_SIMILARITY = 0.85
# From there on, whatever the hashes say. Of 30 made packs by the shipped embedder: copies of a
# third of the size and darker ones are 0 to 2 bits apart and 0.96 alike, cuts of 90 % 10 to 19 bits
# and 0.945, other packs 28 bits and at most 0.57; near-twins, 0 to 5 bits and 0.99, are told too.
SURE_SIMILARITY = 0.94
_BLOCK = 512

Choice = Literal["keep", "merge", "remove"]


@dataclass(frozen=True, slots=True)
class PictureName:
    """A picture of a catalog: its item, its file's name, and what it is known by."""

    item_id: str
    image: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two pictures that may be one. hash_distance: 0..64 bits; similarity: cosine of embeddings."""

    one: PictureName
    other: PictureName
    hash_distance: int
    similarity: float


class Decision(BaseModel):
    """What was decided of two pictures, named by their hashes in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: tuple[str, str]
    choice: Choice


_DECISIONS = TypeAdapter(list[Decision])


def find_duplicates(
    directory: Path, progress: Callable[[int, int], None] = no_progress
) -> list[Duplicate]:
    """Return the pairs that nobody has decided of yet, the likest first."""
    catalog = Catalog.load(directory, None)
    names = _names(catalog)
    decided = {frozenset(decision.pictures) for decision in read_decisions(directory)}
    hashes = _hashes(catalog, progress)
    firsts = [catalog.first_view(picture) for picture in range(len(names))]
    found = [
        Duplicate(names[one], names[other], distance, round(similarity, 4))
        for one, other, distance, similarity in _alike(hashes, catalog.embeddings[firsts])
        if frozenset((names[one].sha256, names[other].sha256)) not in decided
    ]
    return sorted(found, key=lambda pair: (-pair.similarity, pair.hash_distance))


def decide_duplicate(
    directory: Path,
    one: PictureName,
    other: PictureName,
    choice: Choice,
    *,
    if_match: str | None = None,
    n_threads: int = 0,
) -> None:
    """Do and remember what was decided of two pictures.

    keep: both stay as they are. merge: the first one's item gets all pictures of the other's.
    remove: the other picture goes. NotInCatalogError when the change names what is not there.
    """
    if choice == "merge":
        if one.item_id == other.item_id:
            rule = "merge is of pictures of two items"
            raise ConfigError.at("choice", rule, one.item_id, "keep both, or remove one")
        merge_items(directory, one.item_id, other.item_id, if_match=if_match, n_threads=n_threads)
    elif choice == "remove":
        key = (other.item_id, other.sha256)
        remove_pictures(directory, [key], if_match=if_match, n_threads=n_threads)
        return  # the picture is gone: if it comes again, it is asked about again
    else:
        catalog = Catalog.load(directory, None)
        _require(catalog, one, other)
    with changing(directory, if_match if choice == "keep" else None):
        hashes = sorted((one.sha256, other.sha256))
        decision = Decision(pictures=(hashes[0], hashes[1]), choice=choice)
        known = [each for each in read_decisions(directory) if each.pictures != decision.pictures]
        new = directory / f".{DECISIONS}.{os.getpid()}.new"
        new.write_bytes(_DECISIONS.dump_json([*known, decision], indent=1) + b"\n")
        new.replace(directory / DECISIONS)


def read_decisions(directory: Path) -> list[Decision]:
    """Return what was decided so far; CatalogError when the file is damaged."""
    try:
        return _DECISIONS.validate_json((directory / DECISIONS).read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValidationError):
        raise damaged(directory, f"{DECISIONS} cannot be read") from None


def _require(catalog: Catalog, *pictures: PictureName) -> None:
    there = {(name.item_id, name.sha256) for name in _names(catalog)}
    for picture in pictures:
        if (picture.item_id, picture.sha256) not in there:
            rule = f"item {picture.item_id!r} must hold picture {picture.sha256!r}"
            raise catalog_error(catalog.directory, rule, kind=NotInCatalogError)


def _names(catalog: Catalog) -> list[PictureName]:
    records = read_pictures(catalog.directory, catalog.generation)
    return [
        PictureName(
            catalog.items[catalog.view_item[catalog.first_view(picture)]].item_id,
            record.image,
            record.sha256,
        )
        for picture, record in enumerate(records)
    ]


def _hashes(catalog: Catalog, progress: Callable[[int, int], None]) -> np.ndarray:
    """Return the perceptual hash of each picture: (P,) uint64."""
    n_pictures = catalog.manifest.n_pictures
    hashes = np.zeros(n_pictures, np.uint64)
    for picture in range(n_pictures):
        progress(picture, n_pictures)
        with Image.open(io.BytesIO(catalog.picture_jpeg(picture))) as image:
            bits = imagehash.phash(image).hash
        hashes[picture] = np.packbits(bits.ravel()).view(np.uint64)[0]
    progress(n_pictures, n_pictures)
    return hashes


def _alike(hashes: np.ndarray, rows: F32) -> Iterator[tuple[int, int, int, float]]:
    """Yield each pair of pictures that may be one: both numbers, bits apart, similarity."""
    for start in range(0, len(rows), _BLOCK):
        some = slice(start, start + _BLOCK)
        similarity = rows[some] @ rows.T
        distance = np.bitwise_count(hashes[some, None] ^ hashes[None])
        is_alike = (distance <= MAX_HASH_DISTANCE) & (similarity >= MIN_SIMILARITY)
        is_alike |= similarity >= SURE_SIMILARITY
        for row, other in zip(*np.nonzero(is_alike), strict=True):
            one = start + int(row)
            if one < other:
                yield one, int(other), int(distance[row, other]), float(similarity[row, other])
