"""Do more frames ever make a verdict worse? Photos of packs, panned and shaken as by a hand.

    python -m benchmarks.eval_motion [--data FOLDER] [--limit N]

Each photo becomes a short clip: the camera drifts over it, trembles, blurs. What the matcher
publishes at the photo's middle after all frames is held against what it did after the first one,
and against the best that it ever did.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.eval_setup import (
    CLIP_CAMERA,
    OUT,
    Data,
    Every,
    Limit,
    Out,
    Threads,
    built_catalog,
    find_data,
    finish,
    options_of,
    percent,
    run_command,
    share,
    take,
    told,
)
from catalog_tools.evaluation.evaluate import read_truth
from pipeline.errors import ConfigError
from pipeline.types import F32, F64, U8, Frame, Phase, Sighting

FPS = 25
ZOOM = (1.10, 1.16)  # the photo a little enlarged: room to pan over
DRIFT = 0.035  # of the sides, from the first frame to the last
TREMBLE = 0.006  # of the sides, each frame anew
TURN_DEG = 2.0
BLUR_FROM = 0.3  # share of the frames that motion blurs
NOISE_SIGMA = 3.0


def main(
    data: Data = None,
    out: Out = OUT,
    every: Every = 1,
    limit: Limit = None,
    frames: Annotated[int, typer.Option(min=2, help="Of each clip.")] = 15,
    seed: int = 0,
    threads: Threads = 0,
) -> None:
    """Make a clip of each photo, watch it, compare the verdicts."""
    data = find_data("grocery", data)
    labels = take(read_truth(data / "truth.csv"), every, limit)
    lives: dict[str, list[int]] = {}
    with built_catalog(data / "catalog", options_of(threads)) as built:
        catalog = built.matcher.catalogs[CLIP_CAMERA]
        for label in told(labels, "clips"):
            photo = cv2.imread(str(data / label.image))
            if photo is None:
                raise ConfigError.at(f"photo {Path(label.image).name}", "must be readable")
            rng = np.random.default_rng([seed, zlib.crc32(label.image.encode())])
            built.matcher.switch_catalog(CLIP_CAMERA, catalog)
            clip = move(np.asarray(photo, np.uint8), frames, rng)
            lives[label.image] = judge_clip(built.matcher, clip, label.item_id)
    figures = score_lives(lives)
    config = {"every": every, "limit": limit, "frames": frames, "seed": seed, "threads": threads}
    finish(out, "motion", config, figures, table_rows(figures))


@dataclass(frozen=True, slots=True)
class Moved:
    """A frame of a moved photo, and where the photo's middle lies in it, px."""

    frame: Frame
    middle_xy: tuple[float, float]


def move(photo_bgr: U8, n_frames: int, rng: np.random.Generator) -> Iterator[Moved]:
    """Give the frames of a clip that pans over a photo, in the photo's size."""
    height, width = photo_bgr.shape[:2]
    sides = np.array([width, height], np.float64)
    zoom = rng.uniform(*ZOOM)
    heading = rng.uniform(0, 2 * np.pi)
    drift = DRIFT * sides * [np.cos(heading), np.sin(heading)]
    turn_deg = rng.uniform(-TURN_DEG, TURN_DEG)
    for number in range(n_frames):
        progress = number / (n_frames - 1)
        shift = drift * (2 * progress - 1) + rng.normal(0, TREMBLE, 2) * sides
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg * progress, zoom)
        matrix[:, 2] += shift
        image = _warp(photo_bgr, matrix)
        if number and rng.random() < BLUR_FROM:
            image = _smear(image, rng)
        light = 1 + 0.08 * np.sin(2 * np.pi * progress) if number else 1.0
        noise = rng.normal(0, NOISE_SIGMA, image.shape)
        image = np.clip(image * light + noise, 0, 255).astype(np.uint8)
        middle = matrix @ [width / 2, height / 2, 1]
        yield Moved(_to_frame(image, number), (float(middle[0]), float(middle[1])))


