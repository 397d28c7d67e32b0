"""Searched in the small stream, identified in the main one: real processes, a scripted matcher."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from streamer.publishing.events import StatusEvent
from tests.end_to_end.daemon_bench import RunningDaemon, running_daemon
from tests.end_to_end.test_daemon import first, matches
from tests.fakes import wait_until, write_scripted_catalog
from tests.streamer.clips import write_clip

N = 60
SMALL, LARGE = (320, 240), (640, 360)
LIVE_MAIN, LIVE_SMALL = "test:?size=640x360&fps=50", "test:?size=320x240&fps=25"


def two_streams(folder: Path, main: str | Path, small: str | Path, **more: Any) -> dict[str, Any]:
    catalog = write_scripted_catalog(folder / "shelf")
    door = {"url": str(main), "detect_url": str(small), "detect_fps": 0, **more}
    return {"catalog": str(catalog), "cameras": {"door": door}}


def clips(folder: Path, n_main: int = N) -> tuple[Path, Path]:
    """The main stream's recording, and the small one's."""
    main = write_clip(folder / "main.mp4", n_main, size_wh=LARGE)
    return main, write_clip(folder / "small.mp4", N, size_wh=SMALL)


def run_to_end(
    folder: Path, config: dict[str, Any], n_still: int = 0
) -> tuple[list[str], dict[str, Any]]:
    """Return what appeared, in order, and the camera's summary."""
    with running_daemon(folder, config, "PairMatcher") as daemon, daemon.subscribe() as subscriber:
        events = matches(daemon, subscriber)
        assert daemon.process.wait(20) == 0
    summary = daemon.summary()
    assert summary["restarts"] == {}
    door = summary["cameras"]["door"]
    assert_sum_holds(door["counters"])
    assert_sum_holds(door["main"]["counters"])
    assert door["counters"]["processed"] == N - n_still
    assert {event.frame_size_wh for event in events} == {SMALL}
    return [event.item_id for event in events if event.type == "appeared"], door["main"]


def assert_sum_holds(counters: dict[str, Any]) -> None:
    parts = sum(counters["skipped"].values()) + sum(counters["dropped"].values())
    assert counters["decoded"] == counters["processed"] + parts
    assert counters["pending"] == 0


def test_each_frame_of_a_recording_has_the_main_streams_picture_of_its_moment(
    tmp_path: Path,
) -> None:
    appeared, main = run_to_end(tmp_path, two_streams(tmp_path, *clips(tmp_path)))
    assert appeared == ["640x360 +0"]
    assert main["counters"] | {"skipped": {}} == {
        "decoded": N, "processed": N, "skipped": {}, "dropped": {}, "pending": 0,
    }  # fmt: skip
    assert main["state"] in ("ended", "stopped")


