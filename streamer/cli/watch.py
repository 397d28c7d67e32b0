"""magpie watch: the events of a running daemon, as a live table or as JSON lines."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import WorkerError
from pipeline.printable import json_text
from streamer.cli.terminal import say, say_aside
from streamer.publishing.options import DEFAULT_ENDPOINT

if TYPE_CHECKING:
    from streamer.publishing import Subscriber

_LOOK_S = 0.25  # how often the table is drawn and a silent daemon noticed


def register(app: typer.Typer) -> None:
    """Add `magpie watch` to the application."""
    app.command("watch")(watch)


def watch(
    endpoint: Annotated[str, typer.Option(help="Where the daemon publishes.")] = DEFAULT_ENDPOINT,
    since: Annotated[
        int | None,
        typer.Option(help="First the journal's events after this number; 0: all it holds."),
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Only this camera's events.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line an event.")] = False,
    only_matches: Annotated[
        bool, typer.Option("--matches", help="Leave the workers' states out.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="End when no event comes for so many seconds.")
    ] = None,
    ask: Annotated[
        str | None, typer.Option(help="The ask socket, if it is not the port after.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="Folder with server.key (and client.key_secret).")
    ] = None,
) -> None:
    """Show the events of a running daemon, in order, each once, none missing.

    On a terminal: a live table of the open sightings. With --json, or where the output is no
    terminal: a line an event. Ends with ctrl-C, after --count events, or after --timeout.
    """
    from streamer.publishing import Subscriber

    with (
        contextlib.suppress(KeyboardInterrupt),
        Subscriber(endpoint, since=since, camera=camera, ask_endpoint=ask, keys=keys) as events,
    ):
        stream = _stream(events, endpoint, count, timeout, only_matches, _stop_on_interrupt())
        try:
            if as_json:
                _print_lines(stream, json_text)
            elif sys.stdout.isatty():
                _show_table(stream, events, endpoint)
            else:
                _print_lines(stream, _line)
        except BrokenPipeError:  # the reader of our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop_on_interrupt() -> threading.Event:
    """Return what ctrl-C sets; a second ctrl-C interrupts at once.

    A KeyboardInterrupt that strikes inside a destructor or a callback of zmq is lost, and the
    watcher would watch on.
    """
    stop = threading.Event()

    def interrupted(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, interrupted)
    return stop


def _stream(
    events: Subscriber,
    endpoint: str,
    count: int | None,
    timeout_s: float | None,
    only_matches: bool,
    stop: threading.Event,
) -> Iterator[dict[str, Any] | None]:
    """Yield events, and None every so often when none comes.

    Raises WorkerError when time is up and no daemon was heard, or fewer than `count` came.
    """
    n_seen = 0
    last_s = time.monotonic()
    has_told = False
    while not stop.is_set() and (count is None or n_seen < count):
        wait_s = _LOOK_S
        if timeout_s is not None:
            wait_s = min(wait_s, max(0.0, last_s + timeout_s - time.monotonic()))
        event = events.receive_dict(wait_s)
        if event is not None:
            last_s = time.monotonic()
            if only_matches and event["type"] == "status":
                continue
            n_seen += 1
            yield event
            continue
        if events.is_silent and not has_told and not sys.stdout.isatty():
            say_aside(f"magpie: nothing from {endpoint}; waiting for a daemon")
        has_told = events.is_silent
        if timeout_s is not None and time.monotonic() - last_s >= timeout_s:
            _say_timeout(events, endpoint, timeout_s, n_seen, count)
            return
        yield None


def _say_timeout(
    events: Subscriber, endpoint: str, timeout_s: float, n_seen: int, count: int | None
) -> None:
    """Raise WorkerError unless the daemon is there and no number of events was asked for."""
    if events.last_seq is None:
        rule = f"a daemon must answer within {timeout_s:g} s"
        remedy = "start one with magpie run, or give its --endpoint"
        raise WorkerError.at(f"watch {endpoint}", rule, "nothing", remedy)
    if count is not None:
        rule = f"expected {count} events, none more came within {timeout_s:g} s"
        raise WorkerError.at(f"watch {endpoint}", rule, n_seen, "give a longer --timeout")


def _print_lines(
    stream: Iterator[dict[str, Any] | None], text_of: Callable[[dict[str, Any]], str]
) -> None:
    for event in stream:
        if event is not None:
            say(text_of(event))


def _line(event: dict[str, Any]) -> str:
    """One event for a human eye."""
    clock = _clock(event["time"]["published"])
    reason = f" ({event['reason']})" if event["reason"] else ""
    if event["type"] == "status":
        return f"{clock} {event['seq']:>7} {event['process']} {event['state']}{reason}"
    return (
        f"{clock} {event['seq']:>7} {event['camera']} {event['type']} {event['label']}"
        f" [{event['item_id']}] {event['tier']} p={event['probability']:.3f}{reason}"
    )


def _clock(published: str) -> str:
    """The time of day, in the reader's own zone."""
    return datetime.fromisoformat(published).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _show_table(stream: Iterator[dict[str, Any] | None], events: Subscriber, endpoint: str) -> None:
    from rich.live import Live

    from streamer.cli.watch_table import WatchTable

    table = WatchTable(endpoint, events.state())
    with Live(table.draw(is_silent=False), refresh_per_second=4) as live:
        for event in stream:
            if event is not None:
                table.take(event)
            if event is None or table.is_due():
                live.update(table.draw(events.is_silent))
        live.update(table.draw(events.is_silent))
