"""An evaluation for people: a table, and a folder with its figures, answers and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from catalog_tools.evaluation.evaluate import NOTHING, CatalogMatcher, Evaluation
from catalog_tools.evaluation.pictures import (
    draw_confusions,
    draw_curves,
    draw_reliability,
    find_confusions,
)
from catalog_tools.evaluation.scores import Photo
from pipeline.picture_file import write_result
from pipeline.printable import json_text
from pipeline.writable import make_ready


def write_report(evaluation: Evaluation, matcher: CatalogMatcher, out: Path) -> list[Path]:
    """Write all that an evaluation gives into a folder; return the files.

    evaluation.json: the figures. photos.jsonl, left_out.jsonl: each photo's truth and answer.
    curves.png, reliability.png; confusion.png, left_out.png: the worst wrong answers, if any.
    ConfigError when one cannot be written.
    """
    make_ready(out, "--out", "choose another")
    figures = out / "evaluation.json"
    text = json_text(evaluation.figures, indent=1) + "\n"
    write_result(figures, text.encode(), "--out")
    files = [figures, _write_photos(out / "photos.jsonl", evaluation.photos)]
    if evaluation.left_out:
        files.append(_write_photos(out / "left_out.jsonl", evaluation.left_out))
    draw_curves(evaluation.figures, out / "curves.png")
    draw_reliability(evaluation.figures, out / "reliability.png")
    files += [out / "curves.png", out / "reliability.png"]
    wrong = {
        "confusion.png": find_confusions(evaluation.photos),
        "left_out.png": [c for c in find_confusions(evaluation.left_out) if c.tier is not None],
    }
    for name, confusions in wrong.items():
        if draw_confusions(confusions, evaluation, matcher, out / name):
            files.append(out / name)
    return files


def _write_photos(path: Path, photos: tuple[Photo, ...]) -> Path:
    lines = []
    for photo in photos:
        line = {"truth": photo.label.item_id or NOTHING, **photo.answer.to_json()}
        line |= {"image": photo.label.image, "size_wh": photo.answer.size_wh}
        lines.append(json_text(line) + "\n")
    write_result(path, "".join(lines).encode(), "--out")
    return path


def print_table(figures: Mapping[str, Any], console: Console) -> None:
    """Print the figures as a table: what, the figure, what it is made of."""
    table = Table("what", "figure", "of")
    for row in table_rows(figures):
        table.add_row(*row)
    console.print(table)


def table_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    search, without = figures["search"], figures["without_item"]
    n_with, k = f"{figures['n_with_item']} photos", search["k"]
    rows = [
        ("top-1", _percent(figures["top_1"]), n_with),
        (f"top-{figures['k']}", _percent(figures["top_k"]), n_with),
        ("embedder alone, recall@1", _percent(search["embedder_recall_1"]), n_with),
        (f"embedder alone, recall@{k}", _percent(search["embedder_recall_k"]), n_with),
        (f"shortlist, recall@{k}", _percent(search["shortlist_recall_k"]), n_with),
    ]
    for tier, found in figures["tiers"].items():
        name = tier if tier == "exact" else f"{tier} and better"
        precision, recall = _percent(found["precision"]), _percent(found["recall"])
        told = f"{found['n_right']} right, {found['n_wrong']} wrong at the centre"
        rows.append((name, f"{precision} at {recall}", f"{told}; {found['n_elsewhere']} elsewhere"))
    for least, recall in figures["recall_at_precision"].items():
        rows.append((f"recall at precision {least}", _percent(recall), n_with))
    if without["n_photos"]:
        n_without = f"{without['n_photos']} photos of nothing known"
        rows.append(("false exact", str(without["exact"]), n_without))
        shown = f"{n_without}, {without['photos_with_published']} of them with one"
        rows.append(("false at any tier", str(without["published"]), shown))
    if "leave_out" in figures:
        left = figures["leave_out"]
        shown = f"{left['n_photos']} photos of items that were hidden"
        for name in ("exact", "published"):
            figure = f"{left[f'false_{name}']} ({_percent(left[f'false_{name}_share'])})"
            rows.append((f"leave-out, false {name}", figure, shown))
    error = figures["calibration_error"]
    if error["published"] is not None:
        rows.append(("calibration error", f"{error['published']:.3f}", "published at the centre"))
    if figures["n_unreadable"]:
        rows.append(("unreadable", str(figures["n_unreadable"]), "counted as not found"))
    return rows


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
