"""Between the two lanes: looks that wait to be identified, one a track, fair between cameras."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a process that only hands looks on loads nothing heavy
    from pipeline.identify.types import Look

_Key = tuple[str, int, int]  # camera, track number, and one of its own for a recording's look
LONG_WAIT_S = 1.0  # newest first alone would let the oldest wait for ever when too much comes


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
    within a camera the most urgent look first. Where a camera's places are taken, its least urgent
    look has to go. A recording's looks all keep their places: who puts them waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[_Key, tuple[Look, float]] = {}  # and since when
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
            known = self._waiting.get(key)
            self._waiting[key] = look, known[1] if known else time.monotonic()
            if known is not None:  # as urgent as before, whatever the newer view is by itself
                overdue = max(look.overdue, known[0].overdue)
                self._waiting[key] = replace(look, overdue=overdue), known[1]
                self._count(replaced=self._figures.replaced + 1)
                return known[0]
            mine = self._of(look.camera)
            self._changed.notify()
            if n_places is None or len(mine) <= n_places:
                return None
            self._count(dropped=self._figures.dropped + 1)
            return self._waiting.pop(min(mine, key=self._urgency_of))[0]

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
            since_s = [since_s for _, since_s in self._waiting.values()]
            oldest_s = time.monotonic() - min(since_s) if since_s else 0.0
            return replace(self._figures, waiting=len(since_s), oldest_s=oldest_s)

    def _count(self, **numbers: int) -> None:
        self._figures = replace(self._figures, **numbers)

    def _next(self) -> Look:
        camera = min(
            (name for name, *_ in self._waiting), key=lambda name: self._served.get(name, -1)
        )
        self._turn += 1
        self._served[camera] = self._turn
        key = max(self._of(camera), key=self._urgency_of)
        return self._waiting.pop(key)[0]

    def _of(self, camera: str) -> list[_Key]:
        return [key for key in self._waiting if key[0] == camera]

    def _urgency_of(self, key: _Key) -> tuple[bool, float, float, float]:
        look, since_s = self._waiting[key]
        return _urgency(look, time.monotonic() - since_s)


def _urgency(look: Look, waited_s: float) -> tuple[bool, float, float, float]:
    """What was never seen, or never so well (overdue: inf), comes first: it is to be told. Of that,
    and of the others, what has waited too long, the oldest of it; then the most overdue; then the
    newest track.
    """
    too_long_s = max(0.0, waited_s - LONG_WAIT_S)
    return look.overdue == math.inf, too_long_s, look.overdue, look.now_s
