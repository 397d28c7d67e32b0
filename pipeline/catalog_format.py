"""The catalog's format on disk: immutable generations and the file CURRENT that names one.

DIR/CURRENT                  the number of the generation in use
DIR/generations/000003/      manifest.json   what it was built with, counts, each file's hash
                             items.json      [{"item_id", "label"}]
                             pictures.json   [{"image", "sha256", "size_wh"}], in picture order
                             views.npy       (V, 3) int32: item, picture, turn in degrees
                             embeddings.npy  (V, D) float32 unit vectors, one row a view
                             keypoints.npy   (K, 4) float32; descriptors.npy (K, D) float16
                             keypoint_starts.npy, picture_starts.npy   (P + 1,) int64
                             picture_sizes.npy (P, 2) int32 width, height
                             pictures.bin    small JPEG pictures, one after the other
                             index.faiss     written and read by search.py
                             votes.faiss     of descriptors, in large catalogs; see vote.py
                             near_twins.npy  (P,) of NEAR_TWIN_ROW, one a picture
A picture turned by 90, 180 and 270 degrees gives four views: four embeddings, one set of
keypoints. View pixels are those of the stored small picture, for keypoints and homographies alike.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import CatalogError, MagpieError, NotInCatalogError
from pipeline.types import F32, ItemId, Keypoints

FORMAT = 2
CURRENT = "CURRENT"
MANIFEST = "manifest.json"
INDEX = "index.faiss"
VOTES = "votes.faiss"  # of the keypoints' descriptors, in large catalogs
CALIBRATION = "calibration.json"
NEAR_TWINS = "near_twins.npy"
MAP_PX = 32
# What is known of a picture's near-twin, the picture of another item that shares most of its print.
NEAR_TWIN_ROW = np.dtype(
    [
        ("item", "<i4"),  # -1: it has none
        ("view", "<i4"),  # the first of the near-twin's picture
        ("homography", "<f8", (3, 3)),  # this picture's px -> the near-twin's px
        ("distance", "<f8"),  # 0..1, how much they differ in the mean over what both show
        ("apart", "<f8"),  # 0..1, what they lack of agreement where they differ
        ("difference", "u1", (MAP_PX, MAP_PX)),  # how much in each place, 255 where most
        ("same_as", "<i4"),  # the first picture that shows the same; its own number: none before it
    ]
)

PictureKey = tuple[str, str]  # item id and the file's SHA-256


class Item(NamedTuple):
    item_id: ItemId
    label: str


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(_Record):
    """What a picture's stored data depends on; equal recipes may share it."""

    embedder_sha256: str
    embedder: str
    extractor: str
    picture_side_px: int = 320
    turns_deg: tuple[int, ...] = (0,)
    trim: bool = False

    @property
    def key(self) -> str:
        """A short hash: the same for the same recipe."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class FileRecord(_Record):
    sha256: str
    bytes: int


class Manifest(_Record):
    format: int
    generation: int
    created: str
    recipe: Recipe
    sources: tuple[str, ...]
    n_items: int
    n_pictures: int
    n_views: int
    n_keypoints: int
    dim: int
    files: dict[str, FileRecord]


class PictureRecord(_Record):
    """Where a stored picture came from. image: the file's name below IMAGES."""

    image: str
    sha256: str
    size_wh: tuple[int, int]


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """One picture of an item, as a generation stores it.

    embeddings: (T, D) float32 unit vectors, one a turn. load: reads its keypoints, in the stored
    picture's pixels, and the JPEG bytes of that picture.
    """

    item_id: ItemId
    record: PictureRecord
    embeddings: F32
    load: Callable[[], tuple[Keypoints, bytes]]


def catalog_error(
    directory: Path,
    rule: str,
    got: object = None,
    remedy: str = "",
    kind: type[CatalogError] = CatalogError,
) -> MagpieError:
    """Return the CatalogError about this catalog in the house form."""
    return kind.at(f"catalog '{directory}'", rule, got, remedy)


def build_command(directory: Path, sources: tuple[str, ...] = ()) -> str:
    """Return the command that builds this catalog, for error texts."""
    images = shlex.quote(sources[0]) if len(sources) == 1 else "IMAGES"
    return f"magpie catalog build {images} --out {shlex.quote(str(directory))}"


