"""Are the items of photos named, and nothing else? Of any set, or of your own photos.

    python -m benchmarks.eval_photos SET [--split dev]
    python -m benchmarks.eval_photos --data FOLDER

FOLDER holds truth.csv (image,item_id,exhaustive; the last may be missing), and catalog.csv
(item_id,label,image; all pictures of an item) or else a folder catalog/ whose files or sub-folders
are the items. A photo of several items has several rows, one of nothing known the item `none`. An
item counts once a photo, wherever it is told, at its best tier; precision is over the photos where
every item is named, those whose exhaustive is not 0. Where there is a truth_video.csv, its clips
are watched as by eval_video.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import eval_video
from benchmarks.eval_setup import (
    CLIP_CAMERA,
    OUT,
    Built,
    Data,
    Every,
    Limit,
    Out,
    Threads,
    built_catalog,
    find_data,
    finish,
    options_of,
    percent,
    run_command,
    share,
    take,
    told,
)
from benchmarks.splits import Split, choose_split, is_kept_back, of_split
from catalog_tools.csv_file import read_csv
from catalog_tools.evaluation.evaluate import NOTHING, check_labels
from catalog_tools.evaluation.scores import TIERS, Labelled
from catalog_tools.query import Answer
from pipeline.errors import ConfigError
from pipeline.types import Tier

COLUMNS = ("image", "item_id")
CLIPS = "truth_video.csv"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and its items, none where nothing of the catalog is in it.

    is_exhaustive: whether what else is told of it is wrong.
    """

    image: str
    item_ids: tuple[str, ...]
    is_exhaustive: bool


def main(
    name: Annotated[
        str | None, typer.Argument(metavar="SET", help="As its folder is called.")
    ] = None,
    data: Data = None,
    out: Out = OUT,
    every: Every = 1,
    limit: Limit = None,
    split: Annotated[
        Split | None, typer.Option(help="None: dev, or all of a set without parts.")
    ] = None,
    clips: Annotated[bool, typer.Option(help=f"Watch those of {CLIPS}, if there is one.")] = True,
    threads: Threads = 0,
) -> None:
    """Build the catalog, ask it about the photos, compare with the truth."""
    name, data = find_set(name, data)
    split = choose_split(name, split)
    if is_kept_back(name):
        print(f"{name} is kept for an issue's end, to be looked at only once", file=sys.stderr)
    photos = read_photos(data / "truth.csv")
    photos = take(of_split(name, photos, split, lambda photo: split_key(name, photo)), every, limit)
    if not photos:
        raise ConfigError.at("--split", f"must leave a photo of {name}", split.value)
    with built_catalog(catalog_of(data), options_of(threads)) as built:
        began_s = time.perf_counter()
        answers = ask_photos(data, photos, built)
        spent_s = time.perf_counter() - began_s
        figures = {"n_items": built.n_items, **score_photos(photos, answers)}
        if clips and (data / CLIPS).is_file():
            listed = eval_video.read_clips(data / CLIPS)
            asked = of_split(name, listed, split, lambda clip: clip.video)
            figures["clips"] = watch_clips(data, asked, built)
    figures |= {"build_s": built.build_s, "ms_a_photo": round(1e3 * spent_s / len(photos), 1)}
    config = {
        "set": name, "every": every, "limit": limit, "split": split.value, "threads": threads,
    }  # fmt: skip
    finish(out, f"photos-{name}", config, figures, table_rows(figures))


def find_set(name: str | None, data: Path | None) -> tuple[str, Path]:
    """Return a set's name and folder, of which one may be given."""
    if name is None and data is None:
        raise ConfigError.at("SET", "name a set, or a folder by --data", "neither")
    if name is not None and (not name or Path(name).name != name):
        raise ConfigError.at("SET", "must be a name, not a path", name, "--data FOLDER")
    data = find_data(name or "photos", data)
    return name or data.resolve().name, data


def split_key(name: str, photo: Photo) -> str:
    """Return what the split of a set goes by: the item, on shelves the photo."""
    return photo.image if name == "shelf" else next(iter(photo.item_ids), "")


def catalog_of(data: Path) -> Path:
    """Return what the catalog of a set is built from."""
    for images in (data / "catalog.csv", data / "catalog"):
        if images.exists():
            return images
    raise ConfigError.at(f"data {data}", "must hold catalog.csv or a folder catalog")


def read_photos(path: Path) -> list[Photo]:
    """Return the photos of a truth file, in its order; ConfigError tells the wrong line."""
    where = f"truth {path}"
    rows: dict[str, list[dict[str, str]]] = {}
    for line, row in read_csv(path, COLUMNS, where, ConfigError, optional=("exhaustive",)):
        at = f"{where}:{line}"
        if not row["image"] or not row["item_id"]:
            raise ConfigError.at(at, "needs an image and an item_id")
        if row["exhaustive"] not in ("", "0", "1"):
            raise ConfigError.at(at, "exhaustive must be 0 or 1", row["exhaustive"])
        if not (path.parent / row["image"]).is_file():
            raise ConfigError.at(at, "no such photo", row["image"])
        known = rows.setdefault(row["image"], [])
        known.append(row)
        if len({one["item_id"] == NOTHING for one in known}) > 1:
            raise ConfigError.at(at, f"a photo has items or `{NOTHING}`, not both", row["image"])
    return [
        Photo(
            image,
            tuple(dict.fromkeys(row["item_id"] for row in known if row["item_id"] != NOTHING)),
            all(row["exhaustive"] != "0" for row in known),
        )
        for image, known in rows.items()
    ]


