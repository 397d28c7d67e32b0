"""Cameras that come, change, pause and go while the daemon runs; each test tells its scenario."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from streamer.control.requests import (
    AddCamera,
    CameraView,
    ChangeCamera,
    IsReady,
    PauseCamera,
    Readiness,
    RefusedError,
    RemoveCamera,
    ResumeCamera,
)
from streamer.publishing import Subscriber
from streamer.publishing.events import MatchEvent
from tests.end_to_end.daemon_bench import RunningDaemon, running_daemon
from tests.end_to_end.test_daemon import FAST, LIVE, assert_each_ends_once, first, matches
from tests.end_to_end.test_recovery import ALWAYS
from tests.fakes import wait_until, write_scripted_catalog

NOBODY = "rtsp://me:Geheim77@127.0.0.1:9/s"


def add(daemon: RunningDaemon, name: str, url: str, **options: Any) -> CameraView:
    return daemon.ask(AddCamera(name=name, options={"url": url, **options}), CameraView)


def do(
    daemon: RunningDaemon, request: type[PauseCamera | ResumeCamera | RemoveCamera], name: str
) -> CameraView:
    return daemon.ask(request(name=name), CameraView)


def has_files_of(daemon: RunningDaemon, camera: str) -> list[str]:
    return [file.name for file in daemon.run_dirs()[0].glob(f"{camera}.*")]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return write_scripted_catalog(tmp_path / "shelf", **ALWAYS)


def two(shelf: Path, **more: Any) -> dict[str, Any]:
    return {"catalog": str(shelf), "cameras": {"hall": {"url": LIVE}}, **more}


def left_of(subscriber: Subscriber, camera: str) -> MatchEvent:
    return first(subscriber, "left", camera=camera)


def test_a_camera_comes_changes_pauses_and_goes_and_the_other_sees_on(
    tmp_path: Path, shelf: Path
) -> None:
    """1. One camera runs. 2. Another is added, with a catalog of its own, changed, paused, resumed,
    removed, and added again.

    Result: each ends its sightings with its reason; the other's stays open; no file is left behind.
    """
    other = write_scripted_catalog(tmp_path / "other", **ALWAYS)
    with running_daemon(tmp_path, two(shelf)) as daemon, daemon.subscribe() as events:
        hall = first(events, "appeared", camera="hall")
        view = add(daemon, "door", LIVE, catalog=str(other))
        assert (view.origin, view.is_paused, view.catalog) == ("api", False, str(other))
        assert first(events, "appeared", camera="door").catalog == "other"
        daemon.ask(ChangeCamera(name="door", options={"catalog": None}), CameraView)
        assert left_of(events, "door").reason == "camera_changed"
        assert first(events, "appeared", camera="door").catalog == "shelf"
        assert do(daemon, PauseCamera, "door").is_paused
        assert left_of(events, "door").reason == "camera_paused"
        daemon.wait_for("door", "stopped", "paused")
        assert [Path(name).suffix for name in has_files_of(daemon, "door")] == [".counts"] * 2
        do(daemon, ResumeCamera, "door")
        first(events, "appeared", camera="door")
        do(daemon, RemoveCamera, "door")
        assert left_of(events, "door").reason == "camera_removed"
        wait_until(lambda: not has_files_of(daemon, "door"), "its files are gone")
        assert list(daemon.views()) == ["hall"]
        add(daemon, "door", LIVE)
        first(events, "appeared", camera="door")
        assert daemon.ask(IsReady(), Readiness).is_ready
        assert daemon.stop() == 0
        rest = matches(daemon, events)
    assert [(e.sighting_id, e.reason) for e in rest if e.camera == "hall"] == [
        (hall.sighting_id, "stopped")
    ]
    summary = daemon.summary()
    assert summary["restarts"] == {} and set(summary["cameras"]) == {"hall", "door"}


@pytest.mark.parametrize("request_type", [PauseCamera, RemoveCamera])
def test_a_camera_is_paused_or_removed_in_every_state(
    tmp_path: Path, shelf: Path, request_type: type[PauseCamera | RemoveCamera]
) -> None:
    """1. Cameras that are starting, reconnecting, failed, restarting, ended and paused. 2. Each is
    paused, or removed. Result: so it is, and comes back when it is asked to."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film" * 100)
    late = tmp_path / "late"
    supervisor = {"fast_failures": 1, "retry_failed_s": 60}
    with running_daemon(tmp_path, two(shelf, supervisor=supervisor)) as daemon:
        daemon.wait_for("hall", "running")
        write_scripted_catalog(late)
        (late / "generations/000001/manifest.json").unlink()
        add(daemon, "starting", LIVE, catalog=str(late))
        add(daemon, "reconnecting", NOBODY)
        add(daemon, "failed", str(broken))
        add(daemon, "killed", LIVE)
        add(daemon, "ended", FAST.format(5))
        add(daemon, "paused", LIVE)
        do(daemon, PauseCamera, "paused")
        daemon.wait_for("starting", "starting", "waits for its catalog")
        daemon.wait_for("reconnecting", "reconnecting")
        daemon.wait_for("failed", "failed")
        daemon.wait_for("ended", "ended")
        daemon.wait_for("killed", "running")
        os.kill(daemon.pid_of("camera.killed"), signal.SIGKILL)
        daemon.wait_for("killed", "failed")  # after one fast failure: tried again in a minute
        names = ["starting", "reconnecting", "failed", "killed", "ended", "paused"]
        for name in names:
            do(daemon, request_type, name)
        if request_type is PauseCamera:
            for name in names:
                daemon.wait_for(name, "stopped", "paused")
                do(daemon, ResumeCamera, name)
            daemon.wait_for("ended", "ended")
        else:
            assert list(daemon.views()) == ["hall"]
            wait_until(lambda: not any(has_files_of(daemon, name) for name in names))
            add(daemon, "killed", LIVE)
        daemon.wait_for("killed", "running")
        assert daemon.views()["hall"].state == "running"
        assert daemon.stop() == 0


