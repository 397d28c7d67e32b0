"""magpie catalog build, add, remove, list, rollback, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.options import MatcherOptions
from streamer.cli.catalog_options import (
    AsJson,
    Config,
    Device,
    Directory,
    Embedder,
    EngineName,
    read_matcher_options,
)
from streamer.cli.clip_reader import load_clip_reader
from streamer.cli.progress import show_progress
from streamer.cli.terminal import say, say_aside, say_json, show_table

if TYPE_CHECKING:
    from catalog_tools.build import BuildReport
    from catalog_tools.images import Left
    from catalog_tools.networks import Networks

app = typer.Typer(no_args_is_help=True, help="Build and ask catalogs.")

Images = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGES",
        help="A folder with a sub-folder an item, a folder of pictures or clips (the stem is the "
        "item id), a CSV with the columns item_id,label,image, or a clip of one item.",
    ),
]

POOREST_SHOWN = 10  # references whose scores are shown


@app.command()
def build(
    images: Images,
    out: Annotated[Path, typer.Option("--out", help="The catalog's directory.")],
    turns: Annotated[
        bool, typer.Option("--turns", help="Add views turned by 90, 180 and 270 degrees.")
    ] = False,
    trim: Annotated[
        bool, typer.Option("--trim/--no-trim", help="Cut plain margins around the item off.")
    ] = True,
    originals: Annotated[
        bool,
        typer.Option("--originals/--no-originals", help="Keep pictures for `catalog rebuild`."),
    ] = True,
    config: Config = None,
    embedder: Embedder = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Build a catalog, or build an existing one anew; goes on where a killed build ended."""
    from catalog_tools.build import build_catalog
    from catalog_tools.images import find_images

    found = find_images(images)  # a mistake in IMAGES is told before networks are loaded
    options = read_matcher_options(config, embedder, engine, device)
    networks, clips = _load_networks(options), load_clip_reader(options, found.sources)
    with show_progress("describing pictures") as progress:
        report = build_catalog(
            images,
            out,
            networks,
            turns=turns,
            trim=trim,
            keep_originals=originals,
            clips=clips,
            progress=progress,
        )
    _print_report(report)


@app.command()
def add(
    directory: Directory,
    images: Images,
    config: Config = None,
    embedder: Embedder = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Add items, or pictures of known items, to a catalog."""
    from catalog_tools.build import add_to_catalog
    from catalog_tools.images import find_images
    from pipeline.catalog_format import current_generation

    current_generation(directory)
    found = find_images(images)
    options = read_matcher_options(config, embedder, engine, device)
    networks, clips = _load_networks(options), load_clip_reader(options, found.sources)
    with show_progress("describing pictures") as progress:
        report = add_to_catalog(directory, images, networks, clips=clips, progress=progress)
    _print_report(report)


@app.command()
def remove(
    directory: Directory,
    item_ids: Annotated[list[str], typer.Argument(metavar="ITEM_ID...")],
) -> None:
    """Remove items from a catalog."""
    from catalog_tools.changes import remove_from_catalog

    generation = remove_from_catalog(directory, item_ids)
    say(f"{directory}: {len(set(item_ids))} items removed, generation {generation} in use")


@app.command(name="list")
def list_items(
    directory: Directory,
    generations: Annotated[
        bool, typer.Option("--generations", help="List the generations on disk instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the items of a catalog, or its generations; with --json one line each."""
    from catalog_tools.listing import list_catalog_generations, list_catalog_items

    rows = list_catalog_generations(directory) if generations else list_catalog_items(directory)
    if as_json:
        for row in rows:
            say_json(row)
    else:
        show_table(list(rows[0]), [list(row.values()) for row in rows])


@app.command()
def rollback(
    directory: Directory,
    generation: Annotated[
        int | None, typer.Argument(metavar="[N]", help="The one before, when left out.")
    ] = None,
) -> None:
    """Switch back to an earlier generation; a running daemon follows."""
    from catalog_tools.listing import roll_back

    say(f"{directory}: generation {roll_back(directory, generation)} in use")


@app.command()
def check(
    directory: Directory,
    as_json: AsJson = False,
    config: Config = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Compare a catalog's files with their hashes, score its pictures, name those that will match
    poorly.
    """
    from catalog_tools.check import check_catalog
    from pipeline.catalog_format import current_generation

    current_generation(directory)
    options = read_matcher_options(config, None, engine, device)
    from pipeline.color import frame_from_bgr
    from pipeline.detect import load_detector

    detector = load_detector(options.engine, options.detect)
    with show_progress("checking pictures") as progress:
        report = check_catalog(
            directory, progress, lambda picture: detector.detect([frame_from_bgr(picture)])[0]
        )
    if as_json:
        for damaged in report.damaged:
            say_json({"kind": "damaged", "text": damaged})
        for finding in report.findings:
            say_json({name: getattr(finding, name) for name in finding.__slots__})
        for quality in report.qualities:
            say_json({"kind": "score", "score": quality.score, **asdict(quality)})
    elif report.findings:
        rows = [[f.item_id, f.image, f.kind, f.text] for f in report.findings]
        show_table(["item_id", "image", "kind", "what"], rows)
    if report.damaged:
        from pipeline.catalog_format import damaged as damaged_error

        raise damaged_error(directory, "; ".join(report.damaged))
    if not as_json:
        scores = [quality.score for quality in report.qualities]
        rows = [[q.item_id, q.image, f"{q.score:.2f}"] for q in report.qualities[:POOREST_SHOWN]]
        show_table(["item_id", "image", "score"], rows)
        say(
            f"{directory}: files whole, {len(report.findings)} findings; scores of "
            f"{len(scores)} references {min(scores, default=0):.2f} to {max(scores, default=0):.2f}"
        )


def _load_networks(options: MatcherOptions) -> Networks:
    from catalog_tools.networks import load_networks

    return load_networks(options.engine, options.embed, options.verify)


def _print_report(report: BuildReport) -> None:
    _print_left_out(report.left_out)
    for item_id in report.empty_items:
        say_aside(f"item {item_id!r}: none of its pictures is usable, left out")
    for pair in report.same_pictures:
        say_aside(
            f"items {pair.item_id!r} and {pair.other_id!r}: {pair.image} and {pair.other_image} "
            "show the same, neither will be told as exact; keep one item, or show what differs"
        )
    say(
        f"{report.directory}: {report.n_items} items, {report.n_pictures} pictures, "
        f"{len(report.left_out)} files left out, generation {report.generation} in use"
    )


def _print_left_out(left_out: Sequence[Left]) -> None:
    for left in left_out:
        say_aside(f"left out: {left.place}: {left.reason}")
