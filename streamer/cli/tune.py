"""magpie catalog tune."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog_tools.train.options import EmbedderOptions, check_options
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
from streamer.cli.terminal import say, say_aside, say_json, wide_console

if TYPE_CHECKING:
    from catalog_tools.tune.candidates import Means


def tune(
    directory: Directory,
    photos: Annotated[
        Path, typer.Option(help="Folder of labelled photos (truth.csv: image,item_id).")
    ],
    truth: Truth = None,
    minutes: Annotated[float, typer.Option(help="Of training, at most; the rest is extra.")] = 8.0,
    out: Annotated[
        Path | None, typer.Option(help="For new weights and the result (none: DIR-tuned).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the training.")] = 0,
    as_json: AsJson = False,
    config: Config = None,
    embedder: Embedder = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Fit a catalog to your photos: new weights and probabilities, kept only if they are better."""
    from pipeline.writable import make_ready

    options = read_matcher_options(config, embedder, engine, device)
    from catalog_tools.tune.tune import read_photos, tune_catalog
    from pipeline.catalog import Catalog
    from pipeline.weights import find_weights

    labelled = read_photos(photos, truth or photos / "truth.csv", Catalog.load(directory, None))
    whole = directory.resolve()
    out = out or whole.with_name(f"{whole.name}-tuned")
    training = check_options(
        EmbedderOptions,
        out=out,
        minutes=minutes,
        catalog=directory,
        start=find_weights("embedder", options.embed.weights),
        seed=seed,
        device=options.engine.device,
    )
    make_ready(out, "--out", "choose another")
    tuning = tune_catalog(directory, labelled, options, training, out, _means())
    from catalog_tools.tune.report import print_page, write_report

    files = write_report(tuning, out)
    if as_json:
        say_json(tuning.to_json())
        return
    print_page(tuning, wide_console(), config)
    for path in files:
        say(path)


def _means() -> Means:
    from catalog_tools.tune.candidates import Means
    from pipeline.matcher import Matcher, create_matcher
    from pipeline.options import MatcherOptions

    def make_matcher(options: MatcherOptions) -> Matcher:
        return create_matcher(options, {})

    def fit(training: EmbedderOptions) -> Path | None:
        from catalog_tools.train.embedder import train_embedder

        say_aside(f"fitting the embedder: {training.minutes:g} minutes")
        with contextlib.redirect_stdout(sys.stderr):  # its lines are no result
            return train_embedder(training)

    return Means(make_matcher, fit, show_progress)
