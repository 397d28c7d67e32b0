"""Which verifier names the packs in shop photos best, and what does each cost?

    python -m benchmarks.eval_verifiers [--data FOLDER] [--every N] [--split dev] [--learned]

The set is that of eval_grocery. Every verifier is asked about the same photos; the probabilities
were fitted to LightGlue with the comparer, so for the others the figure to read is top-1, and
recall at a precision, which only the order of the answers decides. --learned: by the keypoint
networks of their authors as well, with a catalog of their keypoints (docs/weights.md, `import`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.eval_grocery import read_labels
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
    percent,
    run_command,
    say_progress,
    take,
)
from benchmarks.splits import Split
from catalog_tools.evaluation.scores import Labelled, Photo, score_photos
from catalog_tools.query import Answer
from pipeline.options import MatcherOptions

VERIFIERS: dict[str, dict[str, Any]] = {
    "rootsift+lightglue, comparer": {"comparer": True},
    "rootsift+lightglue": {"comparer": False},
    "rootsift, comparer": {"method": "rootsift", "comparer": True},
    "rootsift": {"method": "rootsift", "comparer": False},
    "orb_ssim": {"method": "orb_ssim"},
}
LEARNED: dict[str, dict[str, Any]] = {
    "xfeat+lighterglue, comparer": {"method": "xfeat+lighterglue"},
    "aliked+lightglue, comparer": {"method": "aliked+lightglue"},
    "aliked-n16rot+lightglue, comparer": {
        "method": "aliked+lightglue",
        "keypoint_weights": Path("aliked-n16rot"),
    },
}


def main(
    data: Data = None,
    out: Out = OUT,
    every: Every = 6,
    limit: Limit = None,
    split: Part = Split.ALL,
    learned: Annotated[bool, typer.Option("--learned", help="Networks' keypoints too.")] = False,
    threads: Threads = 0,
) -> None:
    """Ask about the photos by each verifier."""
    data, options = find_data("grocery", data), options_of(threads)
    labels = take(read_labels(data / "truth.csv", split), every, limit)
    figures: dict[str, Any] = {}
    for name, changed in {**VERIFIERS, **(LEARNED if learned else {})}.items():
        verify = options.verify.model_copy(update=changed)
        asked = options.model_copy(update={"verify": verify})
        figures[name] = ask(name, data, labels, asked)
    config = {
        "every": every, "limit": limit, "split": split.value, "learned": learned,
        "threads": threads,
    }  # fmt: skip
    finish(out, "verifiers", config, figures, table_rows(figures))


def ask(
    name: str, data: Path, labels: Sequence[Labelled], options: MatcherOptions
) -> dict[str, Any]:
    """Return the figures of one verifier, with a catalog of its keypoints."""
    from catalog_tools.query import Wishes, query_pictures

    progress = say_progress(f"photos by {name}")
    with built_catalog(data / "catalog", options) as built:
        start_s, answers = time.perf_counter(), []
        images = [str(data / label.image) for label in labels]
        catalog = built.matcher.catalogs[CLIP_CAMERA]
        wishes = Wishes(tie_epsilon=0.0)
        for answer in query_pictures(images, catalog, built.matcher, wishes):
            answers.append(answer)
            progress(len(answers), len(labels))
        spent_ms = 1e3 * (time.perf_counter() - start_s)
    return score_answers(labels, answers) | {"ms_a_photo": round(spent_ms / max(1, len(labels)), 1)}


def score_answers(labels: Sequence[Labelled], answers: Sequence[Answer]) -> dict[str, Any]:
    """Return the figures of one verifier."""
    photos = [Photo(label, answer) for label, answer in zip(labels, answers, strict=True)]
    scores = score_photos(photos, k=5)
    ranked = scores["curves"]["ranked"]
    return {
        "n_photos": scores["n_photos"],
        "top_1": scores["top_1"],
        "top_5": scores["top_k"],
        "recall_at_precision_0.97": max(
            (row["recall"] for row in ranked if row["precision"] >= 0.97), default=0.0
        ),
        "false_matches": scores["without_item"]["published"],
    }


def table_rows(figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    return [
        (
            f"{name}: top-1",
            percent(found["top_1"]),
            f"recall {percent(found['recall_at_precision_0.97'])} at precision 97 %, "
            f"{found['false_matches']} false matches on other things, "
            f"{found['ms_a_photo']:.0f} ms a photo",
        )
        for name, found in figures.items()
    ]


if __name__ == "__main__":
    run_command(main)
