"""Is a thing found and named anywhere in the whole frame of a fixed camera?

    python -m benchmarks.eval_goods [--data FOLDER] [--split dev]

FOLDER holds catalog/<item>.jpg and truth.csv (image,item_id,x0,y0,x1,y1): one item in each frame.
The detector: has the item a box (IoU 0.5) that starts a track? The frame as a picture: which item
is the likeliest at its box, and what is told. The frame for a second, as a camera that shows it
still gives it, searched ten times by both lanes in turn: is the item told by then, and what else?
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.eval_detector import boxes_from
from benchmarks.eval_embedder import read_picture
from benchmarks.eval_setup import (
    CLIP_CAMERA,
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
    take,
    told,
)
from benchmarks.goods_scores import Named, Seen, TrueFrame, score_frames, table_rows
from benchmarks.splits import Split, of_split
from catalog_tools.csv_file import read_csv
from catalog_tools.evaluation.evaluate import check_labels
from catalog_tools.evaluation.scores import Labelled
from pipeline.boxes import bounds
from pipeline.color import frame_from_bgr
from pipeline.errors import ConfigError
from pipeline.identify.calibration import sigmoid
from pipeline.identify.types import Judgement
from pipeline.options import Method
from pipeline.types import F32, U8, Frame, Match, Phase

COLUMNS = ("image", "item_id", "x0", "y0", "x1", "y1")
SEARCHES = 10  # in a second


def main(
    data: Data = None,
    out: Out = OUT,
    every: Every = 1,
    limit: Limit = None,
    split: Part = Split.DEV,
    method: Annotated[Method, typer.Option(help="As verify.method.")] = "rootsift+lightglue",
    threads: Threads = 0,
) -> None:
    """Build the catalog, look at the frames in each way, compare with the truth."""
    from pipeline.detect import load_detector

    data = find_data("goods", data)
    options = options_of(threads)
    verify = options.verify.model_copy(update={"method": method})
    options = options.model_copy(update={"lockstep": True, "verify": verify})
    frames = take(read_frames(data / "truth.csv", split), every, limit)
    detector = load_detector(options.engine, options.detect)
    seen: list[Seen] = []
    with built_catalog(data / "catalog", options) as built:
        items = built.matcher.catalogs[CLIP_CAMERA].items
        labels = [Labelled(frame.image, frame.item_id) for frame in frames]
        check_labels(labels, {item.item_id for item in items}, f"truth {data / 'truth.csv'}")
        for frame in told(frames, "frames"):
            image_bgr = read_picture(data / frame.image)
            found = detector.detect([frame_from_bgr(image_bgr)])[0]
            boxes = boxes_from(found, options.track.min_score)
            seen.append(look_at(built.matcher, image_bgr, boxes))
    figures = {"min_score": options.track.min_score, **score_frames(frames, seen)}
    figures["build_s"] = built.build_s
    config = {
        "every": every, "limit": limit, "split": split.value, "method": method,
        "threads": threads, "searches": SEARCHES,
    }  # fmt: skip
    finish(out, "goods", config, figures, table_rows(figures))


def read_frames(path: Path, split: Split) -> list[TrueFrame]:
    """Return the frames of a truth file's part, in its order; ConfigError tells the wrong line."""
    where = f"truth {path}"
    frames = []
    for line, row in read_csv(path, COLUMNS, where, ConfigError):
        texts = [row[name] for name in COLUMNS[2:]]
        try:
            x0, y0, x1, y1 = map(float, texts)
        except ValueError:
            x0 = y0 = x1 = y1 = 0.0
        if not (x0 < x1 and y0 < y1):
            rule = "a box must be four numbers, x0 < x1 and y0 < y1"
            raise ConfigError.at(f"{where}:{line}", rule, ",".join(texts))
        frames.append(TrueFrame(row["image"], row["item_id"], np.array([x0, y0, x1, y1], "f4")))
    asked = of_split("goods", frames, split, lambda frame: frame.item_id)
    if not asked:
        raise ConfigError.at(where, f"must name a frame of --split {split}", len(frames))
    return asked


def look_at(matcher: Any, image_bgr: U8, boxes: F32) -> Seen:
    """Return what a frame gives: as a picture, and for a second as a camera's.

    image_bgr: (H, W, 3) uint8. boxes: the detector's, (N, 4) px.
    """
    began_s = time.perf_counter()
    considered, likeliest, matches = ask(matcher, image_bgr)
    asked_s = time.perf_counter()
    watched = watch_second(matcher, image_bgr)
    return Seen(
        boxes, considered, likeliest, matches, watched,
        picture_ms=1e3 * (asked_s - began_s),
        search_ms=1e3 * (time.perf_counter() - asked_s) / SEARCHES,
    )  # fmt: skip


def ask(matcher: Any, image_bgr: U8) -> tuple[tuple[Named, ...], str | None, tuple[Named, ...]]:
    """Return all that was considered, the likeliest item, and what is told of a picture.

    It is what `match_pictures` does, which keeps to itself what it thought of each region.
    """
    from pipeline.identify.tuning import PICTURE
    from pipeline.pictures import picture_result

    catalog = matcher.catalogs[CLIP_CAMERA]
    looks = next(matcher.identify_pictures([image_bgr], catalog, PICTURE))
    shelf = looks[0][0].look.shelf
    result = picture_result(
        [(one.look.region, known.judgements) for one, known in looks],
        np.array([0, 0, image_bgr.shape[1], image_bgr.shape[0]], np.float32),
        shelf.label,
        matcher.options.decide,
        shelf.calibration,
        1,
    )
    considered = tuple(
        Named(judgement.proposal.item_id, box_of(judgement), sigmoid(judgement.log_odds))
        for _, known in looks
        for judgement in known.judgements
    )
    likeliest = result.ranked[0].item_id if result.ranked else None
    return considered, likeliest, tuple(named(match) for match in result.matches)


def box_of(judgement: Judgement) -> F32:
    """Return where a judgement says that its item is: (4,) px.

    A detector's box stands for its item; of the whole frame and the cuts of its middle it is the
    outline that was found in them, as with what is told.
    """
    track, outline = judgement.crop.track, judgement.outline()
    if outline is None or not track.is_whole_frame:
        return track.xyxy
    low, high = np.tile(track.xyxy[:2], 2), np.tile(track.xyxy[2:], 2)
    return np.clip(bounds(outline), low, high).astype(np.float32)


def named(match: Match) -> Named:
    return Named(match.item_id, match.box_xyxy, match.probability, match.tier)


def watch_second(matcher: Any, image_bgr: U8) -> tuple[tuple[int, Named], ...]:
    """Return what a camera that sees nothing else for a second is told of, and by which search."""
    catalog = matcher.catalogs[CLIP_CAMERA]
    matcher.switch_catalog(CLIP_CAMERA, catalog)  # forgets the frame before
    return tuple(
        (frame.number + 1, named(sighting.match))
        for frame in still_frames(image_bgr)
        for sighting in matcher.match([frame])
        if sighting.phase is not Phase.LEFT
    )


def still_frames(image_bgr: U8) -> Iterator[Frame]:
    """Give the frames of one second that are searched, all of them the same picture."""
    frame = frame_from_bgr(image_bgr, CLIP_CAMERA)
    for number in range(SEARCHES):
        time_ns = number * 1_000_000_000 // SEARCHES
        yield replace(frame, number=number, captured_ns=time_ns, wall_ns=time_ns, media_ns=time_ns)


if __name__ == "__main__":
    run_command(main)
