"""The one way out to the terminal: whatever a label, a file or a camera says, it steers nothing.

Every command prints through these, so that no door is forgotten.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.printable import json_text, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_PIPE_COLUMNS = 160  # a pipe has no width; rich's default of 80 would cut names


def say(*lines: object) -> None:
    """Print each as one line, at once; a line break in a name makes no second one."""
    for line in lines:
        print(printable(str(line)), flush=True)


def say_aside(*lines: object) -> None:
    """Print each as one line to stderr: what is no result."""
    for line in lines:
        print(printable(str(line)), file=sys.stderr, flush=True)


def say_json(value: Any) -> None:
    """Print one line of JSON."""
    print(json_text(value), flush=True)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a table with a frame."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=Text(printable(title)) if title else None, title_justify="left")
    for row in rows:
        table.add_row(*cells(*row))
    wide_console().print(table)


def cells(*values: object) -> list[Text]:
    """Return a table's cells: an item id is no markup either."""
    from rich.text import Text

    return [Text(printable(str(value))) for value in values]


def wide_console() -> Console:
    """Return the console for stdout, wide enough for names in a pipe too."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_COLUMNS
    return console


def take_any_text() -> None:
    """Let stdout escape what its encoding lacks, as stderr does, instead of ending the command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
