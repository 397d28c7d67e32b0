"""The summary: sums that hold, plain lines, tables."""

import io
import json
from pathlib import Path

from rich.console import Console

from streamer.cli.summary_table import print_summary
from streamer.frame_counters import FrameCounters
from streamer.summary import (
    CameraSummary,
    MainSummary,
    RunSummary,
    StageSummary,
    frames_text,
    load_text,
    summary_lines,
    write_summary,
)

COUNTERS = FrameCounters(100, 80, {"rate": 5}, {"overrun": 10, "unread": 5})
SUMMARY = RunSummary(
    seconds=4.0,
    cameras={
        "door": CameraSummary(
            "ended", COUNTERS, 20.0, {"appeared": 2, "left": 2}, "matcher.1", 0.234
        )
    },
    events={"appeared": 2, "left": 2},
    latency={"detect": StageSummary(80, 12.34, 20.0, 30.0)},
    restarts={"matcher.0": 1},
    trouble=("the clock shows 1970-01-01",),
)


def test_lines_say_what_became_of_every_frame() -> None:
    assert summary_lines(SUMMARY.as_json()) == [
        "ran 4.0 s",
        "camera door: decoded 100 = processed 80 + skipped 5 (rate 5) + dropped 15 (overrun 10, "
        "unread 5), 20.0 fps, matcher.1 load 0.23",
        "events: 2 appeared, 2 left",
        "latency detect: p50 12.3 ms, p95 20.0 ms, p99 30.0 ms over 80",
        "restarted matcher.0: 1 times",
        "trouble: the clock shows 1970-01-01",
    ]


def test_frames_under_way_are_shown_while_a_run_lasts() -> None:
    text = frames_text({"decoded": 3, "processed": 1, "skipped": {}, "dropped": {}, "pending": 2})
    assert text == "decoded 3 = processed 1 + skipped 0 + dropped 0 + pending 2"


def test_a_load_that_is_not_measured_yet_is_a_question_mark() -> None:
    assert load_text({"load": None}) == "?"
    assert load_text({"load": 0.0}) == "0.00"


def test_run_without_events_says_so() -> None:
    empty = RunSummary(0.0, {}, {}, {}, {})
    assert summary_lines(empty.as_json()) == ["ran 0.0 s", "events: none"]


def test_tables_hold_the_same_figures() -> None:
    paper = io.StringIO()
    print_summary(SUMMARY.as_json(), Console(file=paper, width=160))
    text = paper.getvalue()
    for figure in (
        "door",
        "ended",
        "100",
        "15 (overrun 10, unread 5)",
        "matcher.1",
        "0.23",
        "12.3",
        "20.0",
        "trouble: the clock",
    ):
        assert figure in text


def test_summary_is_written_as_json(tmp_path: Path) -> None:
    write_summary(SUMMARY, tmp_path / "new" / "summary.json")
    content = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert content["cameras"]["door"]["counters"]["dropped"] == {"overrun": 10, "unread": 5}
    assert content["latency"]["detect"]["p50_ms"] == 12.34


def test_a_main_stream_has_its_own_line_and_row() -> None:
    main = MainSummary("reconnecting", FrameCounters(50, 20, {"unneeded": 30}, {}))
    door = CameraSummary("running", COUNTERS, 20.0, {}, main=main)
    summary = RunSummary(4.0, {"door": door}, {}, {}, {}).as_json()
    assert summary_lines(summary)[2] == (
        "camera door, main stream reconnecting: decoded 50 = processed 20 + skipped 30 "
        "(unneeded 30) + dropped 0"
    )
    paper = io.StringIO()
    print_summary(summary, Console(file=paper, width=160))
    row = next(line for line in paper.getvalue().splitlines() if "main stream" in line)
    assert "reconnecting" in row and "30 (unneeded 30)" in row
