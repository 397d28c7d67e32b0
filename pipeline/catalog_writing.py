"""Writes generations of a catalog: complete on disk first, then in use by one atomic rename."""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pipeline.catalog_format import (
    CURRENT,
    FORMAT,
    MANIFEST,
    NEAR_TWINS,
    FileRecord,
    Item,
    Manifest,
    Recipe,
    StoredPicture,
    build_command,
    catalog_error,
    generation_folder,
    list_generations,
    no_near_twins,
)
from pipeline.errors import CatalogLockedError, NotInCatalogError
from pipeline.printable import json_text, printable
from pipeline.types import ItemId

KEPT_GENERATIONS = 3  # old ones, beside the one in use


class ArrayFile:
    """A .npy file that grows by rows, so that no catalog has to fit into memory."""

    def __init__(self, path: Path, dtype: type[np.generic], row_shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        self._dtype = np.dtype(dtype)
        self.row_shape = row_shape
        self.n_rows = 0
        self._write_header()
        self._header_bytes = self._file.tell()

    def _write_header(self) -> None:
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self.n_rows, *self.row_shape),
            },
        )

    def append(self, rows: np.ndarray[Any, Any]) -> None:
        rows = np.ascontiguousarray(rows, self._dtype)
        if rows.shape[1:] != self.row_shape:
            raise ValueError(f"rows must be (N, *{self.row_shape}), got {rows.shape}")
        self._file.write(rows.tobytes())
        self.n_rows += len(rows)

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The number of rows is known only now; numpy leaves room for it in the header.
        with self._file:  # closed too where the disk is full
            self._file.seek(0)
            self._write_header()
            grown = self._file.tell() != self._header_bytes
        if grown:
            raise ValueError("the .npy header changed its length")


def write_generation(
    directory: Path,
    recipe: Recipe,
    items: Sequence[Item],
    pictures: Iterable[StoredPicture],
    *,
    sources: Sequence[str] = (),
    add_files: Callable[[Path, Manifest], None] | None = None,
) -> int:
    """Return the number of the new generation, which is then the one in use.

    items: each must have a picture. pictures: read one at a time. sources: IMAGES as the user
    named them, for error texts. add_files: writes further files (indices, near-twins) into the new
    folder; it is given the manifest as far as it is known.
    Nothing changes for readers until all is on disk; a killed writer leaves the old generation in
    use. The caller holds `catalog_lock` where two writers could meet.
    """
    generations = directory / "generations"
    generations.mkdir(parents=True, exist_ok=True)
    for left_over in generations.glob(".new-*"):
        shutil.rmtree(left_over)
    folder = generations / f".new-{os.getpid()}"
    folder.mkdir()
    try:
        counts = _write_data(folder, items, pictures, recipe.turns_deg)
        np.save(folder / NEAR_TWINS, no_near_twins(counts["n_pictures"]))
        generation = max(list_generations(directory), default=0) + 1
        manifest = Manifest(
            format=FORMAT,
            generation=generation,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            recipe=recipe,
            sources=tuple(map(printable, sources)),
            n_items=len(items),
            files={},
            **counts,
        )
        if add_files is not None:
            add_files(folder, manifest)
        files = {path.name: _record(path) for path in sorted(folder.iterdir())}
        manifest = manifest.model_copy(update={"files": files})
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
        _sync(folder / MANIFEST)
        _sync(folder)
        folder.rename(generation_folder(directory, generation))
        _sync(generations)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    switch_generation(directory, generation)
    _remove_old(directory, generation)
    return generation


def switch_generation(directory: Path, generation: int) -> None:
    """Make a generation the one in use, by one atomic rename."""
    if generation not in list_generations(directory):
        there = ", ".join(str(n) for n in list_generations(directory)) or "none"
        rule = f"generation must be one of {there}"
        raise catalog_error(directory, rule, generation, kind=NotInCatalogError)
    new = directory / f".{CURRENT}.new"
    new.write_text(f"{generation}\n", "ascii")
    _sync(new)
    new.replace(directory / CURRENT)
    _sync(directory)


