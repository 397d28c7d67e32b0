"""The pool of real pictures that networks are trained on: a folder of tar files or of sub-folders,
one a source, or the parts that `magpie train pack` made of one.
"""

from __future__ import annotations

import io
import logging
import re
import tarfile
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import IO

import cv2
import numpy as np

from catalog_tools.picture_formats import FIRST_BYTES, may_be_picture, not_read, picture_format
from catalog_tools.train.packing import PARTS_SUFFIX, read_parts
from pipeline.errors import ConfigError
from pipeline.folders import entries_of, files_below, is_passed_over
from pipeline.printable import printable

_PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_FORMATS = {"JPEG", "PNG", "WebP", "BMP"}
_BOXES_SOURCE = "detect"
VAL_EVERY = 10  # picture of a source with YOLO files beside its pictures is kept for checks
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture with real boxes: encoded bytes, xyxy shares (N, 4) of its size, the boxes' classes
    (N,) int64, and where it comes from (what its name begins with).
    """

    encoded: bytes
    xyxy_share: np.ndarray
    classes: np.ndarray
    source: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Encoded pictures by source, and by view group; decoded when read.

    groups: source → list of groups; the pictures of a group (names) show one thing from several
    sides.
    """

    encoded: dict[str, bytes]
    groups: dict[str, list[list[str]]]
    labelled: dict[str, list[LabelledPicture]] = field(default_factory=dict)

    def read(self, name: str) -> np.ndarray:
        """Decode a picture: (h, w, 3) uint8 BGR, or (h, w, 4) BGRA for a cut-out."""
        image = decode(self.encoded[name])
        if image is None:
            raise ConfigError.at(
                f"pool picture '{name}'",
                "must be a readable image",
                remedy="remove it from the pool",
            )
        return image

    def draw_group(self, rng: np.random.Generator) -> list[str]:
        """Draw one thing; every source is as likely as any other, however large."""
        sources = sorted(self.groups)
        groups = self.groups[sources[int(rng.integers(len(sources)))]]
        return groups[int(rng.integers(len(groups)))]

    def draw_kin(self, rng: np.random.Generator, count: int, left_out: set[str]) -> list[list[str]]:
        """Draw up to so many different things of one source; sources are as likely as in
        `draw_group`. left_out: first pictures of things that are not drawn.
        """
        sources = sorted(self.groups)
        groups = self.groups[sources[int(rng.integers(len(sources)))]]
        drawn = (groups[int(pick)] for pick in rng.permutation(len(groups)))
        return list(islice((group for group in drawn if group[0] not in left_out), count))


def decode(encoded: bytes) -> np.ndarray | None:
    """Decode to (h, w, 3) BGR or (h, w, 4) BGRA uint8; None when it is no picture."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        return None
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image


def open_pool(folder: Path) -> Pool:
    """Read the pool's pictures into memory, still encoded.

    Raises ConfigError when the folder is missing or holds no picture.
    """
    if not folder.is_dir():
        raise ConfigError.at("--pool", "must be a folder of tar files or sub-folders", str(folder))
    encoded: dict[str, bytes] = {}
    try:
        for path in entries_of(folder):
            if path.is_dir():
                encoded.update(_read_folder(path))
            elif path.suffix == ".tar":
                with path.open("rb") as file:
                    encoded.update(_read_tar(file, path))
            elif path.suffix == PARTS_SUFFIX:
                encoded.update(_read_tar(io.BytesIO(read_parts(path)), path))
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise ConfigError.at("--pool", rule, str(error.filename)) from error
    pictures = {n: data for n, data in encoded.items() if is_pool_picture(n, data)}
    beside = _boxes_beside(pictures, encoded)
    plain = {
        n: data
        for n, data in pictures.items()
        if not n.startswith(f"{_BOXES_SOURCE}/") and n.split("/")[0] not in beside
    }
    if not plain:
        raise ConfigError.at("--pool", "must hold pictures (jpg, png, webp)", str(folder))
    labelled = _read_boxes(pictures, encoded)
    for source in sorted(beside):
        for number, picture in enumerate(beside[source]):
            split = "val" if number % VAL_EVERY == 0 else "train"
            labelled.setdefault(split, []).append(picture)
    return Pool(plain, _group_views(plain), labelled)


def is_pool_picture(name: str, encoded: bytes) -> bool:
    """Say whether a file is a picture that trainings read: by its suffix, or by its content where
    the suffix is that of another kind of picture. One of another format is told in the log.
    """
    if PurePath(name).suffix.lower() in _PICTURE_SUFFIXES:
        return True
    if not may_be_picture(PurePath(name)):
        return False
    found = picture_format(encoded[:FIRST_BYTES])
    if found and found not in _FORMATS:
        log.warning("pool picture %s: left out, %s", printable(name), not_read(found))
    return found in _FORMATS


def hold_out(pool: Pool, every: int = 50) -> set[str]:
    """Return the first pictures of the groups that trainings keep for their checks."""
    several = [groups for groups in pool.groups.values() if len(groups) > 1]  # never a whole source
    return {group[0] for groups in several for group in groups[::every]}


def _read_tar(file: IO[bytes], path: Path) -> dict[str, bytes]:
    """Read the files of a tar, those of the tars in it too (a packed pool holds them)."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=file) as archive:
            for member in archive:
                handle = archive.extractfile(member) if member.isfile() else None
                if handle is None or is_passed_over(PurePath(member.name)):
                    continue
                data = handle.read()
                if member.name.endswith(".tar"):
                    found.update(_read_tar(io.BytesIO(data), path))
                else:
                    found[member.name] = data
    except tarfile.TarError as error:
        raise ConfigError.at(f"--pool '{path}'", "must be a whole tar file", str(error)) from error
    return found


