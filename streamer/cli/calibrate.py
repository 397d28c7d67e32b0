"""magpie catalog calibrate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.catalog_options import (
    AsJson,
    Config,
    Device,
    Directory,
    EngineName,
    read_matcher_options,
)
from streamer.cli.progress import show_progress
from streamer.cli.terminal import cells, say, say_json

if TYPE_CHECKING:
    from catalog_tools.evaluation.calibrate import CalibrationReport
    from catalog_tools.evaluation.samples import Sample


def calibrate(
    directory: Directory,
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of labelled photos (truth.csv: image,item_id) to learn from."),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(help="Pictures of other things: tar files or sub-folders; else made-up ones."),
    ] = None,
    count: Annotated[int, typer.Option(min=50, help="How many shots to make and ask.")] = 400,
    false_exact: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Wanted share of unlisted things told `exact`.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    plot: Annotated[Path | None, typer.Option(help="Reliability diagram, a PNG.")] = None,
    as_json: AsJson = False,
    config: Config = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Fit probabilities and tiers to a catalog, on shots of its pictures or on labelled photos."""
    from pipeline.writable import make_file_ready

    if plot is not None:
        make_file_ready(plot, "--plot", "choose another")
    options = read_matcher_options(config, None, engine, device)
    from catalog_tools.evaluation.calibrate import calibrate_catalog
    from pipeline.matcher import create_matcher

    matcher = create_matcher(options, {"calibrate": directory})
    samples, count = _samples(directory, photos, pool, count, seed)
    with show_progress("asking about shots") as progress:
        report = calibrate_catalog(
            directory, matcher, samples, count, false_exact=false_exact, progress=progress
        )
    if plot is not None:
        from catalog_tools.evaluation.reliability import draw_reliability

        draw_reliability(report, plot)
    if as_json:
        say_json(report.to_json())
    else:
        _print(report)


def _samples(
    directory: Path, photos: Path | None, pool: Path | None, count: int, seed: int
) -> tuple[Iterator[Sample], int]:
    from catalog_tools.evaluation.samples import draw_samples, read_samples, strangers
    from pipeline.catalog import Catalog

    catalog = Catalog.load(directory, None)
    if photos is not None:
        return read_samples(photos, [item.item_id for item in catalog.items])
    return draw_samples(catalog, strangers(pool), seed), count


def _print(report: CalibrationReport) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("on samples kept out", "before", "now"):
        table.add_column(heading, no_wrap=True)
    for name, value in report.after.items():
        before = f"{report.before[name]:.3f}"
        table.add_row(*cells(name.replace("_", " "), before, f"{value:.3f}"))
    Console().print(table)
    say(
        f"generation {report.generation}: {report.n_samples} samples; "
        f"exact from {report.calibration.exact}"
    )
