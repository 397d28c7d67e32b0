"""How well does a catalog of pack shots name the packs in shop photos?

    python -m benchmarks.eval_grocery [--data FOLDER] [--split dev] [--every N]
        [--distractors N --pool FOLDER]

FOLDER holds catalog/<item>.jpg, queries and truth.csv (image,item_id; `none`: no item of the
catalog is in the photo). The scoring is that of `magpie catalog evaluate`.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.eval_setup import (
    OUT,
    Data,
    Every,
    Limit,
    Out,
    Part,
    Threads,
    built_catalog,
    find_data,
    finish,
    options_of,
    run_command,
    say_progress,
    take,
)
from benchmarks.splits import Split, of_split
from catalog_tools.evaluation.scores import Labelled
from pipeline.errors import ConfigError
from pipeline.types import U8

DISTRACTOR = "~distractor-"  # sorts behind the items


def main(
    data: Data = None,
    out: Out = OUT,
    every: Every = 1,
    limit: Limit = None,
    split: Part = Split.ALL,
    start: Annotated[int, typer.Option(min=0, help="Leave out so many first photos.")] = 0,
    distractors: Annotated[int, typer.Option(min=0, help="Pool pictures added as items.")] = 0,
    pool: Annotated[Path | None, typer.Option(help="Folder of tar files or sub-folders.")] = None,
    turned: Annotated[int | None, typer.Option(help="Turn photos; the angles' seed.")] = None,
    leave_out: bool = True,
    trim: bool = True,
    turns: Annotated[bool, typer.Option(help="Views turned by 90, 180 and 270 degrees.")] = False,
    threads: Threads = 0,
    report: Annotated[Path | None, typer.Option(help="Folder for curves and confusions.")] = None,
) -> None:
    """Build the catalog, ask it about the photos, compare with the truth."""
    from catalog_tools.evaluation.evaluate import evaluate_catalog
    from catalog_tools.evaluation.report import table_rows, write_report

    data, options = find_data("grocery", data), options_of(threads)
    if distractors and pool is None:
        raise ConfigError.at("--distractors", "needs the pool to draw them from", "no --pool")
    labels = take(read_labels(data / "truth.csv", split)[start:], every, limit)
    with tempfile.TemporaryDirectory(prefix="magpie-eval-") as name:
        folder, images = data, data / "catalog"
        if turned is not None:
            folder = Path(name) / "turned"
            turn_photos(data, [label.image for label in labels], folder, turned)
        if distractors and pool is not None:
            images = Path(name) / "images"
            add_distractors(data / "catalog", images, pool, distractors)
        with built_catalog(images, options, trim=trim, turns=turns) as built:
            start_s = time.perf_counter()
            evaluation = evaluate_catalog(
                built.directory, folder, labels, built.matcher,
                leave_out=leave_out and not distractors, progress=say_progress("questions"),
            )  # fmt: skip
            spent_s = time.perf_counter() - start_s
            if report is not None:
                write_report(evaluation, built.matcher, report)
    figures: dict[str, Any] = {**evaluation.figures, "build_s": built.build_s}
    figures["ms_a_photo_all_passes"] = round(1e3 * spent_s / max(1, len(labels)), 1)
    del figures["curves"], figures["reliability"]
    config = {
        "every": every, "limit": limit, "split": split.value, "start": start, "trim": trim,
        "distractors": distractors, "turned": turned, "turns": turns, "threads": threads,
    }  # fmt: skip
    suffix = ("-distractors" if distractors else "") + ("-turned" if turned is not None else "")
    finish(out, f"grocery{suffix}", config, figures, table_rows(figures))


def read_labels(path: Path, split: Split) -> list[Labelled]:
    """Return the labelled photos of a truth file's part; those of other things are dev."""
    from catalog_tools.evaluation.evaluate import read_truth

    return of_split("grocery", read_truth(path), split, lambda label: label.item_id or "")


def turn_photos(data: Path, images: Sequence[str], folder: Path, seed: int) -> None:
    """Write the photos turned by any angle about their middle, each its own, in their own size.

    What comes into the corners is the photo mirrored at its edges.
    """
    for image in images:
        photo = cv2.imread(str(data / image))
        if photo is None:
            raise ConfigError.at(f"photo {image}", "must be a readable picture")
        rng = np.random.default_rng([seed, zlib.crc32(image.encode())])
        path = folder / image  # a PNG whatever its name says: readers look at the content
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", turn(np.asarray(photo, np.uint8), rng.uniform(0, 360)))[1]
        path.write_bytes(encoded.tobytes())


def turn(image_bgr: U8, angle_deg: float) -> U8:
    """Return a picture of the same size, turned clockwise about its middle."""
    height, width = image_bgr.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle_deg, 1.0)
    turned = cv2.warpAffine(
        image_bgr, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(turned, np.uint8)


def add_distractors(catalog: Path, images: Path, pool: Path, n: int, seed: int = 0) -> None:
    """Write a folder of the catalog's pictures and n of the pool, each an item of its own.

    Every source of the pool gives as many as any other, while it lasts; no picture twice.
    """
    from catalog_tools.train.pool import open_pool

    images.mkdir(parents=True)
    for path in catalog.iterdir():
        (images / path.name).symlink_to(path.resolve())
    pictures = open_pool(pool)
    rng = np.random.default_rng(seed)
    left = {
        source: [groups[i][0] for i in rng.permutation(len(groups))]
        for source, groups in sorted(pictures.groups.items())
    }
    if sum(map(len, left.values())) < n:
        got = sum(map(len, left.values()))
        raise ConfigError.at("--distractors", f"the pool must hold {n} different things", got)
    for number in range(n):
        sources = [source for source in left if left[source]]
        name = left[sources[number % len(sources)]].pop()
        path = images / f"{DISTRACTOR}{number:05d}{Path(name).suffix}"
        path.write_bytes(pictures.encoded[name])


if __name__ == "__main__":
    run_command(main)
