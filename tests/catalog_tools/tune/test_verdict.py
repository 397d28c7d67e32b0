"""When a candidate is better, and when chance may have made it so."""

import pytest

from catalog_tools.evaluation.scores import Labelled, Photo
from catalog_tools.query import Answer
from catalog_tools.tune.verdict import Outcome, compare, is_beyond_chance

RIGHT, WRONG, NOTHING = Outcome(1, True), Outcome(-1, False), Outcome(0, False)
FIRST = Outcome(0, True)


@pytest.mark.parametrize(
    ("n_better", "n_worse", "is_beyond"),
    [
        (0, 0, False),
        (4, 0, False),
        (5, 0, True),
        (6, 1, False),
        (7, 1, True),
        (30, 20, False),
        (33, 17, True),
        (0, 9, False),
    ],
)
def test_a_gain_counts_when_a_coin_would_hardly_give_it(
    n_better: int, n_worse: int, is_beyond: bool
) -> None:
    assert is_beyond_chance(n_better, n_worse) is is_beyond


@pytest.mark.parametrize(
    ("old", "new", "is_better", "why"),
    [
        ([], [], False, "no gain"),
        ([RIGHT] * 40, [RIGHT] * 40, False, "no gain"),
        ([NOTHING] * 40, [RIGHT] * 4 + [NOTHING] * 36, False, "no gain"),
        ([NOTHING] * 40, [RIGHT] * 9 + [NOTHING] * 31, True, "exact got better in 9"),
        ([NOTHING] * 40, [RIGHT] * 39 + [WRONG], False, "1 photos told wrongly as exact, 0 before"),
        ([WRONG] * 6 + [RIGHT] * 34, [NOTHING] * 6 + [RIGHT] * 34, True, "exact got better in 6"),
        ([WRONG] + [RIGHT] * 39, [NOTHING] * 40, False, "no gain"),  # tells nothing any more
        ([NOTHING] * 40, [FIRST] * 8 + [NOTHING] * 32, True, "the likeliest item got better in 8"),
        ([NOTHING] * 8 + [RIGHT], [FIRST] * 9, False, "no gain"),  # one less is told
    ],
)
def test_a_candidate_is_better_by_exact_and_then_by_top_1(
    old: list[Outcome], new: list[Outcome], is_better: bool, why: str
) -> None:
    verdict = compare(old, new)
    assert verdict.is_better is is_better and why in verdict.why


CENTRE, CORNER = [30, 30, 70, 70], [0, 0, 20, 20]


@pytest.mark.parametrize(
    ("shown", "told", "exact"),
    [
        ("a", [], 0),
        ("a", [("a", "exact", CENTRE)], 1),
        ("a", [("a", "very_similar", CENTRE)], 0),
        ("a", [("b", "exact", CENTRE)], -1),
        ("a", [("a", "exact", CENTRE), ("b", "exact", CENTRE)], -1),
        ("a", [("a", "exact", CENTRE), ("b", "exact", CORNER)], 1),  # a neighbour on the shelf
        (None, [("b", "exact", CORNER)], -1),  # nothing known is anywhere in it
        (None, [("b", "similar", CENTRE)], 0),
    ],
)
def test_what_an_answer_is_worth(
    shown: str | None, told: list[tuple[str, str, list[int]]], exact: int
) -> None:
    matches = tuple({"item_id": i, "tier": tier, "box_xyxy": box} for i, tier, box in told)
    answer = Answer("photo.jpg", matches, ({"item_id": "a"},), size_wh=(100, 100))
    outcome = Outcome.of(Photo(Labelled("photo.jpg", shown), answer))
    assert outcome == Outcome(exact, shown == "a")
