"""The web worker of a real daemon, over real HTTP on loopback."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.daemon_bench import running_daemon
from tests.fakes import wait_until
from tests.streamer.web.rig import SLOW_S, Client, Stream, WebRun, web_config, web_run

MIB = 2**20


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebRun]:
    folder = tmp_path_factory.mktemp("web")
    with web_run(folder, evidence=str(folder / "evidence")) as started:
        wait_until(lambda: len(events(started, "type=left&limit=3")) == 3, "three have left")
        yield started


def events(run: WebRun, query: str) -> list[dict[str, object]]:
    answer = run.client.get(f"/api/v1/events?{query}")
    assert answer.status == 200, answer.body
    found: list[dict[str, object]] = answer.json()["items"]
    return found


def test_it_is_alive_ready_small_and_tells_its_port(run: WebRun) -> None:
    assert run.client.get("/healthz").json() == {"status": "ok"}
    wait_until(lambda: run.client.get("/readyz").status == 200, "the run is ready", SLOW_S)
    process = psutil.Process(run.daemon.pid_of("web"))
    assert process.memory_full_info().uss < 70 * MIB


def test_pages_of_events_are_whole_and_without_repeats(run: WebRun) -> None:
    found: list[int] = []
    cursor = ""
    while True:
        page = run.client.get(f"/api/v1/events?limit=2&order=oldest{cursor}").json()
        found += [event["seq"] for event in page["items"]]
        if page["next_cursor"] is None or len(found) > 8:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == sorted(set(found)) and found[0] == 1
    assert found == list(range(1, len(found) + 1))


def test_events_are_filtered(run: WebRun) -> None:
    for event in events(run, "camera=door&type=appeared&tier=exact&item=soup"):
        assert (event["camera"], event["type"], event["item_id"]) == ("door", "appeared", "soup")
    assert events(run, "item=tea") == [] and events(run, "tier=similar") == []
    newest = events(run, "limit=5")
    moment = str(newest[2]["time"]["published"])  # type: ignore[index]
    older = events(run, f"to={moment}&limit=500")
    assert newest[2]["seq"] not in [event["seq"] for event in older]
    from_then = events(run, f"from={moment}&order=oldest&limit=1")
    assert from_then[0]["seq"] <= newest[2]["seq"]  # type: ignore[operator]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "camera=..", "cursor=x", "cursor=oldest1", "from=noon", "type=x"],
)
def test_a_query_that_breaks_a_rule_is_a_problem(run: WebRun, query: str) -> None:
    answer = run.client.get(f"/api/v1/events?{query}")
    assert answer.status == 422 and answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) >= {"type", "title", "status", "where", "rule"}


def test_a_stream_goes_on_after_the_last_event_that_was_seen(run: WebRun) -> None:
    with run.client.stream() as stream:
        live = [stream.next() for _ in range(3)]
        last_id = stream.last_id
    assert last_id == str(live[-1]["seq"])
    with run.client.stream(Last_Event_ID=last_id) as stream:
        first = stream.next()
    assert first["seq"] == live[-1]["seq"] + 1
    with run.client.stream("/api/v1/events/stream?after=0") as stream:
        history = [stream.next() for _ in range(10)]
    assert [event["seq"] for event in history] == list(range(1, 11))
    held = events(run, "order=oldest&limit=10")
    assert held == [{k: v for k, v in event.items() if k != "event"} for event in history]


def test_a_stream_of_one_camera_hears_no_other(run: WebRun) -> None:
    with run.client.stream("/api/v1/events/stream?camera=hall&type=appeared") as stream:
        for _ in range(3):
            event = stream.next()
            assert (event["camera"], event["type"]) == ("hall", "appeared")


def test_a_sighting_is_told_from_its_beginning_to_its_end(run: WebRun) -> None:
    left = events(run, "type=left&limit=1")[0]
    answer = run.client.get(f"/api/v1/sightings/{left['sighting_id']}").json()
    assert [event["type"] for event in answer["events"]] == ["appeared", "left"]
    assert not answer["is_open"] and answer["camera"] == left["camera"]
    assert answer["evidence"] is None  # a scripted matcher has no pictures
    for unknown in ("0" * 32, "a" * 128):
        assert run.client.get(f"/api/v1/sightings/{unknown}").status == 404
        assert run.client.get(f"/api/v1/sightings/{unknown}/evidence.jpg").status == 404
    for odd in ("%2e%2e%2fjournal", "..", "a*", "x" * 129):
        assert run.client.get(f"/api/v1/sightings/{odd}/evidence.jpg").status in (404, 422)


def test_metrics_tell_of_frames_events_and_processes(run: WebRun) -> None:
    def text() -> str:
        return run.client.get("/metrics").body.decode()

    wait_until(lambda: "magpie_events_total" in text(), "the summary tells events")
    found = text()
    for line in (
        r'magpie_frames_decoded_total{camera="door"} [1-9]',
        r'magpie_camera_state{camera="hall",state="running"} 1',
        r'magpie_process_memory_bytes{worker="web"} [1-9]',
        r'magpie_process_memory_bytes{worker="daemon"} [1-9]',
        r"magpie_journal_ok 1",
        r'magpie_build_info{version="',
        r'magpie_stage_seconds_bucket{le="\+Inf",stage="detect"} [1-9]',
        r'magpie_camera_event_age_seconds{camera="door"} ',
    ):
        assert re.search(line, found), f"{line}\n{found}"


def test_one_who_never_reads_costs_the_others_nothing(run: WebRun) -> None:
    """1. Fifty follow the events; one of them never reads.
    Result: all others get every event, in order, at once.
    """
    deaf = socket.create_connection(("127.0.0.1", run.client.port))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    deaf.sendall(b"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    heard: list[list[tuple[int, float]]] = [[] for _ in range(49)]

    def follow(mine: list[tuple[int, float]]) -> None:
        with run.client.stream() as stream:
            while len(mine) < 8:
                event = stream.next()
                mine.append((event["seq"], time.monotonic()))

    threads = [threading.Thread(target=follow, args=(mine,)) for mine in heard]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SLOW_S)
    deaf.close()
    for mine in heard:
        numbers = [seq for seq, _ in mine]
        assert numbers == list(range(numbers[0], numbers[0] + 8))
    arrived: dict[int, list[float]] = {}
    for seq, at_s in (one for mine in heard for one in mine):
        arrived.setdefault(seq, []).append(at_s)
    assert max(max(times) - min(times) for times in arrived.values()) < 1.0


def test_too_many_streams_are_told_to_come_back(tmp_path: Path) -> None:
    with web_run(tmp_path, {"streams_max": 1}) as run:
        with run.client.stream() as stream:
            stream.next()
            answer = run.client.get("/api/v1/events/stream")
            assert answer.status == 503 and answer.headers["retry-after"] == "5"
        wait_until(lambda: one_event(run.client), "the place is free again")
        run.daemon.process.kill()


def one_event(client: Client) -> bool:
    with client.stream() as stream:
        return stream.status == 200 and bool(stream.next())


def test_streams_end_when_the_daemon_is_asked_to_stop(tmp_path: Path) -> None:
    with web_run(tmp_path) as run, run.client.stream() as stream:
        stream.next()
        asked_s = time.monotonic()
        assert run.daemon.stop() == 0
        assert time.monotonic() - asked_s < 3.0
        with pytest.raises(EOFError):
            drain(stream)


def drain(stream: Stream) -> None:
    while True:
        stream.next()


def told_of_start(folder: Path, web: dict[str, object]) -> str:
    """Return what a daemon says that doesn't start."""
    config = web_config(folder, {"address": "127.0.0.1:0", **web})
    with running_daemon(folder, config) as daemon:
        assert daemon.process.wait(SLOW_S) == 2
        told = daemon.log.read_text()
    assert "Traceback" not in told
    return told


