"""How long until an item that comes into view is told as `exact`, among many enrolled ones?

    python -m benchmarks.eval_synthetic [--items N] [--every-frame]

The demo's generator renders a clip in which each of the enrolled packs comes once (moving, turning,
partly hidden), and packs that are not enrolled. The frames reach the matcher as from a live camera:
while it works on one, others pass by. An item's time starts when it covers 2 % of the frame, and
ends when the frame that made it `exact` is done.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.eval_setup import (
    CLIP_CAMERA,
    OUT,
    Limit,
    Out,
    Threads,
    built_catalog,
    finish,
    options_of,
    percent,
    run_command,
    share,
    take,
    told,
)
from catalog_tools.demo.check import check_events
from catalog_tools.demo.clip import render_frame
from catalog_tools.demo.script import (
    CELLS_XY,
    FPS,
    FRAME_SIZE_WH,
    Actor,
    Visit,
    crossing_visit,
    resting_visit,
)
from catalog_tools.demo.truth import (
    MIN_AREA_SHARE,
    Shown,
    TruePack,
    TrueSighting,
    Truth,
    find_sightings,
)
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from pipeline.color import frame_from_bgr
from pipeline.types import Frame, Sighting

FIRST_SEED = DEMO_SEED_START + 700_000  # of packs that neither training nor the demo draws
STAY_S = 4.0
STEP_S = 0.6  # an item comes; eight places, so each is free again when its turn comes
PICTURE_SIDE_PX = 400
MAX_VISITS = 250  # what the renderer can tell apart

Event = dict[str, Any]


def main(
    out: Out = OUT,
    items: Annotated[int, typer.Option(min=2, max=100_000, help="Enrolled.")] = 100,
    strangers: Annotated[int, typer.Option(min=0, help="Shown, not enrolled.")] = 15,
    limit: Limit = None,
    every_frame: Annotated[bool, typer.Option(help="None passes by.")] = False,
    seed: int = 0,
    threads: Threads = 0,
) -> None:
    """Enrol, render, watch, compare; limit: of the enrolled items, how many come into view."""
    actors = cast_actors(items, strangers)
    coming = take([a for a in actors if a.in_catalog], limit=min(limit or items, MAX_VISITS))
    coming = mix(coming, [a for a in actors if not a.in_catalog], seed)[:MAX_VISITS]
    visits = write_visits(coming, seed)
    with tempfile.TemporaryDirectory(prefix="magpie-eval-") as name:
        images = Path(name)
        for actor in actors:
            if actor.in_catalog:
                picture = render_pack(actor.seed, actor.size_wh(PICTURE_SIDE_PX))
                cv2.imwrite(str(images / f"{actor.name}.png"), picture)
        with built_catalog(images, options_of(threads)) as built:
            events, truth = watch_visits(built.matcher, visits, coming, every_frame)
    figures = {"n_enrolled": items, **score_events(events, truth)}
    config = {
        "items": items, "strangers": strangers, "limit": limit, "every_frame": every_frame,
        "seed": seed, "threads": threads,
    }  # fmt: skip
    finish(out, "synthetic", config, figures, table_rows(figures))


def cast_actors(n_items: int, n_strangers: int) -> list[Actor]:
    """Return the packs: the enrolled ones, then those that are not."""
    return [
        Actor(f"pack-{i:05d}", f"pack {i}", FIRST_SEED + i, 0, in_catalog=i < n_items)
        for i in range(n_items + n_strangers)
    ]


def mix(known: Sequence[Actor], strangers: Sequence[Actor], seed: int) -> list[Actor]:
    """Return all in a random order."""
    everyone = [*known, *strangers]
    return [everyone[i] for i in np.random.default_rng([seed, 1]).permutation(len(everyone))]


def write_visits(actors: Sequence[Actor], seed: int) -> tuple[Visit, ...]:
    """Return a visit of each, one after the other, several at a time; every fifth crosses."""
    rng = np.random.default_rng([seed, 2])
    visits = []
    for number, actor in enumerate(actors):
        begin_s = 0.2 + number * STEP_S
        if number % 5 == 4:
            visits.append(crossing_visit(actor, begin_s, STAY_S, rng))
            continue
        home_xy = CELLS_XY[number % len(CELLS_XY)]
        visits.append(resting_visit(actor, begin_s, STAY_S, home_xy, number, rng))
    return tuple(visits)


@dataclass(slots=True)
class _Live:
    """A camera whose frames pass by while the matcher works. free_s: when it can take the next."""

    is_live: bool
    free_s: float = 0.0
    events: list[Event] = field(default_factory=list)

    def see(self, matcher: Any, frame: Frame) -> None:
        due_s = frame.media_ns / 1e9
        if self.is_live and due_s < self.free_s:
            return
        start_s = time.perf_counter()
        sightings = matcher.match([frame])
        spent_s = time.perf_counter() - start_s
        self.free_s = due_s + spent_s
        self.events += [to_event(sighting, frame.number, spent_s) for sighting in sightings]


def watch_visits(
    matcher: Any, visits: tuple[Visit, ...], actors: Sequence[Actor], every_frame: bool
) -> tuple[list[Event], Truth]:
    """Render all frames, let the matcher see them; return what it told and what is true."""
    n_frames = round((max(visit.end_s for visit in visits) + 0.2) * FPS)
    camera = _Live(is_live=not every_frame)
    shown: list[Shown] = []
    for number in told(range(n_frames), "frames"):
        image_bgr, rows = render_frame(number, visits)
        shown += rows
        camera.see(matcher, to_frame(image_bgr, number))
    packs = tuple(
        TruePack(actor.name, actor.label, actor.name if actor.in_catalog else None)
        for actor in actors
    )
    sightings = tuple(find_sightings(shown, list(packs), FPS))
    return camera.events, Truth(FPS, FRAME_SIZE_WH, n_frames, packs, tuple(shown), sightings)


def to_frame(image_bgr: np.ndarray, number: int) -> Frame:
    """Return a rendered picture as the frame that the matcher gets, with the clip's own time."""
    time_ns = int(number * 1e9 / FPS)
    frame = frame_from_bgr(image_bgr, CLIP_CAMERA, number)
    return replace(frame, captured_ns=time_ns, wall_ns=time_ns, media_ns=time_ns)


