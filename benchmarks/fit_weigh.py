"""Fits what evidence is worth (`tuning.DESIGN`, `UNVERIFIED`) to *dev* photos, and asks each
feature for its worth.

    python -m benchmarks.fit_weigh [--every 2]

Goods, banknotes and groceries, each photo as a camera's look at the item and as a picture with all
its regions, each also with its item hidden. What is shown is one of the proposals, or unknown: the
numbers are those under which the truth is the likeliest (a softmax over proposals and unknown),
pulled towards a prior. The table has the loss of each half of the items by the other half's
fit, with all features and with each of them left out.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.eval_embedder import read_picture
from benchmarks.eval_goods import read_frames
from benchmarks.eval_setup import (
    CLIP_CAMERA,
    OUT,
    Data,
    Every,
    Out,
    Threads,
    built_catalog,
    find_data,
    finish,
    options_of,
    run_command,
    told,
)
from benchmarks.splits import Split, of_split
from catalog_tools.csv_file import read_csv
from pipeline.boxes import iou_matrix
from pipeline.color import frame_from_bgr
from pipeline.crop import Cropper
from pipeline.errors import ConfigError
from pipeline.identify import identify
from pipeline.identify.calibration import (
    DESIGN_FEATURES,
    UNVERIFIED_FEATURES,
    Calibration,
    design_features,
    unverified_features,
)
from pipeline.identify.tuning import PICTURE, Region, Steps
from pipeline.identify.types import Judged, Look
from pipeline.identify.weigh import margins
from pipeline.timing import StageTimer
from pipeline.types import F32, F64, Proposal, Track, Verification

NONE = "none"
COLUMNS = ("image", "item_id")
NAMES = (
    *(f"design: {name}" for name in DESIGN_FEATURES),
    *(f"unverified: {name}" for name in UNVERIFIED_FEATURES),
)
# What the fit leans on: `magpie catalog calibrate` on made shots, with five times the weight of the
# similarity (2 in place of 0.4; the embedder was another), from a similarity of 0.5 on.
PRIOR = np.array([-5.0, 2.0, 5.0, 4.96, 2.62, 4.28, -11.94, 1.85, -3.65, 3.95, 7.2, 1.37])
# Made shots show these better than a few hundred photos: as they were.
HELD = ("design: fragment", "design: sameness")
PULL = 4.0  # towards the prior, a unit away
GROCERY_MIDDLE = 0.8  # of the photo's sides: what a camera's crop of the item would be
TRACK = {Region.TRACK: Steps(at_once=4, nearest=4, widens=True)}
OF_ITEM = (Region.TRACK, Region.WHOLE, Region.MIDDLE, Region.INNER, Region.ROUND_MIDDLE)


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture's file, what it shows (`none`: nothing known), and where: (4,) px, or None."""

    path: Path
    item_id: str
    xyxy: F32 | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A look's features, a row a proposal, and which rows are true; none: unknown is.

    source: set and way. item_id: of the photo, whose half it belongs to.
    """

    source: str
    item_id: str
    rows: F64
    is_true: np.ndarray


def main(data: Data = None, out: Out = OUT, every: Every = 2, threads: Threads = 0) -> None:
    """Look at the photos, fit, and print the table. data: the folder of all sets."""
    cases: list[Case] = []
    for name, photos in SETS.items():
        folder = find_data(name, None if data is None else data / name)
        step = every if name == "grocery" else 1
        cases += look_at_all(name, folder, list(photos(folder))[::step], threads)
    now = np.array([*Calibration().design, *Calibration().unverified])
    fitted = fit(cases)
    without = {name: cross_loss(cases, name) for name in NAMES if "constant" not in name}
    figures = {
        "n_cases": dict(Counter(case.source for case in cases)),
        "in_use": dict(zip(NAMES, now.tolist(), strict=True)),
        "fitted": dict(zip(NAMES, np.round(fitted, 2).tolist(), strict=True)),
        "loss_of_prior": loss(cases, PRIOR),
        "loss_in_use": loss(cases, now),
        "loss_of_other_half": cross_loss(cases),
        "loss_of_other_half_without": without,
    }
    finish(out, "weigh", {"every": every, "pull": PULL, "held": HELD}, figures, table_rows(figures))


def table_rows(figures: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, of)."""
    yield "loss by the prior", f"{figures['loss_of_prior']:.1f}", "all cases"
    yield "loss by the numbers in use", f"{figures['loss_in_use']:.1f}", "all cases"
    yield "by the other half's fit", f"{figures['loss_of_other_half']:.1f}", "both halves"
    for name, value in figures["fitted"].items():
        without = figures["loss_of_other_half_without"].get(name)
        more = "" if without is None else f"; without it {without:.1f}"
        yield name, f"{value:.2f}", f"in use {figures['in_use'][name]:.2f}{more}"


