"""Which pictures a decoder leaves out that was told to (`skip_frame`), counted one by one."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

LONGEST_REORDER = 32  # a decoder gives a picture out at most so many packets late; H.264 has 16


class _Sent(NamedTuple):
    token: object
    pts: int | None


class LeftOutPictures:
    """Holds the packets that were sent against the pictures that came out.

    A decoder says nothing of what it leaves out. But it gives pictures out in the order of their
    times: what was sent before, has an earlier time and has not come out never will.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Sent] = deque()  # in the decoder's order

    def sent(self, token: object, pts: int | None) -> int:
        """A packet goes to the decoder; return how many were left out that is certain now.

        token: comes out with its picture, the same object.
        """
        self._waiting.append(_Sent(token, pts))
        n_late = max(0, len(self._waiting) - LONGEST_REORDER)
        for _ in range(n_late):
            self._waiting.popleft()
        return n_late

    def came_out(self, token: object) -> int:
        """Its picture came out; return how many before it were left out."""
        at = next((n for n, sent in enumerate(self._waiting) if sent.token is token), None)
        if at is None:
            return 0
        found = self._waiting[at]
        kept = [
            sent
            for n, sent in enumerate(self._waiting)
            if n != at and not _is_before(sent, found, is_sent_before=n < at)
        ]
        n_left_out = len(self._waiting) - 1 - len(kept)
        self._waiting = deque(kept)
        return n_left_out

    def failed(self, token: object) -> None:
        """The packet could not be decoded: it is counted as damaged."""
        self._waiting = deque(sent for sent in self._waiting if sent.token is not token)

    def rest(self) -> int:
        """The decoder has given out all it had; return how many were left out that waited."""
        n_left_out = len(self._waiting)
        self._waiting.clear()
        return n_left_out


def _is_before(one: _Sent, other: _Sent, is_sent_before: bool) -> bool:
    """Whether a picture would have come out before another; without times, in the order sent."""
    if one.pts is None or other.pts is None:
        return is_sent_before
    return is_sent_before and one.pts < other.pts
