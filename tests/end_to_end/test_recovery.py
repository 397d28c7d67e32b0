"""What the daemon does when processes die or hang; each test tells its scenario in steps."""

import os
import signal
from pathlib import Path

import psutil

from streamer.publishing import Subscriber
from streamer.publishing.events import StatusEvent
from tests.end_to_end.daemon_bench import running_daemon
from tests.end_to_end.test_daemon import LIVE, assert_each_ends_once, first, matches, one_camera
from tests.fakes import wait_until, write_scripted_catalog

ALWAYS = {"period": 10**6, "appear": 1, "leave": 10**6}


def wait_for_state(subscriber: Subscriber, process: str, state: str) -> StatusEvent:
    for event in subscriber:
        if isinstance(event, StatusEvent) and (event.process, event.state) == (process, state):
            return event
    raise AssertionError(f"{process} never became {state}")


def test_killed_matcher_leaves_no_sighting_open_and_matching_goes_on(tmp_path: Path) -> None:
    """1. An item is in view. 2. SIGKILL to the matcher.

    Result: its `left` says matcher_restarted; the new matcher sees the item again; the camera was
    not restarted.
    """
    catalog = write_scripted_catalog(tmp_path / "shelf", **ALWAYS)
    with (
        running_daemon(tmp_path, one_camera(catalog, LIVE)) as daemon,
        daemon.subscribe() as subscriber,
    ):
        before = first(subscriber, "appeared")
        camera_pid = daemon.pid_of("camera.door")
        os.kill(daemon.pid_of("matcher.0"), signal.SIGKILL)
        left = first(subscriber, "left")
        assert (left.sighting_id, left.reason) == (before.sighting_id, "matcher_restarted")
        after = first(subscriber, "appeared")
        assert after.sighting_id != before.sighting_id
        assert daemon.pid_of("camera.door") == camera_pid
        assert daemon.stop() == 0
        assert_each_ends_once([before, left, after, *matches(daemon, subscriber)])
    assert daemon.summary()["restarts"] == {"matcher.0": 1}


def test_killed_camera_comes_back_and_the_other_is_left_alone(tmp_path: Path) -> None:
    """1. Two cameras see an item. 2. SIGKILL to one camera's process.

    Result: its sighting leaves with camera_lost and appears again; the other's stays open.
    """
    catalog = write_scripted_catalog(tmp_path / "shelf", **ALWAYS)
    config = {"catalog": str(catalog), "cameras": {"door": {"url": LIVE}, "hall": {"url": LIVE}}}
    with (
        running_daemon(tmp_path, config) as daemon,
        daemon.subscribe(camera="door") as door,
        daemon.subscribe(camera="hall") as hall,
    ):
        first(door, "appeared")
        first(hall, "appeared")
        os.kill(daemon.pid_of("camera.door"), signal.SIGKILL)
        assert first(door, "left").reason == "camera_lost"
        first(door, "appeared")
        assert daemon.stop() == 0
        assert first(hall, "left").reason == "stopped"
    summary = daemon.summary()
    assert summary["restarts"] == {"camera.door": 1}
    for camera in summary["cameras"].values():
        counters = camera["counters"]
        lost = sum(counters["dropped"].values()) + sum(counters["skipped"].values())
        assert counters["decoded"] == counters["processed"] + lost


def test_camera_that_hangs_is_noticed_and_started_again(tmp_path: Path) -> None:
    """1. A camera runs. 2. SIGSTOP to its process. Result: stalled, restarting, running again."""
    catalog = write_scripted_catalog(tmp_path / "shelf", **ALWAYS)
    config = one_camera(catalog, LIVE, supervisor={"camera_stall_after_s": 1.0})
    config["cameras"]["door"]["open_timeout_s"] = 0.1
    config["cameras"]["door"]["read_timeout_s"] = 0.2
    with (
        running_daemon(tmp_path, config) as daemon,
        daemon.subscribe() as subscriber,
    ):
        first(subscriber, "appeared")
        os.kill(daemon.pid_of("camera.door"), signal.SIGSTOP)
        wait_for_state(subscriber, "camera.door", "stalled")
        wait_for_state(subscriber, "camera.door", "running")
        assert daemon.stop() == 0


def test_killed_daemon_leaves_nothing_running_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    """1. A daemon sees an item. 2. SIGKILL to the daemon. 3. Another is started.

    Result: the workers end by themselves; the next start removes the dead one's folder and writes
    the `left` that was missing.
    """
    catalog = write_scripted_catalog(tmp_path / "shelf", **ALWAYS)
    config = one_camera(catalog, LIVE)
    with running_daemon(tmp_path, config) as daemon, daemon.subscribe() as subscriber:
        before = first(subscriber, "appeared")
        pids = [daemon.pid_of(name) for name in ("matcher.0", "camera.door")]
        run_dirs = daemon.run_dirs()
        assert len(run_dirs) == 1
        daemon.process.kill()
        daemon.process.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), "the workers are gone")
        assert run_dirs[0].exists()
    with running_daemon(tmp_path, config) as daemon, daemon.subscribe() as subscriber:
        left = first(subscriber, "left")
        assert (left.sighting_id, left.reason) == (before.sighting_id, "stopped")
        assert left.seq > before.seq
        assert not run_dirs[0].exists()
        assert daemon.stop() == 0


def test_slow_matcher_is_not_taken_for_a_lost_camera(tmp_path: Path) -> None:
    """1. Every frame takes the matcher longer than `leave_after_s`. 2. SIGINT after six frames.

    Result: one sighting, which leaves because the run was stopped.
    """
    catalog = write_scripted_catalog(tmp_path / "shelf", takes_s=0.4, **ALWAYS)
    config = one_camera(catalog, LIVE, matcher={"decide": {"leave_after_s": 0.3}})
    with (
        running_daemon(tmp_path, config) as daemon,
        daemon.subscribe() as subscriber,
    ):
        before = first(subscriber, "appeared")

        def has_seen_six() -> bool:
            answer = subscriber.state()
            assert answer is not None
            counters = answer["summary"]["cameras"]["door"]["counters"]
            return int(counters["processed"]) >= 6

        wait_until(has_seen_six, "six frames")
        assert daemon.stop() == 0
        rest = matches(daemon, subscriber)
    assert [(event.sighting_id, event.reason) for event in rest] == [
        (before.sighting_id, "stopped")
    ]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
