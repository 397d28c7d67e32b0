"""The publisher over real sockets: numbers, order, lives of sightings, trouble."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import zmq

from pipeline.errors import WorkerError
from pipeline.types import Phase
from streamer.publishing.events import MatchEvent
from streamer.publishing.journal import Journal
from streamer.publishing.journal_file import connect
from streamer.publishing.journal_time import JournalTime
from streamer.publishing.options import PublishOptions
from streamer.publishing.publisher import Publisher
from streamer.publishing.sockets import sink_path
from tests.fakes import wait_until
from tests.streamer.publishing.rig import DEADLINE_S, Wire, is_live, sighting, take

ROOT = Path(__file__).resolve().parents[3]


def test_events_come_numbered_in_order_with_their_times(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    sink = wire.sink()
    for phase in (Phase.APPEARED, Phase.UPDATED, Phase.LEFT):
        assert sink.send_sighting(sighting("a", phase))
        assert sink.send_sighting(sighting("b", phase, camera="yard"))
    got = take(events, 6)
    assert [event["seq"] for event in got] == [1, 2, 3, 4, 5, 6]
    assert [(e["camera"], e["camera_seq"], e["type"]) for e in got] == [
        (camera, number, word)
        for number, word in enumerate(("appeared", "updated", "left"), 1)
        for camera in ("door", "yard")
    ]
    assert {event["journal_id"] for event in got} == {wire.journal.journal_id}
    assert len({event["event_id"] for event in got}) == 6
    for event in got:
        assert 0 <= event["stage_ms"]["publish"] <= event["latency_ms"] < 1000 * DEADLINE_S
        assert event["stage_ms"]["detect"] == 12.0
        assert event["time"]["captured"] <= event["time"]["published"]


def test_a_published_text_is_what_the_schemas_model_writes(wire: Wire) -> None:
    """Numbers and times are put around the matcher's text: nothing may be lost or doubled."""
    events = wire.subscriber(since=0)
    sink = wire.sink()
    odd = sighting("a", catalog='she"lf, "captured": {}', stage_ms={'"d,': 0.001})
    sink.send_sighting(odd)
    sink.send_sighting(sighting("b", Phase.UPDATED, camera="yard"))
    take(events, 2)
    wire.publisher.close_open_sightings("camera_lost")
    take(events, 2)
    db = connect(wire.journal_path, is_reader=True)
    texts = [row[0] for row in db.execute("SELECT json FROM events ORDER BY seq")]
    db.close()
    for text in texts:
        assert json.loads(text) == json.loads(
            MatchEvent.model_validate_json(text).model_dump_json()
        )
        assert list(json.loads(text)) == [
            field.alias or name for name, field in MatchEvent.model_fields.items()
        ]
    assert json.loads(texts[0])["catalog"] == odd.catalog


def test_the_topic_names_camera_and_item(wire: Wire) -> None:
    with wire.publisher._context.socket(zmq.SUB) as raw:
        raw.linger = 0
        raw.connect(wire.publisher.endpoint)
        raw.subscribe("match.door.tea.")
        raw.subscribe("heartbeat.")
        assert raw.poll(1000 * DEADLINE_S) and raw.recv_multipart()[0] == b"heartbeat."
        wire.sink().send_sighting(sighting("a"))
        topics = {b"heartbeat."}
        while topics == {b"heartbeat."}:
            assert raw.poll(1000 * DEADLINE_S)
            topics.add(raw.recv_multipart()[0])
        assert topics == {b"heartbeat.", b"match.door.tea."}


