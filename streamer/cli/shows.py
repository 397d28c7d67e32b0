"""magpie demo, and the group of `magpie bench`."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.bench import MAGPIE, bench_app

if TYPE_CHECKING:
    from streamer.publishing import Subscriber


def register(app: typer.Typer) -> None:
    """Add the commands that show Magpie at work."""
    app.command()(demo)
    app.add_typer(bench_app, name="bench")


def demo(
    out: Annotated[Path, typer.Option(help="Where clip, pictures and report go.")] = Path(
        "demo-output"
    ),
    fast: Annotated[bool, typer.Option("--fast", help="Only the first seconds of the clip.")] = (
        False
    ),
) -> None:
    """Build a catalog, watch a clip with the real daemon, check every event; exit 1 if one of the
    targets is missed."""
    from catalog_tools.demo.run import run_demo

    if not run_demo(out, MAGPIE, _subscribe, is_fast=fast):
        raise typer.Exit(1)


def _subscribe(endpoint: str, ask: str) -> "AbstractContextManager[Subscriber]":
    from streamer.publishing import Subscriber

    return Subscriber(endpoint, ask_endpoint=ask, since=0)