def _read_folder(path: Path) -> dict[str, bytes]:
    files = [file for file in files_below(path) if file.is_file()]
    return {f"{path.name}/{file.relative_to(path).as_posix()}": file.read_bytes() for file in files}


def _group_views(names: dict[str, bytes]) -> dict[str, list[list[str]]]:
    """Put the views of a product together where file names say so (…_main, …_alt1, …_back)."""
    groups: dict[str, dict[str, list[str]]] = {}
    for name in sorted(names):
        source, stem = name.split("/")[0], Path(name).stem
        product = re.sub(r"^\d+_", "", stem)
        view = re.fullmatch(r"(.+?)[_-](main|back|front|alt\d*)(?:_\d+)?", product)
        groups.setdefault(source, {}).setdefault(view.group(1) if view else stem, []).append(name)
    return {source: list(by_product.values()) for source, by_product in groups.items()}


def _read_boxes(
    pictures: dict[str, bytes], encoded: dict[str, bytes]
) -> dict[str, list[LabelledPicture]]:
    """Pair detect/images/<split>/*.jpg with the labels beside them."""
    found: dict[str, list[LabelledPicture]] = {}
    for name in sorted(pictures):
        parts = name.split("/")
        if len(parts) < 4 or parts[0] != _BOXES_SOURCE or parts[1] != "images":
            continue
        place = "/".join([_BOXES_SOURCE, "labels", *parts[2:-1], Path(name).stem + ".txt"])
        found.setdefault(parts[2], []).append(
            label_picture(pictures[name], encoded.get(place), place)
        )
    return found


def _boxes_beside(
    pictures: dict[str, bytes], encoded: dict[str, bytes]
) -> dict[str, list[LabelledPicture]]:
    """Find the sources whose pictures have YOLO files beside them, with what these say.

    A picture of such a source without a file has no box. All boxes are of one class there: what a
    pool's sources call their classes has nothing to do with each other.
    """
    places = {n: n[: -len(PurePath(n).suffix)] + ".txt" for n in pictures}
    sources = {n.split("/")[0] for n, place in places.items() if place in encoded and "/" in n}
    found: dict[str, list[LabelledPicture]] = {}
    for name in sorted(pictures):
        source = name.split("/")[0]
        if source in sources and source != _BOXES_SOURCE:
            label = label_picture(pictures[name], encoded.get(places[name]), places[name])
            one_class = replace(label, classes=np.zeros_like(label.classes), source=source)
            found.setdefault(source, []).append(one_class)
    return found


def label_picture(encoded: bytes, label: bytes | None, place: str) -> LabelledPicture:
    """Join a picture with its YOLO label: a line a box, class, centre and size in shares.

    No label: no box. Raises ConfigError that names the file when a line is something else.
    """
    try:
        rows = [[float(n) for n in line.split()] for line in (label or b"").decode().splitlines()]
        numbers = np.array([row[:5] for row in rows if row], np.float64).reshape(-1, 5)
    except ValueError as error:
        rule = "each line must be: class, centre x, centre y, width, height"
        raise ConfigError.at(f"label '{place}'", rule, str(error)) from error
    center, half = numbers[:, 1:3], numbers[:, 3:] / 2
    xyxy = np.concatenate([center - half, center + half], 1).astype(np.float32)
    source = re.sub(r"[_-]?\d+$", "", Path(place).stem)
    return LabelledPicture(encoded, xyxy, numbers[:, 0].astype(np.int64), source)


def cut_out(image: np.ndarray, tolerance: int = 9) -> np.ndarray | None:
    """Free a thing from its plain board: (h, w, 4) uint8 BGRA cropped to it, or None when the board
    is not plain.

    image: (h, w, 3) uint8 BGR. The board is what joins the corners within `tolerance` grey levels a
    step.
    """
    height, width = image.shape[:2]
    mask = np.zeros((height + 2, width + 2), np.uint8)
    smooth = cv2.GaussianBlur(image, (3, 3), 0)
    step = (tolerance // 3,) * 3
    for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        if not mask[corner[1] + 1, corner[0] + 1]:
            cv2.floodFill(
                smooth, mask, corner, 0, step, step, 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8)
            )
    thing = cv2.morphologyEx(255 - mask[1:-1, 1:-1], cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(thing)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    x, y, w, h, area = (int(number) for number in stats[largest])
    if not 0.06 < area / (height * width) < 0.8 or w * h > 0.95 * height * width:
        return None
    alpha = cv2.GaussianBlur((labels == largest).astype(np.uint8) * 255, (3, 3), 0)
    return np.dstack([image, alpha])[y : y + h, x : x + w]