@contextmanager
def catalog_lock(directory: Path) -> Iterator[None]:
    """Hold the right to write a catalog.

    CatalogError when another process has it, and when the disk refuses a write inside.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                rule = "another command is writing it"
                remedy = "wait until that one has finished"
                kind = CatalogLockedError
                raise catalog_error(directory, rule, None, remedy, kind) from None
            yield
    except OSError as error:
        raise catalog_error(
            directory, f"cannot be written: {error.strerror or error}", error.filename
        ) from error


def require_room(directory: Path, needed_bytes: int) -> None:
    """CatalogError when the disk has less free space than that."""
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < needed_bytes:
        raise catalog_error(
            directory,
            f"needs {needed_bytes / 1e6:.0f} MB of free disk",
            f"{free_bytes / 1e6:.0f} MB",
            f"free some, or build it elsewhere: {build_command(directory)}",
        )


def _write_data(
    folder: Path,
    items: Sequence[Item],
    pictures: Iterable[StoredPicture],
    turns_deg: tuple[int, ...],
) -> dict[str, int]:
    """Write everything but the manifest; return its counts."""
    index_by_item: dict[ItemId, int] = {item.item_id: i for i, item in enumerate(items)}
    records: list[dict[str, Any]] = []
    keypoint_starts, picture_starts = [0], [0]
    sizes: list[tuple[int, int]] = []
    views: list[tuple[int, int, int]] = []
    embeddings: ArrayFile | None = None
    with ExitStack() as stack:

        def new(name: str, dtype: type[np.generic], width: int) -> ArrayFile:
            return stack.enter_context(ArrayFile(folder / f"{name}.npy", dtype, (width,)))

        keypoint_file = new("keypoints", np.float32, 4)
        descriptor_file: ArrayFile | None = None
        jpeg_file = stack.enter_context((folder / "pictures.bin").open("wb"))
        for picture in pictures:
            rows = picture.embeddings
            if len(rows) != len(turns_deg) or not np.isfinite(rows).all():
                raise ValueError(
                    f"{picture.record.image}: needs {len(turns_deg)} finite embeddings"
                )
            if embeddings is None:
                embeddings = new("embeddings", np.float32, rows.shape[1])
            embeddings.append(rows)
            keypoints, jpeg = picture.load()
            keypoint_file.append(keypoints.xy_scale_ori)
            if descriptor_file is None:
                descriptor_file = new("descriptors", np.float16, keypoints.descriptors.shape[1])
            descriptor_file.append(keypoints.descriptors)
            jpeg_file.write(jpeg)
            item = index_by_item[picture.item_id]
            views += [(item, len(records), turn) for turn in turns_deg]
            records.append(picture.record.model_dump())
            sizes.append(keypoints.image_size_wh)
            keypoint_starts.append(keypoint_file.n_rows)
            picture_starts.append(jpeg_file.tell())
    if embeddings is None or {view[0] for view in views} != set(range(len(items))):
        raise ValueError("each item needs at least one picture")
    np.save(folder / "views.npy", np.array(views, np.int32))
    np.save(folder / "keypoint_starts.npy", np.array(keypoint_starts, np.int64))
    np.save(folder / "picture_starts.npy", np.array(picture_starts, np.int64))
    np.save(folder / "picture_sizes.npy", np.array(sizes, np.int32))
    _write_json(folder / "pictures.json", records)
    _write_json(folder / "items.json", [item._asdict() for item in items])
    return {
        "n_pictures": len(records),
        "n_views": len(views),
        "n_keypoints": keypoint_file.n_rows,
        "dim": embeddings.row_shape[0],
    }


def _write_json(path: Path, records: list[dict[str, Any]]) -> None:
    lines = ",\n".join(json_text(record) for record in records)
    path.write_text(f"[\n{lines}\n]\n", "utf-8")


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return FileRecord(sha256=digest, bytes=path.stat().st_size)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_old(directory: Path, generation: int) -> None:
    older = [n for n in list_generations(directory) if n != generation]
    for number in older[: max(0, len(older) - KEPT_GENERATIONS)]:
        shutil.rmtree(generation_folder(directory, number), ignore_errors=True)
