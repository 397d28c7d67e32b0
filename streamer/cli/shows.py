"""magpie demo, bench."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamer.publishing import Subscriber

bench_app = typer.Typer(no_args_is_help=True, help="Measure Magpie on this machine.")

# How this very command line is started again as a process of its own.
MAGPIE = (sys.executable, "-c", "from streamer.cli import main; main()")


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


@bench_app.command("end-to-end")
def bench_end_to_end(
    out: Annotated[Path, typer.Option(help="Where JSON and histogram go.")] = Path("bench-output"),
    source: Annotated[
        str | None, typer.Option(help="As for `magpie run`; none: the demo's clip.")
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="None: the demo's catalog.")] = None,
    cameras: Annotated[int, typer.Option(min=1, max=64, help="The source so many times.")] = 1,
    realtime: Annotated[bool, typer.Option(help="Files at their own pace.")] = True,
) -> None:
    """Fps, skips and drops by cause, latency by stage, CPU and memory of each process."""
    from benchmarks.bench_end_to_end import run_benchmark

    run_benchmark(out, MAGPIE, source, catalog, n_cameras=cameras, is_realtime=realtime)


@bench_app.command("publish")
def bench_publish(
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("bench-output"),
    seconds: Annotated[float, typer.Option(min=1, help="How long at each rate.")] = 5.0,
) -> None:
    """How long an event takes from the matcher to a subscriber, at 10, 100 and 1000 a second."""
    from benchmarks.bench_publish import run_benchmark
    from streamer.cli.terminal import say

    say(run_benchmark(out, seconds))