def ask_photos(data: Path, photos: Sequence[Photo], built: Built) -> list[Answer]:
    """Return what the catalog answers about each photo."""
    from catalog_tools.query import Wishes, query_pictures

    catalog = built.matcher.catalogs[CLIP_CAMERA]
    labels = [Labelled(photo.image, item_id) for photo in photos for item_id in photo.item_ids]
    item_ids = {item.item_id for item in catalog.items}
    check_labels(labels, item_ids, f"truth {data / 'truth.csv'}")
    paths = told([str(data / photo.image) for photo in photos], "photos")
    return list(query_pictures(paths, catalog, built.matcher, Wishes(1, tie_epsilon=0.0)))


def watch_clips(data: Path, clips: Sequence[eval_video.Clip], built: Built) -> dict[str, Any]:
    """Return the figures of each clip, every frame of which is processed."""
    catalog = built.matcher.catalogs[CLIP_CAMERA]
    figures = {}
    for clip in told(clips, "clips"):
        frames = eval_video.read_frames(data / clip.video)
        watched = eval_video.watch(built.matcher, catalog, frames)
        figures[clip.video] = eval_video.score_clip(clip, watched)
    return figures


def score_photos(photos: Sequence[Photo], answers: Sequence[Answer]) -> dict[str, Any]:
    """Return counts and shares of all photos; one that can't be read counts as not found.

    top_1: of the photos with an item, whether the likeliest item is one of theirs, whatever its
    tier. tiers: each with the better ones. without_item: photos in which anything is told.
    """
    pairs = list(zip(photos, answers, strict=True))
    with_item = [(photo, answer) for photo, answer in pairs if photo.item_ids]
    likeliest = [next((r["item_id"] for r in answer.ranked), None) for _, answer in with_item]
    hits = [one in photo.item_ids for one, (photo, _) in zip(likeliest, with_item, strict=True)]
    without = [answer for photo, answer in pairs if photo.is_exhaustive and not photo.item_ids]
    return {
        "n_photos": len(photos),
        "n_unreadable": sum(answer.error is not None for answer in answers),
        "n_exhaustive": sum(photo.is_exhaustive for photo in photos),
        "n_with_item": len(with_item),
        "top_1": share(sum(hits), len(hits)),
        "tiers": {str(tier): score_tier(pairs, tier) for tier in TIERS},
        "without_item": {
            "n_photos": len(without),
            "exact": sum(bool(told_of(answer, Tier.EXACT)) for answer in without),
            "very_similar": sum(bool(told_of(answer, Tier.VERY_SIMILAR)) for answer in without),
            "published": sum(bool(answer.matches) for answer in without),
        },
        "not_first": {
            photo.image: one
            for (photo, _), one, is_hit in zip(with_item, likeliest, hits, strict=True)
            if not is_hit
        },
        "wrong": {
            photo.image: {item_id: str(tier) for item_id, tier in wrong.items()}
            for photo, answer in pairs
            if photo.is_exhaustive and (wrong := wrong_of(photo, answer))
        },
    }


def told_of(answer: Answer, least: Tier = Tier.SIMILAR) -> dict[str, Tier]:
    """Return the items that are told of a photo as this tier or a better one, with their best."""
    best: dict[str, Tier] = {}
    for match in answer.matches:
        tier = Tier(match["tier"])
        known = best.get(match["item_id"])
        if tier.rank >= least.rank and (known is None or tier.rank > known.rank):
            best[match["item_id"]] = tier
    return best


def wrong_of(photo: Photo, answer: Answer, least: Tier = Tier.SIMILAR) -> dict[str, Tier]:
    """Return what is told of a photo that it does not show."""
    found = told_of(answer, least)
    return {item_id: tier for item_id, tier in found.items() if item_id not in photo.item_ids}


def score_tier(pairs: Sequence[tuple[Photo, Answer]], least: Tier) -> dict[str, Any]:
    """Return precision over the exhaustive photos, recall over the items of all photos."""
    n_right = n_right_of_all = n_wrong = 0
    for photo, answer in pairs:
        right = len(set(told_of(answer, least)) & set(photo.item_ids))
        n_right_of_all += right
        if photo.is_exhaustive:
            n_right += right
            n_wrong += len(wrong_of(photo, answer, least))
    n_true = sum(len(photo.item_ids) for photo, _ in pairs)
    return {
        "precision": share(n_right, n_right + n_wrong) if n_right + n_wrong else None,
        "recall": share(n_right_of_all, n_true),
        "n_true": n_true,
        "n_right": n_right_of_all,
        "n_wrong": n_wrong,
    }


def table_rows(figures: Mapping[str, Any]) -> list[Sequence[str]]:
    """Return the rows: what, figure, what it is made of."""
    of = f"{figures['n_with_item']} photos, {figures['n_items']} items listed"
    rows: list[Sequence[str]] = [("top-1", percent(figures["top_1"]), of)]
    for tier, found in figures["tiers"].items():
        name = tier if tier == "exact" else f"{tier} and better"
        figure = f"{percent(found['precision'])} at {percent(found['recall'])}"
        rows.append((name, figure, f"{found['n_true']} to find, {found['n_wrong']} wrong"))
    without = figures["without_item"]
    rows.append(
        (
            "photos of none told exact · anything",
            f"{without['exact']} · {without['published']}",
            f"{without['n_photos']} photos",
        )
    )
    if figures["n_unreadable"]:
        rows.append(("photos that cannot be read", str(figures["n_unreadable"]), "not found"))
    return [*rows, *eval_video.table_rows(figures.get("clips", {}))]


if __name__ == "__main__":
    run_command(main)
