"""Is an unlisted member of a listed family told for one of those that are listed?

    python -m benchmarks.eval_families [--families N] [--shots N] [--kind signs] [--seen grey]

Made families of three packs that differ in a word or a colour, or of three signs whose texts differ
in a character. Two are listed; camera-like shots show one of these, and as often the third, which
must not be told as `exact`. --alone: one is listed, and shots show it or another. --seen: as a
camera at night sees it, in grey, or out of focus.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.eval_setup import (
    CLIP_CAMERA,
    OUT,
    Out,
    Threads,
    built_catalog,
    finish,
    options_of,
    percent,
    run_command,
    say_progress,
    share,
)
from catalog_tools.synthesize.packs import DEMO_SEED_START
from catalog_tools.synthesize.shots import take_shot
from catalog_tools.synthesize.signs import render_series
from catalog_tools.train.pack_bank import render_family
from pipeline.pictures import holds_centre
from pipeline.types import U8, PictureResult, Tier

FIRST_SEED = DEMO_SEED_START + 700_000  # which nothing else draws
LONG_SIDE_PX = 400
LISTED, UNLISTED = (0, 1), 2
BLURRED_PX = 1.6  # sigma
TIERS = ("exact", "published")
OTHERS = 5  # packs beside and behind the one that is shown


class Kind(StrEnum):
    PACKS = "packs"
    SIGNS = "signs"


class SeenAs(StrEnum):
    COLOUR = "colour"
    GREY = "grey"
    BLURRED = "blurred"


def main(
    out: Out = OUT,
    families: Annotated[int, typer.Option(min=2)] = 40,
    shots: Annotated[int, typer.Option(min=1, help="Of each kind, a family.")] = 3,
    seed: int = 0,
    kind: Kind = Kind.PACKS,
    seen: SeenAs = SeenAs.COLOUR,
    alone: Annotated[bool, typer.Option("--alone", help="List one of each family.")] = False,
    threads: Threads = 0,
) -> None:
    """Build the catalog of listed packs, ask it about the shots."""
    packs = render_families(kind, families)
    listed = LISTED[:1] if alone else LISTED
    progress = say_progress("shots")
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="magpie-eval-") as name:
        write_listed(packs, listed, Path(name))
        with built_catalog(Path(name), options_of(threads)) as built:
            catalog = built.matcher.catalogs[CLIP_CAMERA]
            taken = take_shots(packs, listed, shots, np.random.default_rng(seed))
            for number, (item_id, shot) in enumerate(taken):
                result = built.matcher.match_pictures([as_seen(shot, seen)], catalog)[0]
                counts.update(judged(item_id, result, shot.shape))
                progress(number + 1, 2 * families * shots)
    n_shots = families * shots
    figures: dict[str, Any] = {"n_shots_of_each": n_shots, **sorted_counts(counts)}
    config = {
        "families": families, "shots": shots, "seed": seed, "kind": kind.value, "seen": seen.value,
        "alone": alone, "threads": threads,
    }  # fmt: skip
    finish(out, "families", config, figures, table_rows(figures, n_shots))


def render_families(kind: Kind, count: int) -> list[list[U8]]:
    """Return families of three pictures each, (h, w, 3) uint8 BGR."""
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    if kind is Kind.SIGNS:
        return [render_series(seed, 3, LONG_SIDE_PX) for seed in seeds]
    return [render_family(seed, 2, LONG_SIDE_PX) for seed in seeds]


def as_seen(shot: U8, seen: SeenAs) -> U8:
    """Return a shot, (h, w, 3) uint8 BGR, as such a camera gives it."""
    if seen is SeenAs.GREY:
        grey = cv2.cvtColor(shot, cv2.COLOR_BGR2GRAY)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    if seen is SeenAs.BLURRED:
        return np.asarray(cv2.GaussianBlur(shot, (0, 0), BLURRED_PX), np.uint8)
    return shot


def item_id_of(family: int, member: int) -> str:
    return f"family-{family:03d}-{member}"


def write_listed(packs: list[list[U8]], listed: Sequence[int], images: Path) -> None:
    """Write what the catalog shall list."""
    for family, members in enumerate(packs):
        for member in listed:
            cv2.imwrite(str(images / f"{item_id_of(family, member)}.png"), members[member])


def take_shots(
    packs: list[list[U8]], listed: Sequence[int], shots: int, rng: np.random.Generator
) -> Iterator[tuple[str | None, U8]]:
    """Give shots of listed packs with their item id, and of unlisted ones with None, in turn."""
    for _ in range(shots):
        for family, members in enumerate(packs):
            beside = [int(i) for i in rng.permutation(len(packs))[:OTHERS] if i != family]
            for member in (listed[int(rng.integers(len(listed)))], UNLISTED):
                shot = take_shot(rng, members[member], [packs[i][0] for i in beside])
                yield None if member == UNLISTED else item_id_of(family, member), shot


def judged(item_id: str | None, result: PictureResult, shape: tuple[int, ...]) -> list[str]:
    """Return what a shot counts as: the surest match that holds its middle."""
    whole = np.array([0, 0, shape[1], shape[0]], np.float32)
    told = next((m for m in result.matches if holds_centre(m.box_xyxy, whole)), None)
    if told is None:
        return []
    shown = "unlisted" if item_id is None else "right" if told.item_id == item_id else "wrong"
    return [f"{shown}_published", *([f"{shown}_exact"] if told.tier is Tier.EXACT else [])]


def sorted_counts(counts: Counter[str]) -> dict[str, int]:
    """Return all the counts, 0 where nothing was counted."""
    kinds = ("right", "wrong", "unlisted")
    return {f"{kind}_{tier}": counts[f"{kind}_{tier}"] for kind in kinds for tier in TIERS}


def table_rows(figures: dict[str, Any], n_shots: int) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    told = {
        "right": "shots of listed packs",
        "wrong": "the same, told for the other listed one",
        "unlisted": "shots of the unlisted third",
    }
    return [
        (f"{kind}, {tier}", percent(share(figures[f"{kind}_{tier}"], n_shots)), f"{n_shots} {of}")
        for kind, of in told.items()
        for tier in TIERS
    ]


if __name__ == "__main__":
    run_command(main)
