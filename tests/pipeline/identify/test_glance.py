"""A glance: does a crop's embedding still resemble what its track is taken for?"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.identify.glance import glance, may_glance
from pipeline.timing import StageTimer
from pipeline.types import ItemId, Proposal

TEA, MILK = Proposal(ItemId("tea"), 0, 0.9), Proposal(ItemId("milk"), 1, 0.9)


class Embedder:
    """Gives each crop its number as its vector."""

    def embed(self, crops: Sequence[Any]) -> np.ndarray:
        return np.array([[float(crop)] for crop in crops], np.float32)


def look(number: int, nearest: Proposal | None, believed: Proposal | None = TEA) -> Any:
    def search(vectors: np.ndarray, k: int) -> list[list[Proposal]]:
        assert vectors.tolist() == [[number]] and k == 1
        return [[] if nearest is None else [nearest]]

    shelf = SimpleNamespace(
        searcher=SimpleNamespace(search=search), has_near_twin=lambda view: view == 1
    )
    return SimpleNamespace(crop=SimpleNamespace(image_bgr=number), shelf=shelf, believed=believed)


def at(similarity: float, of: Proposal = TEA) -> Proposal:
    return Proposal(of.item_id, of.view_index, similarity)


@pytest.mark.parametrize(
    ("nearest", "is_borne_out"),
    [
        (at(0.93), True),
        (at(0.82), True),
        (at(0.79), False),  # much less than the best view had
        (at(0.95, MILK), False),
        (None, False),
    ],
)
def test_what_is_nearest_as_before_and_about_as_near_is_borne_out(
    nearest: Proposal | None, is_borne_out: bool
) -> None:
    assert glance([look(7, nearest)], Embedder(), StageTimer()) == [is_borne_out]  # type: ignore[arg-type]


def test_each_look_is_asked_about_with_its_own_vector() -> None:
    looks = [look(1, at(0.9)), look(2, at(0.9, MILK)), look(3, at(0.9))]
    assert glance(looks, Embedder(), StageTimer()) == [True, False, True]  # type: ignore[arg-type]


def test_an_item_with_a_listed_near_twin_needs_a_whole_look() -> None:
    assert may_glance(look(1, None))
    assert not may_glance(look(1, None, believed=MILK))
    assert not may_glance(look(1, None, believed=None))
