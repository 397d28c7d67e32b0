"""How often does `catalog query` name the right item on real photos of packs?

    python -m benchmarks.eval_grocery --data FOLDER --json FILE

FOLDER holds catalog/<item>.jpg, queries and truth.csv (image,item_id; `none`: no item of the
catalog is in the photo).
"""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import pipeline.offline  # noqa: F401  (before anything heavy)

NOTHING = "none"


def evaluate_queries(
    data: Path,
    *,
    limit: int | None = None,
    trim: bool = True,
    turns: bool = False,
    threads: int = 0,
    answers_file: Path | None = None,
) -> dict[str, Any]:
    """Return the figures of one build and one query over all photos.

    limit: only so many photos, evenly taken. threads: of the networks; 0: all cores.
    answers_file: where to write each photo's answer, with the truth, as a line of JSON.
    """
    from catalog_tools.build import build_catalog, load_networks
    from catalog_tools.query import query_pictures
    from pipeline.matcher import create_matcher
    from pipeline.options import EmbedOptions, EngineOptions, MatcherOptions

    engine = EngineOptions(threads=threads)
    truth = read_truth(data / "truth.csv")
    if limit is not None and limit < len(truth):
        truth = [truth[i * len(truth) // limit] for i in range(limit)]
    with tempfile.TemporaryDirectory(prefix="magpie-eval-") as folder:
        out = Path(folder) / "catalog"
        networks = load_networks(engine, EmbedOptions())
        start = time.perf_counter()
        report = build_catalog(data / "catalog", out, networks, trim=trim, turns=turns)
        build_s = time.perf_counter() - start
        matcher = create_matcher(MatcherOptions(engine=engine), {"query": out})
        start, start_cpu = time.perf_counter(), time.process_time()
        paths = [str(data / image) for image, _ in truth]
        answers = []
        for answer in query_pictures(paths, matcher.catalogs["query"], matcher, 5):
            answers.append(answer.to_json())
            if len(answers) % 100 == 0:
                print(f"{len(answers)} of {len(paths)} photos", flush=True)
        query_s = time.perf_counter() - start
        cpu_s = time.process_time() - start_cpu
    if answers_file is not None:
        lines = [{"truth": t, **a} for (_, t), a in zip(truth, answers, strict=True)]
        answers_file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return {
        **score_answers([item_id for _, item_id in truth], answers),
        "n_items": report.n_items,
        "build_s": round(build_s, 2),
        "query_s": round(query_s, 1),
        "ms_a_photo": round(1e3 * query_s / max(1, len(answers)), 1),
        "cpu_ms_a_photo": round(1e3 * cpu_s / max(1, len(answers)), 1),
        "trim": trim,
        "turns": turns,
        "embedder_sha256": networks.embedder_sha256,
    }


def read_truth(path: Path) -> list[tuple[str, str]]:
    """Return (image, item id or `none`) of each photo."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["image"], row["item_id"]) for row in csv.DictReader(file)]


def score_answers(truth: Sequence[str], answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return counts and shares; truth: the item id of each photo, or `none`.

    top_1, top_5: of the photos with an item, by `ranked`. published_*: by `matches`, whose first
    is the surest. false_alarms: share of the photos without an item in which one was published.
    """
    with_item = [(t, a) for t, a in zip(truth, answers, strict=True) if t != NOTHING]
    without = [a for t, a in zip(truth, answers, strict=True) if t == NOTHING]
    ranked = [(t, [r["item_id"] for r in a.get("ranked", [])]) for t, a in with_item]
    published = [(t, [m["item_id"] for m in a.get("matches", [])]) for t, a in with_item]
    exact = [
        (t, m["item_id"])
        for t, a in zip(truth, answers, strict=True)
        for m in a.get("matches", [])
        if m["tier"] == "exact"
    ]
    n = max(1, len(with_item))
    n_alarms = sum(bool(answer.get("matches")) for answer in without)
    return {
        "n_photos": len(answers),
        "n_unreadable": sum("error" in answer for answer in answers),
        "n_with_item": len(with_item),
        "n_without": len(without),
        "top_1": round(sum(ids[:1] == [t] for t, ids in ranked) / n, 4),
        "top_5": round(sum(t in ids for t, ids in ranked) / n, 4),
        "published_right": round(sum(t in ids for t, ids in published) / n, 4),
        "published_wrong": round(sum(any(i != t for i in ids) for t, ids in published) / n, 4),
        "n_exact": len(exact),
        "exact_right": round(sum(t == i for t, i in exact) / max(1, len(exact)), 4),
        "false_alarms": round(n_alarms / max(1, len(without)), 4),
    }


def describe_machine() -> dict[str, Any]:
    """Return what the figures were measured on, without names of hosts or users."""
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
        "load_average": [round(n, 1) for n in os.getloadavg()],
    }


def main(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1)] = None,
    trim: bool = True,
    turns: bool = False,
    answers: Annotated[Path | None, typer.Option(help="Where to write each answer.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Of the networks; 0: all cores.")] = 0,
) -> None:
    """Build, query, compare with the truth; print the figures."""
    figures = evaluate_queries(
        data, limit=limit, trim=trim, turns=turns, threads=threads, answers_file=answers
    )
    text = json.dumps({**figures, **describe_machine()}, indent=1)
    print(text)
    if json_file is not None:
        json_file.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
