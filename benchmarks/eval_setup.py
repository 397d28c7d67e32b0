"""What the evaluations share: where the data lies, parts of it, a catalog built for the moment."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

import pipeline.offline  # noqa: F401  (before anything heavy)
from benchmarks.harness import write_result
from benchmarks.splits import Split
from pipeline.errors import ConfigError, MagpieError
from pipeline.options import EngineOptions, MatcherOptions
from streamer.cli.progress import Progress, progress_lines

ROOT = Path(__file__).resolve().parent.parent

Row = TypeVar("Row")
CLIP_CAMERA = "clip"

Data = Annotated[Path | None, typer.Option(help="The set's folder; none: in the shared data.")]
Out = Annotated[Path, typer.Option(help="Where the JSON goes.")]
Every = Annotated[int, typer.Option(min=1, help="Only every N-th.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many, evenly taken.")]
Part = Annotated[
    Split, typer.Option("--split", help="dev: to choose by; check: to confirm by, once; all.")
]
Threads = Annotated[int, typer.Option(min=0, help="Of the networks; 0: all cores.")]
OUT = Path("bench-output")


def find_data(name: str, given: Path | None = None) -> Path:
    """Return the folder of an evaluation set; ConfigError when it is not there.

    given: as the user named it; else `eval/<name>` in MAGPIE_SHARED_DATA or ../shared/data.
    """
    shared = Path(os.environ.get("MAGPIE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    folder = given or shared / "eval" / name
    if not folder.is_dir():
        remedy = "name it by --data FOLDER, or set MAGPIE_SHARED_DATA"
        raise ConfigError.at(f"data set {name!r}", "no such folder", folder.name, remedy)
    return folder


def take(rows: Sequence[Row], every: int = 1, limit: int | None = None) -> list[Row]:
    """Return each `every`th row, and of these at most `limit`, evenly over all of them."""
    rows = list(rows[::every])
    if limit is None or limit >= len(rows):
        return rows
    return [rows[i * len(rows) // limit] for i in range(limit)]


def told(rows: Sequence[Row], what: str) -> Iterator[Row]:
    """Give the rows, and say on stderr now and then how far they are."""
    progress = say_progress(what)
    for number, row in enumerate(rows):
        progress(number, len(rows))
        yield row


def say_progress(what: str) -> Progress:
    """Return a function that says on stderr now and then how much of all is done."""
    return progress_lines(what, lambda line: print(line, file=sys.stderr, flush=True))


def options_of(threads: int) -> MatcherOptions:
    """Return the default settings with so many threads."""
    return MatcherOptions(engine=EngineOptions(threads=threads))


@dataclass(frozen=True, slots=True)
class Built:
    """A catalog that was built for one evaluation, and a matcher that searches it.

    matcher: a pipeline.matcher.Matcher; its one camera is CLIP_CAMERA.
    """

    directory: Path
    matcher: Any
    n_items: int
    build_s: float


@contextmanager
def built_catalog(
    images: Path, options: MatcherOptions, *, trim: bool = True, turns: bool = False
) -> Iterator[Built]:
    """Give a temporary catalog of these pictures with its matcher."""
    from catalog_tools.build import build_catalog
    from catalog_tools.networks import load_networks
    from pipeline.matcher import create_matcher

    with tempfile.TemporaryDirectory(prefix="magpie-eval-") as folder:
        directory = Path(folder) / "catalog"
        start_s = time.perf_counter()
        networks = load_networks(options.engine, options.embed, options.verify)
        report = build_catalog(images, directory, networks, trim=trim, turns=turns)
        build_s = round(time.perf_counter() - start_s, 2)
        for left in report.left_out:
            print(f"not in the catalog: {left.place}: {left.reason}", file=sys.stderr)
        matcher = create_matcher(options, {CLIP_CAMERA: directory})
        yield Built(directory, matcher, report.n_items, build_s)


def finish(
    out: Path,
    name: str,
    config: Mapping[str, Any],
    figures: Mapping[str, Any],
    rows: Iterable[Sequence[str]],
) -> Path:
    """Print the rows (what, figure, of) and write the JSON; return its path."""
    table = Table("what", "figure", "of")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a pipe has no width; the default of 80 would break the lines
    console.print(table)
    path = write_result(out, name, config, figures)
    print(path)
    return path


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def share(part: int, whole: int) -> float:
    """Return part / whole; 0 of nothing."""
    return round(part / whole, 4) if whole else 0.0


def run_command(main: Callable[..., None]) -> None:
    """Run a script's command; a user's mistake ends in one sentence."""
    try:
        typer.run(main)
    except MagpieError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
