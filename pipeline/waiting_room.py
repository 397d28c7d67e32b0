"""Between the two lanes: looks that wait to be identified, one a track, fair between cameras."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # a process that only hands looks on loads nothing heavy
    from pipeline.identify.types import Look

_Key = tuple[str, int, int]  # camera, track number, and one of its own for a recording's look
LONG_WAIT_S = 1.0  # newest first alone would let the oldest wait for ever when too much comes
# A live camera's view that is older goes behind all that are not: where more comes than can be
# identified, what is told must still be of just now.
STALE_S = 0.3


class _Waiting(NamedTuple):
    """A look that waits. asked_s: since when its track does; seen_s: when this view of it came."""

    look: Look
    asked_s: float
    seen_s: float


@dataclass(frozen=True, slots=True)
class RoomFigures:
    """What became of the looks so far. oldest_s: how long the oldest has been waiting now.

    replaced: by a better view of the same track. dropped: the room was full of more urgent ones.
    """

    waiting: int = 0
    taken: int = 0
    replaced: int = 0
    dropped: int = 0
    oldest_s: float = 0.0


class WaitingRoom:
    """Bounded for each camera; `put` is the follow lane's, `take` the identify lane's.

    A look at a track takes the place of the one that waits already. Cameras are served in turn,
    within a camera the most urgent look first; stale views only when there are no others. Where a
    camera's places are taken, its least urgent look has to go. A recording's looks all keep their
    places, and are never stale: who puts them waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[_Key, _Waiting] = {}
        self._served: dict[str, int] = {}  # by camera, the turn in which it was served last
        self._turn = self._n_put = 0
        self._is_closed = False
        self._figures = RoomFigures()

    def put(self, look: Look, n_places: int | None) -> Look | None:
        """Let a look wait; returns the one, if any, that had to go and will have no answer.

        n_places: of its camera; None: of a recording.
        """
        with self._changed:
            self._n_put += 1
            key = look.camera, look.crop.track.track_id, self._n_put if n_places is None else 0
            known, now_s = self._waiting.get(key), time.monotonic()
            if known is not None:  # as urgent as before, whatever the newer view is by itself
                overdue = max(look.overdue, known.look.overdue)
                self._waiting[key] = _Waiting(replace(look, overdue=overdue), known.asked_s, now_s)
                self._count(replaced=self._figures.replaced + 1)
                return known.look
            self._waiting[key] = _Waiting(look, now_s, math.inf if n_places is None else now_s)
            mine = self._of(look.camera)
            self._changed.notify()
            if n_places is None or len(mine) <= n_places:
                return None
            self._count(dropped=self._figures.dropped + 1)
            return self._waiting.pop(min(mine, key=self._urgency_of)).look

    def take(
        self,
        at_most: int,
        within_s: float,
        on_take: Callable[[tuple[str, ...]], None] = lambda cameras: None,
    ) -> list[Look]:
        """Return the looks to identify next, none when none comes in time or the room is closed.

        on_take: called with their cameras before anyone can see that they wait no more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed, within_s)
            taken = [self._next() for _ in range(min(at_most, len(self._waiting)))]
            if taken:
                on_take(tuple({look.camera for look in taken}))
            self._count(taken=self._figures.taken + len(taken))
            return taken

    def n_waiting(self, camera: str) -> int:
        """Return how many looks of a camera wait."""
        with self._changed:
            return len(self._of(camera))

    def tracks(self) -> frozenset[tuple[str, int]]:
        """Return camera and track number of each look that waits."""
        with self._changed:
            return frozenset((camera, track_id) for camera, track_id, _ in self._waiting)

    def forget(self, camera: str) -> None:
        """Drop all looks of a camera that starts anew."""
        with self._changed:
            self._waiting = {k: v for k, v in self._waiting.items() if k[0] != camera}

    def close(self) -> None:
        """Wake who waits; nothing is taken any more."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def figures(self) -> RoomFigures:
        """Return what became of the looks so far."""
        with self._changed:
            asked_s = [one.asked_s for one in self._waiting.values()]
            oldest_s = time.monotonic() - min(asked_s) if asked_s else 0.0
            return replace(self._figures, waiting=len(asked_s), oldest_s=oldest_s)

    def _count(self, **numbers: int) -> None:
        self._figures = replace(self._figures, **numbers)

    def _next(self) -> Look:
        keys = [key for key in self._waiting if self._is_fresh(key)] or list(self._waiting)
        camera = min((name for name, *_ in keys), key=lambda name: self._served.get(name, -1))
        self._turn += 1
        self._served[camera] = self._turn
        key = max((key for key in keys if key[0] == camera), key=self._urgency_of)
        return self._waiting.pop(key).look

    def _of(self, camera: str) -> list[_Key]:
        return [key for key in self._waiting if key[0] == camera]

    def _is_fresh(self, key: _Key) -> bool:
        return self._waiting[key].seen_s >= time.monotonic() - STALE_S

    def _urgency_of(self, key: _Key) -> tuple[bool, bool, float, float, float]:
        one = self._waiting[key]
        return self._is_fresh(key), *_urgency(one.look, time.monotonic() - one.asked_s)


def _urgency(look: Look, waited_s: float) -> tuple[bool, float, float, float]:
    """What was never seen, or never so well (overdue: inf), comes first: it is to be told. Of that,
    and of the others, what has waited too long, the oldest of it; then the most overdue; then the
    newest track.
    """
    too_long_s = max(0.0, waited_s - LONG_WAIT_S)
    return look.overdue == math.inf, too_long_s, look.overdue, look.now_s
