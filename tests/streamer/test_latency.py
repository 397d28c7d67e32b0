"""Histograms against numpy's percentiles."""

import numpy as np
import pytest

from streamer.latency import Histogram, merge_histograms


def test_empty_histogram_says_zero() -> None:
    assert Histogram().percentiles().n == 0
    assert Histogram().percentile_ms(0.5) == 0.0


def test_percentiles_are_those_of_the_values_within_a_bucket() -> None:
    values_ms = np.random.default_rng(3).lognormal(2, 1.5, 5000)
    histogram = Histogram()
    for value_ms in values_ms:
        histogram.add(float(value_ms))
    figures = histogram.percentiles()
    assert figures.n == 5000
    assert figures.max_ms == pytest.approx(values_ms.max())
    for share, found_ms in ((50, figures.p50_ms), (95, figures.p95_ms), (99, figures.p99_ms)):
        assert found_ms == pytest.approx(np.percentile(values_ms, share), rel=0.03)


def test_values_outside_the_range_count_at_its_ends() -> None:
    histogram = Histogram()
    for value_ms in (0.0, -1.0, 1e9):
        histogram.add(value_ms)
    assert histogram.percentile_ms(0.5) == pytest.approx(0.01)
    assert histogram.percentiles().n == 3


def test_merged_histograms_hold_all_values() -> None:
    first, second = Histogram(), Histogram()
    for value_ms in (1.0, 2.0):
        first.add(value_ms)
    second.add(100.0)
    merged = merge_histograms([{"detect": first}, {"detect": second, "track": first}])
    assert merged["detect"].percentiles().n == 3
    assert merged["detect"].percentiles().max_ms == 100.0
    assert list(merged) == ["detect", "track"]
    assert first.percentiles().n == 2


def test_histogram_counts_up_to_limits_and_adds_up() -> None:
    histogram = Histogram()
    for ms in (0.001, 1.5, 1.5, 30, 400_000):
        histogram.add(ms)
    assert histogram.up_to((1, 2, 100, 10_000)) == {"1": 1, "2": 3, "100": 4, "10000": 4}
    other = Histogram()
    other.merge(histogram)
    assert other.sum_ms == histogram.sum_ms == 400_033.001
