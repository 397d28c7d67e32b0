"""The daemon as users run it: real processes, real sockets, a scripted matcher."""

import itertools
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from streamer.publishing import Subscriber
from streamer.publishing.events import MatchEvent, StatusEvent
from tests.end_to_end.daemon_bench import RunningDaemon, magpie, running_daemon
from tests.fakes import wait_until, write_scripted_catalog

FAST = "test:?size=320x240&paced=0&frames={}"
LIVE = "test:?size=320x240&fps=25"


def one_camera(catalog: Path, url: str, **more: object) -> dict[str, Any]:
    return {"catalog": str(catalog), "cameras": {"door": {"url": url}}, **more}


def matches(daemon: RunningDaemon, subscriber: Subscriber) -> list[MatchEvent]:
    """Return every match up to the daemon's last word."""
    found = []
    for event in subscriber:
        if isinstance(event, MatchEvent):
            found.append(event)
        elif event.process == "daemon" and event.state == "stopped":
            return found
    raise AssertionError(f"the daemon never said that it stopped: {daemon.log.read_text()}")


def first(subscriber: Subscriber, kind: str, **fields: object) -> MatchEvent:
    for event in subscriber:
        if isinstance(event, MatchEvent) and event.type == kind:
            if all(getattr(event, name) == value for name, value in fields.items()):
                return event
    raise AssertionError(f"no {kind} {fields} in time")


def test_no_password_leaves_the_daemons_own_process(tmp_path: Path) -> None:
    """1. A camera whose password holds a # cannot be reached, another one's stands in its query; a
    third has two streams, each with its own.
    2. It says so in the log, over the wire and to who asks.
    Result: the password is in none of them, on no worker's command line, in no file of the run.
    """
    catalog = write_scripted_catalog(tmp_path / "shelf")
    config = one_camera(catalog, "rtsp://admin:Geheim77%231@127.0.0.1:9/s", log_level="debug")
    config["cameras"]["hall"] = {"url": "http://127.0.0.1:9/v?loginuse=me&loginpas=Geheim77"}
    config["cameras"]["yard"] = {
        "url": "rtsp://u:Geheim78@127.0.0.1:9/m",
        "detect_url": "rtsp://u:Geheim79@127.0.0.1:9/",
    }
    with running_daemon(tmp_path, config) as daemon, daemon.subscribe() as subscriber:
        reasons = {}
        for event in subscriber:
            if isinstance(event, StatusEvent) and event.state == "reconnecting":
                reasons[event.process] = event.reason
            if len(reasons) == 4:
                break
        state = subscriber.state(10)
        workers = psutil.Process(daemon.process.pid).children(recursive=True)
        assert len(workers) == 5
        seen = [repr((worker.cmdline(), worker.environ(), worker.name())) for worker in workers]
        for folder in daemon.run_dirs():
            seen += [repr(file.read_bytes()) for file in folder.rglob("*") if file.is_file()]
        assert daemon.stop() == 0
    assert "rtsp://***@127.0.0.1:9/s" in reasons["camera.door"]
    assert "rtsp://***@127.0.0.1:9/m" in reasons["camera.yard.main"]
    assert "rtsp://***@127.0.0.1:9/" in reasons["camera.yard"]
    assert "nothing listens there" in reasons["camera.hall"] and state is not None
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"daemon.log", "journal.db", "summary.json"} <= {file.name for file in files}
    for text in (*map(repr, (reasons, state)), *seen, *(repr(file.read_bytes()) for file in files)):
        assert "Geheim" not in text


