"""The scores of catalog queries, worked out by hand."""

from typing import Any

from benchmarks.eval_grocery import score_answers


def answer(ranked: list[str], matches: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "ranked": [{"item_id": item_id} for item_id in ranked],
        "matches": [{"item_id": item_id, "tier": tier} for item_id, tier in matches],
    }


def test_scores() -> None:
    truth = ["a", "a", "b", "b", "none", "none", "none"]
    answers = [
        answer(["a", "b"], [("a", "exact")]),
        answer(["b", "a"], [("b", "exact"), ("a", "similar")]),
        answer(["c", "d"], []),
        {"image": "x", "error": "is empty"},
        answer(["a"], [("a", "exact")]),
        answer(["a"], []),
        answer(["a"], [("c", "similar"), ("d", "similar")]),
    ]
    scores = score_answers(truth, answers)
    assert scores == {
        "n_photos": 7,
        "n_unreadable": 1,
        "n_with_item": 4,
        "n_without": 3,
        "top_1": 0.25,
        "top_5": 0.5,
        "published_right": 0.5,
        "published_wrong": 0.25,
        "n_exact": 3,
        "exact_right": 0.3333,
        "false_alarms": 0.6667,
    }
