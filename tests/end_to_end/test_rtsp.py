"""A real RTSP server in front of a real daemon; the matcher only tells colours apart."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamer.publishing import Subscriber
from streamer.publishing.events import MatchEvent, StatusEvent
from tests.end_to_end.daemon_bench import running_daemon
from tests.end_to_end.test_daemon import matches, one_camera
from tests.fakes import write_scripted_catalog
from tests.streamer.clips import SIZE_WH, write_clip
from tests.streamer.rtsp import RtspServer, is_rtsp_server_there

GRAY, RED, BLUE = (90, 90, 90), (220, 20, 20), (20, 20, 220)
KEY_FRAME_INTERVAL_S = 10 / 25  # write_clip's


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """3.6 s of gray, red, gray, blue."""
    width, height = SIZE_WH
    pictures = [
        np.full((height, width, 3), color, np.uint8)
        for color, n_frames in ((GRAY, 20), (RED, 30), (GRAY, 10), (BLUE, 30))
        for _ in range(n_frames)
    ]
    return write_clip(tmp_path / "colors.mp4", pictures)


def items_until(subscriber: Subscriber, wanted: set[str]) -> set[str]:
    """Return the items that appeared, once all that are wanted did."""
    seen: set[str] = set()
    for event in subscriber:
        if isinstance(event, MatchEvent) and event.type == "appeared":
            seen.add(event.item_id)
            if seen >= wanted:
                return seen
    raise AssertionError(f"only {seen} of {wanted}")


def wait_for_state(subscriber: Subscriber, *states: str) -> float:
    """Return when a camera of this state was heard of, in time.monotonic seconds."""
    for event in subscriber:
        if isinstance(event, StatusEvent) and event.camera and event.state in states:
            return time.monotonic()
    raise AssertionError(f"the camera never became {states}")


def test_stream_gives_the_items_of_its_file_and_comes_back_with_its_server(
    tmp_path: Path, clip: Path, need_tool: Callable[[bool, str], None]
) -> None:
    """1. A file is matched. 2. The same over RTSP. 3. The server stops. 4. It starts again.

    Result: the same items; frames flow within 5 s and one key-frame interval of its return; no
    process was restarted; every sighting ended.
    """
    need_tool(is_rtsp_server_there(), "GStreamer's RTSP server (system Python)")
    catalog = write_scripted_catalog(tmp_path / "shelf")
    with (
        running_daemon(tmp_path, one_camera(catalog, str(clip)), "ColorMatcher") as daemon,
        daemon.subscribe() as subscriber,
    ):
        events = matches(daemon, subscriber)
        of_file = {event.item_id for event in events if event.type == "appeared"}
        assert of_file == {"red", "blue"}
    server = RtspServer(clip)
    try:
        config = one_camera(catalog, server.url)
        with (
            running_daemon(tmp_path, config, "ColorMatcher") as daemon,
            daemon.subscribe(since=None) as subscriber,
        ):
            assert items_until(subscriber, of_file) == of_file
            server.stop()
            wait_for_state(subscriber, "reconnecting", "stalled")
            server = RtspServer(clip, server.port)
            back_s = time.monotonic()
            assert wait_for_state(subscriber, "running") - back_s < 5 + KEY_FRAME_INTERVAL_S
            assert items_until(subscriber, of_file) == of_file
            assert daemon.stop() == 0
            assert {e.reason for e in matches(daemon, subscriber) if e.type == "left"} <= {
                "stopped"
            }
        assert daemon.summary()["restarts"] == {}
    finally:
        server.stop()
