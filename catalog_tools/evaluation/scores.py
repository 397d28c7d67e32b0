"""What a catalog's answers about labelled photos are worth, in figures. No pictures, no networks.

A match counts where its box holds the photo's centre: that is where the labelled item is, and its
neighbours on a shelf may be true items as well. Matches elsewhere in a photo are counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from catalog_tools.query import Answer
from pipeline.types import Tier

TIERS = (Tier.EXACT, Tier.VERY_SIMILAR, Tier.SIMILAR)
PRECISIONS = (0.95, 0.97, 0.99)
N_BINS = 10

Guess = tuple[float, bool]  # a probability, and whether what it was given for is right


@dataclass(frozen=True, slots=True)
class Labelled:
    """A photo and the item in its middle. item_id: None when it shows nothing of the catalog."""

    image: str
    item_id: str | None


@dataclass(frozen=True, slots=True)
class Photo:
    """A labelled photo with what the catalog answered."""

    label: Labelled
    answer: Answer

    def at_centre(self, least: Tier = Tier.SIMILAR) -> list[dict[str, Any]]:
        """Return the matches of this tier or a better one whose box holds the centre."""
        return [match for match in self._matches(least) if self._holds_centre(match)]

    def elsewhere(self, least: Tier = Tier.SIMILAR) -> list[dict[str, Any]]:
        """Return the other matches."""
        return [match for match in self._matches(least) if not self._holds_centre(match)]

    def is_right(self, match: dict[str, Any]) -> bool:
        return bool(match["item_id"] == self.label.item_id)

    @property
    def ranked(self) -> list[str]:
        return [item["item_id"] for item in self.answer.ranked]

    def _matches(self, least: Tier) -> list[dict[str, Any]]:
        return [m for m in self.answer.matches if Tier(m["tier"]).rank >= least.rank]

    def _holds_centre(self, match: dict[str, Any]) -> bool:
        width, height = self.answer.size_wh
        x0, y0, x1, y1 = match["box_xyxy"]
        return bool(x0 <= width / 2 <= x1 and y0 <= height / 2 <= y1)


def score_photos(photos: Sequence[Photo], k: int) -> dict[str, Any]:
    """Return counts and shares of all photos; a photo that can't be read counts as not found.

    top_1, top_k: of the photos with an item, by `ranked`, whatever the tier. tiers: each with the
    better ones. without_item: matches anywhere in photos of nothing known.
    """
    with_item = [photo for photo in photos if photo.label.item_id is not None]
    without = [photo for photo in photos if photo.label.item_id is None]
    published = _published(photos)
    ranked = _first_ranked(photos)
    return {
        "n_photos": len(photos),
        "n_unreadable": sum(photo.answer.error is not None for photo in photos),
        "n_with_item": len(with_item),
        "n_without_item": len(without),
        "k": k,
        "top_1": _share(photo.ranked[:1] == [photo.label.item_id] for photo in with_item),
        "top_k": _share(photo.label.item_id in photo.ranked[:k] for photo in with_item),
        "tiers": {str(tier): _score_tier(photos, tier) for tier in TIERS},
        "recall_at_precision": {
            f"{least:g}": recall_at(published, len(with_item), least) for least in PRECISIONS
        },
        "without_item": {
            "n_photos": len(without),
            "exact": sum(len(p.at_centre(Tier.EXACT) + p.elsewhere(Tier.EXACT)) for p in without),
            "published": sum(len(photo.answer.matches) for photo in without),
            "photos_with_published": sum(bool(photo.answer.matches) for photo in without),
        },
        "calibration_error": {
            "published": calibration_error(published),
            "ranked": calibration_error(ranked),
        },
        "curves": {
            "published": precision_recall(published, len(with_item)),
            "ranked": precision_recall(ranked, len(with_item)),
        },
        "reliability": {"published": reliability(published), "ranked": reliability(ranked)},
    }


def score_leave_out(photos: Sequence[Photo]) -> dict[str, Any]:
    """Return how often a photo's middle is taken for another item while its own is hidden."""
    n_exact = sum(bool(photo.at_centre(Tier.EXACT)) for photo in photos)
    n_published = sum(bool(photo.at_centre()) for photo in photos)
    return {
        "n_photos": len(photos),
        "false_exact": n_exact,
        "false_exact_share": _ratio(n_exact, len(photos)),
        "false_published": n_published,
        "false_published_share": _ratio(n_published, len(photos)),
    }


