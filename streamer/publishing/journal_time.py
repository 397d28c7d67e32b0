"""The time by which the journal forgets: a wall clock alone can make nothing old.

A board without a battery starts in 1970, a clock may be set to 2038 for a minute, or back. So the
journal counts a time of its own, which never goes back: while a daemon runs it grows as the
machine's monotonic clock does, whatever the wall clock says. That tells only how long the machine
was off, hence what it is ahead lies before the run's start: no event of the run gets older by it.
It is believed

    at once          at the start of a run, up to a day
    after an hour    in which the wall clock made no step, if it is more, or comes in a run
    never            while the clock shows a time before this program was made

Of a wall clock that is behind nothing is believed. One that makes sense for the first time in a
journal's life only gives the journal's time a date.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

NOT_BEFORE_NS = 1_767_225_600 * 10**9  # 2026-01-01: a clock that shows less was never set
WALL_CLOCK_STATE = '{"offset_ns": 0}'  # of a journal whose stamps are the wall clock's
DAY_NS = 86_400 * 10**9
_BELIEVED_AFTER_NS = 3600 * 10**9
_STEP_NS = 60 * 10**9

Clock = Callable[[], int]


def machine_time_ns() -> int:
    """Return the machine's monotonic clock, its sleep included where the system tells it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return time.monotonic_ns()


def newest_plausible_ns(stamps_ns: Sequence[int], wall_clock: Clock = time.time_ns) -> int | None:
    """Return the first of some readings of a wall clock, the newest first, that makes sense."""
    wall_ns = wall_clock()
    last_ns = wall_ns + DAY_NS if wall_ns >= NOT_BEFORE_NS else 2**63
    return next((ns for ns in stamps_ns if NOT_BEFORE_NS <= ns <= last_ns), None)


class JournalTime:
    """Stamps events and tells their age; in nanoseconds, from any thread."""

    def __init__(
        self,
        last_ns: int | None,
        state: str | None,
        wall_clock: Clock = time.time_ns,
        machine_clock: Clock = machine_time_ns,
    ) -> None:
        """last_ns: the stamp of the journal's newest event; None: it has none.

        state: what `state` of the last run returned; None: there was none.
        """
        self._wall_clock, self._machine_clock = wall_clock, machine_clock
        self._lock = threading.Lock()
        known: dict[str, Any] = json.loads(state) if state else {}
        self._offset_ns: int | None = known.get("offset_ns")  # wall clock minus this time
        self._leaps: list[tuple[int, int]] = [(at, ns) for at, ns in known.get("leaps", [])]
        self._lead_ns = 0
        self._now_ns: int = 1 + max(last_ns or NOT_BEFORE_NS, known.get("now_ns", 0))
        self._read_ns = machine_clock()
        self._claim: tuple[int, int] | None = None  # a lead, and since when it stands
        self.is_changed = False  # `state` says more than when it was last written down
        self._read()
        if 0 < self._lead_ns <= DAY_NS:
            self._now_ns += self._lead_ns
            self._claim, self._lead_ns = None, 0
        self._start_ns = self._now_ns

    def state(self) -> str:
        """Return what the next run must know, as JSON."""
        with self._lock:
            self.is_changed = False
            known = {"now_ns": self._now_ns, "offset_ns": self._offset_ns, "leaps": self._leaps}
            return json.dumps(known)

    def now_ns(self) -> int:
        """Return the stamp of an event that is written now."""
        with self._lock:
            self._read()
            return self._now_ns

    def age_ns(self, stamp_ns: int) -> int:
        """Return how old an event of this stamp is at least."""
        with self._lock:
            self._read()
            slept_ns = sum(leap_ns for at_ns, leap_ns in self._leaps if stamp_ns < at_ns)
            return self._now_ns - stamp_ns + slept_ns

    def forget_before(self, stamp_ns: int) -> None:
        """Drop what only concerns events that are gone."""
        with self._lock:
            self._leaps = [leap for leap in self._leaps if leap[0] > stamp_ns]

    def trouble(self) -> str | None:
        """Return what is wrong with the wall clock in a sentence, or None."""
        with self._lock:
            self._read()
            shown = time.strftime("%Y-%m-%d", time.gmtime(self._wall_ns // 10**9))
            days = abs(self._lead_ns) / DAY_NS
            if self._wall_ns < NOT_BEFORE_NS:
                return f"the clock shows {shown}, before this program was made; set it"
            if days > 1:
                side = "ahead of" if self._lead_ns > 0 else "behind"
                return f"the clock shows {shown}, {days:.1f} days {side} the journal; check it"
            return None

    def _read(self) -> None:
        """Read both clocks, and take from the wall clock what can be believed of it now."""
        read_ns = self._machine_clock()
        self._now_ns += max(0, read_ns - self._read_ns)
        self._read_ns = read_ns
        self._wall_ns = self._wall_clock()
        if self._wall_ns < NOT_BEFORE_NS:
            self._claim, self._lead_ns = None, 0
            return
        if self._offset_ns is None:
            self._offset_ns = self._wall_ns - self._now_ns
            self.is_changed = True
        self._lead_ns = self._wall_ns - self._offset_ns - self._now_ns
        if self._lead_ns <= _STEP_NS:
            self._claim = None
        elif self._claim is None or abs(self._lead_ns - self._claim[0]) > _STEP_NS:
            self._claim = (self._lead_ns, read_ns)
        elif read_ns - self._claim[1] >= _BELIEVED_AFTER_NS:
            self._leaps.append((self._start_ns, self._lead_ns))
            self._offset_ns += self._lead_ns
            self.is_changed = True
            self._claim, self._lead_ns = None, 0
