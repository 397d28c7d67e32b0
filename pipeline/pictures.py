"""Single pictures: which regions of one are looked at, and what is told about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from pipeline.boxes import area, bounds, intersection_matrix
from pipeline.identify.belief import Verdict, choose_tier, match_of
from pipeline.identify.calibration import Calibration, sigmoid
from pipeline.identify.tuning import Region
from pipeline.identify.types import Judgement
from pipeline.options import DecideOptions
from pipeline.types import (
    F32,
    Alternative,
    Detections,
    ItemId,
    Match,
    PictureResult,
    Ranked,
    Track,
)

# Of the sides; photos of one thing have it in the middle. The keypoints that a region may have are
# spent on the item there: with the whole alone 0.80 of 121 shop photos were ranked right, with 70 %
# of it 0.88 (ratio test, all 31 items tried).
MIDDLE_SHARE = 0.75
INNER_SHARE = 0.55  # described only: what three cuts of the middle resemble says more than one
LEAST_SCORE = 0.25  # of a box in a picture: each one is verified, and lower ones find little
BOX_FILLS = 0.85  # share of the picture from which on a box is the picture
SMALL_PHOTO_PX = 480  # photos up to this side are searched at half the detector's usual input
SAME_OBJECT_SHARE = 0.5
CUTS = {Region.WHOLE: 1.0, Region.MIDDLE: MIDDLE_SHARE, Region.INNER: INNER_SHARE}
_T = TypeVar("_T", Match, Ranked)
ASIDE_LOG_ODDS = 2.0  # what an item beside the middle lags behind when a picture's items are ranked


@dataclass(eq=False, frozen=True, slots=True)
class _Told(Generic[_T]):
    """A match or item, and whether it was found in the picture as a whole."""

    what: _T
    is_of_whole: bool


def picture_regions(detections: Detections, size_wh: tuple[int, int]) -> list[tuple[Region, Track]]:
    """Return the regions of a picture: the whole, two cuts of its middle, the detector's boxes."""
    size = np.array(size_wh, np.float32)
    regions: list[tuple[Region, Track]] = []
    for region, share in CUTS.items():
        margin = size * (1 - share) / 2
        xyxy = np.concatenate([margin, size - margin]).astype(np.float32)
        track = Track("", len(regions), xyxy, 1.0, 0, 0, is_whole_frame=True)
        regions.append((region, track))
    whole = regions[0][1].xyxy
    for i, xyxy in enumerate(detections.xyxy):
        score, class_id = float(detections.score[i]), int(detections.class_id[i])
        if score >= LEAST_SCORE and area(xyxy) < BOX_FILLS * area(whole):
            region = Region.ROUND_MIDDLE if holds_centre(xyxy, whole) else Region.ASIDE
            regions.append((region, Track("", len(CUTS) + i, xyxy, score, class_id, 0)))
    return regions


def search_side_px(size_wh: tuple[int, int], usual_px: int) -> int:
    """Return the longer side of the detector's input for a photo: small ones need half."""
    return usual_px // 2 if max(size_wh) <= SMALL_PHOTO_PX else usual_px


def picture_result(
    judged: Sequence[tuple[Region, Sequence[Judgement]]],
    whole_xyxy: F32,
    labels: Mapping[ItemId, str],
    options: DecideOptions,
    calibration: Calibration,
    k: int,
    tie_epsilon: float = 0.0,
) -> PictureResult:
    """Return what a picture shows, by the judgements of its regions.

    whole_xyxy: (4,) px, the whole picture. tie_epsilon: of what differs less in probability, what
    the whole picture shows goes first, then what has more inliers.
    """
    matches: list[_Told[Match]] = []
    for region, judgements in judged:
        # A detector's box stands for one object; the whole and its middle may show several.
        for judgement in judgements if region in CUTS else judgements[:1]:
            match = _match(judgement, judgements, labels, options, calibration)
            if match is not None:
                matches.append(_Told(match, region is Region.WHOLE))
    ranked: dict[ItemId, _Told[Ranked]] = {}
    for region, judgement in ((r, j) for r, judgements in judged for j in judgements):
        proposal = judgement.proposal
        behind = ASIDE_LOG_ODDS if _is_aside(judgement, whole_xyxy) else 0.0
        probability = sigmoid(judgement.log_odds - behind)
        known = ranked.get(proposal.item_id)
        if known is None or probability > known.what.probability:
            item_id = proposal.item_id
            verification = judgement.verification
            best = Ranked(
                item_id,
                labels[item_id],
                probability,
                proposal.similarity,
                proposal.view_index,
                0 if verification is None else verification.inliers,
            )
            ranked[item_id] = _Told(best, region is Region.WHOLE)
    order = sorted(
        ranked.values(), key=lambda r: (-round(r.what.probability, 9), -r.what.similarity)
    )
    surest_first = sorted(matches, key=lambda m: -round(m.what.probability, 9))
    return PictureResult(
        tuple(_distinct(_settle_ties(surest_first, tie_epsilon))),
        tuple(_settle_ties(order, tie_epsilon)[:k]),
    )


def _settle_ties(told: Sequence[_Told[_T]], epsilon: float) -> list[_T]:
    """Return what was told, the surest first, with what is no surer than by `epsilon` in order."""
    rest, settled = list(told), []
    while rest:
        least = rest[0].what.probability - epsilon
        n_tied = sum(each.what.probability >= least for each in rest) if epsilon > 0 else 1
        best = max(rest[:n_tied], key=lambda each: (each.is_of_whole, each.what.inliers))
        rest.remove(best)
        settled.append(best.what)
    return settled


def holds_centre(xyxy: F32, whole_xyxy: F32) -> bool:
    """Whether a box, (4,) px, holds the middle of the picture."""
    centre = (whole_xyxy[:2] + whole_xyxy[2:]) / 2
    return bool((xyxy[:2] <= centre).all() and (centre <= xyxy[2:]).all())


def _is_aside(judgement: Judgement, whole_xyxy: F32) -> bool:
    """Whether the item, where it was found, or else its region, lies beside the middle."""
    outline = judgement.outline()
    box = judgement.crop.track.xyxy if outline is None else bounds(outline)
    return not holds_centre(box, whole_xyxy)


def _match(
    judgement: Judgement,
    judgements: Sequence[Judgement],
    labels: Mapping[ItemId, str],
    options: DecideOptions,
    calibration: Calibration,
) -> Match | None:
    probability = sigmoid(judgement.log_odds)
    tier = choose_tier(judgement, probability, options, calibration)
    track = judgement.crop.track
    if tier is None or (track.is_whole_frame and not judgement.is_verified):
        return None
    others = [j for j in judgements if j is not judgement][:3]
    alternatives = tuple(Alternative(j.proposal.item_id, sigmoid(j.log_odds)) for j in others)
    verdict = Verdict(judgement, probability, tier, alternatives)
    return match_of(verdict, tier, track, labels[judgement.proposal.item_id])


def _distinct(matches: list[Match]) -> list[Match]:
    """Return the matches without those that tell of an object again; the first one is kept."""
    kept: list[Match] = []
    for match in matches:
        box = match.box_xyxy[None]
        for other in kept:
            other_box = other.box_xyxy[None]
            smaller = max(1.0, min(float(area(box)[0]), float(area(other_box)[0])))
            if intersection_matrix(box, other_box)[0, 0] >= SAME_OBJECT_SHARE * smaller:
                break
        else:
            kept.append(match)
    return kept
