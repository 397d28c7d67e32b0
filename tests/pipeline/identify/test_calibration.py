"""What evidence is worth, and a catalog's own numbers for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CatalogError
from pipeline.identify.calibration import Calibration
from pipeline.types import ItemId, Proposal, Verification

TEA = Proposal(ItemId("tea"), 0, 0.4)


def test_catalogs_calibration_replaces_the_default(tmp_path: Path) -> None:
    assert Calibration.of_catalog(tmp_path) == Calibration()
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"unverified": [1, 2, 3, 4], "exact": 0.9}))
    assert Calibration.of_catalog(tmp_path) == Calibration(unverified=(1, 2, 3, 4), exact=0.9)
    path.write_text('{"unverified": [1, 2]}')
    with pytest.raises(CatalogError, match=r"calibration .*: cannot be used, got .*; magpie"):
        Calibration.of_catalog(tmp_path)


def test_a_fragment_proves_nothing_however_well_it_agrees() -> None:
    # near-twins share whole panels: a crop of one panel fits both
    whole = Verification(40, 44, np.eye(3), None, 0.0, 0.85, 1.0)
    fragment = Verification(40, 44, np.eye(3), None, 0.0, 0.85, 0.15)
    calibration = Calibration()
    assert (
        calibration.design_log_odds(TEA, -0.2, whole)
        > calibration.design_log_odds(TEA, -0.2, fragment) + 2.0
    )


def test_what_a_grey_view_agrees_with_may_be_another_colour_of_the_same_print() -> None:
    """Not the item for sure, though its design; a listed near-twin does not help."""
    alone = Verification(60, 70, np.eye(3), None, 0.0, 0.8, 1.0, sameness=4.0)
    beside = replace(alone, near_twin_item=ItemId("milk"), near_twin_distance=0.3)
    calibration = Calibration()
    for seen in (alone, beside):
        grey = replace(seen, colour_unseen=1.0)
        assert calibration.own_share(seen) > calibration.exact
        assert calibration.own_share(grey) < 0.5
        assert calibration.design_log_odds(TEA, 0.1, grey) == calibration.design_log_odds(
            TEA, 0.1, seen
        )


@pytest.mark.parametrize(("distance", "speaks"), [(0.05, False), (0.4, True), (0.9, False)])
def test_a_near_twin_that_differs_in_a_character_speaks_only_where_the_print_agrees(
    distance: float, speaks: bool
) -> None:
    """A series of signs goes on beyond what is listed; flavours of a brand mostly do not."""
    doubted = Verification(60, 70, np.eye(3), None, 0.0, 0.8, 1.0, sameness=-0.3)
    listed = {"near_twin_item": ItemId("milk"), "near_twin_distance": distance}
    calibration = Calibration()
    alone, beside = (calibration.own_share(one) for one in (doubted, replace(doubted, **listed)))
    assert (beside > alone + 0.3) == speaks
    agrees = replace(doubted, sameness=1.5)
    alone, beside = (calibration.own_share(one) for one in (agrees, replace(agrees, **listed)))
    assert (beside > alone + 0.1) == (distance < 0.6)
