"""How often is the right item the nearest, by the embedder's vector alone?

    python -m benchmarks.eval_embedder [--weights NAME] [--split dev] [--pool FOLDER --distractors
    200]

goods: crops at the true boxes, a hair wider, also among pool pictures as further items; grocery:
the mean of a photo and two cuts of its middle; banknotes: whole photos.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from benchmarks.eval_setup import OUT, Out, Part, Threads, find_data, finish, percent, run_command
from benchmarks.splits import Split, of_split
from pipeline.embed import Embedder, load_embedder
from pipeline.errors import ConfigError
from pipeline.options import EmbedOptions, EngineOptions
from pipeline.types import U8

MARGIN = 0.04  # of a true box's longer side: what a detector leaves around a thing
CUTS = (1.0, 0.75, 0.5)  # shares of a photo, about its middle


@dataclass(frozen=True, slots=True)
class Questions:
    """The items' names and pictures; each question's views (one vector, their mean) and its
    item."""

    names: list[str]
    pictures: list[U8]
    views: list[list[U8]]
    truth: list[str]

    def recall(self, embedder: Embedder, further: Sequence[U8] = ()) -> dict[str, float]:
        """Return recall@1 and recall@5; further: pictures of other items, in the catalog too."""
        catalog = embedder.embed([*self.pictures, *further])
        vectors = [embedder.embed(views).mean(0) for views in self.views]
        order = np.argsort(-np.stack(vectors) @ catalog.T, axis=1)
        right = np.array([self.names.index(item) for item in self.truth])[:, None]
        found = {f"recall_{k}": float(np.mean((order[:, :k] == right).any(1))) for k in (1, 5)}
        return {name: round(share, 4) for name, share in found.items()}


def main(
    weights: Annotated[Path | None, typer.Option(help="File or name; none: the default.")] = None,
    split: Part = Split.DEV,
    pool: Annotated[Path | None, typer.Option(help="Where distractors come from.")] = None,
    distractors: Annotated[int, typer.Option(min=1)] = 200,
    out: Out = OUT,
    threads: Threads = 0,
) -> None:
    """Ask the embedder alone, set by set."""
    embedder = load_embedder(EngineOptions(threads=threads), EmbedOptions(weights=weights))
    figures: dict[str, dict[str, float]] = {}
    for name in ("goods", "grocery", "banknotes"):
        questions = read_questions(name, split)
        if not questions.views:
            continue
        figures[name] = {"questions": len(questions.views), **questions.recall(embedder)}
        if name == "goods" and pool is not None:
            among = questions.recall(embedder, draw_pictures(pool, distractors))
            figures[f"goods among {distractors}"] = {"questions": len(questions.views), **among}
    rows = [
        (f"{name}: recall@{k}", percent(row[f"recall_{k}"]), str(row["questions"]))
        for name, row in figures.items()
        for k in (1, 5)
    ]
    config = {"weights": embedder.name, "split": split.value, "distractors": distractors}
    finish(out, f"embedder-{embedder.name}-{split.value}", config, figures, rows)


def read_questions(name: str, split: Split) -> Questions:
    """Read a set's catalog and the questions of the split whose item is listed."""
    data = find_data(name)
    catalog = sorted((data / "catalog").iterdir())
    names = [path.stem for path in catalog]
    with (data / "truth.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["item_id"] in names]
    rows = of_split(name, rows, split, lambda row: row["item_id"])
    views = [_views(read_picture(data / row["image"]), row, name == "grocery") for row in rows]
    truth = [row["item_id"] for row in rows]
    return Questions(names, [read_picture(path) for path in catalog], views, truth)


def _views(photo: U8, row: dict[str, str], cut: bool) -> list[U8]:
    height, width = photo.shape[:2]
    if row.get("x0"):
        x0, y0, x1, y1 = (float(row[key]) for key in ("x0", "y0", "x1", "y1"))
        margin = MARGIN * max(x1 - x0, y1 - y0)
        left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
        return [photo[top : int(y1 + margin) + 1, left : int(x1 + margin) + 1]]
    borders = [((1 - share) / 2, (1 + share) / 2) for share in (CUTS if cut else CUTS[:1])]
    return [
        photo[int(height * low) : int(height * high), int(width * low) : int(width * high)]
        for low, high in borders
    ]


def draw_pictures(pool: Path, count: int, seed: int = 0) -> list[U8]:
    """Draw different pool pictures, as many of each source while it lasts, (h, w, 3) uint8 BGR."""
    from catalog_tools.synthesize.views import flat_bgr
    from catalog_tools.train.pool import open_pool

    opened, rng = open_pool(pool), np.random.default_rng(seed)
    sources = [
        [groups[int(place)][0] for place in rng.permutation(len(groups))]
        for _, groups in sorted(opened.groups.items())
    ]
    if sum(map(len, sources)) < count:
        rule = f"must hold {count} different things"
        raise ConfigError.at("--pool", rule, sum(map(len, sources)))
    drawn: list[U8] = []
    while len(drawn) < count:
        for names in sources:
            if names and len(drawn) < count:
                drawn.append(np.asarray(flat_bgr(opened.read(names.pop())), np.uint8))
    return drawn


def read_picture(path: Path) -> U8:
    """Read (h, w, 3) uint8 BGR; ConfigError when it is no picture."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise ConfigError.at(f"picture {path.name}", "must be a readable picture")
    return np.asarray(picture, np.uint8)


if __name__ == "__main__":
    run_command(main)
