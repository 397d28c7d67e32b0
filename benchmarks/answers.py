"""What a loop or the daemon told of a clip, and whether two tell the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SAME_S = 0.5
LEAVE_AFTER_S = 1.0


@dataclass(frozen=True, slots=True, order=True)
class Answer:
    """An item that appeared before a camera, at a time of the clip."""

    camera: str
    item_id: str
    appeared_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many answers two have in common, and which only one of them has."""

    same: int
    only_first: tuple[Answer, ...]
    only_second: tuple[Answer, ...]

    @property
    def share(self) -> float:
        """Of all that either told, what both did; 1 where neither told anything."""
        n_all = self.same + len(self.only_first) + len(self.only_second)
        return self.same / n_all if n_all else 1.0


def compare_answers(
    first: Iterable[Answer], second: Iterable[Answer], within_s: float = SAME_S
) -> Comparison:
    """Pair answers of one camera and item whose times are near; each is paired once at most."""
    left = sorted(second)
    only_first = []
    n_same = 0
    for answer in sorted(first):
        near = [
            other
            for other in left
            if (other.camera, other.item_id) == (answer.camera, answer.item_id)
            and abs(other.appeared_s - answer.appeared_s) <= within_s
        ]
        if near:
            left.remove(min(near, key=lambda other: abs(other.appeared_s - answer.appeared_s)))
            n_same += 1
        else:
            only_first.append(answer)
    return Comparison(n_same, tuple(only_first), tuple(left))


@dataclass(slots=True)
class Appearances:
    """Turns what is seen in each frame into appearances: an item unseen for a while has left."""

    camera: str
    answers: list[Answer] = field(default_factory=list)
    _seen_s: dict[str, float] = field(default_factory=dict)

    def see(self, item_ids: Iterable[str], now_s: float) -> None:
        """Note what is in view at a time of the clip."""
        for item_id in set(item_ids):
            last_s = self._seen_s.get(item_id)
            if last_s is None or now_s - last_s > LEAVE_AFTER_S:
                self.answers.append(Answer(self.camera, item_id, now_s))
            self._seen_s[item_id] = now_s


def answers_of_events(events: Sequence[Mapping[str, Any]], fps: float) -> list[Answer]:
    """Return what the daemon told: an answer an `appeared`, at its frame's time."""
    return [
        Answer(e["camera"], e["item_id"], e["frame_number"] / fps)
        for e in events
        if e["type"] == "appeared"
    ]
