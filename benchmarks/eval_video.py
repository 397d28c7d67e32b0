"""Does the matcher find what a clip shows, soon, and nothing else?

    python -m benchmarks.eval_video [--data FOLDER]

FOLDER holds catalog/<item>.png, clips and truth.csv (video,item_id,first_frame,last_frame; `none`:
nothing of the catalog is in it). Every frame is processed, with the file's own times.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.eval_setup import (
    CLIP_CAMERA,
    OUT,
    Data,
    Every,
    Out,
    Threads,
    built_catalog,
    find_data,
    finish,
    options_of,
    run_command,
)
from catalog_tools.csv_file import read_csv
from catalog_tools.evaluation.evaluate import NOTHING
from pipeline.catalog import Catalog
from pipeline.errors import ConfigError
from pipeline.types import Frame, Phase, Sighting, Tier

COLUMNS = ("video", "item_id", "first_frame", "last_frame")
FALLBACK_FPS = 25.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip and what is in it. items: first and last frame by item id; empty: nothing known."""

    video: str
    items: dict[str, tuple[int, int]]


@dataclass(slots=True)
class Watched:
    """What was published of a clip. events: (frame number, sighting); numbers: frames processed."""

    events: list[tuple[int, Sighting]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    last_media_ns: int = 0
    spent_s: float = 0.0


def main(
    data: Data = None,
    out: Out = OUT,
    every: Every = 1,
    frames: Annotated[int | None, typer.Option(min=1, help="Only the first of a clip.")] = None,
    clip: Annotated[list[str] | None, typer.Option(help="Only these clips.")] = None,
    threads: Threads = 0,
) -> None:
    """Build the catalog, watch each clip anew, compare with the truth."""
    data = find_data("video", data)
    clips = [c for c in read_clips(data / "truth.csv") if not clip or c.video in clip]
    if not clips:
        raise ConfigError.at("--clip", "must be in truth.csv", ", ".join(clip or []))
    figures: dict[str, Any] = {}
    with built_catalog(data / "catalog", options_of(threads)) as built:
        for one in clips:
            catalog = built.matcher.catalogs[CLIP_CAMERA]
            played = islice(read_frames(data / one.video), 0, frames, every)
            figures[one.video] = score_clip(one, watch(built.matcher, catalog, played))
            print(one.video, "done", flush=True)
    config = {"every": every, "frames": frames, "threads": threads}
    finish(out, "video", config, figures, table_rows(figures))


def read_clips(path: Path) -> list[Clip]:
    """Return the clips of a truth file, in its order; ConfigError tells the wrong line."""
    where = f"truth {path}"
    clips: dict[str, Clip] = {}
    for line, row in read_csv(path, COLUMNS, where, ConfigError):
        clip = clips.setdefault(row["video"], Clip(row["video"], {}))
        if row["item_id"] != NOTHING:
            first, last = row["first_frame"], row["last_frame"]
            if not (first.isdecimal() and last.isdecimal()):
                rule = "first_frame and last_frame must be whole numbers"
                raise ConfigError.at(f"{where}:{line}", rule, f"{first},{last}")
            clip.items[row["item_id"]] = int(first), int(last)
    return list(clips.values())


def read_frames(path: Path) -> Iterator[Frame]:
    """Give each picture of a clip as the frame that a matcher gets, by the daemon's own source."""
    from streamer.sources.base import Picture, SourceOptions, check_source, create_source

    options = SourceOptions(url=str(path))
    check_source(options)
    number = 0
    for picture in create_source(options).pictures(lambda _: False):
        if not isinstance(picture, Picture):
            continue
        yield Frame(
            camera=CLIP_CAMERA, number=number, captured_ns=picture.captured_ns,
            wall_ns=picture.wall_ns, y=picture.y, u=picture.u, v=picture.v,
            matrix=picture.matrix, range=picture.range, clock="file", media_ns=picture.media_ns,
        )  # fmt: skip
        number += 1


def watch(matcher: Any, catalog: Catalog, frames: Iterator[Frame]) -> Watched:
    """Return what a matcher that has seen nothing yet publishes of these frames."""
    matcher.switch_catalog(CLIP_CAMERA, catalog)  # forgets the clip before
    watched = Watched()
    for frame in frames:
        start_s = time.perf_counter()
        sightings = matcher.match([frame])
        watched.spent_s += time.perf_counter() - start_s
        watched.events += [(frame.number, sighting) for sighting in sightings]
        watched.numbers.append(frame.number)
        watched.last_media_ns = max(watched.last_media_ns, frame.media_ns)
    return watched


def score_clip(clip: Clip, watched: Watched) -> dict[str, Any]:
    """Return, for each item, after how many processed frames it was told; and what else was.

    processed_frames: those since the item's first frame, that with `appeared` included; None: it
    never did. The best tier that a sighting came to counts.
    """
    best: dict[str, Tier] = {}
    item_of: dict[str, str] = {}
    appeared_at: dict[str, int] = {}
    for number, sighting in watched.events:
        known = best.get(sighting.sighting_id)
        if known is None or sighting.match.tier.rank > known.rank:
            best[sighting.sighting_id] = sighting.match.tier
        item_of[sighting.sighting_id] = sighting.match.item_id
        if sighting.phase is Phase.APPEARED:
            appeared_at.setdefault(sighting.match.item_id, number)
    delays = {}
    for item_id, (first, _) in clip.items.items():
        at = appeared_at.get(item_id)
        delays[item_id] = None if at is None else sum(first <= n <= at for n in watched.numbers)
    false = [i for i, item_id in item_of.items() if item_id not in clip.items]
    minutes = _minutes_of(watched)
    return {
        "n_processed": len(watched.numbers),
        "minutes": round(minutes, 3),
        "ms_a_frame": round(1e3 * watched.spent_s / max(1, len(watched.numbers)), 1),
        "processed_frames": delays,
        "best_tier": {item_id: _best_of(item_id, item_of, best) for item_id in clip.items},
        "sightings_of_items": sum(item in clip.items for item in item_of.values()),
        "false_items": sorted({item_of[i] for i in false}),
        "false_sightings": len(false),
        "false_exact": sum(best[i] is Tier.EXACT for i in false),
        "false_a_minute": round(len(false) / minutes, 2) if minutes else None,
    }


def _best_of(item_id: str, item_of: Mapping[str, str], best: Mapping[str, Tier]) -> str | None:
    tiers = [best[i] for i, item in item_of.items() if item == item_id]
    return str(max(tiers, key=lambda tier: tier.rank)) if tiers else None


def _minutes_of(watched: Watched) -> float:
    """The clip's own time; of a stream without times, as if it had the usual rate."""
    seconds = watched.last_media_ns / 1e9 or len(watched.numbers) / FALLBACK_FPS
    return seconds / 60


def table_rows(figures: Mapping[str, Mapping[str, Any]]) -> list[Sequence[str]]:
    """Return the rows: what, figure, what it is made of."""
    rows: list[Sequence[str]] = []
    for video, found in figures.items():
        of = f"{found['n_processed']} frames, {found['minutes']:.2f} min"
        for item_id, delay in found["processed_frames"].items():
            figure = "never" if delay is None else f"frame {delay}"
            rows.append((f"{video}: {item_id}", figure, f"{found['best_tier'][item_id]}; {of}"))
        told = f"{found['false_sightings']} ({found['false_exact']} exact)"
        what = "nothing else" if found["processed_frames"] else "nothing"
        names = ", ".join(found["false_items"]) or "-"
        rows.append((f"{video}: {what}", f"{told} false", f"{names}; {of}"))
    totals = [f for f in figures.values() if not f["processed_frames"]]
    minutes = sum(f["minutes"] for f in totals)
    if minutes:
        rate = sum(f["false_sightings"] for f in totals) / minutes
        exact = sum(f["false_exact"] for f in totals)
        figure = f"{exact} exact, {rate:.2f} published a minute"
        rows.append(("clips with nothing known", figure, f"{minutes:.2f} min"))
    return rows


if __name__ == "__main__":
    run_command(main)
