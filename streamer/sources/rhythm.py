"""How far apart a stream's pictures come, and which silence is no longer usual: the stall rule."""

import statistics
from collections import deque

from streamer.sources.base import SourceOptions

SLOWEST_S = 65.0  # one picture a minute, and a little patience
_GAPS_KEPT = 16
_ARRIVALS_KEPT = 512  # the rate is measured over so many; twenty seconds of 25 pictures each
_USUAL_GAPS = 3.0  # so many usual gaps of silence are a stall
_WAITED_S = 0.001  # a read that took less found its picture in a buffer: no gap was seen


class Rhythm:
    """One stream's rate, as `fps` says it or as it was measured; outlives a lost connection.

    A 25 fps stream counts as stalled after `read_timeout_s`; one that gives a picture every four
    seconds after twelve. While the rate is unknown, one picture may be followed by a minute of
    silence; a stream that gives none at all is given longer with each connection in vain, so that
    a hung server is noticed as soon as ever and a camera of one picture a minute gets through.
    """

    def __init__(self, options: SourceOptions) -> None:
        self._least_s = options.silence_s
        self._told_gap_s = options.told_gap_s
        self._gaps_s: deque[float] = deque(maxlen=_GAPS_KEPT)
        self._is_measured = False
        self._n_in_vain = -1  # connections in a row without a picture, this one not counted
        self._n_here = 0
        self._last_s = 0.0
        self._arrivals_s: deque[float] = deque(maxlen=_ARRIVALS_KEPT)  # from the first waited for

    def begin(self) -> None:
        """A connection is opened."""
        self._n_in_vain = 0 if self._n_here else self._n_in_vain + 1
        self._n_here = 0

    def tell(self, gap_s: float) -> None:
        """The pictures come so far apart: somebody asks for them at this pace."""
        self._told_gap_s = gap_s

    def note(self, now_s: float, waited_s: float) -> None:
        """A picture's data came at `now_s` (monotonic), after waiting for it so long."""
        is_waited = waited_s >= _WAITED_S
        if self._n_here:
            self._gaps_s.append(now_s - self._last_s)
            self._is_measured |= is_waited or len(self._gaps_s) == _GAPS_KEPT
        if self._arrivals_s or is_waited:
            self._arrivals_s.append(now_s)
        self._n_here, self._last_s = self._n_here + 1, now_s

    @property
    def measured_fps(self) -> float | None:
        """Pictures a second by arrival; what lay in a buffer at the beginning is not counted.

        The median over all spans of half the pictures: a busy machine that reads some late and then
        several at once changes few of them.
        """
        arrivals_s = list(self._arrivals_s)
        n_half = len(arrivals_s) // 2
        spans_s = [b - a for a, b in zip(arrivals_s, arrivals_s[n_half:], strict=False)]
        usual_s = statistics.median(spans_s) if n_half else 0.0
        return n_half / usual_s if usual_s else None

    @property
    def limit_s(self) -> float:
        """The silence that counts as a stall now."""
        if self._told_gap_s:
            return max(self._least_s, _USUAL_GAPS * self._told_gap_s)
        if self._is_measured:
            return max(self._least_s, min(SLOWEST_S, max(self._gaps_s)) * _USUAL_GAPS)
        if self._n_here:
            return max(self._least_s, SLOWEST_S)
        patience_s = self._least_s * 2.0 ** min(self._n_in_vain, 10)
        return max(self._least_s, min(SLOWEST_S, patience_s))
