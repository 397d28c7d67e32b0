"""Fits what evidence is worth to a catalog: `magpie catalog calibrate`.

The catalog's own pictures, photographed by `shots.py`, are asked of it, beside near-twins of them
and strangers that it does not hold; or labelled photos of the user. The evidence joins in two
logistic models (the design; the item's own share of it), leaning to the defaults where there is
little, and the thresholds of the tiers are set on samples that the models have not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from catalog_tools.copies import write_copy
from catalog_tools.evaluation.samples import Sample
from pipeline.catalog import Catalog
from pipeline.catalog_writing import catalog_lock
from pipeline.identify.calibration import (
    Calibration,
    closeness,
    design_features,
    own_features,
    own_unseen_features,
    sigmoid,
    unverified_features,
)
from pipeline.identify.tuning import CALIBRATION, LIMIT
from pipeline.identify.types import Judgement
from pipeline.identify.weigh import judge
from pipeline.matcher import Matcher
from pipeline.types import F64

LEAN = 4.0  # L2 pull towards the defaults, in samples' worth
HELD_OUT_EVERY = 3
LOWEST_EXACT, HIGHEST_EXACT = 0.5, 0.999
BATCH = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What a calibration found; figures are of the samples that it was not fitted to."""

    calibration: Calibration
    generation: int
    n_samples: int
    before: dict[str, float]
    after: dict[str, float]
    reliability: tuple[tuple[float, float, int], ...]  # mean probability, share right, count

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "reliability": [list(row) for row in self.reliability]}


def calibrate_catalog(
    directory: Path,
    matcher: Matcher,
    samples: Iterator[Sample],
    count: int,
    *,
    false_exact: float = 0.01,
    progress: Progress = lambda done, total: None,
) -> CalibrationReport:
    """Fit, and write the calibration into a new generation of the catalog; return what was found.

    false_exact: wanted share of photos without a listed item that may be told as `exact`.
    """
    catalog = matcher.load_catalog(directory)
    judged = list(_judge_samples(matcher, catalog, samples, count, progress))
    fitted_on = [pair for i, pair in enumerate(judged) if i % HELD_OUT_EVERY]
    held_out = [pair for i, pair in enumerate(judged) if i % HELD_OUT_EVERY == 0]
    known = Calibration.of_catalog(catalog.folder)
    fitted = fit(fitted_on, Calibration())
    fitted = replace(fitted, exact=choose_exact(held_out, fitted, false_exact))
    with catalog_lock(directory):
        generation = write_copy(catalog, directory, fitted)
    return CalibrationReport(
        calibration=fitted,
        generation=generation,
        n_samples=len(judged),
        before=score(held_out, known),
        after=score(held_out, fitted),
        reliability=tuple(reliability(held_out, fitted)),
    )


Judged = tuple[Sample, list[Judgement]]
Rows = tuple[list[Sequence[float]], list[bool]]  # features, and what each turned out to be


def _judge_samples(
    matcher: Matcher,
    catalog: Catalog,
    samples: Iterator[Sample],
    count: int,
    progress: Progress,
) -> Iterator[Judged]:
    for start in range(0, count, BATCH):
        block = list(islice(samples, min(BATCH, count - start)))
        images_bgr = [sample.image_bgr for sample in block]
        evidence = matcher.identify_pictures(images_bgr, catalog, CALIBRATION)
        for sample, ((_, whole),) in zip(block, evidence, strict=True):
            blank = replace(sample, image_bgr=np.zeros((0, 0, 3), np.uint8))
            yield blank, list(whole.judgements)  # the photo itself is not needed any more
        progress(min(count, start + BATCH), count)
        if len(block) < BATCH:
            return


def fit(judged: Sequence[Judged], prior: Calibration) -> Calibration:
    """Return the coefficients that explain the samples best, leaning to the prior's.

    An unlisted near-twin of an item teaches what is the item's own, not what its design is.
    """
    design: Rows = ([], [])
    own: Rows = ([], [])
    own_unseen: Rows = ([], [])
    unverified: Rows = ([], [])
    for sample, judgements in judged:
        for judgement in judgements:
            proposal, found = judgement.proposal, judgement.verification
            is_item = proposal.item_id == sample.item_id
            if found is None or found.homography is None:
                _add(unverified, unverified_features(proposal, judgement.margin), is_item)
                continue
            has_design = proposal.item_id == sample.design_of
            if is_item or not has_design:
                _add(design, design_features(proposal, judgement.margin, found), is_item)
            if has_design and not closeness(found):
                _add(own_unseen, own_unseen_features(found), is_item)
                if found.sameness is not None:
                    _add(own, own_features(found), is_item)
    return replace(
        prior,
        design=fit_logistic(*design, prior.design),
        own=_fit_balanced(own, prior.own),
        own_unseen=_fit_balanced(own_unseen, prior.own_unseen),
        unverified=fit_logistic(*unverified, prior.unverified),
    )