def rebuild_command(directory: Path) -> str:
    """Return the command that builds this catalog anew from what it keeps, for error texts."""
    return f"magpie catalog rebuild {shlex.quote(str(directory))}"


def damaged(directory: Path, what: str) -> MagpieError:
    """Return the CatalogError about a damaged file, with both ways out."""
    remedy = f"switch back: magpie catalog rollback {directory}, or {build_command(directory)}"
    return catalog_error(directory, f"damaged: {what}", None, remedy)


def read_list(directory: Path, path: Path) -> list[Any]:
    """Return the list in a JSON file of a catalog; CatalogError when damaged."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise damaged(directory, f"{path.name} cannot be read") from None
    if not isinstance(data, list):
        raise damaged(directory, f"{path.name} must be a list")
    return data


def generation_folder(directory: Path, generation: int) -> Path:
    return directory / "generations" / f"{generation:06d}"


def list_generations(directory: Path) -> list[int]:
    """Return the numbers of the generations on disk, oldest first; empty when there are none."""
    folder = directory / "generations"
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit() and p.is_dir())


def current_generation(directory: Path) -> int:
    """Return the number of the generation in use; cheap, made to be polled.

    CatalogError when the directory is missing, holds no catalog, or CURRENT is damaged.
    """
    try:
        text = (directory / CURRENT).read_text("ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        remedy = f"build it: {build_command(directory)}"
        if not directory.exists():
            rule, kind = "no such directory", NotInCatalogError
            raise catalog_error(directory, rule, None, remedy, kind) from None
        if not directory.is_dir():
            raise catalog_error(directory, "must be a catalog directory, is a file") from None
        raise catalog_error(
            directory, f"must hold a finished catalog, has no file {CURRENT}", None, remedy
        ) from None
    except UnicodeDecodeError:
        text = "binary data"
    except OSError as error:
        raise catalog_error(directory, f"cannot be read: {error.strerror}") from None
    if not text.isdigit():
        raise catalog_error(
            directory,
            f"damaged: {CURRENT} must hold a number",
            text[:40],
            f"switch to a good generation: magpie catalog rollback {directory}",
        )
    return int(text)


def generation_identity(directory: Path, generation: int) -> str:
    """Return the SHA-256 of a generation's manifest: its identity, whatever its number is.

    CatalogError when there is none (yet).
    """
    path = generation_folder(directory, generation) / MANIFEST
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise damaged(directory, f"{MANIFEST} of generation {generation} cannot be read") from None


def sha256_of_file(path: Path) -> str | None:
    """Return the hash of a file's content, or None when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def read_manifest(directory: Path, generation: int) -> Manifest:
    """Return a generation's manifest; CatalogError when it is missing, damaged or of a newer
    format."""
    path = generation_folder(directory, generation) / MANIFEST
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise damaged(directory, f"{path.name} of generation {generation} cannot be read") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        sources = data.get("sources") if isinstance(data, dict) else None
        named = tuple(map(str, sources)) if isinstance(sources, list) else ()
        remedy = f"rebuild it: {build_command(directory, named)}"
        raise catalog_error(directory, f"must have format {FORMAT}", found, remedy)
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise damaged(directory, f"{path.name}: {where} is missing or wrong") from None


def no_near_twins(n_pictures: int) -> NDArray[Any]:
    """Return rows that say that no picture has a near-twin: (P,) NEAR_TWIN_ROW."""
    rows = np.zeros(n_pictures, NEAR_TWIN_ROW)
    rows["item"] = rows["view"] = -1
    rows["same_as"] = np.arange(n_pictures)
    return rows


def read_pictures(directory: Path, generation: int) -> list[PictureRecord]:
    """Return where each stored picture came from, in picture order."""
    return read_pictures_of(directory, generation_folder(directory, generation))


def read_pictures_of(directory: Path, folder: Path) -> list[PictureRecord]:
    """Return the same of a generation's folder, which may still be being written."""
    data = read_list(directory, folder / "pictures.json")
    return [PictureRecord.model_validate(record) for record in data]
