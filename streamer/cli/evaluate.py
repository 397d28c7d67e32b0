"""magpie catalog evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.catalog_options import (
    AsJson,
    Config,
    Device,
    Directory,
    Embedder,
    EngineName,
    Truth,
    read_matcher_options,
)
from streamer.cli.progress import show_progress
from streamer.cli.terminal import say, say_json, wide_console


def evaluate(
    directory: Directory,
    photos: Annotated[
        Path, typer.Argument(metavar="PHOTOS", help="The folder that the truth's photos lie in.")
    ],
    truth: Truth = None,
    out: Annotated[
        Path | None, typer.Option(help="Where figures, answers and pictures go; else the table.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=100, help="For top-k.")] = 5,
    leave_out: Annotated[
        bool, typer.Option("--leave-out/--no-leave-out", help="Also ask with the item hidden.")
    ] = True,
    as_json: AsJson = False,
    config: Config = None,
    embedder: Embedder = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Measure a catalog on labelled photos: top-1, tiers, false matches, leave-out."""
    from catalog_tools.evaluation.evaluate import check_labels, evaluate_catalog, read_truth
    from pipeline.catalog import Catalog
    from pipeline.writable import make_ready

    truth = truth or photos / "truth.csv"
    if out is not None:
        make_ready(out, "--out", "choose another")
    labels = read_truth(truth)
    item_ids = [item.item_id for item in Catalog.load(directory, None).items]
    check_labels(labels, item_ids, f"truth {truth}")  # before networks are loaded
    options = read_matcher_options(config, embedder, engine, device, at_least_k=k)
    from catalog_tools.evaluation.report import print_table, write_report
    from pipeline.matcher import create_matcher

    matcher = create_matcher(options, {"evaluate": directory})
    with show_progress("asking about photos") as progress:
        evaluation = evaluate_catalog(
            directory, photos, labels, matcher, k=k, leave_out=leave_out, progress=progress
        )
    files = [] if out is None else write_report(evaluation, matcher, out)
    if as_json:
        say_json(evaluation.figures)
        return
    print_table(evaluation.figures, wide_console())
    for path in files:
        say(path)
