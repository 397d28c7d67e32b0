"""The catalog: one generation opened for reading. Its format: catalog_format.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.catalog_format import (
    CALIBRATION,
    INDEX,
    NEAR_TWIN_ROW,
    NEAR_TWINS,
    Item,
    Manifest,
    Recipe,
    StoredPicture,
    catalog_error,
    current_generation,
    damaged,
    generation_folder,
    generation_identity,
    list_generations,
    read_list,
    read_manifest,
    read_pictures,
    rebuild_command,
    sha256_of_file,
)
from pipeline.catalog_writing import write_generation
from pipeline.keypoints import method_of
from pipeline.printable import printable
from pipeline.stored_rows import StoredRows
from pipeline.types import F32, I32, U8, ItemId, Keypoints

__all__ = [
    "CALIBRATION",
    "INDEX",
    "Catalog",
    "Item",
    "Recipe",
    "StoredPicture",
    "current_generation",
    "list_generations",
    "write_generation",
]

DType = type[np.generic] | np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Catalog:
    """One generation of a catalog, opened for reading; keypoints and pictures stay on disk.

    identity: the SHA-256 of its manifest, which names the content of every file: two generations
    are the same if and only if their identities are.
    items: by item index. view_item: (V,) int32 item index of each view. view_picture: (V,) int32.
    view_turn_deg: (V,) int32, clockwise turn of the picture that was embedded.
    embeddings: (V, D) float32 unit vectors. folder: the generation's own directory.
    """

    name: str
    directory: Path
    folder: Path
    generation: int
    identity: str
    manifest: Manifest
    items: tuple[Item, ...]
    view_item: I32
    view_picture: I32
    view_turn_deg: I32
    embeddings: F32
    _xy_scale_ori: StoredRows
    _descriptors: StoredRows
    _keypoint_starts: NDArray[np.int64]
    _pictures: StoredRows
    _picture_starts: NDArray[np.int64]
    _picture_sizes: I32
    _near_twins: StoredRows
    _first_view: NDArray[np.int64]

    @classmethod
    def load(
        cls,
        directory: Path,
        embedder_sha256: str | None,
        generation: int | None = None,
        extractor: str | None = None,
        verify: bool = False,
    ) -> Catalog:
        """Return the generation in use, or the one asked for.

        embedder_sha256: the weights that the caller loads; extractor: the name of the caller's
        keypoints; None does not compare. verify: read every file and compare its hash, as when it
        may still be being copied; else sizes are compared.
        CatalogError: missing, empty, damaged, or built with another embedder or other keypoints,
        and what to do.
        """
        if generation is None:
            generation = current_generation(directory)
        identity = generation_identity(directory, generation)
        manifest = read_manifest(directory, generation)
        _refuse_foreign(directory, manifest, embedder_sha256, extractor)
        folder = generation_folder(directory, generation)
        for name, record in manifest.files.items():
            path = folder / name
            found = path.stat().st_size if path.is_file() else None
            if found != record.bytes:
                state = "is missing" if found is None else f"has {found} bytes"
                raise damaged(directory, f"{name} {state}, must have {record.bytes} bytes")
            if verify and sha256_of_file(path) != record.sha256:
                raise damaged(directory, f"{name} is not what the manifest says")
        catalog = cls.open_folder(directory, folder, manifest, identity)
        if generation_identity(directory, generation) != identity:
            raise damaged(directory, "another generation was put in its place while it was read")
        return catalog

    @classmethod
    def open_folder(
        cls, directory: Path, folder: Path, manifest: Manifest, identity: str = ""
    ) -> Catalog:
        """Return what lies in a generation's folder, which may still be being written."""
        items = tuple(Item(ItemId(i), label) for i, label in _read_items(directory, folder))
        views = _read_array(directory, folder, "views", np.int32, manifest.n_views, 3)
        dim, n_keypoints = manifest.dim, manifest.n_keypoints
        n_starts = manifest.n_pictures + 1
        catalog = cls(
            name=printable(directory.resolve().name),  # it goes into events
            directory=directory,
            folder=folder,
            generation=manifest.generation,
            identity=identity,
            manifest=manifest,
            items=items,
            view_item=np.ascontiguousarray(views[:, 0]),
            view_picture=np.ascontiguousarray(views[:, 1]),
            view_turn_deg=np.ascontiguousarray(views[:, 2]),
            embeddings=_read_array(
                directory, folder, "embeddings", np.float32, manifest.n_views, dim
            ),
            _xy_scale_ori=_open_rows(directory, folder, "keypoints", np.float32, n_keypoints, 4),
            _descriptors=_open_rows(
                directory, folder, "descriptors", np.float16, n_keypoints, None
            ),
            _keypoint_starts=_read_array(directory, folder, "keypoint_starts", np.int64, n_starts),
            _pictures=StoredRows(folder / "pictures.bin"),
            _picture_starts=_read_array(directory, folder, "picture_starts", np.int64, n_starts),
            _picture_sizes=_read_array(
                directory, folder, "picture_sizes", np.int32, manifest.n_pictures, 2
            ),
            _near_twins=_open_rows(
                directory, folder, NEAR_TWINS.removesuffix(".npy"), NEAR_TWIN_ROW, n_starts - 1
            ),
            _first_view=np.unique(views[:, 1], return_index=True)[1],
        )
        if len(items) != manifest.n_items or not items or not len(views):
            raise damaged(directory, f"{len(items)} items, must have {manifest.n_items}")
        if views.min() < 0 or np.any(views.max(axis=0)[:2] >= [len(items), manifest.n_pictures]):
            raise damaged(directory, "views.npy names items or pictures that are not there")
        return catalog

    @property
    def keypoint_counts(self) -> NDArray[np.int64]:
        """How many keypoints each picture has: (P,) int64."""
        return np.diff(self._keypoint_starts)

    def first_view(self, picture: int) -> int:
        """Return the first view of a picture."""
        return int(self._first_view[picture])

    def near_twins(self, picture: int | None = None) -> NDArray[Any]:
        """Return what is known of a picture's near-twin, (1,) NEAR_TWIN_ROW; of all, (P,)."""
        first, last = (0, self.manifest.n_pictures) if picture is None else (picture, picture + 1)
        return self._rows(self._near_twins, first, last)

    def keypoints(self, view_index: int) -> Keypoints:
        """Return the keypoints of a view's picture, in its unturned pixels."""
        stored = self._stored_keypoints(int(self.view_picture[view_index]))
        norms = np.linalg.norm(stored.descriptors, axis=1, keepdims=True)
        unit = stored.descriptors / np.maximum(norms, np.float32(1e-6))
        return Keypoints(stored.xy_scale_ori, unit, stored.image_size_wh)

    def view_image_bgr(self, view_index: int) -> U8:
        """Return a view's stored small picture, unturned: (h, w, 3) uint8 BGR."""
        data = self.picture_jpeg(int(self.view_picture[view_index]))
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise damaged(self.directory, f"the picture of view {view_index} cannot be decoded")
        return np.asarray(picture, np.uint8)

    def picture_jpeg(self, picture: int) -> bytes:
        """Return a stored picture as it lies in the file."""
        first, last = (int(n) for n in self._picture_starts[picture : picture + 2])
        return self._rows(self._pictures, first, last).tobytes()

    def stored_pictures(self) -> list[StoredPicture]:
        """Return all that is stored of each picture, as `write_generation` takes it.

        The arrays are read from disk when the next generation is written, not before.
        """
        records = read_pictures(self.directory, self.generation)
        n_turns = len(self.manifest.recipe.turns_deg)
        return [
            StoredPicture(
                item_id=self.items[self.view_item[picture * n_turns]].item_id,
                record=record,
                embeddings=self.embeddings[picture * n_turns : (picture + 1) * n_turns],
                load=partial(self._load_picture, picture),
            )
            for picture, record in enumerate(records)
        ]

    def _load_picture(self, picture: int) -> tuple[Keypoints, bytes]:
        return self._stored_keypoints(picture), self.picture_jpeg(picture)

    def _stored_keypoints(self, picture: int) -> Keypoints:
        first, last = (int(n) for n in self._keypoint_starts[picture : picture + 2])
        width, height = (int(n) for n in self._picture_sizes[picture])
        return Keypoints(
            self._rows(self._xy_scale_ori, first, last),
            self._rows(self._descriptors, first, last).astype(np.float32),
            (width, height),
        )

    def _rows(self, stored: StoredRows, first: int, last: int) -> NDArray[Any]:
        try:
            return stored.rows(first, last)
        except (OSError, EOFError) as error:
            raise damaged(self.directory, f"it was changed while in use ({error})") from None


