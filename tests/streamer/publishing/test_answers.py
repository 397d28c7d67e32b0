"""The ask socket, as a script in any language would use it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from streamer.publishing.asking import ask_state
from streamer.publishing.events import HeartbeatEvent
from tests.streamer.publishing.rig import DEADLINE_S, Wire, sighting, take


class PlainReader:
    """A REQ socket."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.REQ)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def ask(self, question: Any) -> dict[str, Any]:
        is_raw = isinstance(question, bytes)
        self.socket.send(question if is_raw else json.dumps(question).encode())
        assert self.socket.poll(1000 * DEADLINE_S), "no answer"
        answer = json.loads(self.socket.recv())
        assert isinstance(answer, dict)
        return answer

    def close(self) -> None:
        self.socket.close()
        self._context.term()


@pytest.fixture
def reader(wire: Wire) -> Iterator[PlainReader]:
    reader = PlainReader(wire.publisher.ask_endpoint)
    yield reader
    reader.close()


def test_an_empty_journal_answers(wire: Wire, reader: PlainReader) -> None:
    assert reader.ask({"since": 0, "id": "x"}) == {
        "id": "x",
        "schema": 1,
        "journal_id": wire.journal.journal_id,
        "oldest_seq": 1,
        "last_seq": 0,
        "last_camera_seq": {},
        "next_since": 0,
        "more": False,
        "gaps": [],
        "events": [],
    }


def test_pages_by_limit_and_camera_join_to_the_published_events(
    wire: Wire, reader: PlainReader
) -> None:
    events = wire.subscriber(since=0)
    sink = wire.sink()
    for number in range(30):
        camera = "yard" if number % 3 == 0 else "door"
        sink.send_sighting(sighting(f"s{number}", camera=camera))
    published = take(events, 30)
    for camera in (None, "door", "yard", "attic"):
        paged: list[dict[str, Any]] = []
        since, is_more = 0, True
        while is_more:
            question = {"since": since, "limit": 7}
            answer = reader.ask(question if camera is None else {**question, "camera": camera})
            assert len(answer["events"]) <= 7
            paged += answer["events"]
            since, is_more = answer["next_since"], answer["more"]
        assert paged == [event for event in published if camera in (None, event["camera"])]
        assert since == 30


def test_the_state_tells_last_states_open_sightings_and_numbers(
    wire: Wire, reader: PlainReader
) -> None:
    events = wire.subscriber(since=0)
    wire.publisher.publish_status("camera.door", "starting")
    wire.publisher.publish_status("camera.door", "running", None, {"decoded": 9})
    wire.publisher.publish_status("daemon", "running")
    wire.publisher.set_summary({"cameras": {"door": {"decoded": 9}}})
    published = take(events, 3)
    wire.sink().send_sighting(sighting("a"))
    published += take(events, 1)
    state = reader.ask({"state": True})
    assert state["cameras"] == {"door": published[1]}
    assert state["workers"] == {"daemon": published[2]}
    assert state["open_sightings"] == [published[3]]
    assert (state["last_seq"], state["last_camera_seq"]) == (4, {"door": 3})
    assert state["summary"] == {"cameras": {"door": {"decoded": 9}}}
    del state["id"]
    asked = ask_state(wire.publisher.endpoint, DEADLINE_S, ask_endpoint=wire.publisher.ask_endpoint)
    assert asked is not None and asked["cameras"] == state["cameras"]


@pytest.mark.parametrize(
    ("question", "error"),
    [
        (b"", "ask: expected a JSON object"),
        (b"[1]", "ask: expected a JSON object"),
        (b"\xff\xfe", "ask: expected a JSON object"),
        (b"[" * 10_000, "ask: expected a JSON object"),
        ({}, "ask.since: "),
        ({"since": -1}, "ask.since: "),
        ({"since": "0"}, "ask.since: "),
        ({"since": 2**70}, "ask.since: "),
        ({"since": 0, "limit": 10**6}, "ask.limit: "),
        ({"since": 0, "camera": "a b"}, "ask.camera: "),
        ({"since": 0, "colour": "red"}, "ask.colour: "),
        ({"state": False}, "ask.state: "),
    ],
)
def test_a_wrong_question_is_answered_with_one_sentence(
    reader: PlainReader, question: Any, error: str
) -> None:
    answer = reader.ask(question)
    assert answer["error"].startswith(error) and "\n" not in answer["error"]
    assert reader.ask({"since": 0})["events"] == []  # and the next one is served


def test_a_question_over_the_limit_is_cut_off_and_others_are_served(
    wire: Wire, reader: PlainReader
) -> None:
    flood = PlainReader(wire.publisher.ask_endpoint)
    flood.socket.send(b"x" * 1_000_000)
    assert reader.ask({"since": 0})["last_seq"] == 0
    assert not flood.socket.poll(0)
    flood.close()


def test_the_heartbeat_carries_the_last_numbers_of_all(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    wire.sink().send_sighting(sighting("a"))
    wire.publisher.publish_status("daemon", "running")
    take(events, 2)
    with wire.publisher._context.socket(zmq.SUB) as raw:
        raw.linger = 0
        raw.connect(wire.publisher.endpoint)
        raw.subscribe("heartbeat.")
        assert raw.poll(1000 * DEADLINE_S)
        beat = HeartbeatEvent.model_validate_json(raw.recv_multipart()[1])
    assert (beat.last_seq, beat.last_camera_seq, beat.oldest_seq) == (2, {"door": 1}, 1)
    assert beat.n_open_sightings == 1 and beat.is_journal_ok