def grocery_photos(folder: Path) -> Iterator[Photo]:
    """Yield the photos of *dev*, then every second one that shows nothing known."""
    rows = [row for _, row in read_csv(folder / "truth.csv", COLUMNS, "truth", ConfigError)]
    known = [row for row in rows if row["item_id"] != NONE]
    for row in of_split("grocery", known, Split.DEV, lambda row: row["item_id"]):
        yield Photo(folder / row["image"], row["item_id"])
    for row in [row for row in rows if row["item_id"] == NONE][::2]:
        yield Photo(folder / row["image"], NONE)


def banknote_photos(folder: Path) -> Iterator[Photo]:
    for _, row in read_csv(folder / "truth.csv", COLUMNS, "truth", ConfigError):
        yield Photo(folder / row["image"], row["item_id"])


def goods_photos(folder: Path) -> Iterator[Photo]:
    for frame in read_frames(folder / "truth.csv", Split.DEV):
        yield Photo(folder / frame.image, frame.item_id, frame.xyxy)


SETS: dict[str, Callable[[Path], Iterator[Photo]]] = {
    "goods": goods_photos, "banknotes": banknote_photos, "grocery": grocery_photos,
}  # fmt: skip


def look_at_all(name: str, folder: Path, photos: Sequence[Photo], threads: int) -> list[Case]:
    """Return the cases of a set: each photo in both ways, with its item and without."""
    options = options_of(threads)
    cropper, cases = Cropper(options.crop), []
    with built_catalog(folder / "catalog", options) as built:
        catalog = built.matcher.catalogs[CLIP_CAMERA]
        for photo in told(photos, name):
            image_bgr = read_picture(photo.path)
            box = photo.xyxy if photo.xyxy is not None else _middle(image_bgr.shape, name)
            track = Track("", 0, box, 1.0, 0, 0)
            crop = cropper.crop(frame_from_bgr(image_bgr), [track])[0]
            looks = next(built.matcher.identify_pictures([image_bgr], catalog, PICTURE))
            shelf = looks[0][0].look.shelf
            looks += identify([Look(crop, shelf)], built.matcher.stages, TRACK, StageTimer())
            for one, known in looks:
                way = "track" if one.look.region == Region.TRACK else "picture"
                if _shows(photo, one.look):
                    cases += cases_of(f"{name}, {way}", photo.item_id, known)
    return cases


def _middle(shape: Sequence[int], name: str) -> F32:
    size = np.array([shape[1], shape[0]] * 2, np.float32)
    share = GROCERY_MIDDLE if name == "grocery" else 1.0
    return size * np.array([1 - share, 1 - share, 1 + share, 1 + share], np.float32) / 2


def _shows(photo: Photo, look: Look) -> bool:
    """Whether the photo's item is in the look, if it is anywhere."""
    if photo.xyxy is None:
        return look.region in OF_ITEM
    return bool(iou_matrix(look.crop.track.xyxy[None], photo.xyxy[None])[0, 0] >= 0.5)