def _refuse_foreign(
    directory: Path, manifest: Manifest, embedder_sha256: str | None, extractor: str | None
) -> None:
    recipe = manifest.recipe
    if embedder_sha256 is not None and embedder_sha256 != recipe.embedder_sha256:
        built, loaded = recipe.embedder_sha256[:8], embedder_sha256[:8]
        rule = f"built with embedder {built}…, the config loads {loaded}…"
    elif extractor is not None and method_of(extractor) != method_of(recipe.extractor):
        built, loaded = method_of(recipe.extractor), method_of(extractor)
        rule = f"built with keypoints {built}, the config asks for {loaded}"
    else:
        return
    remedy = f"rebuild it: {rebuild_command(directory)}"
    raise catalog_error(directory, rule, None, remedy)


def _read_items(directory: Path, folder: Path) -> list[tuple[str, str]]:
    try:
        data = read_list(directory, folder / "items.json")
        return [(str(record["item_id"]), str(record["label"])) for record in data]
    except (KeyError, TypeError):
        raise damaged(directory, "items.json lacks item_id or label") from None


def _read_array(
    directory: Path, folder: Path, name: str, dtype: DType, *shape: int | None
) -> NDArray[Any]:
    """An array of that shape, in memory; None stands for any length."""
    path = folder / f"{name}.npy"
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise damaged(directory, f"{path.name} cannot be read") from None
    _check_shape(directory, path, array.shape, array.dtype, dtype, shape)
    return np.asarray(array)


def _open_rows(
    directory: Path, folder: Path, name: str, dtype: DType, *shape: int | None
) -> StoredRows:
    """An array of that shape, its rows read when they are asked for."""
    path = folder / f"{name}.npy"
    try:
        rows = StoredRows(path)
    except (OSError, ValueError, EOFError, KeyError):
        raise damaged(directory, f"{path.name} cannot be read") from None
    _check_shape(directory, path, rows.shape, rows.dtype, dtype, shape)
    return rows


def _check_shape(
    directory: Path,
    path: Path,
    found: tuple[int, ...],
    found_dtype: np.dtype[Any],
    dtype: DType,
    shape: tuple[int | None, ...],
) -> None:
    fits = len(found) == len(shape) and all(
        wanted in (None, is_) for is_, wanted in zip(found, shape, strict=True)
    )
    if not fits or found_dtype != dtype:
        raise damaged(directory, f"{path.name} is {found_dtype} {found}, must be {shape}")
