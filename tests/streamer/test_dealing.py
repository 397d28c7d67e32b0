"""Cameras are dealt out to matchers: in turn, or by their loads, the same way every time."""

import itertools
import random

import pytest

from streamer.dealing import deal_out


@pytest.mark.parametrize(
    ("cameras", "n_matchers", "loads", "dealt"),
    [
        ([], 0, {}, []),
        (["a"], 1, {}, [["a"]]),
        (["a", "b", "c", "d", "e"], 2, {}, [["a", "c", "e"], ["b", "d"]]),
        (["a", "b", "c"], 2, {"elsewhere": 3.0}, [["a", "c"], ["b"]]),
        # the heaviest first, each to the matcher with the least so far, shown in the given order
        (["a", "b", "c"], 2, {"a": 0.1, "b": 0.2, "c": 0.4}, [["c"], ["a", "b"]]),
        (["a", "b", "c", "d"], 2, {"a": 8, "b": 7, "c": 2, "d": 1}, [["a", "d"], ["b", "c"]]),
        # equal loads, and none at all, come to dealing in turn
        (["a", "b", "c", "d"], 2, dict.fromkeys("abcd", 0.2), [["a", "c"], ["b", "d"]]),
        (["a", "b", "c", "d"], 3, dict.fromkeys("abcd", 0.0), [["a", "d"], ["b"], ["c"]]),
        # no matcher stays empty beside a heavy one
        (["a", "b", "c"], 3, {"a": 5.0, "b": 0.0, "c": 0.0}, [["a"], ["b"], ["c"]]),
        # d counts as the mean of the others, 2.0
        (["a", "b", "c", "d"], 2, {"a": 3.0, "b": 2.5, "c": 0.5}, [["a", "c"], ["b", "d"]]),
    ],
)  # fmt: skip
def test_cameras_are_dealt_out(
    cameras: list[str], n_matchers: int, loads: dict[str, float], dealt: list[list[str]]
) -> None:
    assert deal_out(cameras, n_matchers, loads) == dealt


def test_every_camera_has_one_matcher_and_the_heaviest_matcher_is_near_the_best_possible() -> None:
    """Against all ways to deal out seven cameras: 4/3 - 1/(3m) of the best is Graham's bound."""
    dice = random.Random(7)
    for n_matchers in (2, 3):
        for _ in range(20):
            loads = {f"cam{n}": dice.random() for n in range(7)}
            dealt = deal_out(list(loads), n_matchers, loads)
            assert sorted(itertools.chain(*dealt)) == sorted(loads)
            assert all(dealt) and len(dealt) == n_matchers
            worst = max(sum(loads[name] for name in hand) for hand in dealt)
            assert worst <= (4 / 3 - 1 / (3 * n_matchers)) * best(loads, n_matchers) + 1e-9
            assert dealt == deal_out(list(loads), n_matchers, dict(reversed(loads.items())))


def best(loads: dict[str, float], n_matchers: int) -> float:
    """The least that the heaviest matcher can have."""
    least = float("inf")
    for places in itertools.product(range(n_matchers), repeat=len(loads)):
        sums = [0.0] * n_matchers
        for place, load in zip(places, loads.values(), strict=True):
            sums[place] += load
        least = min(least, max(sums))
    return least
