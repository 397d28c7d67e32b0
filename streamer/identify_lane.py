"""The identify lane of a matcher process: a thread that takes looks from the waiting room.

It holds nothing of any camera: answers go back to the follow lane, which alone applies them. A slow
look here never holds up detection there; only before recordings that wait for answers the follow
lane lends a hand.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from pipeline.waiting_room import RoomFigures, WaitingRoom
from streamer.camera_load import LoadMeter
from streamer.reporting import Log, Tally

IDLE_S = 0.2
CLOSE_WITHIN_S = 0.5
STUCK_S = 5.0  # a look that takes longer stops the process's heart
MAX_FAILURES_IN_A_ROW = 20

log = Log("identify")

Done = tuple[Any, Any]  # a look and its answer, or None: it will have none


class Identifier(Protocol):
    """What the lane asks of a matcher."""

    @property
    def looks_at_once(self) -> int:
        """How many looks one call is best given."""
        ...

    @property
    def identifiers(self) -> int:
        """How many threads may call at once."""
        ...

    def identify(self, looks: Sequence[Any]) -> Sequence[Any]:
        """Return an answer a look; touches no camera's state."""
        ...


class IdentifyLane:
    """Identifies what waits, beside the follow lane.

    wake: called after each answer. loads: is told how long the lane worked for which cameras.
    """

    def __init__(self, matcher: Identifier, wake: Callable[[], None], loads: LoadMeter) -> None:
        self._matcher, self._wake, self._loads = matcher, wake, loads
        self._room = WaitingRoom()
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._working_on: dict[str, tuple[tuple[str, ...], float]] = {}  # cameras, since; by thread
        self._trouble = Tally(log, "looks failed")
        self._n_failures_in_a_row = 0
        self._is_stopping = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="identify", daemon=True)
        self._thread.start()

    def put(self, look: Any, n_places: int | None) -> None:
        """Let a look wait for its turn in one of its camera's places; None: it is a recording."""
        gone = self._room.put(look, n_places)
        if gone is not None:
            self._done.put((gone, None))

    def done(self) -> list[Done]:
        """Return the looks that were answered, or given up, since the last call.

        Raises what ended the lane: too many looks in a row failed.
        """
        if self._error is not None:
            raise self._error
        found = []
        while True:
            try:
                found.append(self._done.get_nowait())
            except queue.Empty:
                return found

    def waiting(self) -> frozenset[tuple[str, int]]:
        """Return camera and track number of each look that waits."""
        return self._room.tracks()

    def is_done_with(self, camera: str) -> bool:
        """Whether nothing of a camera waits, is worked on or is to be applied."""
        return (
            not self._room.n_waiting(camera)
            and not any(camera in cameras for cameras, _ in self._now().values())
            and self._done.empty()
        )

    def is_stuck(self) -> bool:
        """Whether one call has taken so long that the lane may never come back."""
        now_s = time.monotonic()
        return any(now_s - since_s > STUCK_S for _, since_s in self._now().values())

    def forget(self, camera: str) -> None:
        """Drop what waits of a camera that starts anew."""
        self._room.forget(camera)

    def figures(self) -> RoomFigures:
        """Return what became of the looks so far."""
        self._trouble.flush()
        return self._room.figures()

    def close(self) -> None:
        """End the lane; a look that is worked on ends with the process."""
        self._is_stopping = True
        self._room.close()
        self._thread.join(timeout=CLOSE_WITHIN_S)

    def help(self) -> bool:
        """Take a look off the lane's hands, in the thread that calls; whether there was one.

        For a follow lane that has nothing to do before there are answers.
        """
        return self._matcher.identifiers > 1 and self._take(0.0)

    def _now(self) -> dict[str, tuple[tuple[str, ...], float]]:
        return dict(self._working_on)  # a copy: threads come and go while it is looked through

    def _run(self) -> None:
        while not self._is_stopping:
            if self._take(IDLE_S):
                self._wake()

    def _take(self, within_s: float) -> bool:
        """Identify what is most urgent; False when nothing comes in time."""
        me = threading.current_thread().name
        looks = self._room.take(self._matcher.looks_at_once, within_s, partial(self._note, me))
        if not looks:
            return False
        try:
            with self._loads.working_on([look.camera for look in looks]):
                answers = self._matcher.identify(looks)
            for done in zip(looks, answers, strict=True):
                self._done.put(done)
            self._n_failures_in_a_row = 0
        except Exception as error:  # whatever one odd crop does, the others must go on
            self._fail(error, looks)
        del self._working_on[me]
        return True

    def _note(self, me: str, cameras: tuple[str, ...]) -> None:
        """Called while the looks still count as waiting: is_done_with must miss none."""
        self._working_on[me] = cameras, time.monotonic()

    def _fail(self, error: Exception, looks: Sequence[Any]) -> None:
        self._n_failures_in_a_row += 1
        self._trouble.add(type(error).__name__, len(looks))
        log.debug("looks failed", error=f"{type(error).__name__}: {error}")
        for look in looks:
            self._done.put((look, None))
        if self._n_failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            self._error = error
