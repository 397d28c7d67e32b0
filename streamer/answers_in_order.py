"""A recording tells the same on every machine: its answers come in at frames that are fixed."""

from collections import deque
from collections.abc import Sequence
from typing import Any

# Searched frames that go on while looks at one are answered: with 0 the lanes take turns, with more
# than 4 what is told differs from that (docs/decisions/016).
FRAMES_BEHIND = 4
_WAITS = object()


class AnswersInOrder:
    """The looks at one recording, oldest frame first, and the answers that are not due yet.

    Answers are due when `FRAMES_BEHIND` further frames were searched, in the order in which the
    looks were asked, however fast the identify lane is. A live camera's are applied at once.
    """

    def __init__(self) -> None:
        self._frames: deque[list[tuple[Any, Any]]] = deque()  # each look and its answer so far

    def ask(self, looks: Sequence[Any]) -> None:
        """A frame was searched, and these looks at it, if any, wait to be answered."""
        self._frames.append([(look, _WAITS) for look in looks])

    def note(self, look: Any, answer: Any) -> None:
        """A look has its answer; None: it will have none. One that was forgotten is passed over."""
        for frame in self._frames:
            for place, (asked, _) in enumerate(frame):
                if asked is look:
                    frame[place] = look, answer
                    return

    @property
    def is_waiting(self) -> bool:
        """Whether answers are due that have not come: the next frame must wait for them."""
        return len(self._frames) > FRAMES_BEHIND and not _is_answered(self._frames[0])

    def due(self, is_last: bool = False) -> list[tuple[Any, Any]]:
        """Return the looks and answers to take in before the next frame.

        is_last: no frame will come, and all looks have been answered.
        """
        found = []
        left_over = 0 if is_last else FRAMES_BEHIND
        while len(self._frames) > left_over and _is_answered(self._frames[0]):
            found += self._frames.popleft()
        return found

    def forget(self) -> None:
        """The recording starts anew: nothing of before is waited for."""
        self._frames.clear()


def _is_answered(frame: Sequence[tuple[Any, Any]]) -> bool:
    return all(answer is not _WAITS for _, answer in frame)
