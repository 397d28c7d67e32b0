"""Log lines: their form, no password, trouble said once a second."""

import logging
import re

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
