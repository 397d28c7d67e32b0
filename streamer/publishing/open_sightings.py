"""Which sightings are open, so that each has one `appeared` and exactly one `left`.

Whatever workers send, in whatever order they die: only what passes here is numbered.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from streamer.publishing.events import MatchBody, MatchDraft, MatchEvent, Reason, body_json

_REMEMBERED = 20_000  # sightings that have left; nothing about them is heard any more


@dataclass(frozen=True, slots=True)
class Origin:
    """Which worker, in which of its lives, sees a sighting."""

    worker: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Step:
    """What may be published: a match, or the daemon's own `left` of one (draft None).

    body_json: the body as it stands on the wire, one JSON object.
    """

    body: MatchBody
    body_json: str
    draft: MatchDraft | None


@dataclass(frozen=True, slots=True)
class _Open:
    """An open sighting. It is kept as text: models are many objects each, and the garbage
    collector held the publisher up for 0.3 s among those of 50,000 sightings."""

    body_json: str
    camera: str
    worker: str | None  # None: taken over from the journal
    incarnation: int


class OpenSightings:
    """Lets through what keeps every sighting's life in order; counts the rest."""

    def __init__(self, left_open: Sequence[MatchEvent] = ()) -> None:
        """left_open: the last events of sightings that the journal still holds open."""
        self._open = {
            event.sighting_id: _Open(body_json(event), event.camera, None, 0) for event in left_open
        }
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._heard_life: dict[str, int] = {}  # worker -> its highest incarnation heard from
        self._dead_life: dict[str, int] = {}  # worker -> its highest incarnation known dead
        self.refused: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, draft: MatchDraft, origin: Origin) -> list[Step]:
        """Return what to publish for a message of a worker: nothing, it, or it and a `left`.

        An `appeared` that was under way when its worker died is published and left at once. An
        `updated` whose `appeared` was lost stands in for it.
        """
        heard = self._heard_life.get(origin.worker, -1)
        self._heard_life[origin.worker] = max(heard, origin.incarnation)
        sighting_id = draft.sighting_id
        if sighting_id in self._ended:
            self.refused["has_left"] += 1
            return []
        is_open = sighting_id in self._open
        if draft.type == "left":
            if not is_open:
                self.refused["never_appeared"] += 1
                return []
            self._end(sighting_id)
            return [Step(draft, body_json(draft), draft)]
        if draft.type == "appeared" and is_open:
            self.refused["appeared_twice"] += 1
            return []
        if draft.type == "updated" and not is_open:
            draft = draft.model_copy(update={"type": "appeared"})
        text = body_json(draft)
        self._open[sighting_id] = _Open(text, draft.camera, origin.worker, origin.incarnation)
        steps = [Step(draft, text, draft)]
        if origin.incarnation <= self._dead_life.get(origin.worker, -1):
            steps += self._leave([sighting_id], "matcher_restarted")
        return steps

    def close(
        self,
        reason: Reason,
        camera: str | None = None,
        worker: str | None = None,
        incarnation: int | None = None,
    ) -> list[Step]:
        """Return the missing `left` of every open sighting, or of one camera's, or of those that
        a dead worker saw in this life or before (None: the last life that was heard from)."""
        dead = None
        if worker is not None:
            life = self._heard_life.get(worker, -1) if incarnation is None else incarnation
            self._dead_life[worker] = max(self._dead_life.get(worker, -1), life)
            dead = Origin(worker, life)
        doomed = [
            sighting_id
            for sighting_id, seen in self._open.items()
            if camera in (None, seen.camera) and (dead is None or _is_from(seen, dead))
        ]
        return self._leave(doomed, reason)

    def _leave(self, sighting_ids: Sequence[str], reason: Reason) -> list[Step]:
        steps = []
        for sighting_id in sighting_ids:
            body = MatchBody.model_validate_json(self._open[sighting_id].body_json)
            self._end(sighting_id)
            left = body.model_copy(update={"type": "left", "reason": reason})
            steps.append(Step(left, body_json(left), None))
        return steps

    def _end(self, sighting_id: str) -> None:
        del self._open[sighting_id]
        self._ended[sighting_id] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


def _is_from(seen: _Open, dead: Origin) -> bool:
    """Whether a sighting was seen by the dead worker, in its last life or one before."""
    return seen.worker == dead.worker and seen.incarnation <= dead.incarnation
