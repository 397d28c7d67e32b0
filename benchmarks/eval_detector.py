"""How many packs get a box of the detector, and does the item in a photo's middle get one?

    python -m benchmarks.eval_detector [--shelf FOLDER] [--grocery FOLDER] [--split dev]

On the shelf's truth: the share of packs that a box of their own overlaps by half (IoU). On the
grocery photos: the share with a box that holds the middle. Both twice: by the boxes that cameras
get by default, and by the 50 best whatever their score, as recall at a number of boxes is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.eval_setup import (
    OUT,
    Data,
    Every,
    Limit,
    Out,
    Part,
    Threads,
    find_data,
    finish,
    options_of,
    percent,
    run_command,
    share,
    take,
    told,
)
from benchmarks.eval_shelf import MIN_IOU, Scene, read_scenes
from benchmarks.splits import Split, of_split
from catalog_tools.evaluation.evaluate import read_truth
from pipeline.boxes import area, iou_matrix
from pipeline.errors import ConfigError
from pipeline.types import F32, Detections, Frame

MIN_SHARE, MAX_SHARE = 0.05, 0.85  # of the photo: less is a detail, more is the photo itself


def main(
    shelf: Data = None,
    grocery: Data = None,
    out: Out = OUT,
    every: Every = 1,
    limit: Limit = None,
    split: Part = Split.ALL,
    threads: Threads = 0,
) -> None:
    """Run the detector alone; every, limit and split count in both sets."""
    from pipeline.detect import load_detector
    from pipeline.pictures import search_side_px

    options = options_of(threads)
    any_score = options.detect.model_copy(update={"min_score": 0.0})
    detector = load_detector(options.engine, any_score)

    def find(frame: Frame) -> Detections:
        side_px = search_side_px(frame.size_wh, any_score.input_side_px)
        return detector.detect([frame], side_px)[0]

    shelf, grocery = find_data("shelf", shelf), find_data("grocery", grocery)
    scenes = take(read_scenes(shelf / "truth.csv", split), every, limit)
    packs = [find(read_frame(shelf / scene.image)) for scene in told(scenes, "scenes")]
    photos = take(read_photos(grocery / "truth.csv", split), every, limit)
    centred = []
    for photo in told(photos, "photos"):
        frame = read_frame(grocery / photo)
        centred.append((find(frame), frame.size_wh))

    def figures_from(min_score: float) -> dict[str, Any]:
        return {
            "min_score": min_score,
            "shelf": score_scenes(scenes, [boxes_from(found, min_score) for found in packs]),
            "grocery": score_photos(
                [boxes_at_centre(boxes_from(found, min_score), size) for found, size in centred]
            ),
        }

    figures = {
        "max_boxes": options.detect.max_boxes,
        "by_default": figures_from(options.detect.min_score),
        "any_score": figures_from(0.0),
    }
    config = {
        "every": every, "limit": limit, "split": split.value, "min_iou": MIN_IOU,
        "max_share": MAX_SHARE,
    }  # fmt: skip
    finish(out, "detector", config, figures, table_rows(figures))


def read_frame(path: Path) -> Frame:
    """Return a picture file as the pipeline sees it; ConfigError when it can't be read."""
    from pipeline.color import frame_from_bgr

    image_bgr = cv2.imread(str(path))
    if image_bgr is None:
        raise ConfigError.at(f"picture {path.name}", "must be readable")
    return frame_from_bgr(np.asarray(image_bgr, np.uint8))


def read_photos(path: Path, split: Split) -> list[str]:
    """Return the photos of a truth file's part that have an item in their middle."""
    labels = [label for label in read_truth(path) if label.item_id is not None]
    return [label.image for label in of_split("grocery", labels, split, lambda one: one.item_id)]


def boxes_from(found: Detections, min_score: float) -> F32:
    """Return the boxes of at least that score: (N, 4) px."""
    return found.xyxy[found.score >= min_score]


def score_scenes(scenes: Sequence[Scene], found: Sequence[F32]) -> dict[str, Any]:
    """Return recall over all labelled packs, and stray boxes where every pack is labelled."""
    n_true = n_found = n_stray = n_exhaustive = 0
    by_scene = {}
    for scene, xyxy in zip(scenes, found, strict=True):
        paired = pair_boxes(xyxy, scene.xyxy)
        n_true += len(scene.xyxy)
        n_found += paired
        by_scene[scene.image] = f"{paired}/{len(scene.xyxy)}"
        if scene.is_exhaustive:
            n_exhaustive += 1
            n_stray += len(xyxy) - paired
    return {
        "recall": share(n_found, n_true),
        "n_packs": n_true,
        "boxes_a_scene": round(float(np.mean([len(xyxy) for xyxy in found] or [0])), 1),
        "stray_boxes_an_exhaustive_scene": round(n_stray / max(1, n_exhaustive), 2),
        "by_scene": by_scene,
    }


def pair_boxes(found: F32, truth: F32) -> int:
    """Return how many true boxes have a found box of their own: (N, 4) and (M, 4) px.

    The pair that overlaps most is taken first.
    """
    overlap = iou_matrix(found, truth)
    n_pairs = 0
    while overlap.size and overlap.max() >= MIN_IOU:
        row, column = np.unravel_index(overlap.argmax(), overlap.shape)
        overlap[row, :] = overlap[:, column] = 0
        n_pairs += 1
    return n_pairs


def boxes_at_centre(xyxy: F32, size_wh: tuple[int, int]) -> tuple[bool, bool]:
    """Return whether a box holds the picture's middle: of any size, and of an item's size."""
    x, y = size_wh[0] / 2, size_wh[1] / 2
    holds = (xyxy[:, 0] <= x) & (x <= xyxy[:, 2]) & (xyxy[:, 1] <= y) & (y <= xyxy[:, 3])
    part = area(xyxy) / (size_wh[0] * size_wh[1])
    is_item = holds & (part >= MIN_SHARE) & (part <= MAX_SHARE)
    return bool(holds.any()), bool(is_item.any())


def score_photos(centred: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    n = len(centred)
    return {
        "n_photos": n,
        "with_box_at_centre": share(sum(any_size for any_size, _ in centred), n),
        "with_item_box_at_centre": share(sum(item_size for _, item_size in centred), n),
    }


def table_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    rows = []
    for name in ("by_default", "any_score"):
        some = figures[name]
        shelf, grocery = some["shelf"], some["grocery"]
        kept = f"score >= {some['min_score']}, at most {figures['max_boxes']} boxes"
        packs = f"{shelf['n_packs']} packs; {shelf['boxes_a_scene']} boxes a scene; {kept}"
        size = f"a box of {percent(MIN_SHARE)} to {percent(MAX_SHARE)} of the photo; {kept}"
        stray = str(shelf["stray_boxes_an_exhaustive_scene"])
        rows += [
            (f"shelf, recall at IoU {MIN_IOU}", percent(shelf["recall"]), packs),
            ("stray boxes a scene", stray, f"where every pack is labelled; {kept}"),
            ("box on the middle", percent(grocery["with_item_box_at_centre"]), size),
            ("box of any size", percent(grocery["with_box_at_centre"]), kept),
        ]
    return rows


if __name__ == "__main__":
    run_command(main)
