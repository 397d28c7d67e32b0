"""The life of sightings in front of one camera: an item appears once, changes, leaves once."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.boxes import area, bounds, intersection_matrix
from pipeline.options import DecideOptions
from pipeline.timing import FrameStamp
from pipeline.types import F32, Evidence, Match, Phase, Sighting, Track

BETTER_BY = 0.05  # a rise in probability that is worth an update
SAME_OBJECT_SHARE = 0.6  # of the smaller box (or outline) that two tracks of one item share if one
LONGEST_HIDDEN = 2.0  # of leave_after_s: so long an item stays that may be behind another
HIDDEN_SHARE = 0.5  # of its last box that a track's box covers then
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
    now: Identified  # without doubt
    box_xyxy: F32  # where its track was last, in doubt as well
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
        self._shown_by: dict[int, int] = {}  # tracks that another one stood for, and which
        self._stamp: FrameStamp | None = None  # of the last frame

    def step(
        self,
        stamp: FrameStamp,
        identified: Sequence[Identified],
        now_s: float,
        stage_ms: dict[str, float],
        slowness: float = 1.0,
        tracks: Sequence[Track] = (),
        awaited: Collection[int] = (),
    ) -> list[Sighting]:
        """Return what changed with this frame.

        identified: the tracks in this frame that are taken for an item, at most one a track.
        slowness: by how much further apart the camera's pictures are than usual (timing.py): an
        item that is not seen leaves so much later. tracks: all in this frame, for what one of them
        may hide. awaited: numbers of those of which a look will tell more.
        """
        self._leave_after_s = self._options.leave_after_s * slowness
        self._stamp = stamp
        events: list[Sighting] = []
        present = {one.track.track_id for one in identified}
        self._shown_by = {k: v for k, v in self._shown_by.items() if k in present}
        self._exchange(identified, identified)
        for one in identified:
            events += self._take(one, identified, now_s, stage_ms)
        for known in list(self._open.values()):
            unseen = (now_s - known.seen_s) / self._leave_after_s
            if unseen > 1 and not (
                unseen <= LONGEST_HIDDEN and _may_be_there(known, tracks, awaited)
            ):
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
            self._exchange([one], identified)
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
        known = self._open.get(one.track.track_id)
        if known is not None and not _is_of(known, one):
            events.append(self._left(known, "gone", stage_ms))
            known = None
        known = known or self._adopt(one, present)
        if known is None:
            if not one.is_doubtful and not self._is_shown_by_another(one, identified):
                events.append(self._appeared(one, now_s, stage_ms))
            return events
        known.seen_s = max(known.seen_s, now_s)
        known.box_xyxy = one.match.box_xyxy
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
            if track_id not in present and _is_of(known, one) and _is_near(known, one):
                self._open[one.track.track_id] = self._open.pop(track_id)
                return known
        return None

    def _exchange(self, some: Sequence[Identified], identified: Sequence[Identified]) -> None:
        """Hand the sightings of tracks that are taken for another item now to those that show the
        item of before near by: the tracks were exchanged, and so are their sightings.
        """
        for one in some:
            known = self._open.get(one.track.track_id)
            if known is None or _is_of(known, one):
                continue
            for other in identified:
                theirs = self._open.get(other.track.track_id)
                is_free = theirs is None or not _is_of(theirs, other)
                if is_free and _is_of(known, other) and _is_near(known, other):
                    del self._open[one.track.track_id]
                    self._open[other.track.track_id] = known
                    if theirs is not None:
                        self._open[one.track.track_id] = theirs
                    break

    def _is_shown_by_another(self, one: Identified, identified: Sequence[Identified]) -> bool:
        """Whether another track of this frame already stands for this very object.

        Where it has stood for it and they part, which of them goes on with it is not known before
        a look at the other.
        """
        track_id = one.track.track_id
        for other in identified:
            other_id = other.track.track_id
            if other_id == track_id or other_id not in self._open:
                continue
            if other.match.item_id != one.match.item_id:
                continue
            if _is_same_object(one.match, other.match):
                self._shown_by[track_id] = other_id
                return True
            if other.is_doubtful and self._shown_by.get(track_id) == other_id:
                return True
        return False

    def _appeared(self, one: Identified, now_s: float, stage_ms: dict[str, float]) -> Sighting:
        known = _Open(uuid.uuid4().hex, one, one.match.box_xyxy, now_s, now_s, one.match)
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


def _is_of(known: _Open, one: Identified) -> bool:
    return known.now.match.item_id == one.match.item_id


def _is_near(known: _Open, one: Identified) -> bool:
    """Whether a sighting's last box is no further from a track than an item moves meanwhile."""
    return _distance_in_sides(known.box_xyxy, one.match.box_xyxy) <= SAME_PLACE_SIDES


def _may_be_there(known: _Open, tracks: Sequence[Track], awaited: Collection[int]) -> bool:
    """Whether an item that has no track may be in view all the same.

    It may be behind what a track shows, or in a box around two things; or it is what a track near
    by is about to be told for.
    """
    box = known.box_xyxy
    for track in tracks:
        if track.track_id in awaited and _distance_in_sides(box, track.xyxy) <= SAME_PLACE_SIDES:
            return True
        shared = float(intersection_matrix(box[None], track.xyxy[None])[0, 0])
        if shared >= HIDDEN_SHARE * float(area(box)):
            return True
    return False


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


def _distance_in_sides(a: F32, b: F32) -> float:
    """Return how far the centres of two boxes lie apart, in longer sides of the larger one."""
    apart = np.hypot(*((a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2))
    side = max(float((a[2:] - a[:2]).max()), float((b[2:] - b[:2]).max()), 1.0)
    return float(apart) / side
