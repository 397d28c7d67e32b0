"""Holds the events of a run against the truth of its clip.

An event is *right* when its item is truly there in its frame: the event's box and the part of the
item's own box that is in the picture overlap by at least 30 % (intersection over union). Precision
of events is the share of `appeared` and `updated` that are right; precision of sightings the share
of `appeared` that are. Recall is the share of true sightings of catalog items that got a right
event. The time to the first event runs from the appearance (see demo_truth.py) to the send.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from catalog_tools.demo.truth import Shown, TrueSighting, Truth
from pipeline.boxes import iou_matrix

MIN_OVERLAP = 0.30
MIN_PRECISION = 0.95
MIN_RECALL = 0.80
MAX_MEDIAN_FIRST_EVENT_S = 1.0

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the comparison found; the texts name each single fault."""

    n_events: int
    n_right_events: int
    n_sightings: int
    n_right_sightings: int
    n_true_sightings: int
    n_found: int
    n_events_of_strangers: int
    n_repeated: int
    first_event_s: tuple[float, ...]
    faults: tuple[str, ...]

    @property
    def precision(self) -> float:
        """Of sightings."""
        return self.n_right_sightings / self.n_sightings if self.n_sightings else 0.0

    @property
    def precision_of_events(self) -> float:
        return self.n_right_events / self.n_events if self.n_events else 0.0

    @property
    def recall(self) -> float:
        return self.n_found / self.n_true_sightings if self.n_true_sightings else 0.0

    @property
    def median_first_event_s(self) -> float | None:
        return statistics.median(self.first_event_s) if self.first_event_s else None

    @property
    def is_met(self) -> bool:
        """Whether every target holds."""
        return all(held for _, _, _, held in self.targets())

    def targets(self) -> list[tuple[str, str, str, bool]]:
        """Give each target as (what, found, wanted, held)."""
        median = self.median_first_event_s
        shown = "none" if median is None else f"{median:.2f} s"
        quick = median is not None and median <= MAX_MEDIAN_FIRST_EVENT_S
        return [
            ("precision of sightings", f"{self.precision:.3f}", f"≥ {MIN_PRECISION}",
             self.precision >= MIN_PRECISION),
            ("precision of events", f"{self.precision_of_events:.3f}", f"≥ {MIN_PRECISION}",
             self.precision_of_events >= MIN_PRECISION),
            ("recall of sightings", f"{self.recall:.3f}", f"≥ {MIN_RECALL}",
             self.recall >= MIN_RECALL),
            ("events of items not in the catalog", str(self.n_events_of_strangers), "0",
             self.n_events_of_strangers == 0),
            ("median time to the first event", shown, f"≤ {MAX_MEDIAN_FIRST_EVENT_S:g} s", quick),
        ]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        derived = {
            "precision": round(self.precision, 4),
            "precision_of_events": round(self.precision_of_events, 4),
            "recall": round(self.recall, 4),
            "median_first_event_s": self.median_first_event_s,
            "is_met": self.is_met,
        }
        return {**derived, **asdict(self)}


def check_events(events: Sequence[Event], truth: Truth) -> CheckReport:
    """Compare a run's match events (as on the wire, in order) with what was truly shown."""
    frames = truth.by_frame()
    item_by_name = truth.item_ids()
    seen = [event for event in events if event["type"] in ("appeared", "updated")]
    faults: list[str] = []
    n_of_strangers = 0
    n_wrong_appeared = 0
    right: list[Event] = []
    for event in seen:
        in_frame = frames[event["frame_number"]] if event["frame_number"] < len(frames) else []
        if _is_right(event, in_frame, item_by_name, truth.frame_size_wh):
            right.append(event)
            continue
        n_wrong_appeared += event["type"] == "appeared"
        there = _pack_at(event, in_frame, truth.frame_size_wh)
        is_stranger = there is not None and item_by_name[there] is None
        n_of_strangers += is_stranger
        faults.append(
            f"frame {event['frame_number']}: {event['type']} {event['item_id']} ({event['tier']}, "
            f"{event['probability']:.2f}) where {there or 'nothing'} is"
        )
    found, first_s, n_repeated = _match_sightings(truth, right, faults)
    faults += _life_faults(events)
    n_appeared = sum(event["type"] == "appeared" for event in seen)
    known = [sighting for sighting in truth.sightings if sighting.item_id is not None]
    return CheckReport(
        n_events=len(seen),
        n_right_events=len(right),
        n_sightings=n_appeared,
        n_right_sightings=n_appeared - n_wrong_appeared,
        n_true_sightings=len(known),
        n_found=found,
        n_events_of_strangers=n_of_strangers,
        n_repeated=n_repeated,
        first_event_s=tuple(first_s),
        faults=tuple(faults),
    )


def _clipped_box(shown: Shown, size_wh: tuple[int, int]) -> np.ndarray:
    limits = np.array([*size_wh, *size_wh], np.float32)
    return np.clip(shown.xyxy, 0, limits).astype(np.float32)


def _overlaps_of(event: Event, in_frame: list[Shown], size_wh: tuple[int, int]) -> np.ndarray:
    """Give the intersection over union of the event's box with each pack's, (N,)."""
    if not in_frame:
        return np.zeros(0, np.float32)
    boxes = np.stack([_clipped_box(shown, size_wh) for shown in in_frame])
    return iou_matrix(np.array([event["box_xyxy"]], np.float32), boxes)[0]


def _is_right(
    event: Event,
    in_frame: list[Shown],
    item_by_name: Mapping[str, str | None],
    size_wh: tuple[int, int],
) -> bool:
    shares = _overlaps_of(event, in_frame, size_wh)
    return any(
        item_by_name[shown.name] == event["item_id"] and share >= MIN_OVERLAP
        for shown, share in zip(in_frame, shares, strict=True)
    )


def _pack_at(event: Event, in_frame: list[Shown], size_wh: tuple[int, int]) -> str | None:
    shares = _overlaps_of(event, in_frame, size_wh)
    if not len(shares) or shares.max() <= 0:
        return None
    return in_frame[int(shares.argmax())].name


def _match_sightings(
    truth: Truth, right: list[Event], faults: list[str]
) -> tuple[int, list[float], int]:
    """Give how many true sightings were found, the times to their first events, and how many
    were published beyond one each.
    """
    found, first_s, n_repeated = 0, [], 0
    for sighting in truth.sightings:
        if sighting.item_id is None:
            continue
        own = [event for event in right if _is_during(event, sighting)]
        if not own:
            faults.append(
                f"frames {sighting.appearance_frame}-{sighting.last_frame}: {sighting.item_id} "
                "was never announced"
            )
            continue
        found += 1
        n_repeated += len({event["sighting_id"] for event in own}) - 1
        frames_late = max(0, own[0]["frame_number"] - sighting.appearance_frame)
        first_s.append(round(frames_late / truth.fps + own[0]["latency_ms"] / 1000, 3))
    return found, first_s, n_repeated


def _is_during(event: Event, sighting: TrueSighting) -> bool:
    is_then = sighting.first_frame <= event["frame_number"] <= sighting.last_frame
    return bool(is_then and event["item_id"] == sighting.item_id)


def _life_faults(events: Sequence[Event]) -> list[str]:
    """Name the sightings that did not have one `appeared`, then one `left`."""
    lives: dict[str, list[str]] = {}
    for event in events:
        lives.setdefault(event["sighting_id"], []).append(event["type"])
    return [
        f"sighting {sighting_id}: {' '.join(life)}"
        for sighting_id, life in lives.items()
        if life[0] != "appeared" or life[-1] != "left" or len(set(life[1:-1]) - {"updated"}) > 0
    ]
