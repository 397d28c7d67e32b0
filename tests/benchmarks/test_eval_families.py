"""The families' evaluation: what it lists, shows and counts."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from benchmarks.eval_families import (
    LISTED,
    judged,
    sorted_counts,
    table_rows,
    take_shots,
    write_listed,
)
from catalog_tools.synthesize.packs import DEMO_SEED_START
from catalog_tools.train.pack_bank import render_family
from pipeline.types import ItemId, Match, PictureResult, Tier

PACKS = [render_family(DEMO_SEED_START + 800_000 + i, 2, 120) for i in range(3)]


def told(item_id: str, tier: Tier, left: float = 20.0) -> PictureResult:
    box = np.array([left, 10, left + 60, 90], np.float32)
    match = Match(ItemId(item_id), item_id, 0, tier, 0.99, 0.8, 0.2, 50, 0.7, box, None, 0.0)
    return PictureResult((match,), ())


def test_two_of_a_family_are_listed_and_the_third_is_shown_as_often_as_they(tmp_path: Path) -> None:
    write_listed(PACKS, LISTED, tmp_path)
    listed = sorted(path.stem for path in tmp_path.iterdir())
    assert listed == [f"family-00{family}-{member}" for family in range(3) for member in (0, 1)]
    assert np.array_equal(cv2.imread(str(tmp_path / "family-001-1.png")), PACKS[1][1])
    shown = [item_id for item_id, _ in take_shots(PACKS, LISTED, 2, np.random.default_rng(0))]
    assert len(shown) == 12 and shown.count(None) == 6
    assert {item_id for item_id in shown if item_id} <= set(listed)


def test_a_shot_counts_by_the_match_on_its_middle() -> None:
    shape = (100, 100, 3)
    assert judged("a", told("a", Tier.EXACT), shape) == ["right_published", "right_exact"]
    assert judged("a", told("b", Tier.VERY_SIMILAR), shape) == ["wrong_published"]
    assert judged(None, told("a", Tier.EXACT), shape) == ["unlisted_published", "unlisted_exact"]
    assert judged("a", told("a", Tier.EXACT, left=55.0), shape) == []
    counts = sorted_counts(Counter(right_exact=3, unlisted_published=1))
    assert counts["right_exact"] == 3 and counts["wrong_exact"] == 0
    rows = table_rows(counts, 12)
    assert rows[0] == ("right, exact", "25.0 %", "12 shots of listed packs") and len(rows) == 6
