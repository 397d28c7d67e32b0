"""An evaluation's pictures: curves, reliability, and the worst wrong answers with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from catalog_tools.evaluation.evaluate import CatalogMatcher, Evaluation
from catalog_tools.evaluation.scores import Photo
from catalog_tools.query import QUERY_SIDE_PX
from catalog_tools.reading import read_picture
from pipeline.boxes import pad_and_clip
from pipeline.draw import contact_sheet, draw_evidence
from pipeline.identify.agreement import Picture
from pipeline.identify.shelf import Shelf
from pipeline.identify.types import Check
from pipeline.picture_file import write_figure, write_picture
from pipeline.types import F32, U8, ItemId, Match, Proposal, Tier, Verification

MAX_CONFUSIONS = 24
TITLE_PX = 26
MAX_VIEWS = 8  # of an item, tried to draw the one that fits best
CURVES = {"published": "matches at the centre", "ranked": "likeliest item, whatever its tier"}


def draw_curves(figures: Mapping[str, Any], path: Path) -> None:
    """Write the precision-recall curves, with the tiers marked, as a PNG."""
    figure, axis = new_axis("recall", "precision")
    for name, label in CURVES.items():
        rows = figures["curves"][name]
        axis.step([r["recall"] for r in rows], [r["precision"] for r in rows], label=label)
    for tier, found in figures["tiers"].items():
        if found["precision"] is not None:
            axis.plot(found["recall"], found["precision"], "ko", markersize=4)
            axis.annotate(tier, (found["recall"], found["precision"]), fontsize=8)
    axis.legend(loc="lower left")
    save_figure(figure, path)


def draw_reliability(figures: Mapping[str, Any], path: Path) -> None:
    """Write what was right against the probability that was told, as a PNG; n at each point."""
    figure, axis = new_axis("probability told", "share right")
    axis.plot([0, 1], [0, 1], "k:", linewidth=1)
    for name, label in CURVES.items():
        rows = figures["reliability"][name]
        axis.plot([r["probability"] for r in rows], [r["right"] for r in rows], "o-", label=label)
        for row in rows:
            axis.annotate(str(row["n"]), (row["probability"], row["right"]), fontsize=7)
    axis.legend(loc="upper left")
    save_figure(figure, path)


def new_axis(x_label: str, y_label: str) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 5))
    axis.set(xlabel=x_label, ylabel=y_label, xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axis.grid(alpha=0.3)
    return figure, axis


def save_figure(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    write_figure(path, figure, "--out", dpi=110)
    pyplot.close(figure)


@dataclass(frozen=True, slots=True)
class Confusion:
    """A wrong answer. tier, box_xyxy (px of the photo): None when it was only ranked first."""

    photo: Photo
    item_id: str
    probability: float
    similarity: float
    tier: Tier | None
    box_xyxy: tuple[float, ...] | None


def find_confusions(photos: tuple[Photo, ...]) -> list[Confusion]:
    """Return the wrong answers, the worst first: by tier, then by how sure they were.

    A photo's wrong match at its centre, or anywhere when it shows nothing known; else its first
    ranked item, where that is wrong.
    """
    found = []
    for photo in photos:
        matches = list(photo.at_centre())
        if photo.label.item_id is None:
            matches += photo.elsewhere()
        wrong = [match for match in matches if not photo.is_right(match)]
        if wrong:
            worst = max(wrong, key=lambda m: (Tier(m["tier"]).rank, m["probability"]))
            found.append(_confusion(photo, worst, Tier(worst["tier"]), tuple(worst["box_xyxy"])))
        elif photo.label.item_id is not None:
            first = photo.answer.ranked[:1]
            found += [
                _confusion(photo, r, None, None)
                for r in first
                if r["item_id"] != photo.label.item_id
            ]
    rank = {None: -1, Tier.SIMILAR: 0, Tier.VERY_SIMILAR: 1, Tier.EXACT: 2}
    return sorted(found, key=lambda c: (-rank[c.tier], -c.probability))


def _confusion(
    photo: Photo,
    told: Mapping[str, Any],
    tier: Tier | None,
    box_xyxy: tuple[float, ...] | None,
) -> Confusion:
    probability, similarity = float(told["probability"]), float(told["similarity"])
    return Confusion(photo, told["item_id"], probability, similarity, tier, box_xyxy)


def draw_confusions(
    confusions: Sequence[Confusion], evaluation: Evaluation, matcher: CatalogMatcher, path: Path
) -> bool:
    """Write a sheet of the first wrong answers; return whether there were any to draw.

    Each: the photo's region, the view it was taken for, and the correspondences between them.
    """
    worst = confusions[:MAX_CONFUSIONS]
    shelf = Shelf(evaluation.catalog, matcher.options.search)
    pictures = [_draw(confusion, evaluation, shelf, matcher) for confusion in worst]
    if pictures:
        write_picture(path, contact_sheet(pictures), "--out")
    return bool(pictures)


def _draw(
    confusion: Confusion, evaluation: Evaluation, shelf: Shelf, matcher: CatalogMatcher
) -> U8:
    crop_bgr, box_xyxy = _region(confusion, evaluation.folder, matcher.options.crop.pad)
    crop = matcher.stages.checker.prepare(crop_bgr)
    view_index, view, found = _best_view(confusion.item_id, crop, shelf, matcher)
    match = Match(
        item_id=ItemId(confusion.item_id),
        label=shelf.label[ItemId(confusion.item_id)],
        view_index=view_index,
        tier=confusion.tier or Tier.SIMILAR,
        probability=confusion.probability,
        similarity=confusion.similarity,
        margin=0.0,
        inliers=found.inliers,
        agreement=found.agreement,
        box_xyxy=box_xyxy,
        outline=None,
        angle_deg=found.angle_deg,
    )
    picture = draw_evidence(crop_bgr, view.image_bgr, found.correspondences_xyxy, match)
    truth = confusion.photo.label.item_id or "nothing known"
    told = "taken for" if confusion.tier else "nothing told of its middle; ranked first"
    return _under_title(picture, f"{truth}: {told}")


def _under_title(picture: U8, title: str) -> U8:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    width = cv2.getTextSize(title, font, scale, 1)[0][0] + 20
    wider = max(0, width - picture.shape[1])
    framed = cv2.copyMakeBorder(picture, TITLE_PX, 0, 0, wider, cv2.BORDER_CONSTANT)
    cv2.putText(framed, title, (8, TITLE_PX - 8), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(framed, np.uint8)


def _region(confusion: Confusion, folder: Path, pad: float) -> tuple[U8, F32]:
    """Return the part of the photo that was taken for the item, or all of it, and its box."""
    picture = read_picture(folder / confusion.photo.label.image, QUERY_SIDE_PX)
    image_bgr = picture.image_bgr
    height, width = image_bgr.shape[:2]
    if confusion.box_xyxy is None:
        return image_bgr, np.array([0, 0, width, height], np.float32)
    scale = np.array([width, height, width, height]) / np.tile(picture.size_wh, 2)
    box_xyxy = (np.array(confusion.box_xyxy) * scale).astype(np.float32)
    x0, y0, x1, y1 = pad_and_clip(box_xyxy, pad, (width, height))
    if x1 <= x0 or y1 <= y0:
        return image_bgr, box_xyxy
    return np.ascontiguousarray(image_bgr[y0:y1, x0:x1]), box_xyxy


def _best_view(
    item_id: str, crop: Picture, shelf: Shelf, matcher: CatalogMatcher
) -> tuple[int, Picture, Verification]:
    """Return the item's view that most of the crop's details agree with, and how."""
    catalog = shelf.catalog
    item = [known.item_id for known in catalog.items].index(ItemId(item_id))
    of_item = np.flatnonzero(catalog.view_item == item)
    _, first = np.unique(catalog.view_picture[of_item], return_index=True)  # not each turn of one
    indices = [int(of_item[i]) for i in first[:MAX_VIEWS]]
    views = [shelf.view(index) for index in indices]
    checks = [
        Check(0, Proposal(ItemId(item_id), index, 0.0), crop, view)
        for index, view in zip(indices, views, strict=True)
    ]
    found = matcher.stages.comparer.compare(matcher.stages.checker.check(checks))
    best = max(range(len(found)), key=lambda i: found[i].inliers)
    return indices[best], views[best], found[best]