def _warp(image_bgr: U8, matrix: F64) -> U8:
    """Carry a picture by a (2, 3) map of its px, where the first pixel's centre is (0.5, 0.5)."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    size_wh = (image_bgr.shape[1], image_bgr.shape[0])
    mode = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REFLECT_101}
    return np.asarray(cv2.warpAffine(image_bgr, moved, size_wh, **mode), np.uint8)


def _smear(image_bgr: U8, rng: np.random.Generator) -> U8:
    from catalog_tools.train.pairs import motion_kernel

    return np.asarray(cv2.filter2D(image_bgr, -1, motion_kernel(rng)), np.uint8)


def _to_frame(image_bgr: U8, number: int) -> Frame:
    from pipeline.color import planes_from_bgr
    from pipeline.types import ColorRange

    y, u, v = planes_from_bgr(image_bgr)
    time_ns = int(number * 1e9 / FPS)
    return Frame(
        CLIP_CAMERA, number, time_ns, time_ns, y, u, v, range=ColorRange.FULL, clock="file",
        media_ns=time_ns,
    )  # fmt: skip


def judge_clip(matcher: Any, clip: Iterator[Moved], item_id: str | None) -> list[int]:
    """Return, for each frame, what stands published at the photo's middle, as `value_of` says.

    A sighting is at the middle when its box held it in the frame that told the box: the picture
    moves on, and a box is told again only when it has moved far.
    """
    standing: dict[str, Sighting] = {}
    values = []
    for moved in clip:
        for sighting in matcher.match([moved.frame]):
            standing.pop(sighting.sighting_id, None)
            if sighting.phase is not Phase.LEFT and holds(sighting.match.box_xyxy, moved.middle_xy):
                standing[sighting.sighting_id] = sighting
        values.append(value_of(list(standing.values()), item_id))
    return values


def holds(box_xyxy: F32, xy: tuple[float, float]) -> bool:
    """Whether a box, (4,) px, holds a point."""
    return bool((box_xyxy[:2] <= xy).all() and (xy <= box_xyxy[2:]).all())


def value_of(central: Sequence[Sighting], item_id: str | None) -> int:
    """Return what sightings at the middle tell: 1, 2, 3 for the right item as similar, very
    similar, exact; 0 for nothing; -1, -2, -3 for a wrong one. The surest tells.
    """
    if not central:
        return 0
    matches = [sighting.match for sighting in central]
    best = max(matches, key=lambda match: (match.tier.rank, match.probability))
    value = best.tier.rank + 1
    return value if best.item_id == item_id else -value


def score_lives(lives: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return how the last verdict compares with the first and with the best one.

    lives: what `judge_clip` gave, by photo. worse: lower than it was; a tier less counts too.
    lost: the right item stood there and no longer does. wrong: a wrong item stands there.
    """
    ends = {image: (life[0], max(life), life[-1]) for image, life in lives.items()}
    n = len(ends)
    return {
        "n_clips": n,
        "better_than_first": sum(last > first for first, _, last in ends.values()),
        "worse_than_first": sorted(i for i, (first, _, last) in ends.items() if last < first),
        "worse_than_best": sorted(i for i, (_, best, last) in ends.items() if last < best),
        "lost": sorted(i for i, (_, best, last) in ends.items() if best > 0 >= last),
        "right_first": share(sum(first > 0 for first, _, _ in ends.values()), n),
        "right_last": share(sum(last > 0 for _, _, last in ends.values()), n),
        "exact_first": share(sum(first == 3 for first, _, _ in ends.values()), n),
        "exact_last": share(sum(last == 3 for _, _, last in ends.values()), n),
        "wrong_first": sum(first < 0 for first, _, _ in ends.values()),
        "wrong_last": sum(last < 0 for _, _, last in ends.values()),
        "last_values": dict(sorted(Counter(last for _, _, last in ends.values()).items())),
    }


def table_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    of = f"{figures['n_clips']} clips"
    rows = [
        (name.replace("_", " "), str(len(figures[name])), f"{of}; {_shown(figures[name])}")
        for name in ("worse_than_first", "worse_than_best", "lost")
    ]
    rows.append(("better than first", str(figures["better_than_first"]), of))
    for name in ("right", "exact"):
        first, last = percent(figures[f"{name}_first"]), percent(figures[f"{name}_last"])
        rows.append((f"{name} at the middle", f"{first} to {last}", f"{of}, first to last frame"))
    wrong = f"{figures['wrong_first']} to {figures['wrong_last']}"
    rows.append(("wrong at the middle", wrong, f"{of}, first to last frame"))
    return rows


def _shown(images: Sequence[str]) -> str:
    names = [Path(image).stem for image in images[:3]]
    return ", ".join(names) + (" …" if len(images) > 3 else "") if names else "none"


if __name__ == "__main__":
    run_command(main)
