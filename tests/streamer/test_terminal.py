"""The doors to the terminal: whatever a daemon, a file or a label says, it steers nothing."""

import ast
import io
import logging
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.errors import ConfigError
from pipeline.printable import printable
from streamer.cli.summary_table import print_summary
from streamer.cli.terminal import say, say_aside, show_table, take_any_text
from streamer.cli.watch import _line
from streamer.cli.watch_table import WatchTable
from streamer.reporting import Log, configure_logging

ROOT = Path(__file__).resolve().parents[2]
OTHER_DOORS = ("print", "sys.stdout.write", "sys.stderr.write", "typer.echo")
EVIL = "\x1b[2J\x9b31m\x07\u202e" + os.fsdecode(b"caf\xe9")


def test_commands_print_through_the_one_door() -> None:
    files = sorted((ROOT / "streamer" / "cli").glob("*.py"))
    assert len(files) > 10
    strays = [
        f"{path.name}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if path.name != "terminal.py"
        and isinstance(node, ast.Call)
        and ast.unparse(node.func)
        in ("print", "sys.stdout.write", "sys.stderr.write", "typer.echo")
    ]
    assert not strays


def test_lines_and_tables_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL, "two\nlines")
    say_aside(EVIL)
    show_table(["a"], [[EVIL], ["[red]markup[/]"]], title=EVIL)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:2] == [printable(EVIL), r"two\nlines"]
    assert printed.err == printable(EVIL) + "\n" and "[red]markup[/]" in printed.out
    assert all(line == printable(line) for line in printed.out.split("\n"))


def test_what_a_daemon_says_is_printable_in_watch_and_summary() -> None:
    time = {"published": "2026-01-01T00:00:00.000+00:00"}
    status = {"seq": 1, "type": "status", "process": EVIL, "state": EVIL, "reason": EVIL}
    match = {
        "seq": 2, "type": "appeared", "sighting_id": "s", "camera": EVIL, "item_id": EVIL,
        "label": EVIL, "tier": "exact", "probability": 0.5, "inliers": 1, "reason": None,
    }  # fmt: skip
    events = [{**event, "time": time, "counters": {EVIL: 1}} for event in (status, match)]
    counters = {"decoded": 1, "processed": 1, "skipped": {EVIL: 1}, "dropped": {}}
    camera = {"state": EVIL, "counters": counters, "fps": 1.0, "events": {EVIL: 1}}
    latency = {EVIL: {"n": 1, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0}}
    table, paper = WatchTable(EVIL), io.StringIO()
    for event in events:
        table.take(event)
    console = Console(file=paper, width=400)
    console.print(table.draw(is_silent=False))
    print_summary(
        {"seconds": 1.0, "cameras": {EVIL: camera}, "latency": latency, "restarts": {EVIL: 1}},
        console,
    )
    shown = paper.getvalue()
    assert shown.count(printable(EVIL)) > 10
    assert all(line == printable(line) for line in shown.split("\n"))
    assert EVIL in _line(events[1])  # `say` prints it


def test_log_lines_are_printable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps log lines for its report as they are, and can't send these to another process
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    configure_logging("camera.door", "info")
    try:
        raise ValueError(EVIL)
    except ValueError:
        Log("test").exception(f"lost {EVIL}", camera=EVIL, error=ConfigError.at(EVIL, "rule"))
    lines = capsys.readouterr().err.split("\n")
    assert lines[0].count(printable(EVIL)) == 3 and lines[1].startswith("Traceback")
    assert all(line == printable(line) for line in lines)


def test_a_terminal_of_another_encoding_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(paper, encoding="ascii"))
    take_any_text()
    say("caf\u00e9 \u6587")
    assert paper.getvalue() == rb"caf\xe9 \u6587" + b"\n"
