"""A user's own labelled pictures, to train a detector of named classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from catalog_tools.picture_formats import may_be_picture
from catalog_tools.train.pool import LabelledPicture, is_pool_picture, label_picture
from pipeline.errors import ConfigError
from pipeline.folders import files_below

_NAMES_FILES = ("names.txt", "classes.txt")
_CHECK_EVERY = 10  # pictures of a folder without a `val` part


@dataclass(frozen=True, slots=True)
class UserBoxes:
    """names: by class number. train, check: pictures to learn from, and to measure on."""

    names: tuple[str, ...]
    train: list[LabelledPicture]
    check: list[LabelledPicture]


def read_user_boxes(folder: Path) -> UserBoxes:
    """Read images/, labels/ (YOLO text files of the same names) and names.txt (a class a line).

    images/train and images/val are told apart where they exist; else every tenth picture is for
    the checks. Raises ConfigError when something is missing or a label has an unknown class.
    """
    names = _read_names(folder)
    images = folder / "images"
    pictures = _read_pictures(images)
    if not pictures:
        raise ConfigError.at("--boxes", "must hold pictures in images/", str(folder))
    has_parts = (images / "val").is_dir()
    train: list[LabelledPicture] = []
    check: list[LabelledPicture] = []
    for number, (path, encoded) in enumerate(pictures.items()):
        place = folder / "labels" / path.relative_to(images).with_suffix(".txt")
        label = place.read_bytes() if place.is_file() else None
        labelled = label_picture(encoded, label, str(place))
        unknown = [int(c) for c in labelled.classes if not 0 <= c < len(names)]
        if unknown:
            rule = f"a class must be 0 to {len(names) - 1} (names.txt has {len(names)})"
            raise ConfigError.at(f"label '{place}'", rule, unknown[0])
        is_check = (
            path.relative_to(images).parts[0] == "val"
            if has_parts
            else number % _CHECK_EVERY == _CHECK_EVERY - 1
        )
        (check if is_check else train).append(labelled)
    if not any(len(labelled.classes) for labelled in train):
        rule = "must hold boxes in labels/, in YOLO text files named as the pictures"
        raise ConfigError.at("--boxes", rule, str(folder))
    return UserBoxes(names, train, check)


def _read_pictures(images: Path) -> dict[Path, bytes]:
    """Return the encoded pictures at every depth, in order of their paths."""
    if not images.is_dir():
        return {}
    try:
        named = [path for path in files_below(images) if may_be_picture(path) and path.is_file()]
        encoded = {path: path.read_bytes() for path in named}
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise ConfigError.at("--boxes", rule, str(error.filename)) from error
    return {path: data for path, data in encoded.items() if is_pool_picture(str(path), data)}


def _read_names(folder: Path) -> tuple[str, ...]:
    for file in _NAMES_FILES:
        if (folder / file).is_file():
            lines = (folder / file).read_text(encoding="utf-8").splitlines()
            names = tuple(line.strip() for line in lines if line.strip())
            if names and len(set(names)) == len(names):
                return names
            raise ConfigError.at(f"'{folder / file}'", "must name each class once, one a line")
    rule = "must hold names.txt, a class a line, in the order of their numbers"
    raise ConfigError.at("--boxes", rule, str(folder))
