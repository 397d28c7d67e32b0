"""How far a command is: lines now and then in a log, and nothing of it on stdout."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.cli.progress import progress_lines, show_progress

ROOT = Path(__file__).resolve().parents[2]
ASKS = """
from streamer.cli.progress import show_progress
with show_progress("asking") as progress:
    for number in range(3):
        print("answer", number, flush=True)
        progress(number + 1, 3)
"""


@pytest.mark.parametrize(
    ("n_total", "a_second", "said_at"),
    [
        (0, 0, []),
        (100, 100, []),  # over before a line is worth it
        (100, 10, [20, 40, 60, 80]),  # a tenth is done each second: at most a line in two
        (100, 2.5, [10, 20, 30, 40, 50, 60, 70, 80, 90]),  # each tenth
        (1000, 2.5, [25 * n for n in range(1, 40)]),  # each 10 s
    ],
)
def test_lines_come_every_ten_seconds_or_every_tenth(
    n_total: int, a_second: float, said_at: list[int]
) -> None:
    now_s, lines = [0.0], []
    progress = progress_lines("describing", lines.append, lambda: now_s[0])
    for n_done in range(n_total + 1):
        now_s[0] = n_done / (a_second or 1)
        progress(n_done, n_total)
    assert [int(line.split()[1]) for line in lines] == said_at
    assert all(line.startswith("describing: ") and f" of {n_total} (" in line for line in lines)


def test_a_log_is_given_lines_and_stdout_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.cli.progress.LINE_AFTER_S", 0.0)
    with show_progress("describing") as progress:
        progress(32, 64)
        progress(64, 64)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "describing: 32 of 64 (50%)\n")


def test_a_bar_on_the_terminal_leaves_a_piped_stdout_alone() -> None:
    terminal, stderr = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASKS],
            cwd=ROOT, env=os.environ | {"TERM": "xterm"}, stdout=subprocess.PIPE, stderr=stderr,
            text=True, timeout=60,
        )  # fmt: skip
        shown = os.read(terminal, 1 << 16).decode()
    finally:
        os.close(terminal)
        os.close(stderr)
    assert done.returncode == 0
    assert done.stdout == "answer 0\nanswer 1\nanswer 2\n"
    assert "asking" in shown and "answer" not in shown