def cases_of(source: str, item_id: str, known: Judged) -> Iterator[Case]:
    """Yield a look's case, and the one in which the catalog does not list the item."""
    proposals = sorted((j.proposal for j in known.judgements), key=lambda p: -p.similarity)
    for is_hidden in (False, True) if item_id != NONE else (False,):
        kept = [p for p in proposals if not (is_hidden and p.item_id == item_id)]
        if kept:
            is_true = np.array([p.item_id == item_id for p in kept])
            yield Case(source, item_id, rows_of(kept, known.found), is_true)


def rows_of(proposals: Sequence[Proposal], found: Any) -> F64:
    """Return (N, len(NAMES)): what is weighed of each; the other kind's columns are 0."""
    n_design = len(DESIGN_FEATURES)
    rows = np.zeros((len(proposals), len(NAMES)))
    of_group = margins([p.similarity for p in proposals], range(len(proposals)))
    for row, proposal, margin in zip(rows, proposals, of_group, strict=True):
        verification: Verification | None = found.get(proposal.item_id)
        if verification is None or verification.homography is None:
            row[n_design:] = unverified_features(proposal, margin)
        else:
            row[:n_design] = design_features(proposal, margin, verification)
    return rows


def loss(cases: Iterable[Case], weights: F64, shares: dict[str, float] | None = None) -> float:
    return round(float(_loss(cases, weights, shares or shares_of(cases))[0]), 2)


def shares_of(cases: Iterable[Case]) -> dict[str, float]:
    """Return what a case of each source counts: a source as the root of its size."""
    counts = Counter(case.source for case in cases)
    most = max(counts.values())
    return {source: float(np.sqrt(most / count)) for source, count in counts.items()}


def _loss(cases: Iterable[Case], weights: F64, shares: dict[str, float]) -> tuple[float, F64]:
    """Return the loss and its gradient."""
    total, gradient = 0.0, np.zeros(len(weights))
    for case in cases:
        rows = np.vstack([case.rows, np.zeros(len(weights))])  # the last: unknown, log-odds 0
        is_true = np.append(case.is_true, not case.is_true.any())
        p = np.exp(rows @ weights - np.max(rows @ weights))
        p /= p.sum()
        share = shares[case.source]
        total -= share * float(np.log(max(1e-12, p[is_true].sum())))
        wanted = np.where(is_true, p, 0.0) / max(1e-12, p[is_true].sum())
        gradient += share * (p - wanted) @ rows
    return total, gradient


def fit(
    cases: Sequence[Case], left_out: str | None = None, shares: dict[str, float] | None = None
) -> F64:
    """Return the numbers with the least loss. left_out: a feature that counts nothing."""
    from scipy.optimize import minimize

    free = np.array([name not in (*HELD, left_out) for name in NAMES])
    base = np.where([name == left_out for name in NAMES], 0.0, PRIOR)
    counts = shares or shares_of(cases)

    def cost(change: F64) -> tuple[float, F64]:
        weights = base.copy()
        weights[free] += change
        total, gradient = _loss(cases, weights, counts)
        return total + PULL * float(change @ change), gradient[free] + 2 * PULL * change

    found = minimize(cost, np.zeros(int(free.sum())), jac=True, method="L-BFGS-B")
    fitted = base.copy()
    fitted[free] += found.x
    return fitted


def cross_loss(cases: Sequence[Case], left_out: str | None = None) -> float:
    """Return the loss of each half of the items by the numbers of the other half."""
    shares = shares_of(cases)
    halves: tuple[list[Case], list[Case]] = ([], [])
    for case in cases:
        halves[zlib.crc32(case.item_id.encode()) % 2].append(case)
    return round(
        sum(
            loss(asked, fit(learnt, left_out, shares), shares)
            for learnt, asked in (halves, halves[::-1])
        ),
        2,
    )


if __name__ == "__main__":
    run_command(main)
