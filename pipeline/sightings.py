"""The life of sightings in front of one camera: an item appears once, changes, leaves once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.boxes import area, bounds, intersection_matrix
from pipeline.options import DecideOptions
from pipeline.timing import FrameStamp
from pipeline.types import F32, Evidence, Match, Phase, Sighting, Track

BETTER_BY = 0.05  # a rise in probability that is worth an update
SAME_OBJECT_SHARE = 0.6  # of the smaller box (or outline) that two tracks of one item share if one
SAME_PLACE_SIDES = 1.5  # how far, in box sides, an item moves while its track is lost


@dataclass(frozen=True, slots=True)
class Identified:
    """A track of this frame and what it is taken for.

    is_doubtful: it may have been exchanged with another track; until a look tells, it keeps its
    sighting but tells nothing new.
    """

    track: Track
    match: Match
    evidence: Evidence | None = None
    is_doubtful: bool = False


@dataclass(slots=True)
class _Open:
    sighting_id: str
    now: Identified
    seen_s: float
    told_s: float
    told: Match


class Sightings:
    """Keeps one camera's open sightings."""

    def __init__(self, options: DecideOptions, catalog: str, generation: int) -> None:
        self._options = options
        self._catalog = catalog
        self._generation = generation
        self._leave_after_s = options.leave_after_s
        self._open: dict[int, _Open] = {}  # by track number
        self._stamp: FrameStamp | None = None  # of the last frame

    def step(
        self,
        stamp: FrameStamp,
        identified: Sequence[Identified],
        now_s: float,
        stage_ms: dict[str, float],
        slowness: float = 1.0,
    ) -> list[Sighting]:
        """Return what changed with this frame.

        identified: the tracks in this frame that are taken for an item, at most one a track.
        slowness: by how much further apart the camera's pictures are than usual (timing.py): an
        item that is not seen leaves so much later.
        """
        self._leave_after_s = self._options.leave_after_s * slowness
        self._stamp = stamp
        events: list[Sighting] = []
        for one in identified:
            events += self._take(one, identified, now_s, stage_ms)
        for known in list(self._open.values()):
            if now_s - known.seen_s > self._leave_after_s:
                events.append(self._left(known, "gone", stage_ms))
        return events

    def tell(
        self,
        stamp: FrameStamp,
        one: Identified,
        identified: Sequence[Identified],
        now_s: float,
        stage_ms: dict[str, float],
        is_gone: bool = False,
    ) -> list[Sighting]:
        """Return what an answer about an earlier frame changes: it is told with that frame's time.

        A sighting that is open already learns of it with the next frame. identified: what the
        tracks of the last frame are taken for. is_gone: the track has ended meanwhile, so that what
        appears leaves as well.
        """
        known = self._open.get(one.track.track_id)
        if known is not None and known.now.match.item_id == one.match.item_id:
            return []
        last, self._stamp = self._stamp, stamp
        try:
            events = self._take(one, [*identified, one], now_s, stage_ms)
            known = self._open.get(one.track.track_id)
            if is_gone and known is not None and known.now is one:
                events.append(self._left(known, "gone", stage_ms))
            return events
        finally:
            self._stamp = last or stamp

    def tick(self, now_ns: int) -> list[Sighting]:
        """Return `left` for all when a live camera gave no frame for leave_after_s.

        now_ns: time.monotonic_ns. A file's time stands still between its frames.
        """
        if self._stamp is None or self._stamp.clock == "file":
            return []
        silent_s = (now_ns - self._stamp.captured_ns) / 1e9
        return self.close("gone") if silent_s > self._leave_after_s else []

    def close(self, reason: str) -> list[Sighting]:
        """Return `left` for all open sightings."""
        return [self._left(known, reason, {}) for known in list(self._open.values())]

    def _take(
        self,
        one: Identified,
        identified: Sequence[Identified],
        now_s: float,
        stage_ms: dict[str, float],
    ) -> list[Sighting]:
        """Return what one track's identity changes, beside what the others are taken for."""
        events: list[Sighting] = []
        present = {each.track.track_id for each in identified}
        known = self._open.get(one.track.track_id) or self._adopt(one, present)
        if known is not None and known.now.match.item_id != one.match.item_id:
            events.append(self._left(known, "gone", stage_ms))
            known = None
        if known is None:
            if not one.is_doubtful and not self._is_shown_by_another(one, identified):
                events.append(self._appeared(one, now_s, stage_ms))
            return events
        known.seen_s = max(known.seen_s, now_s)
        if one.is_doubtful:
            return events
        known.now = one
        if self._is_news(known, now_s):
            known.told, known.told_s = one.match, now_s
            events.append(self._sighting(known, Phase.UPDATED, stage_ms))
        return events

    def _is_news(self, known: _Open, now_s: float) -> bool:
        told, match = known.told, known.now.match
        if match.tier.rank > told.tier.rank:
            return True
        if match.probability >= told.probability + BETTER_BY:
            return True
        every_s = self._options.update_every_s
        return every_s > 0 and now_s - known.told_s >= every_s

    def _adopt(self, one: Identified, present: set[int]) -> _Open | None:
        """Return the same item's sighting near by whose track was lost: its number changed."""
        for track_id, known in self._open.items():
            if track_id in present or known.now.match.item_id != one.match.item_id:
                continue
            if _distance_in_sides(known.now.match, one.match) <= SAME_PLACE_SIDES:
                self._open[one.track.track_id] = self._open.pop(track_id)
                return known
        return None

    def _is_shown_by_another(self, one: Identified, identified: Sequence[Identified]) -> bool:
        """Whether another track of this frame already stands for this very object."""
        for other in identified:
            is_other = other.track.track_id != one.track.track_id
            if is_other and other.track.track_id in self._open:
                same_item = other.match.item_id == one.match.item_id
                if same_item and _is_same_object(one.match, other.match):
                    return True
        return False

    def _appeared(self, one: Identified, now_s: float, stage_ms: dict[str, float]) -> Sighting:
        known = _Open(uuid.uuid4().hex, one, now_s, now_s, one.match)
        self._open[one.track.track_id] = known
        return self._sighting(known, Phase.APPEARED, stage_ms)

    def _left(self, known: _Open, reason: str, stage_ms: dict[str, float]) -> Sighting:
        self._open = {k: v for k, v in self._open.items() if v is not known}
        return replace(self._sighting(known, Phase.LEFT, stage_ms), reason=reason, evidence=None)

    def _sighting(self, known: _Open, phase: Phase, stage_ms: dict[str, float]) -> Sighting:
        stamp = self._stamp
        assert stamp is not None  # a sighting is opened by a frame
        return Sighting(
            sighting_id=known.sighting_id,
            phase=phase,
            camera=stamp.camera,
            track_id=known.now.track.track_id,
            match=known.now.match,
            frame_number=stamp.number,
            frame_size_wh=stamp.size_wh,
            captured_ns=stamp.captured_ns,
            wall_ns=stamp.wall_ns,
            clock=stamp.clock,
            catalog=self._catalog,
            catalog_generation=self._generation,
            stage_ms=stage_ms,
            evidence=known.now.evidence,
        )


def _is_same_object(one: Match, other: Match) -> bool:
    """Whether two matches of one item lie in the same place: their boxes, or, where each box holds
    but a part of the object, the item's outlines that were found by them.
    """
    if _shared(one.box_xyxy, other.box_xyxy) >= SAME_OBJECT_SHARE:
        return True
    if one.outline is None or other.outline is None:
        return False
    return _shared(bounds(one.outline), bounds(other.outline)) >= SAME_OBJECT_SHARE


def _shared(one_xyxy: F32, other_xyxy: F32) -> float:
    """Return the share of the smaller box that lies in the other."""
    a, b = one_xyxy[None], other_xyxy[None]
    smaller = min(float(area(a)[0]), float(area(b)[0]))
    return float(intersection_matrix(a, b)[0, 0]) / max(smaller, 1.0)


def _distance_in_sides(one: Match, other: Match) -> float:
    """Return how far the boxes' centres lie apart, in longer sides of the larger box."""
    a, b = one.box_xyxy, other.box_xyxy
    apart = np.hypot(*((a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2))
    side = max(float((a[2:] - a[:2]).max()), float((b[2:] - b[:2]).max()), 1.0)
    return float(apart) / side
