"""How long things took: fixed-bucket histograms that cost nothing to keep and add up exactly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LOWEST_MS, _RATIO = 0.01, 1.03
_LOG_RATIO = math.log(_RATIO)
_LAST_BUCKET = math.ceil(math.log(120_000 / _LOWEST_MS) / _LOG_RATIO)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """What a histogram says, in ms (within 1.5 %); n values."""

    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Histogram:
    """Counts of durations in buckets 3 % wide, from 10 µs to two minutes."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._n = 0
        self._max_ms = 0.0
        self._sum_ms = 0.0

    def add(self, ms: float) -> None:
        """Count one duration; what is below or above the range lands in its end."""
        bucket = 0
        if ms > _LOWEST_MS:
            bucket = min(_LAST_BUCKET, 1 + int(math.log(ms / _LOWEST_MS) / _LOG_RATIO))
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._n += 1
        self._sum_ms += ms
        self._max_ms = max(self._max_ms, ms)

    def merge(self, other: "Histogram") -> None:
        """Count all that the other counted as well."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self._n += other._n
        self._sum_ms += other._sum_ms
        self._max_ms = max(self._max_ms, other._max_ms)

    def percentile_ms(self, share: float) -> float:
        """Return the duration that `share` (0..1) of the values do not exceed; 0 when empty."""
        rank, seen = math.ceil(share * self._n), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                middle = _LOWEST_MS * _RATIO ** (bucket - 0.5) if bucket else _LOWEST_MS
                return min(middle, self._max_ms)
        return 0.0

    @property
    def sum_ms(self) -> float:
        return self._sum_ms

    def up_to(self, limits_ms: Sequence[float]) -> dict[str, int]:
        """Return how many durations do not exceed each of these limits (within 3 %), by limit."""
        found = {}
        for limit_ms in limits_ms:
            last = 1 + int(math.log(limit_ms / _LOWEST_MS) / _LOG_RATIO)
            found[f"{limit_ms:g}"] = sum(n for bucket, n in self._counts.items() if bucket < last)
        return found

    def percentiles(self) -> Percentiles:
        """Return the figures that people ask for."""
        p50, p95, p99 = (self.percentile_ms(share) for share in (0.5, 0.95, 0.99))
        return Percentiles(self._n, p50, p95, p99, self._max_ms)


Histograms = dict[str, Histogram]


def merge_histograms(parts: list[Mapping[str, Histogram]]) -> Histograms:
    """Return one histogram a stage, over all parts, in order of first appearance."""
    merged: Histograms = {}
    for part in parts:
        for stage, histogram in part.items():
            merged.setdefault(stage, Histogram()).merge(histogram)
    return merged