def test_a_status_is_numbered_with_its_cameras_events_and_redacted(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    wire.publisher.publish_status("matcher.0", "running", None, {"processed": 3, "fps": np.nan})
    reason = "cannot reach rtsp://admin:hunter2@cam/1"
    wire.publisher.publish_status("camera.door", "reconnecting", reason)
    matcher, door = take(events, 2)
    assert matcher["process"] == "matcher.0"
    assert matcher["camera"] is None and matcher["camera_seq"] is None
    assert matcher["counters"] == {"processed": 3}
    assert (door["camera"], door["camera_seq"], door["state"]) == ("door", 1, "reconnecting")
    assert "hunter2" not in door["reason"] and "cam/1" in door["reason"]


def test_a_reason_that_names_a_file_of_another_encoding_is_published(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    wire.publisher.publish_status("camera.door", "stopped", os.fsdecode(b"caf\xe9\x1b.mp4"))
    wire.publisher.publish_status("camera.door", "running", "is back")
    assert [event["reason"] for event in take(events, 2)] == [r"caf\udce9\x1b.mp4", "is back"]


def test_every_open_sighting_of_a_killed_matcher_leaves_exactly_once(wire: Wire) -> None:
    """1. Two matchers see an item each. 2. The first dies. 3. What it sent late still trickles in,
    and its next life goes on. Result: one `left` (matcher_restarted) each, the other stays open."""
    events = wire.subscriber(since=0)
    dying, living = wire.sink("matcher.0", 1), wire.sink("matcher.1", 1)
    dying.send_sighting(sighting("a"))
    living.send_sighting(sighting("b", camera="yard"))
    take(events, 2)
    wire.publisher.close_open_sightings("matcher_restarted", worker="matcher.0", incarnation=1)
    left = take(events, 1)[0]
    assert (left["sighting_id"], left["type"], left["reason"]) == ("a", "left", "matcher_restarted")
    assert left["box_xyxy"] == [64, 48, 320, 240] and left["latency_ms"] == 0
    dying.send_sighting(sighting("a", Phase.LEFT))
    dying.send_sighting(sighting("late"))
    late = take(events, 2)
    assert [(e["sighting_id"], e["type"]) for e in late] == [("late", "appeared"), ("late", "left")]
    wire.sink("matcher.0", 2).send_sighting(sighting("c"))
    assert take(events, 1)[0]["sighting_id"] == "c"
    state = events.state()
    assert state is not None
    assert [event["sighting_id"] for event in state["open_sightings"]] == ["b", "c"]
    assert wire.publisher.summary().refused == {"has_left": 1}


def test_a_stopping_publisher_publishes_all_and_ends_open_sightings(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    wait_until(lambda: is_live(events))
    sink = wire.sink()
    for number in range(300):
        sink.send_sighting(sighting(f"s{number}"))
    sink.close()
    wire.publisher.publish_status("daemon", "stopped")
    wire.stop()
    wire.stop()
    got = take(events, 601)
    assert [event["seq"] for event in got] == list(range(1, 602))
    assert sum(event["type"] == "left" and event["reason"] == "stopped" for event in got) == 300


def test_numbers_go_on_across_a_restart(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    wire.sink().send_sighting(sighting("a"))
    take(events, 1)
    wire.restart()
    wire.sink().send_sighting(sighting("b"))
    left, appeared = take(events, 2)
    assert (left["seq"], left["type"], left["reason"]) == (2, "left", "stopped")
    assert (appeared["seq"], appeared["camera_seq"], appeared["sighting_id"]) == (3, 3, "b")


def test_after_sigkill_of_the_daemon_the_next_start_ends_its_sightings(
    open_wire: Callable[..., Wire], run_dir: Path
) -> None:
    """1. A daemon publishes 20 open sightings. 2. SIGKILL. 3. Another starts with its journal.
    Result: 20 `left` (stopped), higher numbers, the unused rest declared as a gap."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", "tests.streamer.publishing.crashing_daemon",
         str(run_dir), str(run_dir / "journal.db"), "20"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with daemon:
        try:
            assert daemon.stdout is not None and int(daemon.stdout.readline()) == 20
        finally:
            daemon.kill()
    events = open_wire().subscriber(since=0)
    got = take(events, 40)
    assert [event["seq"] for event in got[:20]] == list(range(1, 21))
    lefts = got[20:]
    assert {(event["type"], event["reason"]) for event in lefts} == {("left", "stopped")}
    assert {event["sighting_id"] for event in lefts} == {f"s{number}" for number in range(20)}
    first = lefts[0]["seq"]
    assert [event["seq"] for event in lefts] == list(range(first, first + 20))
    assert lefts[0]["camera_seq"] > 20
    answer = events._asker.ask({"since": 20}, DEADLINE_S)
    assert answer is not None and answer["gaps"] == [[21, first - 1]]


def test_a_burst_shares_commits_and_loses_nothing(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    sinks = [wire.sink(f"matcher.{number}") for number in range(2)]
    for number in range(1500):
        assert sinks[number % 2].send_sighting(sighting(f"s{number}"))
    assert [event["seq"] for event in take(events, 1500)] == list(range(1, 1501))


def test_a_message_that_is_no_event_is_counted_and_the_next_one_comes(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    with wire.publisher._context.socket(zmq.PUSH) as push:
        push.linger = 1000
        push.connect(f"ipc://{sink_path(wire.run_dir)}")
        push.send(b"\x80\x04not json")
        push.send(b'{"worker": "x", "incarnation": 0, "match": {}}')
        push.send(b"x" * 100_000)  # over the limit: zmq hangs up
    wire.sink().send_sighting(sighting("a"))
    assert take(events, 1)[0]["sighting_id"] == "a"
    wait_until(lambda: wire.publisher._not_understood.total.total() == 2)


def test_events_go_out_though_the_journal_cannot_be_written_and_are_written_later(
    wire: Wire,
) -> None:
    events = wire.subscriber(since=0)
    sink = wire.sink()
    sink.send_sighting(sighting("a"))
    take(events, 1)
    blocker = sqlite3.connect(wire.journal_path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    sink.send_sighting(sighting("b"))
    assert take(events, 1)[0]["seq"] == 2
    blocker.execute("ROLLBACK")
    blocker.close()
    late = wire.subscriber(since=1)
    wait_until(lambda: not wire.publisher._unwritten)
    assert take(late, 1)[0]["sighting_id"] == "b"


def test_the_daemon_hears_that_its_publisher_died(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.publisher.check()
    wire.publisher._order(lambda: [1 / 0])  # type: ignore[list-item]
    wait_until(lambda: "the publisher died" in caplog.text)
    with pytest.raises(WorkerError, match=r"publisher: must publish .* got 'ZeroDivisionError"):
        wire.publisher.check()


class LatePublisher(Publisher):
    """Its thread begins when it may."""

    may_begin = threading.Event()

    def _run(self) -> None:
        self.may_begin.wait(DEADLINE_S)
        super()._run()


def test_what_workers_tell_before_the_first_turn_is_not_taken_for_an_old_run(
    run_dir: Path,
) -> None:
    """1. A worker's message waits in the socket when the publisher's thread begins.
    Result: its sighting is open; only what an earlier run left open is ended at the start."""
    options = PublishOptions(endpoint="tcp://127.0.0.1:0", heartbeat_s=0.1)
    journal = Journal(run_dir / "journal.db")
    publisher = LatePublisher(options, journal, run_dir)
    with ExitStack() as open_things:
        wire = Wire(run_dir, run_dir / "journal.db", options, open_things, publisher, journal)
        open_things.callback(wire.stop)
        publisher.start()
        sink = wire.sink()
        assert sink.send_sighting(sighting("a"))
        assert publisher._pull.poll(DEADLINE_S * 1000)
        publisher.may_begin.set()
        events = wire.subscriber(since=0)
        first = take(events, 1)
        assert sink.send_sighting(sighting("a", Phase.UPDATED))
        assert [event["type"] for event in first + take(events, 1)] == ["appeared", "updated"]


def test_a_journal_that_cannot_be_written_is_told_until_it_can(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    assert wire.publisher.summary().trouble == ()
    stranger = sqlite3.connect(wire.journal_path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    wire.sink().send_sighting(sighting("a"))
    take(events, 1)  # it goes out all the same
    told = ("the journal cannot be written; events go out anyway",)
    wait_until(lambda: wire.publisher.summary().trouble == told)
    stranger.execute("ROLLBACK")
    stranger.close()
    wait_until(lambda: wire.publisher.summary().trouble == ())


def test_a_clock_that_was_never_set_is_told(wire: Wire) -> None:
    wire.journal.time = JournalTime(None, None, wall_clock=lambda: 5 * 10**9)
    assert wire.publisher.summary().trouble == (
        "the clock shows 1970-01-01, before this program was made; set it",
    )
