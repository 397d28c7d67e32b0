"""Figures of labelled photos, worked out by hand."""

from typing import Any

import pytest

from catalog_tools.evaluation.scores import (
    Labelled,
    Photo,
    calibration_error,
    precision_recall,
    recall_at,
    reliability,
    score_leave_out,
    score_photos,
)
from catalog_tools.evaluation.search import Shortlists, score_search
from catalog_tools.query import Answer

MIDDLE = (20, 20, 80, 80)
SIDE = (0, 0, 40, 90)


def match(item_id: str, tier: str, probability: float, box: tuple[int, ...] = MIDDLE) -> Any:
    return {"item_id": item_id, "tier": tier, "probability": probability, "box_xyxy": list(box)}


def photo(truth: str | None, ranked: list[tuple[str, float]], *matches: Any) -> Photo:
    likeliest = tuple({"item_id": i, "probability": p} for i, p in ranked)
    answer = Answer("x", matches=tuple(matches), ranked=likeliest, size_wh=(100, 100))
    return Photo(Labelled("x", truth), answer)


PHOTOS = [
    photo("a", [("a", 0.99), ("b", 0.1)], match("a", "exact", 0.99)),
    # the neighbour on the shelf is no mistake, the item in the middle is
    photo("a", [("b", 0.8), ("a", 0.5)], match("b", "similar", 0.8), match("c", "exact", 1, SIDE)),
    photo("b", [("b", 0.7)], match("b", "very_similar", 0.7), match("b", "exact", 0.98, SIDE)),
    photo("b", [("c", 0.2), ("d", 0.1)]),
    Photo(Labelled("x", "c"), Answer("x", error="is empty")),
    photo(None, [("a", 0.1)]),
    photo(None, [("a", 0.9)], match("a", "exact", 0.9, SIDE), match("c", "similar", 0.6)),
]


def test_the_middle_counts_and_the_rest_is_counted_apart() -> None:
    figures = score_photos(PHOTOS, k=2)
    assert [figures[name] for name in ("n_photos", "n_unreadable", "n_with_item")] == [7, 1, 5]
    assert figures["top_1"] == 0.4 and figures["top_k"] == 0.6
    assert figures["tiers"]["exact"] == {
        "precision": 1.0, "recall": 0.2, "n_right": 1, "n_wrong": 0, "n_elsewhere": 3,
    }  # fmt: skip
    assert figures["tiers"]["very_similar"]["recall"] == 0.4
    assert figures["tiers"]["similar"] == {
        "precision": 0.5, "recall": 0.4, "n_right": 2, "n_wrong": 2, "n_elsewhere": 3,
    }  # fmt: skip
    assert figures["without_item"] == {
        "n_photos": 2, "exact": 1, "published": 2, "photos_with_published": 1,
    }  # fmt: skip


def test_of_no_photo_there_are_figures_as_well() -> None:
    figures = score_photos([], k=5)
    assert figures["top_1"] == 0 and figures["tiers"]["exact"]["precision"] is None
    assert figures["calibration_error"]["published"] is None


@pytest.mark.parametrize("k", [1, 2])
def test_top_k_takes_no_more_than_k(k: int) -> None:
    assert score_photos([photo("b", [("a", 0.9), ("b", 0.5)])], k)["top_k"] == k - 1


def test_hidden_items_must_not_be_named_in_the_middle() -> None:
    hidden = [
        photo("a", [("b", 0.9)], match("b", "exact", 0.99)),
        photo("a", [("b", 0.9)], match("b", "exact", 0.99, SIDE)),
        photo("a", [("b", 0.9)], match("b", "similar", 0.7)),
        photo("a", []),
    ]
    figures = score_leave_out(hidden)
    assert figures["false_exact_share"] == 0.25 and figures["false_published_share"] == 0.5


def test_precision_and_recall_from_the_surest_down() -> None:
    guesses = [(0.9, True), (0.8, True), (0.7, False), (0.7, True), (0.5, False)]
    rows = precision_recall(guesses, n_true=4)
    assert [row["probability"] for row in rows] == [0.9, 0.8, 0.7, 0.5]  # equal ones fall together
    assert [row["precision"] for row in rows] == [1.0, 1.0, 0.75, 0.6]
    assert [row["recall"] for row in rows] == [0.25, 0.5, 0.75, 0.75]
    assert recall_at(guesses, 4, 0.95) == 0.5
    assert recall_at([], 4, 0.95) == 0.0


def test_reliability_holds_what_was_told_against_what_was_right() -> None:
    honest = [(0.75, True), (0.75, True), (0.75, True), (0.75, False)]
    boastful = [(1.0, False), (1.0, True)]
    assert reliability(honest) == [{"n": 4, "probability": 0.75, "right": 0.75}]
    assert calibration_error(honest) == 0.0
    assert calibration_error(boastful) == 0.5


def test_search_is_scored_before_and_after_the_votes() -> None:
    found = [Shortlists(("a", "b"), ("b", "a")), Shortlists(("c",), ("c", "b")), Shortlists((), ())]
    figures = score_search(["a", "b", "a"], found, k=2)
    assert figures["embedder_recall_1"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["embedder_recall_k"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["shortlist_recall_k"] == pytest.approx(2 / 3, abs=1e-4)