def _score_tier(photos: Sequence[Photo], least: Tier) -> dict[str, Any]:
    """Precision over the matches at the centre, recall over the photos that have an item."""
    n_right = n_wrong = n_elsewhere = n_found = n_with_item = 0
    for photo in photos:
        central = photo.at_centre(least)
        right = sum(photo.is_right(match) for match in central)
        n_right += right
        n_wrong += len(central) - right
        n_elsewhere += len(photo.elsewhere(least))
        n_found += right > 0
        n_with_item += photo.label.item_id is not None
    return {
        "precision": _ratio(n_right, n_right + n_wrong) if n_right + n_wrong else None,
        "recall": _ratio(n_found, n_with_item),
        "n_right": n_right,
        "n_wrong": n_wrong,
        "n_elsewhere": n_elsewhere,
    }


def _published(photos: Sequence[Photo]) -> list[Guess]:
    """Return each photo's surest match at the centre."""
    guesses = []
    for photo in photos:
        central = photo.at_centre()
        if central:
            best = max(central, key=lambda match: match["probability"])
            guesses.append((float(best["probability"]), photo.is_right(best)))
    return guesses


def _first_ranked(photos: Sequence[Photo]) -> list[Guess]:
    """Return each photo's likeliest item; in a photo of nothing it is always wrong."""
    return [
        (float(first["probability"]), first["item_id"] == photo.label.item_id)
        for photo in photos
        for first in photo.answer.ranked[:1]
    ]


def precision_recall(guesses: Sequence[Guess], n_true: int) -> list[dict[str, float]]:
    """Return precision and recall when only guesses from a probability on are told.

    One row for each probability that occurs, the highest first. n_true: what there is to find.
    """
    rows: list[dict[str, float]] = []
    n_right = 0
    order = sorted(guesses, key=lambda guess: -guess[0])
    for n_told, (probability, is_right) in enumerate(order, 1):
        n_right += is_right
        if n_told < len(order) and order[n_told][0] == probability:
            continue  # the rest of the same probability is told as well
        precision, recall = _ratio(n_right, n_told), _ratio(n_right, n_true)
        rows.append({"probability": probability, "precision": precision, "recall": recall})
    return rows


def recall_at(guesses: Sequence[Guess], n_true: int, least_precision: float) -> float:
    """Return the highest recall that some threshold reaches with at least this precision."""
    rows = precision_recall(guesses, n_true)
    return max((r["recall"] for r in rows if r["precision"] >= least_precision), default=0.0)


def reliability(guesses: Sequence[Guess]) -> list[dict[str, float]]:
    """Return, for tenths of probability with guesses in them, the mean of it and what was right."""
    rows: list[dict[str, float]] = []
    for i in range(N_BINS):
        inside = [g for g in guesses if min(N_BINS - 1, int(g[0] * N_BINS)) == i]
        if inside:
            mean = sum(probability for probability, _ in inside) / len(inside)
            right = _share(is_right for _, is_right in inside)
            rows.append({"n": len(inside), "probability": round(mean, 4), "right": right})
    return rows


def calibration_error(guesses: Sequence[Guess]) -> float | None:
    """Return by how much probability and what was right differ on average; None of no guess.

    Method: expected calibration error, Guo et al., "On Calibration of Modern Neural Networks"
    (ICML 2017).
    """
    if not guesses:
        return None
    off = sum(row["n"] * abs(row["probability"] - row["right"]) for row in reliability(guesses))
    return round(off / len(guesses), 4)


def _share(values: Iterable[bool]) -> float:
    """Return the share that is true; 0 of none."""
    found = list(values)
    return _ratio(sum(found), len(found))


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
