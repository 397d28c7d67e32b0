"""Labelled photos in two halves: one to fit on, one to judge on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog_tools.evaluation.samples import LEAST_PHOTOS, read_labelled
from catalog_tools.evaluation.scores import Labelled
from pipeline.errors import ConfigError

LEAST_JUDGED = 30  # fewer tell a gain of five photos from chance, but not whether it lasts
GLIMPSE_PX = 64  # a JPEG is decoded at an eighth for it


@dataclass(frozen=True, slots=True)
class Halves:
    """Photos to fit on and photos to judge on; none is in both."""

    fitting: tuple[Labelled, ...]
    judging: tuple[Labelled, ...]


def split_photos(
    folder: Path,
    labels: Sequence[Labelled],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Halves:
    """Return the halves of the labelled photos in a folder, each in the labels' order.

    A photo's half follows from the content of its file alone. So a copy under another name is in
    the same half, and none changes its half when more photos are labelled: what a catalog was
    fitted on earlier never judges it later. Every photo is looked at before any work begins.
    ConfigError when one cannot be used, or a half is too small.
    """
    halves: tuple[list[Labelled], list[Labelled]] = ([], [])
    for n_done, label in enumerate(labels, 1):
        sha256 = read_labelled(folder, label, GLIMPSE_PX).sha256
        halves[int(sha256[:8], 16) % 2].append(label)
        progress(n_done, len(labels))
    fitting, judging = halves
    if len(fitting) < LEAST_PHOTOS or len(judging) < LEAST_JUDGED:
        raise ConfigError.at(
            f"truth of {folder}",
            f"must label at least {LEAST_PHOTOS} photos to fit on and {LEAST_JUDGED} others to "
            "judge on, in halves by the photos' content",
            f"{len(fitting)} and {len(judging)}",
            "label more, some 80 in all; without labelled photos: magpie catalog calibrate DIR",
        )
    return Halves(tuple(fitting), tuple(judging))
