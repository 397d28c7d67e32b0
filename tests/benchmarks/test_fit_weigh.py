"""What evidence is worth, fitted to drawn cases."""

import numpy as np
import pytest

from benchmarks.fit_weigh import NAMES, PRIOR, Case, cross_loss, fit, loss, shares_of

SIMILARITY = NAMES.index("unverified: similarity")
MARGIN = NAMES.index("unverified: margin")


def cases(count: int = 80, source: str = "drawn") -> list[Case]:
    """Two proposals each: the similar one is the item's, unless the item is hidden; margins are
    noise.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for number in range(count):
        rows = np.zeros((2, len(NAMES)))
        rows[:, NAMES.index("unverified: constant")] = 1.0
        rows[:, MARGIN] = rng.normal(0, 0.3, 2)
        is_shown = number % 2 == 0
        rows[:, SIMILARITY] = (0.9 if is_shown else 0.2, 0.2)
        drawn.append(Case(source, f"item {number}", rows, np.array([is_shown, False])))
    return drawn


def test_what_tells_items_gains_weight_and_noise_loses_it() -> None:
    drawn = cases(800)
    fitted = fit(drawn)
    assert fitted[SIMILARITY] > PRIOR[SIMILARITY] and fitted[MARGIN] < 0.6 * PRIOR[MARGIN]
    assert loss(drawn, fitted) < 0.8 * loss(drawn, PRIOR)


def test_features_that_no_case_shows_stay_as_the_prior_has_them() -> None:
    fitted = fit(cases())
    design = [i for i, name in enumerate(NAMES) if name.startswith("design")]
    assert fitted[design] == pytest.approx(PRIOR[design])


def test_leaving_out_what_tells_items_costs_and_leaving_out_noise_does_not() -> None:
    drawn = cases()
    whole = cross_loss(drawn)
    assert cross_loss(drawn, NAMES[SIMILARITY]) > 1.5 * whole
    assert cross_loss(drawn, NAMES[MARGIN]) < 1.1 * whole


def test_a_small_source_counts_more_a_case_and_less_in_all() -> None:
    shares = shares_of([*cases(80, "large"), *cases(20, "small")])
    assert shares == {"large": 1.0, "small": pytest.approx(2.0)}