def wait_a_while(daemon: RunningDaemon, chance: random.Random) -> None:
    """Wait until one of the changing cameras is in some state, or it has taken long enough."""
    state = chance.choice(["running", "stopped", "reconnecting", "ended"])

    def is_enough() -> bool:
        views = daemon.views().values()
        is_so = any(view.state == state for view in views if view.name.startswith("cam"))
        return is_so or chance.random() < 0.01

    wait_until(is_enough)


def test_fifty_random_changes_cost_other_cameras_no_frame_and_no_event(tmp_path: Path) -> None:
    """1. A recording that loses nothing and a live camera run. 2. Fifty changes of four others.

    Result: every frame of the recording was matched, every sighting ended once, with its reason.
    """
    shelf = write_scripted_catalog(tmp_path / "shelf", period=40, appear=5, leave=25, takes_s=0.002)
    always = write_scripted_catalog(tmp_path / "always", **ALWAYS)
    config = two(always, matchers=2)
    config["cameras"]["film"] = {"url": FAST.format(4000), "catalog": str(shelf)}
    chance = random.Random(17)
    options = [{"url": LIVE}, {"url": NOBODY}, {"url": FAST.format(20)}, {"url": LIVE}]
    with running_daemon(tmp_path, config) as daemon, daemon.subscribe() as events:
        found: list[MatchEvent] = []
        while not any(event.camera == "hall" for event in found):
            found += [event for event in [next(iter(events))] if isinstance(event, MatchEvent)]
        n_done = 0
        while n_done < 50:
            name = f"cam{chance.randrange(4)}"
            requests = [
                AddCamera(name=name, options=chance.choice(options)),
                ChangeCamera(name=name, options={"max_fps": chance.choice([5, 10, 0])}),
                PauseCamera(name=name),
                ResumeCamera(name=name),
                RemoveCamera(name=name),
            ]
            try:
                daemon.ask(chance.choice(requests), CameraView)
                n_done += 1
            except RefusedError as error:
                assert error.refusal.status in ("conflict", "missing")
            if chance.random() < 0.2:  # else the next change comes before this one is done
                wait_a_while(daemon, chance)
        daemon.wait_for("film", "ended")
        assert daemon.stop() == 0
        found += matches(daemon, events)
    film = daemon.summary()["cameras"]["film"]["counters"]
    assert film["decoded"] == film["processed"] == 4000 and film["dropped"] == {}
    assert sum(event.camera == "film" and event.type == "appeared" for event in found) == 100
    assert [e.reason for e in found if e.camera == "hall"] == [None, "stopped"]
    assert_each_ends_once(found)
    assert not {r for r in daemon.summary()["restarts"] if r.startswith("matcher")}
    assert "Geheim" not in daemon.log.read_text()


def test_a_run_without_cameras_gets_its_matcher_with_the_first_one(
    tmp_path: Path, shelf: Path
) -> None:
    """1. A run begins with nothing. 2. A camera is added. 3. The matcher is killed.

    Result: no matcher runs before; afterwards the new one knows the camera.
    """
    with (
        running_daemon(tmp_path, {}, may_be_empty=True) as daemon,
        daemon.subscribe() as events,
    ):
        wait_until(lambda: daemon.run_dirs() and (daemon.run_dirs()[0] / "control").exists())
        assert daemon.ask(IsReady(), Readiness).is_ready
        with pytest.raises(RefusedError, match=r"cameras\.door\.catalog: .* needs a catalog"):
            add(daemon, "door", LIVE)
        assert "matcher" not in daemon.log.read_text()
        add(daemon, "door", LIVE, catalog=str(shelf))
        first(events, "appeared", camera="door")
        os.kill(daemon.pid_of("matcher.0"), signal.SIGKILL)
        assert left_of(events, "door").reason == "matcher_restarted"
        first(events, "appeared", camera="door")
        do(daemon, RemoveCamera, "door")
        assert left_of(events, "door").reason == "camera_removed"
        assert daemon.views() == {} and daemon.process.poll() is None
        assert daemon.stop() == 0


def test_a_first_camera_whose_catalog_is_broken_waits_and_can_be_removed(
    tmp_path: Path, shelf: Path
) -> None:
    """1. A run begins with nothing. 2. The first camera's catalog cannot be loaded. 3. It is
    removed, and another comes. Result: the run goes on, and the other runs."""
    broken = write_scripted_catalog(tmp_path / "broken", broken=True)
    with running_daemon(tmp_path, {}, may_be_empty=True) as daemon, daemon.subscribe() as events:
        wait_until(lambda: daemon.run_dirs() and (daemon.run_dirs()[0] / "control").exists())
        add(daemon, "door", LIVE, catalog=str(broken))
        wait_until(lambda: "waiting for its catalog" in daemon.log.read_text(), within_s=30)
        do(daemon, RemoveCamera, "door")
        add(daemon, "hall", LIVE, catalog=str(shelf))
        first(events, "appeared", camera="hall")
        assert daemon.stop() == 0
