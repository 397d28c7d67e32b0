"""What is truly in the demo clip: who is where in each frame, and which sightings that makes.

An item is *clearly visible* in a frame when it covers at least 2 % of the picture and at least 60 %
of its face is in the picture and not hidden. Its *appearance* is the first such frame of a visit; a
visit goes on while any of it is seen, with gaps of up to a second; one with less than a second of
clear view promises nothing.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

MIN_AREA_SHARE = 0.02
MIN_VISIBLE_SHARE = 0.60
MAX_GAP_S = 1.0
MIN_CLEAR_S = 1.0

_QUAD_FIELDS = ("x0", "y0", "x1", "y1", "x2", "y2", "x3", "y3")
_CSV_FIELDS = ("frame", "name", *_QUAD_FIELDS, "area_share", "visible_share")


@dataclass(frozen=True, slots=True)
class Shown:
    """One pack in one frame.

    quad: (4, 2) float32 px, clockwise from the print's top left; may reach out of the picture.
    area_share: what is seen of it as a share of the picture; visible_share: of its own face.
    """

    frame: int
    name: str
    quad: np.ndarray
    area_share: float
    visible_share: float

    @property
    def is_clear(self) -> bool:
        return self.area_share >= MIN_AREA_SHARE and self.visible_share >= MIN_VISIBLE_SHARE

    @property
    def xyxy(self) -> np.ndarray:
        """The quad's bounding box, (4,) px."""
        return np.concatenate([self.quad.min(0), self.quad.max(0)])


@dataclass(frozen=True, slots=True)
class TruePack:
    """A pack of the clip; `item_id` is None when the catalog doesn't have it."""

    name: str
    label: str
    item_id: str | None
    twin_of: str | None = None


@dataclass(frozen=True, slots=True)
class TrueSighting:
    """One visit of a pack: its first and last frame, and the first in which it is clear."""

    name: str
    item_id: str | None
    first_frame: int
    last_frame: int
    appearance_frame: int


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything that is true about a clip."""

    fps: int
    frame_size_wh: tuple[int, int]
    n_frames: int
    packs: tuple[TruePack, ...]
    shown: tuple[Shown, ...]
    sightings: tuple[TrueSighting, ...]

    def by_frame(self) -> list[list[Shown]]:
        """Give the packs of each frame, back to front."""
        frames: list[list[Shown]] = [[] for _ in range(self.n_frames)]
        for shown in self.shown:
            frames[shown.frame].append(shown)
        return frames

    def item_ids(self) -> dict[str, str | None]:
        """Give each pack's item id by its name."""
        return {pack.name: pack.item_id for pack in self.packs}


def find_sightings(shown: list[Shown], packs: list[TruePack], fps: int) -> list[TrueSighting]:
    """Give the visits that a daemon should see, ordered by appearance."""
    item_by_name = {pack.name: pack.item_id for pack in packs}
    by_name: dict[str, list[Shown]] = {}
    for row in sorted(shown, key=lambda row: row.frame):
        if row.visible_share > 0:
            by_name.setdefault(row.name, []).append(row)
    sightings = []
    for name, rows in by_name.items():
        visit = [rows[0]]
        for row in [*rows[1:], None]:
            if row is not None and row.frame - visit[-1].frame <= MAX_GAP_S * fps:
                visit.append(row)
                continue
            clear = [seen.frame for seen in visit if seen.is_clear]
            if len(clear) >= MIN_CLEAR_S * fps:
                sightings.append(
                    TrueSighting(
                        name, item_by_name[name], visit[0].frame, visit[-1].frame, clear[0]
                    )
                )
            if row is not None:
                visit = [row]
    return sorted(sightings, key=lambda sighting: (sighting.appearance_frame, sighting.name))


def write_truth(directory: Path, truth: Truth) -> None:
    """Write truth.json (packs, sightings) and truth.csv (a line for each pack in each frame)."""
    with (directory / "truth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_CSV_FIELDS)
        for row in truth.shown:
            corners = [f"{value:.2f}" for value in row.quad.ravel()]
            shares = (f"{row.area_share:.5f}", f"{row.visible_share:.4f}")
            writer.writerow([row.frame, row.name, *corners, *shares])
    document = {
        "fps": truth.fps,
        "frame_size_wh": truth.frame_size_wh,
        "n_frames": truth.n_frames,
        "clearly_visible": {
            "min_area_share": MIN_AREA_SHARE,
            "min_visible_share": MIN_VISIBLE_SHARE,
        },
        "packs": [asdict(pack) for pack in truth.packs],
        "sightings": [asdict(sighting) for sighting in truth.sightings],
    }
    (directory / "truth.json").write_text(json.dumps(document, indent=1) + "\n")


def read_truth(directory: Path) -> Truth:
    """Read what `write_truth` wrote."""
    document = json.loads((directory / "truth.json").read_text())
    shown = []
    with (directory / "truth.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            quad = np.array([float(row[field]) for field in _QUAD_FIELDS], np.float32).reshape(4, 2)
            shares = float(row["area_share"]), float(row["visible_share"])
            shown.append(Shown(int(row["frame"]), row["name"], quad, *shares))
    width, height = document["frame_size_wh"]
    return Truth(
        fps=document["fps"],
        frame_size_wh=(width, height),
        n_frames=document["n_frames"],
        packs=tuple(TruePack(**pack) for pack in document["packs"]),
        shown=tuple(shown),
        sightings=tuple(TrueSighting(**sighting) for sighting in document["sightings"]),
    )
