"""magpie weights list, pull, verify; magpie train embedder, detector, matcher."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.errors import WeightsError

if TYPE_CHECKING:
    from catalog_tools.weights import WeightsEntry, WeightsState

weights_app = typer.Typer(no_args_is_help=True, help="The networks' weights.")
train_app = typer.Typer(no_args_is_help=True, help="Train the networks.")

_POOL = typer.Option(..., "--pool", help="folder of training pictures: tar files or sub-folders")
_OUT = typer.Option(..., "--out", help="folder for checkpoint, curve and the exported weights")
_MINUTES = typer.Option(..., "--minutes", min=0.01, help="wall time, resumed parts together")
_SEED = typer.Option(0, "--seed", min=0)
_THREADS = typer.Option(2, "--threads", min=1)
_START = typer.Option(None, "--start", help="weights to begin with instead of random ones")
_RESUME = typer.Option(True, "--resume/--fresh", help="go on from the checkpoint in --out")


def _chosen(names: list[str]) -> "list[WeightsEntry]":
    from catalog_tools.weights import find_entry, read_manifest

    entries = read_manifest()
    return [find_entry(name, entries) for name in names] if names else entries


@weights_app.command("list")
def list_weights(as_json: bool = typer.Option(False, "--json", help="one JSON line each")) -> None:
    """Show what weights there are, where they lie, what they expect and their licences."""
    from rich.console import Console
    from rich.table import Table

    from catalog_tools.weights import locate

    entries = _chosen([])
    if as_json:
        for entry in entries:
            path = locate(entry)
            print(json.dumps({**entry.model_dump(), "path": str(path) if path else None}))
        return
    table = Table(box=None, header_style="bold")
    for heading in ("name", "kind", "input", "licence", "MB", "where"):
        table.add_column(heading, no_wrap=True)
    for entry in entries:
        path = locate(entry)
        size = f"{path.stat().st_size / 1e6:.1f}" if path else ""
        width, height = entry.input_size_wh
        side = f"{width}x{height}" if width else "any"
        where = _place_of(path) if path else "missing" if entry.shipped else "to pull"
        table.add_row(entry.name, entry.kind, side, entry.licence, size, where)
    Console().print(table)


def _place_of(path: Path) -> str:
    from pipeline.weights import SHIPPED_DIR, cache_dir

    places = {SHIPPED_DIR: "shipped", cache_dir() / "weights": "cache"}
    return places.get(path.parent, str(path.parent))


@weights_app.command("verify")
def verify_weights(
    names: list[str] = typer.Argument(None, help="none: all that are here"),
    record: bool = typer.Option(
        False, "--record", help="first write the shipped files' hashes into the manifest"
    ),
) -> None:
    """Check the files' hashes; exit 2 when a shipped or named file is missing or not itself."""
    from catalog_tools.weights import record_shipped_hashes, verify

    if record:
        print("recorded:", ", ".join(record_shipped_hashes()) or "nothing is shipped")
    states = [verify(entry) for entry in _chosen(names or [])]
    for state in states:
        where = f"  {state.path}" if state.path else ""
        print(f"{state.entry.name:24} {state.state}{where}")
    named = set(names or [])
    bad = [s for s in states if s.is_bad or (s.state == "not here" and s.entry.name in named)]
    if bad:
        raise _verification_error(bad)


def _verification_error(bad: "list[WeightsState]") -> Exception:
    listed = ", ".join(f"{state.entry.name}: {state.state}" for state in bad)
    remedy = "restore shipped files: git checkout weights; pull others: magpie weights pull NAME"
    return WeightsError.at("weights", "expected whole files", listed, remedy)


@weights_app.command("pull")
def pull_weights(
    names: list[str] = typer.Argument(..., help="as `magpie weights list` shows them"),
    mirror: str = typer.Option("", "--from", help="URL prefix to fetch from instead"),
    trust_first_download: bool = typer.Option(
        False, help="accept files whose hash the manifest doesn't know, and record it"
    ),
) -> None:
    """Download weights into the cache; goes on where an earlier pull broke off."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    from catalog_tools.weights import pull

    for entry in _chosen(names):
        columns = (TextColumn(entry.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task(entry.name, total=None)

            def show(
                done: int, whole: int | None, bar: Progress = bar, task: object = task
            ) -> None:
                bar.update(task, completed=done, total=whole)  # type: ignore[arg-type]

            path = pull(entry, mirror, trust_first_download, show)
        print(path)


@train_app.command("embedder")
def train_embedder_command(
    pool: Path = _POOL,
    out: Path = _OUT,
    minutes: float = _MINUTES,
    seed: int = _SEED,
    threads: int = _THREADS,
    resume: bool = _RESUME,
    start: Path | None = _START,
) -> None:
    """Train the embedder and print the path of its weights."""
    from catalog_tools.train_embedder import train_embedder

    print(
        train_embedder(pool, out, minutes, seed=seed, threads=threads, resume=resume, start=start)
    )


@train_app.command("detector")
def train_detector_command(
    pool: Path = _POOL,
    out: Path = _OUT,
    minutes: float = _MINUTES,
    seed: int = _SEED,
    threads: int = _THREADS,
    resume: bool = _RESUME,
    start: Path | None = _START,
) -> None:
    """Train the detector and print the path of its weights."""
    from catalog_tools.train_detector import train_detector

    print(
        train_detector(pool, out, minutes, seed=seed, threads=threads, resume=resume, start=start)
    )


@train_app.command("matcher")
def train_matcher_command(
    pool: Path = _POOL,
    out: Path = _OUT,
    minutes: float = _MINUTES,
    seed: int = _SEED,
    threads: int = _THREADS,
    resume: bool = _RESUME,
    start: Path | None = _START,
) -> None:
    """Train the matcher of keypoints (LightGlue) and print the path of its weights."""
    from catalog_tools.train_matcher import train_matcher

    print(train_matcher(pool, out, minutes, seed=seed, threads=threads, resume=resume, start=start))