def test_log_of_all_processes_is_json_when_asked(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf")
    config = one_camera(catalog, FAST.format(20), log_format="json", log_level="debug")
    with running_daemon(tmp_path, config) as daemon:
        assert daemon.process.wait(60) == 0
    lines = [json.loads(line) for line in daemon.log.read_text().splitlines()]
    assert {"daemon", "matcher.0"} <= {line["process"] for line in lines}
    assert all({"time", "level", "message"} <= set(line) for line in lines)


def assert_each_ends_once(events: list[MatchEvent]) -> None:
    for _, life in itertools.groupby(
        sorted(events, key=lambda event: (event.sighting_id, event.seq)),
        key=lambda event: event.sighting_id,
    ):
        types = [event.type for event in life]
        assert types[0] == "appeared" and types[-1] == "left"
        assert types.count("appeared") == types.count("left") == 1


def test_recording_is_matched_frame_by_frame_and_the_run_ends_with_it(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf", period=40, appear=5, leave=25)
    with (
        running_daemon(tmp_path, one_camera(catalog, FAST.format(130))) as daemon,
        daemon.subscribe() as subscriber,
    ):
        events = matches(daemon, subscriber)
        assert daemon.process.wait(20) == 0
        assert not daemon.run_dirs()
    appeared = [event for event in events if event.type == "appeared"]
    assert [event.frame_number for event in appeared] == [5, 45, 85, 125]
    reasons = [event.reason for event in events if event.type == "left"]
    assert reasons == ["gone", "gone", "gone", "source_ended"]
    assert events[-1].frame_number == 129 and events[-1].time.clock == "file"
    assert_each_ends_once(events)
    assert [event.seq for event in events] == sorted(event.seq for event in events)
    assert set(appeared[0].stage_ms) >= {"decode", "wait", "publish"}
    summary = daemon.summary()
    counters = summary["cameras"]["door"]["counters"]
    assert counters["decoded"] == counters["processed"] == 130
    assert counters["dropped"] == counters["skipped"] == {} and counters["pending"] == 0
    assert summary["events"] == {"appeared": 4, "left": 4}
    assert summary["latency"]["capture to decision"]["n"] == 52  # ten of 25 a second are searched
    assert summary["restarts"] == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_live_run_within_three_seconds(tmp_path: Path, number: int) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf", period=1000, appear=1, leave=999)
    with (
        running_daemon(tmp_path, one_camera(catalog, LIVE)) as daemon,
        daemon.subscribe() as subscriber,
    ):
        first(subscriber, "appeared")
        asked_s = time.monotonic()
        daemon.process.send_signal(number)
        assert daemon.process.wait(10) == 0
        assert time.monotonic() - asked_s < 3.0
        assert not daemon.run_dirs()
        left = [event for event in matches(daemon, subscriber) if event.type == "left"]
    assert [event.reason for event in left] == ["stopped"]
    counters = daemon.summary()["cameras"]["door"]["counters"]
    lost = sum(counters["dropped"].values()) + sum(counters["skipped"].values())
    assert counters["decoded"] == counters["processed"] + lost
    assert daemon.summary()["cameras"]["door"]["state"] == "stopped"


def test_duration_ends_a_live_run(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf")
    config = one_camera(catalog, LIVE, duration_s=1.5)
    with running_daemon(tmp_path, config) as daemon:
        assert daemon.process.wait(30) == 0
    summary = daemon.summary()
    assert 1.5 <= summary["seconds"] < 4.5
    assert summary["cameras"]["door"]["counters"]["processed"] > 5


def test_two_cameras_and_three_subscribers_see_the_same_events_in_order(tmp_path: Path) -> None:
    """The third joins when the run is half over, and still gets all of it."""
    door = write_scripted_catalog(tmp_path / "door", period=30, appear=2, leave=12)
    shelf = write_scripted_catalog(tmp_path / "shelf", period=50, appear=2, leave=40)
    config = {
        "cameras": {
            "door": {"url": FAST.format(3000), "catalog": str(door), "max_fps": 1000},
            "shelf": {"url": FAST.format(2000), "catalog": str(shelf)},
        },
        "matchers": 2,
    }
    seen: dict[str, list[int]] = {}

    def listen(name: str, subscriber: Subscriber) -> None:
        seen[name] = [event.seq for event in matches(daemon, subscriber)]

    with running_daemon(tmp_path, config) as daemon, daemon.subscribe() as early:
        threads = [threading.Thread(target=listen, args=("early", early))]
        with daemon.subscribe(camera="shelf") as only_shelf:
            for event in only_shelf:
                if isinstance(event, MatchEvent) and event.type == "left":
                    break
            with daemon.subscribe() as late:
                threads.append(threading.Thread(target=listen, args=("late", late)))
                for thread in threads:
                    thread.start()
                rest = list(itertools.takewhile(is_not_the_end, only_shelf))
                for thread in threads:
                    thread.join(40)
        assert daemon.process.wait(20) == 0
    assert seen["early"] == seen["late"] == sorted(seen["early"])
    assert len(seen["late"]) == 2 * (3000 // 30 + 2000 // 50)
    assert rest and {event.camera for event in rest} == {"shelf"}
    cameras = daemon.summary()["cameras"]
    assert cameras["door"]["events"] == {"appeared": 100, "left": 100}
    assert cameras["shelf"]["counters"]["processed"] == 2000


def is_not_the_end(event: MatchEvent | StatusEvent) -> bool:
    return isinstance(event, MatchEvent) or event.state != "ended"


def test_a_slow_camera_is_not_lost_between_its_pictures(tmp_path: Path) -> None:
    """Two pictures a second, where 0.2 s without one would be a lost camera at 25."""
    catalog = write_scripted_catalog(tmp_path / "shelf", period=10**6, appear=0, leave=10**6)
    config = one_camera(catalog, "test:?size=320x240&fps=2&frames=8")
    config["matcher"] = {"decide": {"leave_after_s": 0.2}}
    with (
        running_daemon(tmp_path, config) as daemon,
        daemon.subscribe() as subscriber,
    ):
        told = [(event.type, event.reason) for event in matches(daemon, subscriber)]
    assert told == [("appeared", None), ("left", "source_ended")]


def test_running_daemon_takes_up_a_new_catalog_within_a_second(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf", period=10**6, appear=1, leave=10**6)
    with (
        running_daemon(tmp_path, one_camera(catalog, LIVE)) as daemon,
        daemon.subscribe() as subscriber,
    ):
        assert first(subscriber, "appeared").catalog_generation == 1
        write_scripted_catalog(catalog, generation=2, period=10**6, appear=1, leave=10**6)
        switched_s = time.monotonic()
        assert first(subscriber, "left").reason == "catalog_changed"
        assert time.monotonic() - switched_s < 1.5
        assert first(subscriber, "appeared").catalog_generation == 2
        (catalog / "CURRENT").write_text("nonsense\n")
        wait_until(lambda: "keeping the one in use" in daemon.log.read_text(), "it says so")
        assert daemon.stop() == 0
    counters = daemon.summary()["cameras"]["door"]["counters"]
    assert counters["dropped"].get("failed", 0) == 0


def test_status_tells_how_the_workers_are_and_what_became_of_the_frames(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf", period=10**6, appear=1, leave=10**6)
    with (
        running_daemon(tmp_path, one_camera(catalog, LIVE)) as daemon,
        daemon.subscribe() as subscriber,
    ):
        first(subscriber, "appeared")
        ask = ["status", "--endpoint", daemon.endpoint, "--ask", daemon.ask_endpoint]
        wait_until(lambda: "camera door: decoded" in magpie(*ask), "the summary is there")
        told = magpie(*ask).splitlines()
        assert {"daemon running", "matcher.0 running", "camera.door running"} <= set(told)
        assert any(line.startswith("open sightings 1, last number") for line in told)
        state = json.loads(magpie(*ask, "--json"))
        counters = state["summary"]["cameras"]["door"]["counters"]
        lost = sum((*counters["dropped"].values(), *counters["skipped"].values()))
        assert counters["decoded"] == counters["processed"] + lost + counters["pending"]
        assert daemon.stop() == 0


def test_frames_in_which_nothing_moves_are_skipped_where_that_is_asked_for(tmp_path: Path) -> None:
    """1. Of two cameras' frames, the matcher finds 40 still each; one camera has a motion gate.
    Result: that one's count as skipped, the other's are searched; events are the same.
    """
    catalog = write_scripted_catalog(tmp_path / "shelf", still=list(range(30, 70)))
    config = one_camera(catalog, FAST.format(100))
    config["cameras"]["door"] |= {"motion_gate": True, "detect_fps": 0}
    config["cameras"]["hall"] = {"url": FAST.format(100)}
    with running_daemon(tmp_path, config) as daemon, daemon.subscribe() as subscriber:
        events = matches(daemon, subscriber)
        assert daemon.process.wait(20) == 0
    lives = {
        name: [(event.type, event.frame_number) for event in events if event.camera == name]
        for name in ("door", "hall")
    }
    assert lives["door"] == lives["hall"] and len(lives["door"]) >= 4
    cameras = daemon.summary()["cameras"]
    found = {name: cameras[name]["counters"] for name in cameras}
    assert (found["door"]["decoded"], found["door"]["processed"]) == (100, 60)
    assert found["door"]["skipped"] == {"still": 40} and not found["door"]["dropped"]
    assert found["hall"]["processed"] == 100 and not found["hall"]["skipped"]


def test_odd_pictures_are_counted_and_the_others_go_on(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf", fail=[3, 7])
    with running_daemon(tmp_path, one_camera(catalog, FAST.format(40))) as daemon:
        assert daemon.process.wait(30) == 0
    counters = daemon.summary()["cameras"]["door"]["counters"]
    assert counters["dropped"] == {"failed": 2}
    assert counters["processed"] == 38
    assert "frames failed ValueError=" in daemon.log.read_text()


def test_matcher_that_cannot_start_ends_the_run_with_its_sentence(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf", broken=True)
    with running_daemon(tmp_path, one_camera(catalog, LIVE)) as daemon:
        assert daemon.process.wait(30) == 2
        assert not daemon.run_dirs()
    log = daemon.log.read_text()
    assert "magpie: catalog of 'door': expected a whole one, got 'a broken one'" in log
    assert "Traceback" not in log


def test_run_ends_with_four_when_no_matcher_can_be_kept_alive(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf", dies=True)
    config = one_camera(catalog, LIVE, supervisor={"fast_failures": 2})
    with running_daemon(tmp_path, config) as daemon:
        assert daemon.process.wait(30) == 4
    assert "could not be kept alive: RuntimeError: the network fell over" in daemon.log.read_text()


def test_file_that_is_no_video_ends_the_run_with_three(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf")
    (tmp_path / "clip.mp4").write_bytes(b"no video at all" * 1000)
    with running_daemon(tmp_path, one_camera(catalog, str(tmp_path / "clip.mp4"))) as daemon:
        assert daemon.process.wait(30) == 3
    last = daemon.log.read_text().splitlines()[-1]
    assert last.startswith("magpie: ") and "clip.mp4" in last


def test_second_daemon_at_the_same_port_is_refused(tmp_path: Path) -> None:
    catalog = write_scripted_catalog(tmp_path / "shelf")
    with running_daemon(tmp_path, one_camera(catalog, LIVE)) as daemon:
        assert daemon.endpoint
        (tmp_path / "other").mkdir()
        publish = {"endpoint": daemon.endpoint, "journal": str(tmp_path / "other" / "journal.db")}
        config = one_camera(catalog, LIVE, publish=publish)
        with running_daemon(tmp_path / "other", config) as second:
            assert second.process.wait(20) == 2
            assert "another program uses it" in second.log.read_text()
            assert not second.run_dirs()
        assert daemon.stop() == 0
