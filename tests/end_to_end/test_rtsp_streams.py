"""A real RTSP server's two streams of one camera, through the real processes."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamer.publishing import Subscriber
from streamer.publishing.events import MatchEvent
from tests.end_to_end.daemon_bench import running_daemon
from tests.end_to_end.test_daemon import matches
from tests.end_to_end.test_main_stream import (
    assert_sum_holds,
    door_of,
    items_until_running,
    two_streams,
)
from tests.fakes import N_MOMENTS, moment_picture, wait_until
from tests.streamer.clips import write_clip
from tests.streamer.rtsp import RtspServer, is_rtsp_server_there

SMALL, LARGE = (640, 360), (1280, 720)
NEAR = "1280x720 near rtcp"
# Before the camera has told its clock; what lay in a buffer while a stream was opened arrives late.
BEFORE = {"alone", "1280x720 near arrival", "1280x720 far arrival"}
DEADLINE_S = 20
N_SEARCHED = 30  # with a picture of the main stream


@pytest.fixture
def clips(tmp_path: Path) -> tuple[Path, Path]:
    """Two seconds as the main stream and as the small one, whose pictures say their moment."""
    paths = []
    for name, size_wh in (("main", LARGE), ("small", SMALL)):
        pictures = (moment_picture(number, size_wh) for number in range(N_MOMENTS))
        paths.append(write_clip(tmp_path / f"{name}.mp4", pictures, size_wh=size_wh))
    return paths[0], paths[1]


def test_what_is_searched_has_the_main_streams_picture_of_its_moment(
    tmp_path: Path, clips: tuple[Path, Path], need_tool: Callable[[bool, str], None]
) -> None:
    """1. A camera serves one clip as a main and a small stream; the small one is searched. 2. The
    main one's process is killed, and started again. 3. The daemon is stopped.
    Result: searched frames carry the main stream's picture of about the same moment, before and
    after, never that of another moment once the camera has told its clock; each stream's pictures
    are counted once.
    """
    need_tool(is_rtsp_server_there(), "GStreamer's RTSP server (system Python)")
    main, small = clips
    server = RtspServer(main, sub=small)
    try:
        config = two_streams(tmp_path, server.url, server.sub_url, detect_fps=10)
        with (
            running_daemon(tmp_path, config, "MomentMatcher") as daemon,
            daemon.subscribe() as subscriber,
        ):
            items = items_until_near(subscriber)
            os.kill(daemon.pid_of("camera.door.main"), signal.SIGKILL)
            items |= items_until_running(subscriber) | items_until_near(subscriber)
            wait_until(lambda: door_of(subscriber)["main"]["counters"]["processed"] > N_SEARCHED)
            assert daemon.stop() == 0
            last = matches(daemon, subscriber)
    finally:
        server.stop()
    assert {NEAR} < items and items | {event.item_id for event in last} <= {NEAR} | BEFORE
    assert {event.frame_size_wh for event in last} == {SMALL}
    assert_counts(daemon.summary())


def items_until_near(subscriber: Subscriber) -> set[str]:
    items: set[str] = set()
    deadline_s = time.monotonic() + DEADLINE_S
    for event in subscriber:
        if isinstance(event, MatchEvent):
            items.add(event.item_id)
            if (event.type, event.item_id) == ("appeared", NEAR):
                return items
        if time.monotonic() > deadline_s:
            break
    raise AssertionError(f"no frame had the main stream's picture of its moment: {items}")


def assert_counts(summary: dict[str, Any]) -> None:
    assert summary["restarts"] == {"camera.door.main": 1}
    door = summary["cameras"]["door"]
    small, main = door["counters"], door["main"]["counters"]
    assert_sum_holds(small)
    assert_sum_holds(main)
    assert N_SEARCHED < main["processed"] <= small["processed"]
    assert main["skipped"]["unneeded"] > 0
