"""Computes what a catalog stores of a picture, and keeps it so that a killed build goes on."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np

from catalog_tools.images import Left, Source
from catalog_tools.reading import PictureError, decode_picture, read_file, trim_margin
from pipeline.catalog import Recipe, StoredPicture
from pipeline.catalog_format import PictureRecord
from pipeline.keypoints import Extractor
from pipeline.types import F32, U8, Keypoints

BATCH = 32
READING_SIDE_PX = 1280  # the margin is trimmed at this size, before the picture is made small
JPEG_QUALITY = 92
_ROTATION = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}

Embed = Callable[[Sequence[U8]], F32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Description:
    """What is stored of one picture file, whatever item it belongs to."""

    size_wh: tuple[int, int]
    embeddings: F32
    keypoints: Keypoints
    jpeg: bytes


class WorkFolder:
    """Descriptions of single pictures on disk, by the content of the file and the recipe."""

    def __init__(self, directory: Path, recipe: Recipe) -> None:
        self._root = directory / ".work"
        self._folder = self._root / recipe.key

    @property
    def clip_folder(self) -> Path:
        """Where pictures of clips wait for being described."""
        return self._folder / "clips"

    def find(self, sha256: str) -> Description | None:
        """Return the description of a file with that content; None when there is none."""
        try:
            with self._path(sha256).open("rb") as file, np.load(file) as data:
                return Description(
                    tuple(int(n) for n in data["size_wh"]),
                    data["embeddings"],
                    Keypoints(
                        data["keypoints"],
                        data["descriptors"].astype(np.float32),
                        tuple(int(n) for n in data["picture_size_wh"]),
                    ),
                    data["jpeg"].tobytes(),
                )
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None  # not there, or half written by a crash of the machine: computed again

    def put(self, sha256: str, description: Description) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(
            buffer,
            size_wh=description.size_wh,
            embeddings=description.embeddings,
            keypoints=description.keypoints.xy_scale_ori,
            descriptors=description.keypoints.descriptors.astype(np.float16),
            picture_size_wh=description.keypoints.image_size_wh,
            jpeg=np.frombuffer(description.jpeg, np.uint8),
        )
        new = self._folder / f".{os.getpid()}.new"
        new.write_bytes(buffer.getbuffer())
        new.replace(self._path(sha256))

    def load(self, sha256: str) -> tuple[Keypoints, bytes]:
        description = self.find(sha256)
        if description is None:
            raise OSError(f"{self._path(sha256)} has vanished")
        return description.keypoints, description.jpeg

    def remove(self) -> None:
        """Delete it with all recipes'."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.npz"


@dataclass(frozen=True, slots=True)
class _Prepared:
    source: Source
    sha256: str
    size_wh: tuple[int, int]
    picture_bgr: U8
    keypoints: Keypoints


