"""Sinks in a real run: they follow it, die without harm, are stopped in time, tell no secret."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.end_to_end.daemon_bench import running_daemon
from tests.fakes import wait_until, write_scripted_catalog
from tests.streamer.sinks.rig import Broker, HookServer, Listener, free_port

LIVE = "test:?size=320x240&fps=25"
FAST = "test:?size=320x240&paced=0&frames={}"


def test_run_with_a_webhook_posts_each_event_also_the_last(tmp_path: Path) -> None:
    """1. A recording is watched to its end. Result: each match is posted once, the `left` of its
    end too, and the run ends as it would without."""
    catalog = write_scripted_catalog(tmp_path / "shelf", period=40, appear=5, leave=25)
    hook = HookServer()
    hook.start()
    config = {
        "catalog": str(catalog),
        "cameras": {"door": {"url": FAST.format(130)}},
        "sinks": {"webhook": {"shop": {"url": f"http://127.0.0.1:{hook.port}/in"}}},
    }
    with running_daemon(tmp_path, config) as daemon:
        assert daemon.process.wait(60) == 0
    hook.stop()
    posted = [(post.event["type"], post.event["reason"]) for post in hook.posts]
    assert posted.count(("appeared", None)) == 4
    assert [reason for kind, reason in posted if kind == "left"] == [
        "gone", "gone", "gone", "source_ended",
    ]  # fmt: skip
    seqs = [post.event["seq"] for post in hook.posts]
    assert seqs == sorted(set(seqs))


def test_killed_daemon_goes_on_with_its_sinks_where_they_were(tmp_path: Path) -> None:
    """1. A live camera is seen by a webhook; the daemon is killed, its sink ends with it. 2. It
    starts again. Result: every event of the journal was posted, in order, the `left` that the
    second start wrote too; twice at most what was under way."""
    catalog = write_scripted_catalog(tmp_path / "shelf", period=20, appear=5, leave=15)
    hook = HookServer()
    hook.start()
    config = {
        "catalog": str(catalog),
        "cameras": {"door": {"url": LIVE}},
        "sinks": {"webhook": {"shop": {"url": f"http://127.0.0.1:{hook.port}/in"}}},
    }
    with running_daemon(tmp_path, config) as daemon:
        wait_until(lambda: len(hook.posts) >= 3, "some events are posted")
        sink = psutil.Process(daemon.pid_of("sink.webhook.shop"))
        daemon.process.kill()
        wait_until(lambda: not sink.is_running(), "the sink ends with the daemon")
    with running_daemon(tmp_path, config) as daemon:
        n_before = len(hook.posts)
        wait_until(lambda: len(hook.posts) >= n_before + 3, "it goes on")
        with daemon.subscribe() as subscriber:
            last_seq = hook.posts[-1].event["seq"]
            published = []
            while not published or published[-1] < last_seq:
                event = subscriber.receive_dict(10)
                assert event is not None
                published += [event["seq"]] if event["type"] != "status" else []
        assert daemon.stop() == 0
    hook.stop()
    posted = [post.event["seq"] for post in hook.posts]
    assert [seq for seq in dict.fromkeys(posted) if seq <= published[-1]] == published
    assert len(posted) - len(set(posted)) <= 1


def test_killed_sinks_come_back_and_a_missing_server_never_ends_a_run(
    tmp_path: Path, need_tool: Callable[[bool, str], None]
) -> None:
    """1. A live camera, a broker, and a webhook whose server is not there. 2. Both sinks are
    killed. 3. The run is stopped. Result: the camera runs on, the broker hears the sightings of
    before and after, the run ends in time, no secret stands in any output or process title."""
    need_tool(Broker.is_there(), "mosquitto")
    catalog = write_scripted_catalog(tmp_path / "shelf", period=20, appear=5, leave=15)
    broker = Broker(tmp_path)
    broker.start()
    listener = Listener(broker.port)
    config = {
        "catalog": str(catalog),
        "log_level": "debug",
        "cameras": {"door": {"url": LIVE}},
        "sinks": {
            "mqtt": {
                "home": {
                    "host": "127.0.0.1", "port": broker.port, "user": "u", "password": "Kanarie/7#"
                }
            },
            "webhook": {
                "shop": {
                    "url": f"http://u:Kanarie78@127.0.0.1:{free_port()}/Kanarie79Kanarie/in",
                    "secret": "Kanarie80",
                }
            },
        },
    }  # fmt: skip
    with running_daemon(tmp_path, config) as daemon, daemon.subscribe() as subscriber:
        wait_until(listener.sightings, "the broker hears a sighting")
        for worker in ("sink.mqtt.home", "sink.webhook.shop"):
            os.kill(daemon.pid_of(worker), signal.SIGKILL)
        n_before = len(set(listener.sightings()))
        wait_until(lambda: len(set(listener.sightings())) > n_before + 1, "it goes on")
        log = daemon.log
        wait_until(lambda: "Connection refused" in log.read_text(), "the webhook's trouble is told")
        state = subscriber.state(10)
        workers = psutil.Process(daemon.process.pid).children(recursive=True)
        seen = [repr((worker.cmdline(), worker.environ(), worker.name())) for worker in workers]
        before_s = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - before_s < 8
    listener.close()
    broker.stop()
    assert state is not None and state["cameras"]["door"]["state"] == "running"
    assert state["workers"]["sink.webhook.shop"]["state"] == "reconnecting"
    assert listener.last("magpie/available") == "offline"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    for text in (repr(state), *seen, *(repr(path.read_bytes()) for path in files)):
        assert "Kanarie" not in text and "Kanarie%2F7" not in text
