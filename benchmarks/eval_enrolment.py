"""From which angles is an item found that was enrolled by a clip, and what is each view worth?

    python -m benchmarks.eval_enrolment [--items 16] [--angles 12]

Made boxes of six prints turn once before a camera, 10 s each. Each is then shown from other angles,
before other things and by a poor camera, cut out as a detector would, and looked for by its vector
alone among all boxes and 200 packs: enrolled by its front's picture, by views of whole frames, and
by views cut to the item, at several distances from which on a view counts as new.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.eval_setup import OUT, Out, Threads, finish, options_of, percent, run_command, told
from catalog_tools import key_views
from catalog_tools.clips import ClipReader, describe_views, find_item, sharpest_pictures
from catalog_tools.demo.video_file import write_clip
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.synthesize.scenes import camera_effects, make_background
from catalog_tools.synthesize.turning import TurningBox, turning_clip
from pipeline.boxes import pad_and_clip
from pipeline.catalog import Recipe
from pipeline.detect import load_detector
from pipeline.embed import Embedder, load_embedder
from pipeline.types import F32, U8
from streamer.sources.clip_file import open_clip

FIRST_SEED = DEMO_SEED_START + 800_000  # of prints that neither training nor the demo draws
FRAME_WH = (640, 480)
CLIP_FPS = 15
N_PACKS = 200
DISTANCES = (0.1, 0.15, 0.2, 0.25, 0.3)
RECIPE = Recipe(embedder_sha256="", embedder="", extractor="", trim=True)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Pictures of an item that may become views. rows: (N, D) float32 unit vectors."""

    times_s: list[float]
    blur: list[float]
    rows: F32

    def views(self, min_distance: float) -> F32:
        """Return the rows that are chosen when views differ by that much at least."""
        choose = partial(key_views.choose_views, min_distance=min_distance)
        return self.rows[choose(self.rows, self.times_s, self.blur)]


def main(
    out: Out = OUT,
    items: Annotated[int, typer.Option(min=1, help="Boxes that turn.")] = 16,
    angles: Annotated[int, typer.Option(min=1, help="Of each, to look for.")] = 12,
    threads: Threads = 0,
) -> None:
    """Draw clips, choose views, look for the items from other angles, compare."""
    options = options_of(threads)
    embedder = load_embedder(options.engine, options.embed)
    reader = ClipReader(open_clip, load_detector(options.engine, options.detect).detect)
    boxes = [TurningBox.of_seed(FIRST_SEED + number) for number in range(items)]
    whole, cut = [], []
    with tempfile.TemporaryDirectory(prefix="magpie-eval-") as folder:
        for number, box in enumerate(told(boxes, "clips")):
            path = Path(folder) / f"{number}.mp4"
            fill = float(np.random.default_rng(number).uniform(0.45, 0.85))
            write_clip(path, turning_clip(box, number, fill=fill), FRAME_WH, CLIP_FPS)
            place, _ = find_item(open_clip(path), reader, lambda share: None)
            whole.append(read_pictures(path, None, embedder))
            cut.append(read_pictures(path, place, embedder))
    asked = [shot for n, box in enumerate(boxes) for shot in take_shots(box, n, angles)]
    score = partial(
        share_found,
        embedder.embed(asked),
        np.repeat(np.arange(items), angles),
        embedder.embed([render_pack(FIRST_SEED + 50_000 + n) for n in range(N_PACKS)]),
    )
    figures = {"front": score([embedder.embed([box.faces["front"]]) for box in boxes])}
    for name, enrolled in (("whole", whole), ("cut", cut)):
        for distance in DISTANCES:
            views = [item.views(distance) for item in enrolled]
            figures[f"{name} {distance:g}"] = score(views)
    rows = [
        (name, percent(found["top1"]), f"{found['views']:.1f} views an item")
        for name, found in figures.items()
    ]
    config = {"items": items, "angles": angles, "threads": threads}
    finish(out, "enrolment", config, figures, rows)


def read_pictures(path: Path, place_xyxy: F32 | None, embedder: Embedder) -> Enrolled:
    """Return the pictures of a clip that may become views, cut to that place."""
    clip = open_clip(path)
    moment_s = key_views.moment_s(clip.length_s)
    views = sharpest_pictures(clip, place_xyxy, moment_s, RECIPE.picture_side_px)
    views = [views[n] for n in key_views.leave_blurred_out([view.blur for view in views])]
    rows = describe_views(views, RECIPE, embedder.embed)
    return Enrolled([view.time_s for view in views], [view.blur for view in views], rows)


def take_shots(box: TurningBox, number: int, count: int) -> list[U8]:
    """Return the box from so many angles, each (h, w, 3) uint8 BGR, as a detector cuts it out."""
    rng = np.random.default_rng([number, 77])
    shots = []
    for _ in range(count):
        scene = make_background(rng, FRAME_WH)
        turn_deg = (rng.uniform(0, 360), rng.uniform(-25, 30), rng.normal(0, 8))
        center_xy = (FRAME_WH[0] / 2 + rng.normal(0, 25), FRAME_WH[1] / 2 + rng.normal(0, 20))
        place = box.draw(scene, turn_deg, center_xy, rng.uniform(150, 330))
        seen = camera_effects(scene, rng, 0.5)
        place = place + np.tile(place[2:] - place[:2], 2) * rng.normal(0, 0.05, 4)
        x0, y0, x1, y1 = pad_and_clip(place, 0.08, FRAME_WH)
        shots.append(seen[y0:y1, x0:x1])
    return shots


def share_found(asked: F32, truth: np.ndarray, others: F32, enrolled: Sequence[F32]) -> Any:
    """Return in which share the nearest vector is the item's own, and how many views it has."""
    owner = np.concatenate([np.full(len(rows), number) for number, rows in enumerate(enrolled)])
    owner = np.concatenate([owner, np.full(len(others), -1)])
    nearest = (asked @ np.concatenate([*enrolled, others]).T).argmax(axis=1)
    found = float((owner[nearest] == truth).mean())
    return {"top1": round(found, 4), "views": round(float(np.mean([*map(len, enrolled)])), 2)}


if __name__ == "__main__":
    run_command(main)