def test_a_port_in_use_is_a_clear_mistake(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = told_of_start(tmp_path, {"address": address})
    rule = "web.address: must be free and of this machine (Address already in use)"
    assert f"{rule}, got '{address}'; choose another" in told


def test_an_address_that_others_can_reach_needs_a_key(tmp_path: Path) -> None:
    told = told_of_start(tmp_path, {"address": "0.0.0.0:0"})
    assert "web.address: without a key or user it must be a loopback address" in told
    assert "magpie keys add NAME --file" in told


def test_a_certificate_that_is_none_is_a_clear_mistake(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    cert = str(tmp_path / "cert.pem")
    told = told_of_start(tmp_path, {"tls_cert": cert, "tls_key": cert})
    assert "web.tls_cert: must be a certificate with its key" in told


def test_a_server_that_is_killed_comes_back_and_the_cameras_run_on(tmp_path: Path) -> None:
    with web_run(tmp_path) as run:
        psutil.Process(run.daemon.pid_of("web")).kill()
        log = run.daemon.log
        wait_until(
            lambda: log.read_text().count("web info serving") == 2, "it serves again", SLOW_S
        )
        assert log.read_text().count("started worker=camera.door") == 1
        assert run.daemon.stop() == 0
        assert run.daemon.summary()["restarts"] == {"web": 1}


def test_no_password_is_in_any_answer(tmp_path: Path) -> None:
    cameras = {"yard": {"url": "rtsp://admin:Geheim77%231@127.0.0.1:9/s"}}
    with web_run(tmp_path, cameras=cameras) as run:
        wait_until(lambda: "reconnecting" in str(events(run, "camera=yard")), "it is told", SLOW_S)
        texts = [
            run.client.get(path).body
            for path in (
                "/api/v1/events",
                "/api/v1/cameras",
                "/readyz",
                "/metrics",
                "/openapi.json",
            )
        ]
        new = {"name": "hall", "url": "rtsp://u:Geheim78@127.0.0.1:9/", "max_fsp": "Geheim78"}
        texts.append(run.client.ask("POST", "/api/v1/cameras", new).body)
        texts.append(run.client.get("/api/v1/events?camera=rtsp://u:Geheim79@h/").body)
        texts.append(run.daemon.log.read_bytes())
    assert all(b"Geheim7" not in text for text in texts), texts


def test_cameras_are_added_paused_and_removed_while_another_runs_on(tmp_path: Path) -> None:
    with web_run(tmp_path, cameras={}, publish={"endpoint": "tcp://127.0.0.1:0"}) as run:
        ask = run.client.ask
        assert run.client.get("/api/v1/cameras").json()["items"] == []
        url = "test:?size=320x240&fps=25"
        made = ask("POST", "/api/v1/cameras", {"name": "door", "url": url})
        assert made.status == 201 and made.json()["origin"] == "api", made.body
        assert ask("POST", "/api/v1/cameras", {"name": "door", "url": url}).status == 409
        with run.client.stream("/api/v1/events/stream?camera=door&type=appeared&after=0") as stream:
            assert stream.next()["item_id"] == "soup"
        paused = ask("POST", "/api/v1/cameras/door/pause")
        assert paused.status == 200 and paused.json()["is_paused"]
        assert not ask("POST", "/api/v1/cameras/door/resume").json()["is_paused"]
        changed = ask("PATCH", "/api/v1/cameras/door", {"max_fps": 5})
        assert changed.json()["options"]["max_fps"] == 5
        wrong = ask("PATCH", "/api/v1/cameras/door", {"max_fsp": 5})
        assert wrong.status == 422 and "max_fps" in json.dumps(wrong.json())
        assert ask("DELETE", "/api/v1/cameras/door").status == 200
        assert ask("GET", "/api/v1/cameras/door").status == 404
