"""magpie catalog query."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import ConfigError
from streamer.cli.catalog_options import (
    AsJson,
    Config,
    Device,
    Directory,
    Embedder,
    EngineName,
    read_matcher_options,
)
from streamer.cli.progress import show_progress
from streamer.cli.terminal import say_aside, say_json, show_table

if TYPE_CHECKING:
    from catalog_tools.query import Answer


def query(
    directory: Directory,
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE...", help="Files, or https:// and s3:// addresses."),
    ] = None,
    images_from: Annotated[
        str | None,
        typer.Option("--images-from", metavar="FILE|-", help="Pictures, one a line; - is stdin."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Length of `ranked`.")] = 5,
    min_probability: Annotated[
        float, typer.Option(min=0, max=1, help="What is less likely is left out.")
    ] = 0.0,
    one_per_item: Annotated[
        bool, typer.Option("--one-per-item", help="Of each item the first match only.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
    embedder: Embedder = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Name the items in pictures; with --json one line a picture, in the given order."""
    from pipeline.catalog_format import current_generation
    from streamer.config_file import read_config

    current_generation(directory)
    names = [*(images or []), *_read_names(images_from)]
    if not names:
        raise ConfigError.at("IMAGE", "at least one picture must be named", 0)
    options = read_matcher_options(config, embedder, engine, device, at_least_k=k)
    from catalog_tools.fetch import Fetcher
    from catalog_tools.query import Wishes, query_pictures
    from pipeline.matcher import create_matcher

    fetch = Fetcher(read_config(config).query.fetch).fetch
    matcher = create_matcher(options, {"query": directory})
    n_usable = 0
    wishes = Wishes(k, min_probability, one_per_item)
    answers = query_pictures(names, matcher.catalogs["query"], matcher, wishes, fetch)
    # On a terminal the answers themselves tell how far it is.
    with show_progress("asking about pictures", is_shown=not sys.stdout.isatty()) as progress:
        for n_done, answer in enumerate(answers, 1):
            n_usable += answer.error is None
            if as_json:
                say_json(answer.to_json())
            else:
                _print_answer(answer)
            progress(n_done, len(names))
    if n_usable == 0:
        rule = f"at least one picture must be readable, got none of {len(names)}"
        raise ConfigError.at("IMAGE", rule)


def _read_names(images_from: str | None) -> list[str]:
    if images_from is None:
        return []
    try:
        if images_from == "-":
            lines = sys.stdin.read().splitlines()
        else:
            text = Path(images_from).read_text("utf-8", "surrogateescape")
            lines = text.splitlines()
    except OSError as error:
        raise ConfigError.at("--images-from", f"{error.strerror}", images_from) from None
    return [line for line in lines if line]


def _print_answer(answer: Answer) -> None:
    if answer.error is not None:
        say_aside(f"{answer.image}: {answer.error}")
        return
    rows = [
        [m["tier"], m["item_id"], m["label"], f"{m['probability']:.3f}", str(m["inliers"])]
        for m in answer.matches
    ]
    rows += [["(ranked)", r["item_id"], "", f"{r['probability']:.3f}", ""] for r in answer.ranked]
    show_table(["tier", "item", "label", "probability", "inliers"], rows, title=answer.image)
