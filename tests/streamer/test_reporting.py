"""Log lines: their form, no password, trouble said once a second."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.reporting import Log, Tally, configure_logging


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Log:
    configure_logging("camera.door", "info")
    return Log("test")


def test_line_has_time_process_level_message_and_fields(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("opened", size="1280x720", after_s=2.1234, why="a b")
    line = capsys.readouterr().err
    form = (
        r"\d{4}-\d\d-\d\dT[\d:.]+Z camera.door info opened size=1280x720 after_s=2.12 why=.a b.\s"
    )
    assert re.fullmatch(form, line)


def test_no_password_in_any_line(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    log.warning("lost rtsp://root:hunter2@cam/1", url="rtsp://root:hunter2@cam/2")
    try:
        raise RuntimeError("rtsp://root:hunter2@cam/3")
    except RuntimeError:
        log.exception("our own bug\nwith two lines")
    text = capsys.readouterr().err
    assert "hunter2" not in text
    assert text.count("***@cam") == 4
    assert "our own bug | with two lines" in text


def test_level_hides_what_is_below_it(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    log.debug("not now")
    logging.getLogger("some.library").info("chatter")
    assert capsys.readouterr().err == ""
    configure_logging("daemon", "debug")
    log.debug("now")
    assert capsys.readouterr().err.count("daemon debug now") == 1


def test_json_line_has_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("camera.door", "info", "json")
    Log("test").info("opened\n2", size="1280x720", after_s=2.1234, n=3, why=None, process="x")
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", found.pop("time"))
    assert found == {
        "process": "camera.door", "level": "info", "message": "opened\n2",
        "size": "1280x720", "after_s": 2.12, "n": 3, "why": None, "process_": "x",
    }  # fmt: skip


def test_no_password_in_any_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a URL, of a header in the middle, of a field whose name tells that it is one."""
    configure_logging("camera.door", "info", "json")
    log = Log("test")
    log.warning("lost rtsp://root:hunter2@cam/1", url="rtsp://root:hunter2@cam/2", password=7734211)
    log.warning("sent Authorization: Bearer hunter2", authorization="Basic hunter2", n=1)
    try:
        raise RuntimeError("rtsp://root:hunter2@cam/3")
    except RuntimeError:
        log.exception("our own bug", room="test")
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    assert "hunter2" not in text and "7734211" not in text
    assert [line["level"] for line in lines] == ["warning", "warning", "error"]
    assert lines[1]["n"] == 1 and "RuntimeError: rtsp://***@cam/3" in lines[2]["exception"]


def test_error_that_nobody_catches_is_a_json_line_too() -> None:
    code = (
        "from streamer.reporting import configure_logging, hide_secrets_in_tracebacks\n"
        "hide_secrets_in_tracebacks(); configure_logging('daemon', 'info', 'json')\n"
        "raise ValueError('rtsp://root:hunter2@cam/3')"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    line = json.loads(done.stderr)
    assert "hunter2" not in done.stderr and "ValueError" in line["exception"]


def test_trouble_is_said_once_a_second_with_its_counts(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally(log, "frames failed", every_s=1e9)
    tally.add("ValueError")
    for _ in range(40):
        tally.add("ValueError")
    tally.add("OSError", 2)
    assert capsys.readouterr().err.count("frames failed") == 1
    tally.flush(now_s=float("inf"))
    assert "frames failed ValueError=40 OSError=2" in capsys.readouterr().err
    assert tally.total == {"ValueError": 41, "OSError": 2}
    tally.flush(now_s=float("inf"))
    assert capsys.readouterr().err == ""