def _add(rows: Rows, features: Sequence[float], is_so: bool) -> None:
    rows[0].append(features)
    rows[1].append(is_so)


def _fit_balanced(rows: Rows, prior: Sequence[float]) -> Any:
    """Return a fit as if items and unlisted near-twins were as many; the prior's without either.

    How many near-twins there are is unknown: nobody photographs what is not sold in proportion.
    """
    share = float(np.mean(rows[1])) if rows[1] else 0.0
    if not 0.0 < share < 1.0:
        return tuple(prior)
    shift = math.log(share / (1 - share))
    constant, *weights = prior
    fitted = fit_logistic(*rows, (constant + shift, *weights))
    return (round(fitted[0] - shift, 4), *fitted[1:])


def fit_logistic(
    rows: Sequence[Sequence[float]], truth: Sequence[bool], prior: Sequence[float]
) -> Any:
    """Return the coefficients of a logistic regression that is pulled towards prior ones.

    rows: (N, D) features; truth: (N,) what each turned out to be. Newton's method.
    """
    if not rows:
        return tuple(prior)
    x, y = np.array(rows, np.float64), np.array(truth, np.float64)
    start = np.array(prior, np.float64)
    w: F64 = start.copy()
    pull = LEAN * np.eye(len(w))
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        gradient = x.T @ (p - y) + pull @ (w - start)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + pull
        step = np.linalg.solve(hessian, gradient)
        w = w - step * min(1.0, 5.0 / max(1e-9, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-6:
            break
    return tuple(round(float(value), 4) for value in w)


def _judged_anew(judged: Judged, calibration: Calibration) -> Judgement | None:
    """Return the likeliest proposal of a sample under a calibration."""
    judgements = judged[1]
    if not judgements:
        return None
    proposals = [j.proposal for j in sorted(judgements, key=lambda j: -j.proposal.similarity)]
    found = {j.proposal.item_id: j.verification for j in judgements if j.verification is not None}
    return judge(judgements[0].crop, proposals, found, calibration)[0]


def choose_exact(held_out: Sequence[Judged], calibration: Calibration, false_exact: float) -> float:
    """Return the probability from which on at most that share of unlisted things is `exact`."""
    unlisted = []
    for judged in held_out:
        best = _judged_anew(judged, calibration)
        if judged[0].item_id is None:
            is_shown = best is not None and best.is_verified
            unlisted.append(sigmoid(best.log_odds) if best is not None and is_shown else 0.0)
    if not unlisted:
        return calibration.exact
    threshold = float(np.quantile(unlisted, 1 - false_exact, method="higher")) + 1e-4
    return round(min(HIGHEST_EXACT, max(LOWEST_EXACT, threshold)), 4)


def score(judged: Sequence[Judged], calibration: Calibration) -> dict[str, float]:
    """Return shares of the samples: listed items told right, and `exact`; unlisted told `exact`."""
    listed, right, exact_right, exact_wrong, unlisted, false = 0, 0, 0, 0, 0, 0
    loss = 0.0
    for pair in judged:
        best = _judged_anew(pair, calibration)
        probability = sigmoid(best.log_odds) if best else sigmoid(-LIMIT)
        is_exact = best is not None and best.is_verified and probability >= calibration.exact
        is_right = best is not None and best.proposal.item_id == pair[0].item_id
        loss -= np.log(max(1e-6, probability if is_right else 1 - probability))
        if pair[0].item_id is None:
            unlisted += 1
            false += is_exact
        else:
            listed += 1
            right += is_right
            exact_right += is_exact and is_right
            exact_wrong += is_exact and not is_right
    return {
        "top_1": round(right / max(1, listed), 4),
        "exact_recall": round(exact_right / max(1, listed), 4),
        "exact_wrong": round(exact_wrong / max(1, listed), 4),
        "false_exact": round(false / max(1, unlisted), 4),
        "log_loss": round(loss / max(1, len(judged)), 4),
    }


def reliability(
    judged: Sequence[Judged], calibration: Calibration
) -> Iterator[tuple[float, float, int]]:
    """Yield (mean probability, share right, count) of the likeliest proposals, by tenths."""
    said = []
    for pair in judged:
        best = _judged_anew(pair, calibration)
        if best is not None:
            is_right = best.proposal.item_id == pair[0].item_id
            said.append((sigmoid(best.log_odds), is_right))
    for tenth in range(10):
        inside = [pair for pair in said if tenth <= min(pair[0] * 10, 9.999) < tenth + 1]
        if inside:
            mean = float(np.mean([p for p, _ in inside]))
            yield round(mean, 4), round(float(np.mean([r for _, r in inside])), 4), len(inside)
