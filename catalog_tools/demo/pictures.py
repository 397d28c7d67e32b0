"""The demo's pictures: the clip with its matches drawn in, and one sheet of all the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog_tools.demo.truth import Truth
from catalog_tools.demo.video_file import read_clip, write_clip
from pipeline.draw import contact_sheet, draw_match
from pipeline.picture_file import read_picture_bgr, write_picture
from pipeline.types import Tier

Event = dict[str, Any]


def write_annotated_clip(
    clip: Path,
    matches: Sequence[Event],
    truth: Truth,
    path: Path,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write the clip with each match's outline, label and tier, from its own events alone.

    Between two events of a sighting the outline is interpolated. An unknown pack stays unmarked.
    """
    lives = _lives(matches)

    def frames() -> Iterator[np.ndarray]:
        for number, image in enumerate(read_clip(clip)):
            for life in lives:
                _draw_life(image, life, number)
            if progress is not None:
                progress((number + 1) / truth.n_frames)
            yield image

    write_clip(path, frames(), truth.frame_size_wh, truth.fps)


def _lives(matches: Sequence[Event]) -> list[list[Event]]:
    """Give each sighting's `appeared` and `updated`, in order."""
    by_id: dict[str, list[Event]] = {}
    for event in matches:
        if event["type"] != "left":
            by_id.setdefault(event["sighting_id"], []).append(event)
    return list(by_id.values())


def _draw_life(image: np.ndarray, life: list[Event], number: int) -> None:
    """Draw one sighting into a frame, if it lasts there."""
    if not life[0]["frame_number"] <= number <= life[-1]["frame_number"]:
        return
    before = max(i for i, event in enumerate(life) if event["frame_number"] <= number)
    event, after = life[before], life[min(before + 1, len(life) - 1)]
    span = after["frame_number"] - event["frame_number"]
    share = (number - event["frame_number"]) / span if span else 0.0
    text = f"{event['label'] or event['item_id']}  {event['tier']} {event['probability']:.2f}"
    box = _between(event["box_xyxy"], after["box_xyxy"], share)
    outline = None
    if event["outline"] is not None and after["outline"] is not None:
        outline = _between(event["outline"], after["outline"], share)
    draw_match(image, box, outline, Tier(event["tier"]), text)


def _between(first: Any, second: Any, share: float) -> np.ndarray:
    start, end = np.array(first, np.float32), np.array(second, np.float32)
    return np.asarray(start + (end - start) * np.float32(share), np.float32)


def write_evidence_sheet(evidence: Path, path: Path) -> int:
    """Write one sheet of the daemon's evidence pictures; give how many there are.

    A sighting whose tier changed has several: the last one is shown.
    """
    last: dict[str, Path] = {}
    for picture in sorted(evidence.glob("*.png")):
        sighting = picture.stem.rpartition("-")[0].rpartition("-")[2]
        last[sighting] = picture
    pictures = [read_picture_bgr(picture) for picture in last.values()]
    write_picture(path, contact_sheet([p for p in pictures if p is not None]), "--out")
    return len(pictures)