def to_event(sighting: Sighting, frame_number: int, spent_s: float) -> Event:
    """Return what the check of events reads of a sighting; latency: of this frame alone."""
    match = sighting.match
    return {
        "type": str(sighting.phase),
        "sighting_id": sighting.sighting_id,
        "item_id": match.item_id,
        "tier": str(match.tier),
        "probability": match.probability,
        "box_xyxy": [float(n) for n in match.box_xyxy],
        "frame_number": frame_number,
        "latency_ms": 1e3 * spent_s,
    }


def score_events(events: Sequence[Event], truth: Truth) -> dict[str, Any]:
    """Return the times to `exact` and to the first event at any tier, and what was wrong.

    A visit whose item never came so far counts as endless in the percentiles.
    """
    check = check_events(events, truth)
    right = [event for event in events if event["type"] != "left"]
    times: dict[str, list[float]] = {"exact": [], "any_tier": []}
    for sighting in truth.sightings:
        if sighting.item_id is None:
            continue
        own = [
            event
            for event in right
            if event["item_id"] == sighting.item_id
            and sighting.first_frame <= event["frame_number"] <= sighting.last_frame
        ]
        start = _first_covered(truth, sighting)
        times["any_tier"].append(_first_s(own, start, truth.fps))
        exact = [event for event in own if event["tier"] == "exact"]
        times["exact"].append(_first_s(exact, start, truth.fps))
    return {
        "n_visits": len(times["exact"]),
        "seconds_to": {name: _percentiles(values) for name, values in times.items()},
        "share_exact": share(sum(map(np.isfinite, times["exact"])), len(times["exact"])),
        "precision_of_sightings": round(check.precision, 4),
        "precision_of_events": round(check.precision_of_events, 4),
        "recall": round(check.recall, 4),
        "events_of_strangers": check.n_events_of_strangers,
        "faults": list(check.faults[:20]),
    }


def _first_covered(truth: Truth, sighting: TrueSighting) -> int:
    """The first frame of a visit in which the item covers enough of the picture."""
    return min(
        row.frame
        for row in truth.shown
        if row.name == sighting.name
        and row.area_share >= MIN_AREA_SHARE
        and sighting.first_frame <= row.frame <= sighting.last_frame
    )


def _first_s(events: Sequence[Event], start_frame: int, fps: int) -> float:
    if not events:
        return float("inf")
    late_frames = max(0, events[0]["frame_number"] - start_frame)
    return late_frames / fps + events[0]["latency_ms"] / 1e3


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50 and p90, the nearest rank above; None where that visit's item never came so far."""
    found: dict[str, float | None] = {}
    for name, part in (("p50", 0.5), ("p90", 0.9)):
        rank = max(0, int(np.ceil(part * len(values))) - 1)
        value = sorted(values)[rank] if values else float("inf")
        found[name] = round(value, 3) if np.isfinite(value) else None
    return found


def table_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    of = f"{figures['n_visits']} visits, {figures['n_enrolled']} items enrolled"
    rows = []
    for name, found in figures["seconds_to"].items():
        p50, p90 = (f"{v:.2f} s" if v is not None else "never" for v in found.values())
        rows.append((f"time to {name.replace('_', ' ')}: p50, p90", f"{p50}, {p90}", of))
    return [
        *rows,
        ("ever exact", percent(figures["share_exact"]), of),
        ("recall, any tier", percent(figures["recall"]), of),
        ("precision of sightings", percent(figures["precision_of_sightings"]), ""),
        ("events of strangers", str(figures["events_of_strangers"]), ""),
    ]


if __name__ == "__main__":
    run_command(main)
