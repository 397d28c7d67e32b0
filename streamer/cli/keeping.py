"""magpie catalog rebuild, duplicates, label: keeping a catalog that is there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

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
from streamer.cli.terminal import say, say_aside, say_json, show_table


def rebuild(
    directory: Directory,
    config: Config = None,
    embedder: Embedder = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Build a catalog anew from its own originals, with other weights or keypoints."""
    from catalog_tools.networks import load_networks
    from catalog_tools.rebuild import rebuild_catalog
    from pipeline.catalog_format import current_generation

    current_generation(directory)
    options = read_matcher_options(config, embedder, engine, device)
    networks = load_networks(options.engine, options.embed, options.verify)
    with show_progress("describing pictures") as progress:
        report = rebuild_catalog(directory, networks, progress=progress)
    if report.n_from_small:
        say_aside(
            f"{report.n_from_small} pictures have no original here and were described from the "
            "small ones that are stored"
        )
    say(f"{directory}: {report.n_pictures} pictures, generation {report.generation} in use")


def duplicates(directory: Directory, as_json: AsJson = False) -> None:
    """List the pictures that may be in a catalog twice; with --json one line a pair."""
    from catalog_tools.duplicates import find_duplicates

    with show_progress("comparing pictures") as progress:
        pairs = find_duplicates(directory, progress)
    if as_json:
        for pair in pairs:
            say_json(asdict(pair))
        return
    rows = [
        [p.one.item_id, p.one.image, p.other.item_id, p.other.image, f"{p.similarity:.2f}"]
        for p in pairs
    ]
    show_table(["item_id", "image", "item_id", "image", "similarity"], rows)
    say(f"{directory}: {len(pairs)} pairs")


def label(
    directory: Directory,
    item_id: Annotated[str, typer.Argument(metavar="ITEM_ID")],
    text: Annotated[str, typer.Argument(metavar="LABEL")],
) -> None:
    """Give an item another label."""
    from catalog_tools.changes import label_item

    say(f"{directory}: generation {label_item(directory, item_id, text)} in use")
