"""How long to wait between tries: 0.5 s, doubled with each failure in a row, with some chance so
that sinks that failed together do not come back together."""

from __future__ import annotations

import random

FIRST_S = 0.5


class Backoff:
    """Counts failures in a row."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self.n_failures = 0

    def next_s(self, at_least_s: float = 0.0) -> float:
        """Count a failure; return how long to wait. at_least_s: what the other side asked for."""
        wait_s = min(self._most_s, FIRST_S * 2.0 ** min(self.n_failures, 20))
        self.n_failures += 1
        return max(wait_s * random.uniform(0.8, 1.0), min(at_least_s, 5 * self._most_s))  # noqa: S311

    def reset(self) -> None:
        """It worked."""
        self.n_failures = 0
