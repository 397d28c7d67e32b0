"""How old an event of the journal is, when the clock may have been wrong: the one rule of time.

Events stand in the order in which they happened, and that no clock can fool. An event is stamped
with what the clock said; a board without a battery begins in 1970, another was set to 2038 for a
minute. So a stamp counts only if it can be true, an event without one is as young as the next that
has one, and the clock itself is believed only while nothing speaks against it. In doubt an event
stays: the journal's size is bounded by other means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

RELEASED_NS = round(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1e9)  # it is later than this
_SETTLE_S = 3600.0  # what a clock must go on right after it jumped, before it ages anything
_JUMP_S = 60.0  # by so much more or less than monotonic time it jumped
_BACK_NS = 3600 * 10**9  # a stamp so long before an earlier event's is wrong
_UNSEEN_NS = 86_400 * 10**9  # a gap between runs that no clock has witnessed


@dataclass(slots=True)
class ClockWatch:
    """Whether this machine's clock may say that an event is old.

    newest_ns: the stamp of the journal's last event before this run; 0: none.
    """

    newest_ns: int
    _began_s: float | None = None
    _offset_s: float = 0.0  # wall minus monotonic
    _distrusted_until_s: float = 0.0

    def trusts(self, wall_ns: int, monotonic_s: float) -> bool:
        """Look at both clocks; call it every few seconds."""
        offset_s = wall_ns / 1e9 - monotonic_s
        if self._began_s is None:
            self._began_s, self._offset_s = monotonic_s, offset_s
            if self.newest_ns and wall_ns - self.newest_ns > _UNSEEN_NS:
                self._distrusted_until_s = monotonic_s + _SETTLE_S
        if abs(offset_s - self._offset_s) > _JUMP_S:
            self._distrusted_until_s = monotonic_s + _SETTLE_S
        self._offset_s = offset_s
        return wall_ns >= RELEASED_NS and monotonic_s >= self._distrusted_until_s


def clock_remark(wall_ns: int) -> str | None:
    """Return what is to be said of a clock that cannot be right, or None."""
    if wall_ns >= RELEASED_NS:
        return None
    said = datetime.fromtimestamp(wall_ns / 1e9, UTC).strftime("%Y-%m-%d")
    return (
        f"this machine's clock says {said}, which cannot be: events are stamped so, and none "
        "is forgotten by its age; set the clock"
    )


def count_old(stamps_ns: Sequence[int], later_ns: int | None, now_ns: int, keep_ns: int) -> int:
    """Return how many of the first events are older than `keep_ns`.

    stamps_ns: what the clock said at each event, in their order. later_ns: the first stamp behind
    them that can be true, if any.
    """
    can_be, highest_ns = [], 0
    for stamp_ns in stamps_ns:
        is_true = RELEASED_NS <= stamp_ns <= now_ns and stamp_ns >= highest_ns - _BACK_NS
        can_be.append(is_true)
        highest_ns = max(highest_ns, stamp_ns) if is_true else highest_ns
    time_ns = now_ns if later_ns is None else later_ns
    times_ns = []
    for stamp_ns, is_true in zip(reversed(stamps_ns), reversed(can_be), strict=True):
        time_ns = stamp_ns if is_true else time_ns
        times_ns.append(time_ns)
    n_old = 0
    for time_ns in reversed(times_ns):
        if now_ns - time_ns <= keep_ns:
            break
        n_old += 1
    return n_old
