"""How far a long command is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]

LINE_EVERY_S = 10.0
LINE_AFTER_S = 2.0  # what is done sooner needs no line


@contextmanager
def show_progress(title: str, *, is_shown: bool = True) -> Iterator[Progress]:
    """Give a function (done, of all) that shows on stderr how far the work is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.progress import TimeRemainingColumn as Remaining

    from streamer.cli.terminal import say_aside

    console = Console(stderr=True)
    if not is_shown:
        yield lambda n_done, n_total: None
    elif not console.is_terminal:
        yield progress_lines(title, say_aside)
    else:
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), Remaining())
        # stdout stays itself: what a command prints there, as JSON for a pipe, is no progress.
        with Bar(*columns, console=console, transient=True, redirect_stdout=False) as bar:
            task = bar.add_task(title, total=None)
            yield lambda n_done, n_total: bar.update(task, completed=n_done, total=n_total)


def progress_lines(
    title: str, say: Callable[[str], None], now_s: Callable[[], float] = time.monotonic
) -> Progress:
    """Return a function (done, of all) that says a line every 10 s, and at every tenth of all
    where the last line is 2 s old; none about work that is over sooner, none at its end."""
    said_s, n_said = now_s(), 0

    def progress(n_done: int, n_total: int) -> None:
        nonlocal said_s, n_said
        since_s = now_s() - said_s
        is_tenth = since_s >= LINE_AFTER_S and (n_done - n_said) * 10 >= n_total
        if n_done < n_total and (is_tenth or since_s >= LINE_EVERY_S):
            said_s, n_said = now_s(), n_done
            say(f"{title}: {n_done} of {n_total} ({n_done / n_total:.0%})")

    return progress