def test_pictures_between_two_searches_are_skipped_not_lost(tmp_path: Path) -> None:
    config = two_streams(tmp_path, *clips(tmp_path), detect_fps=5)
    appeared, main = run_to_end(tmp_path, config)
    assert appeared == ["640x360 +0"]
    assert main["counters"]["processed"] == N / 5
    assert main["counters"]["skipped"] == {"unneeded": N - N // 5}
    assert main["counters"]["dropped"] == {}


def test_whether_a_frame_is_still_is_asked_with_its_main_streams_picture(tmp_path: Path) -> None:
    """1. A camera of two recordings has a motion gate; ten frames are still.
    Result: the others are searched; the ten had their pictures of the main stream as well, since a
    track may be cut out of them all the same.
    """
    config = two_streams(tmp_path, *clips(tmp_path), motion_gate=True)
    write_scripted_catalog(tmp_path / "shelf", still=list(range(20, 30)))
    appeared, main = run_to_end(tmp_path, config, n_still=10)
    assert appeared == ["640x360 +0"]
    assert main["counters"]["processed"] == N and not main["counters"]["skipped"]


def test_what_a_longer_main_stream_has_left_does_not_hold_up_the_end(tmp_path: Path) -> None:
    appeared, main = run_to_end(tmp_path, two_streams(tmp_path, *clips(tmp_path, 3 * N)))
    assert appeared == ["640x360 +0"]
    assert main["counters"]["processed"] == N
    assert main["counters"]["dropped"] in ({}, {"stopped": 1})


def test_frames_after_a_shorter_main_streams_end_go_without(tmp_path: Path) -> None:
    appeared, main = run_to_end(tmp_path, two_streams(tmp_path, *clips(tmp_path, N // 2)))
    assert appeared[0] == "640x360 +0" and appeared[-1] == "alone"
    assert main["counters"] == {
        "decoded": N // 2, "processed": N // 2, "skipped": {}, "dropped": {}, "pending": 0,
    }  # fmt: skip
    assert main["state"] == "ended"


def test_main_stream_that_is_no_larger_is_of_no_use(tmp_path: Path) -> None:
    _, small = clips(tmp_path)
    appeared, main = run_to_end(tmp_path, two_streams(tmp_path, small, small))
    assert appeared == ["alone"]
    assert main["counters"]["skipped"] == {"unneeded": N}


def test_main_stream_that_cannot_be_read_is_told_and_detection_goes_on(tmp_path: Path) -> None:
    _, small = clips(tmp_path)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    config = two_streams(tmp_path, broken, small)
    with (
        running_daemon(tmp_path, config, "PairMatcher") as daemon,
        daemon.subscribe() as subscriber,
    ):
        events = [e for e in subscriber_events(daemon, subscriber)]
        assert daemon.process.wait(20) == 0
    statuses = [e for e in events if isinstance(e, StatusEvent)]
    failed = [e for e in statuses if e.process == "camera.door.main" and e.state == "failed"]
    assert len(failed) == 1 and failed[0].camera == "door" and "broken.mp4" in str(failed[0].reason)
    assert not [e for e in statuses if e.process == "camera.door" and e.state == "failed"]
    assert {e.item_id for e in events if not isinstance(e, StatusEvent)} == {"alone"}
    door = daemon.summary()["cameras"]["door"]
    assert door["counters"]["processed"] == N and door["main"]["state"] == "failed"


def subscriber_events(daemon: RunningDaemon, subscriber: Any) -> list[Any]:
    found = []
    for event in subscriber:
        found.append(event)
        if isinstance(event, StatusEvent) and (event.process, event.state) == ("daemon", "stopped"):
            return found
    raise AssertionError(daemon.log.read_text())


def test_main_stream_of_a_live_camera_dies_and_comes_back(tmp_path: Path) -> None:
    """1. Both streams run. 2. The main one's process is killed. 3. It is started again.

    Result: pictures of the main stream, none, and again; the small stream's worker runs on.
    """
    config = two_streams(tmp_path, LIVE_MAIN, LIVE_SMALL)
    with (
        running_daemon(tmp_path, config, "PairMatcher") as daemon,
        daemon.subscribe(camera="door") as subscriber,
    ):
        first_with_main(subscriber)
        pid = daemon.pid_of("camera.door")
        os.kill(daemon.pid_of("camera.door.main"), signal.SIGKILL)
        assert "alone" in items_until_running(subscriber)
        first_with_main(subscriber)
        state = subscriber.state(10)
        assert daemon.pid_of("camera.door") == pid
        assert daemon.stop() == 0
    assert state is not None and set(state["cameras"]) == {"door"}
    assert state["cameras"]["door"]["process"] == "camera.door"
    assert state["workers"]["camera.door.main"]["camera"] == "door"
    summary = daemon.summary()
    assert summary["restarts"] == {"camera.door.main": 1}
    door = summary["cameras"]["door"]
    for counters in (door["counters"], door["main"]["counters"]):
        assert_sum_holds(counters)
        assert counters["processed"] > 0
    assert "unneeded" in door["main"]["counters"]["skipped"]
    assert set(door["main"]["counters"]["dropped"]) <= {"stale"}


def items_until_running(subscriber: Any) -> set[str]:
    """Return what was seen until the main stream's worker runs again."""
    items, is_gone = set(), False
    for event in subscriber:
        if not isinstance(event, StatusEvent):
            items.add(event.item_id)
        elif event.process == "camera.door.main":
            is_gone |= event.state == "restarting"
            if is_gone and event.state == "running":
                return items
    raise AssertionError("the main stream did not come back")


def first_with_main(subscriber: Any) -> None:
    for event in subscriber:
        if getattr(event, "item_id", "").startswith("640x360"):
            return
    raise AssertionError("no frame had a picture of the main stream")


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:9/main", "http://127.0.0.1:9/main"])
def test_main_stream_that_is_not_there_is_tried_again_and_told(tmp_path: Path, url: str) -> None:
    config = two_streams(tmp_path, url, LIVE_SMALL)
    with (
        running_daemon(tmp_path, config, "PairMatcher") as daemon,
        daemon.subscribe() as subscriber,
    ):
        told = set()
        for event in subscriber:
            if isinstance(event, StatusEvent) and event.state == "reconnecting":
                told.add(event.process)
            elif event.type == "appeared":
                told.add(event.item_id)
            if told == {"camera.door.main", "alone"}:
                break
        assert daemon.stop() == 0
    assert told == {"camera.door.main", "alone"}
    assert daemon.summary()["cameras"]["door"]["main"]["counters"]["decoded"] == 0


def test_main_stream_of_a_recording_dies_and_catches_up(tmp_path: Path) -> None:
    """1. Both recordings run in loops. 2. The main one's process is killed, and begins anew.

    Result: it goes through what it has shown already, and its pictures go with frames again.
    """
    config = two_streams(tmp_path, *clips(tmp_path), loop=True)
    with (
        running_daemon(tmp_path, config, "PairMatcher") as daemon,
        daemon.subscribe(camera="door") as subscriber,
    ):
        assert first(subscriber, "appeared").item_id == "640x360 +0"
        os.kill(daemon.pid_of("camera.door.main"), signal.SIGKILL)
        items_until_running(subscriber)
        n_before = door_of(subscriber)["main"]["counters"]["processed"]
        wait_until(lambda: door_of(subscriber)["main"]["counters"]["processed"] > n_before + N)
        assert daemon.stop() == 0
    door = daemon.summary()["cameras"]["door"]
    assert_sum_holds(door["counters"])
    assert_sum_holds(door["main"]["counters"])
    assert set(door["counters"]["dropped"]) <= {"stopped", "unread"}


def test_a_matcher_that_dies_finds_both_streams_again(tmp_path: Path) -> None:
    config = two_streams(tmp_path, *clips(tmp_path), loop=True)
    with (
        running_daemon(tmp_path, config, "PairMatcher") as daemon,
        daemon.subscribe(camera="door") as subscriber,
    ):
        assert first(subscriber, "appeared").item_id == "640x360 +0"
        os.kill(daemon.pid_of("matcher.0"), signal.SIGKILL)
        assert first(subscriber, "left", reason="matcher_restarted").item_id == "640x360 +0"
        assert first(subscriber, "appeared", item_id="640x360 +0")
        assert daemon.stop() == 0
    door = daemon.summary()["cameras"]["door"]
    assert_sum_holds(door["counters"])
    assert_sum_holds(door["main"]["counters"])
    assert set(door["main"]["counters"]["dropped"]) <= {"matcher_died", "stopped"}


def door_of(subscriber: Any) -> dict[str, Any]:
    summary: dict[str, Any] = subscriber.state(10)["summary"]
    return summary["cameras"]["door"]
