"""How many of a shelf's packs are found, each by its own box, and how many matches are wrong?

    python -m benchmarks.eval_shelf [--data FOLDER] [--split dev] [--same ITEM=ITEM]

FOLDER holds catalog/<item>.jpg and truth.csv (image,item_id,x0,y0,x1,y1,exhaustive). A match is
right when it and a pack of its item that no surer match has taken overlap by half (IoU). Wrong
matches are counted in the scenes where every pack is labelled (exhaustive = 1).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.eval_setup import (
    CLIP_CAMERA,
    OUT,
    Data,
    Every,
    Limit,
    Out,
    Part,
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
from benchmarks.splits import Split, of_split
from catalog_tools.evaluation.scores import TIERS, Guess, recall_at
from pipeline.boxes import iou_matrix
from pipeline.errors import ConfigError
from pipeline.types import F32, Tier

MIN_IOU = 0.5
PRECISIONS = (0.95, 0.98)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is truly in a picture. xyxy: (N, 4) float32 px, a row for each of item_ids."""

    image: str
    item_ids: tuple[str, ...]
    xyxy: F32
    is_exhaustive: bool


def main(
    data: Data = None,
    out: Out = OUT,
    every: Every = 1,
    limit: Limit = None,
    split: Part = Split.ALL,
    same: Annotated[
        list[str] | None, typer.Option(metavar="ITEM=ITEM", help="Two that show one design.")
    ] = None,
    threads: Threads = 0,
) -> None:
    """Build the catalog, ask it about the scenes, compare the boxes."""
    from catalog_tools.query import Wishes, query_pictures

    data = find_data("shelf", data)
    design_of = read_same(same or [])
    scenes = take(read_scenes(data / "truth.csv", split), every, limit)
    with built_catalog(data / "catalog", options_of(threads)) as built:
        catalog = built.matcher.catalogs[CLIP_CAMERA]
        paths = told([str(data / scene.image) for scene in scenes], "scenes")
        answers = list(query_pictures(paths, catalog, built.matcher, Wishes(tie_epsilon=0.0)))
    unreadable = [answer.image for answer in answers if answer.error is not None]
    if unreadable:
        raise ConfigError.at(f"scene {Path(unreadable[0]).name}", "must be a readable picture")
    figures = score_scenes(scenes, [answer.matches for answer in answers], design_of)
    config = {
        "every": every, "limit": limit, "split": split.value, "same": same or [],
        "min_iou": MIN_IOU,
    }  # fmt: skip
    finish(out, "shelf", config, figures, table_rows(figures))


def read_same(pairs: Sequence[str]) -> dict[str, str]:
    """Return the item that stands for another, from ITEM=ITEM words."""
    wrong = [pair for pair in pairs if pair.count("=") != 1]
    if wrong:
        raise ConfigError.at("--same", "must be ITEM=ITEM", wrong[0])
    return {second: first for first, second in (pair.split("=") for pair in pairs)}


def read_scenes(path: Path, split: Split = Split.ALL) -> list[Scene]:
    """Return the scenes of a truth file's part, in order of their names."""
    rows: dict[str, list[dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["image"], []).append(row)
    return [
        Scene(
            image,
            tuple(row["item_id"] for row in boxes),
            np.array([[float(row[c]) for c in ("x0", "y0", "x1", "y1")] for row in boxes], "f4"),
            all(row["exhaustive"] == "1" for row in boxes),
        )
        for image, boxes in of_split("shelf", sorted(rows.items()), split, lambda row: row[0])
    ]


def score_scenes(
    scenes: Sequence[Scene],
    matches: Sequence[Sequence[Mapping[str, Any]]],
    design_of: Mapping[str, str],
) -> dict[str, Any]:
    """Return precision and recall of the exhaustive scenes, and recall of the others.

    matches: of each scene, as `catalog query` has them. design_of: what stands for an item.
    """
    exhaustive: list[tuple[Tier, Guess]] = []
    others: list[tuple[Tier, Guess]] = []
    for scene, found in zip(scenes, matches, strict=True):
        into = exhaustive if scene.is_exhaustive else others
        into += match_boxes(scene, found, design_of)
    n_true = sum(len(scene.item_ids) for scene in scenes if scene.is_exhaustive)
    n_other = sum(len(scene.item_ids) for scene in scenes if not scene.is_exhaustive)
    guesses = [guess for _, guess in exhaustive]
    tiers = {}
    for tier in TIERS:
        told_right = [right for t, (_, right) in exhaustive if t.rank >= tier.rank]
        tiers[str(tier)] = {
            "precision": share(sum(told_right), len(told_right)) if told_right else None,
            "recall": share(sum(told_right), n_true),
            "n_wrong": len(told_right) - sum(told_right),
        }
    return {
        "n_scenes": len(scenes),
        "n_exhaustive": sum(scene.is_exhaustive for scene in scenes),
        "n_packs_exhaustive": n_true,
        "n_packs_others": n_other,
        "tiers": tiers,
        "recall_at_precision": {f"{p:g}": recall_at(guesses, n_true, p) for p in PRECISIONS},
        "recall_others": share(sum(right for _, (_, right) in others), n_other),
    }


def match_boxes(
    scene: Scene, matches: Sequence[Mapping[str, Any]], design_of: Mapping[str, str]
) -> list[tuple[Tier, Guess]]:
    """Return tier, probability and rightness of each match, the surest first."""
    free = np.ones(len(scene.item_ids), bool)
    truth = [design_of.get(item_id, item_id) for item_id in scene.item_ids]
    guesses = []
    for match in sorted(matches, key=lambda m: -m["probability"]):
        item_id = design_of.get(match["item_id"], match["item_id"])
        overlap = iou_matrix(np.array([match["box_xyxy"]], np.float32), scene.xyxy)[0]
        overlap[~free | np.array([known != item_id for known in truth], bool)] = 0
        best = int(overlap.argmax()) if len(overlap) else -1
        is_right = bool(len(overlap) and overlap[best] >= MIN_IOU)
        if is_right:
            free[best] = False
        guesses.append((Tier(match["tier"]), (float(match["probability"]), is_right)))
    return guesses


def table_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    of = f"{figures['n_packs_exhaustive']} packs in {figures['n_exhaustive']} exhaustive scenes"
    rows = [
        (f"recall at precision {least}", percent(recall), of)
        for least, recall in figures["recall_at_precision"].items()
    ]
    for tier, found in figures["tiers"].items():
        name = tier if tier == "exact" else f"{tier} and better"
        figure = f"{percent(found['precision'])} at {percent(found['recall'])}"
        rows.append((name, figure, f"{of}, {found['n_wrong']} wrong"))
    if figures["n_packs_others"]:
        of = f"{figures['n_packs_others']} labelled packs in the other scenes"
        rows.append(("recall, any tier", percent(figures["recall_others"]), of))
    return rows


if __name__ == "__main__":
    run_command(main)
