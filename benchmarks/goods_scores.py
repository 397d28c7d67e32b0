"""What is counted of whole frames with one item in each (eval_goods). No pictures, no networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.eval_setup import percent, share
from catalog_tools.evaluation.scores import TIERS
from pipeline.boxes import iou_matrix
from pipeline.types import F32, Tier

MIN_IOU = 0.5


@dataclass(frozen=True, slots=True)
class TrueFrame:
    """A frame and the one item in it. xyxy: (4,) float32 px."""

    image: str
    item_id: str
    xyxy: F32

    def holds(self, xyxy: F32) -> bool:
        """Whether a box, (4,) px, lies at the item's."""
        return bool(iou_matrix(xyxy[None], self.xyxy[None])[0, 0] >= MIN_IOU)


@dataclass(frozen=True, slots=True)
class Named:
    """An item that something in a frame may be. xyxy: (4,) px. tier: None where it is not told."""

    item_id: str
    xyxy: F32
    probability: float
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in a frame.

    boxes: (N, 4) px, the detector's. considered: every item that was held against a region.
    likeliest: of the whole picture. matches: told of the picture. watched: told of it as a camera's
    frames, each with the search that told it, from 1.
    """

    boxes: F32
    considered: Sequence[Named]
    likeliest: str | None
    matches: Sequence[Named]
    watched: Sequence[tuple[int, Named]]
    picture_ms: float = 0.0
    search_ms: float = 0.0


def score_frames(frames: Sequence[TrueFrame], seen: Sequence[Seen]) -> dict[str, Any]:
    """Return the figures of all frames, and what each one gave.

    considered_at_box: of how many frames anything was held against a region at the true box.
    searches_until_told: of the frames whose item is told in a second.
    """
    pairs = list(zip(frames, seen, strict=True))
    at_box = [likeliest_at_box(frame, found) for frame, found in pairs]
    told_at = [first_told(frame, found) for frame, found in pairs]
    of_picture = [(frame, found.matches) for frame, found in pairs]
    of_second = [(frame, [one for _, one in found.watched]) for frame, found in pairs]
    return {
        "n_frames": len(pairs),
        "detector_recall": _share(any(map(f.holds, found.boxes)) for f, found in pairs),
        "boxes_a_frame": _mean(len(found.boxes) for found in seen),
        "considered_at_box": _share(item_id is not None for item_id in at_box),
        "top_1_at_box": _share(
            item_id == frame.item_id for frame, item_id in zip(frames, at_box, strict=True)
        ),
        "top_1_anywhere": _share(found.likeliest == frame.item_id for frame, found in pairs),
        "told_of_picture": {str(tier): score_told(of_picture, tier) for tier in TIERS},
        "told_in_a_second": {str(tier): score_second(of_second, tier) for tier in TIERS},
        "searches_until_told": _mean(number for number in told_at if number is not None),
        "ms_a_picture": _mean(found.picture_ms for found in seen),
        "ms_a_search": _mean(found.search_ms for found in seen),
        "frames": [
            {
                "image": frame.image,
                "item_id": frame.item_id,
                "has_box": any(map(frame.holds, found.boxes)),
                "likeliest_at_box": item_id,
                "likeliest": found.likeliest,
                "told": sorted({f"{one.item_id} {one.tier}" for one in found.matches}),
                "told_in_a_second": sorted({f"{m.item_id} {m.tier}" for _, m in found.watched}),
            }
            for (frame, found), item_id in zip(pairs, at_box, strict=True)
        ],
    }


def likeliest_at_box(frame: TrueFrame, seen: Seen) -> str | None:
    """Return the likeliest item of those held against a region at the true box, or None."""
    there = [one for one in seen.considered if frame.holds(one.xyxy)]
    return max(there, key=lambda one: one.probability).item_id if there else None


def first_told(frame: TrueFrame, seen: Seen) -> int | None:
    """Return the search that first told the frame's item, or None."""
    return min((n for n, one in seen.watched if one.item_id == frame.item_id), default=None)


def score_told(told: Sequence[tuple[TrueFrame, Sequence[Named]]], least: Tier) -> dict[str, Any]:
    """Return precision over all that is told as this tier or a better one, recall over all frames.

    anywhere: what names the frame's item is right. at_box: it must lie at the true box, too.
    """
    n_told = n_right = n_at_box = n_found = n_found_at_box = 0
    for frame, named in told:
        enough = [one for one in named if one.tier is not None and one.tier.rank >= least.rank]
        right = [one for one in enough if one.item_id == frame.item_id]
        at_box = [one for one in right if frame.holds(one.xyxy)]
        n_told += len(enough)
        n_right += len(right)
        n_at_box += len(at_box)
        n_found += bool(right)
        n_found_at_box += bool(at_box)
    return {
        "n_told": n_told,
        "n_wrong": n_told - n_right,
        "precision_at_box": share(n_at_box, n_told) if n_told else None,
        "recall_at_box": share(n_found_at_box, len(told)),
        "precision_anywhere": share(n_right, n_told) if n_told else None,
        "recall_anywhere": share(n_found, len(told)),
    }


def score_second(told: Sequence[tuple[TrueFrame, Sequence[Named]]], least: Tier) -> dict[str, Any]:
    """Return the same of what was told in the course of a second: each item counts once a frame,
    by its first place at the true box if it had one.
    """
    once = []
    for frame, named in told:
        places: dict[str, Named] = {}
        for one in named:
            is_enough = one.tier is not None and one.tier.rank >= least.rank
            known = places.get(one.item_id)
            if is_enough and (known is None or not frame.holds(known.xyxy)):
                places[one.item_id] = one
        once.append((frame, list(places.values())))
    return score_told(once, least)


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return share(sum(found), len(found))


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(float(np.mean(found)), 2) if found else None


def table_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    of = f"{figures['n_frames']} frames"
    boxes = f"{of}; {figures['boxes_a_frame']} boxes a frame from score {figures['min_score']} on"
    considered = f"{of}; at {percent(figures['considered_at_box'])} anything was considered"
    rows = [
        (f"detector's box at the item, IoU {MIN_IOU}", percent(figures["detector_recall"]), boxes),
        ("likeliest at the true box", percent(figures["top_1_at_box"]), considered),
        ("likeliest of the whole picture", percent(figures["top_1_anywhere"]), of),
    ]
    for name, what in (("told_of_picture", "picture"), ("told_in_a_second", "second")):
        for tier, found in figures[name].items():
            at = "exact" if tier == "exact" else f"{tier} and better"
            for place in ("at_box", "anywhere"):
                precision, recall = found[f"precision_{place}"], found[f"recall_{place}"]
                figure = f"{percent(precision)} at {percent(recall)}"
                told = f"{of}; {found['n_told']} told, {found['n_wrong']} of another item"
                rows.append((f"{what}: {at}, {place.replace('_', ' ')}", figure, told))
    until = figures["searches_until_told"]
    of = f"of those told in a second; {figures['ms_a_search']} ms a search"
    return [*rows, ("searches until told, mean", "-" if until is None else str(until), of)]
