"""The pool of real pictures that networks are trained on: a folder of tar files or of sub-folders,
one a source.
"""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import ConfigError

_PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_BOXES_SOURCE = "detect"


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture with real boxes: encoded bytes and xyxy shares (N, 4) of its size."""

    encoded: bytes
    xyxy_share: np.ndarray


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
    for path in sorted(folder.iterdir()):
        encoded.update(
            _read_tar(path)
            if path.suffix == ".tar"
            else _read_folder(path)
            if path.is_dir()
            else {}
        )
    pictures = {
        n: data for n, data in encoded.items() if Path(n).suffix.lower() in _PICTURE_SUFFIXES
    }
    plain = {n: data for n, data in pictures.items() if not n.startswith(f"{_BOXES_SOURCE}/")}
    if not plain:
        raise ConfigError.at("--pool", "must hold pictures (jpg, png, webp)", str(folder))
    return Pool(plain, _group_views(plain), _pair_with_boxes(pictures, encoded))


def _read_tar(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.isfile() else None
            if handle is not None:
                found[member.name] = io.BufferedReader(handle).read()
    return found


def _read_folder(path: Path) -> dict[str, bytes]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
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


def _pair_with_boxes(
    pictures: dict[str, bytes], encoded: dict[str, bytes]
) -> dict[str, list[LabelledPicture]]:
    """Read YOLO labels (class, centre, size in shares) beside detect/images/<split>/*.jpg."""
    found: dict[str, list[LabelledPicture]] = {}
    for name in sorted(pictures):
        parts = name.split("/")
        if len(parts) < 4 or parts[0] != _BOXES_SOURCE or parts[1] != "images":
            continue
        label = encoded.get(
            "/".join([_BOXES_SOURCE, "labels", *parts[2:-1], Path(name).stem + ".txt"]), b""
        )
        rows = [
            [float(number) for number in line.split()[1:5]]
            for line in label.decode().splitlines()
            if line.strip()
        ]
        cxcywh = np.array(rows, np.float32).reshape(-1, 4)
        xyxy = np.concatenate(
            [cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, :2] + cxcywh[:, 2:] / 2], 1
        )
        found.setdefault(parts[2], []).append(LabelledPicture(pictures[name], xyxy))
    return found


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