class Describer:
    """Turns picture files into what a generation stores."""

    def __init__(
        self,
        recipe: Recipe,
        embed: Embed,
        make_extractor: Callable[[], Extractor],
        n_threads: int,
        keep: Callable[[Path, str], None] | None = None,
    ) -> None:
        """keep: given each file that is taken and what it is known by."""
        self._recipe = recipe
        self._embed = embed
        self._make_extractor = make_extractor
        self._n_threads = n_threads
        self._keep = keep
        self._of_thread = threading.local()  # OpenCV's extractors are not shared among threads

    def describe(
        self,
        sources: Sequence[Source],
        known: dict[str, StoredPicture],
        work: WorkFolder,
        progress: Progress,
    ) -> tuple[list[StoredPicture], list[Left]]:
        """Return the pictures of all usable files in their order, and the files left out.

        known: pictures of the generation in use, by the content of their file; taken over.
        """
        pictures: list[StoredPicture] = []
        left_out: list[Left] = []
        first_by_content: dict[tuple[str, str], Source] = {}
        with ThreadPoolExecutor(self._n_threads) as pool:
            for n_done, block in enumerate(_blocks(sources, BATCH)):
                progress(n_done * BATCH, len(sources))
                todo: list[_Prepared] = []
                found: list[tuple[Source, str]] = []
                for result in pool.map(partial(self._prepare, known, work), block):
                    if isinstance(result, Left):
                        left_out.append(result)
                        continue
                    source, sha256, prepared = result
                    first = first_by_content.setdefault((source.item_id, sha256), source)
                    if first is not source:
                        reason = f"is the same picture as {first.name}"
                        left_out.append(Left(source.place, reason))
                        continue
                    found.append((source, sha256))
                    if prepared is not None:
                        todo.append(prepared)
                self._finish(todo, work)
                pictures += [_stored(source, sha, known, work) for source, sha in found]
        progress(len(sources), len(sources))
        return pictures, left_out

    def _prepare(
        self, known: dict[str, StoredPicture], work: WorkFolder, source: Source
    ) -> Left | tuple[Source, str, _Prepared | None]:
        try:
            data = b"" if source.sha256 else read_file(source.path)
            sha256 = source.sha256 or hashlib.sha256(data).hexdigest()
            if sha256 in known or work.find(sha256) is not None:
                self._keep_file(source, sha256)
                return source, sha256, None
            read = decode_picture(data or read_file(source.path), READING_SIDE_PX)
            self._keep_file(source, sha256)
        except PictureError as error:
            return Left(source.place, str(error))
        image_bgr = trim_margin(read.image_bgr) if self._recipe.trim else read.image_bgr
        picture_bgr = shrink(image_bgr, self._recipe.picture_side_px)
        keypoints = self._extractor().extract(picture_bgr)
        return (
            source,
            sha256,
            _Prepared(source, sha256, source.size_wh or read.size_wh, picture_bgr, keypoints),
        )

    def _keep_file(self, source: Source, sha256: str) -> None:
        if self._keep is not None:
            self._keep(source.path, sha256)

    def _finish(self, todo: list[_Prepared], work: WorkFolder) -> None:
        turns = self._recipe.turns_deg
        turned = [turn_picture(p.picture_bgr, turn) for p in todo for turn in turns]
        if not turned:
            return
        rows = np.asarray(self._embed(turned), np.float32)
        rows = rows.reshape(len(todo), len(turns), -1)
        for prepared, embeddings in zip(todo, rows, strict=True):
            jpeg = encode_jpeg(prepared.picture_bgr)
            description = Description(prepared.size_wh, embeddings, prepared.keypoints, jpeg)
            work.put(prepared.sha256, description)

    def _extractor(self) -> Extractor:
        if not hasattr(self._of_thread, "extractor"):
            self._of_thread.extractor = self._make_extractor()
        return self._of_thread.extractor


def _stored(
    source: Source, sha256: str, known: dict[str, StoredPicture], work: WorkFolder
) -> StoredPicture:
    if sha256 in known:
        old = known[sha256]
        record = old.record.model_copy(update={"image": source.name})
        return StoredPicture(source.item_id, record, old.embeddings, old.load)
    description = work.find(sha256)
    if description is None:
        raise OSError(f"the work folder has lost {source.name}")
    record = PictureRecord(image=source.name, sha256=sha256, size_wh=description.size_wh)
    return StoredPicture(source.item_id, record, description.embeddings, partial(work.load, sha256))


def shrink(image_bgr: U8, side_px: int) -> U8:
    """Return the picture with its longer side at most that long; never enlarged."""
    height, width = image_bgr.shape[:2]
    factor = side_px / max(height, width)
    if factor >= 1:
        return image_bgr
    size_wh = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def turn_picture(image_bgr: U8, turn_deg: int) -> U8:
    """Return the picture turned clockwise by 0, 90, 180 or 270 degrees."""
    if turn_deg == 0:
        return image_bgr
    return np.asarray(cv2.rotate(image_bgr, _ROTATION[turn_deg]), np.uint8)


def encode_jpeg(image_bgr: U8) -> bytes:
    """Return JPEG bytes with full chroma: near-twins differ by a colour."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    done, data = cv2.imencode(".jpg", image_bgr, options)
    if not done:
        raise ValueError(f"a picture of {image_bgr.shape} cannot be encoded")
    return data.tobytes()


def _blocks(sources: Sequence[Source], size: int) -> Iterator[list[Source]]:
    rest: Iterable[Source] = iter(sources)
    while block := list(islice(rest, size)):
        yield block
