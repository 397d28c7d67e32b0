"""The public reader: all events, in order, each once, whatever gets lost on the way."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from pipeline.errors import ConfigError
from pipeline.types import Phase
from streamer.publishing import Subscriber
from streamer.publishing.events import MatchEvent
from streamer.publishing.journal_keeper import JournalKeeper
from streamer.publishing.options import PublishOptions
from tests.fakes import wait_until
from tests.streamer.publishing.rig import DEADLINE_S, Wire, is_live, sighting, take


class LossyRelay:
    """Stands between a publisher and its readers and loses the numbered events it is told to."""

    def __init__(self, upstream: str, lost: set[int]) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sub = self._context.socket(zmq.XSUB)
        self._sub.connect(upstream)
        self._pub = self._context.socket(zmq.XPUB)
        self.endpoint = f"tcp://127.0.0.1:{self._pub.bind_to_random_port('tcp://127.0.0.1')}"
        self._lost = lost
        self.n_lost = 0
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._sub, zmq.POLLIN)
        poller.register(self._pub, zmq.POLLIN)
        while not self._is_stopping:
            for ready, _ in poller.poll(50):
                message = ready.recv_multipart()
                if ready is self._pub:
                    self._sub.send_multipart(message)
                elif json.loads(message[1]).get("seq") in self._lost:
                    self.n_lost += 1
                else:
                    self._pub.send_multipart(message)

    def close(self) -> None:
        self._is_stopping = True
        self._thread.join()
        self._context.destroy(linger=0)


@pytest.fixture
def relay(wire: Wire) -> Iterator[Callable[[set[int]], LossyRelay]]:
    relays: list[LossyRelay] = []

    def make(lost: set[int]) -> LossyRelay:
        relays.append(LossyRelay(wire.publisher.endpoint, lost))
        return relays[-1]

    yield make
    for each in relays:
        each.close()


def reader_behind(relay: LossyRelay, wire: Wire, camera: str | None) -> Subscriber:
    ask = wire.publisher.ask_endpoint
    reader = Subscriber(relay.endpoint, camera=camera, ask_endpoint=ask)
    wire.open_things.callback(reader.close)
    return reader


def test_ten_lines_are_enough(wire: Wire) -> None:
    wire.sink().send_sighting(sighting("a"))
    seen = []
    ask = wire.publisher.ask_endpoint
    with Subscriber(wire.publisher.endpoint, since=0, timeout_s=9, ask_endpoint=ask) as events:
        for event in events:
            assert isinstance(event, MatchEvent)
            seen.append((event.camera, event.item_id, event.probability))
            break
    assert seen == [("door", "tea", 0.9877)]


def test_three_readers_one_of_them_late_get_the_same_events(wire: Wire) -> None:
    early = [wire.subscriber(since=0) for _ in range(2)]
    sink = wire.sink()
    for number in range(700):  # more than a page
        sink.send_sighting(sighting(f"s{number}"))
    first = take(early[0], 700)
    late = wire.subscriber(since=0)
    sink.send_sighting(sighting("last"))
    first += take(early[0], 1)
    assert [event["seq"] for event in first] == list(range(1, 702))
    assert take(early[1], 701) == first
    assert take(late, 701) == first
    assert late.n_unavailable == 0 and late.last_seq == 701


def test_a_reader_without_since_gets_what_comes_after_it_joined(wire: Wire) -> None:
    sink = wire.sink()
    sink.send_sighting(sighting("old"))
    take(wire.subscriber(since=0), 1)
    events = wire.subscriber()
    wait_until(lambda: is_live(events))
    sink.send_sighting(sighting("new"))
    assert take(events, 1)[0]["sighting_id"] == "new"


@pytest.mark.parametrize("camera", [None, "door"])
@pytest.mark.parametrize("lost", [{2}, {4, 5, 6, 7}, {9, 10}, set(range(1, 11))])
def test_what_was_lost_on_the_way_is_filled_from_the_journal(
    wire: Wire, relay: Callable[[set[int]], LossyRelay], lost: set[int], camera: str | None
) -> None:
    """A loss in the middle shows in the numbers; a loss at the end in the heartbeat's."""
    lossy = relay(lost)
    events = reader_behind(lossy, wire, camera)
    wait_until(lambda: is_live(events))
    sink = wire.sink()
    for number in range(10):
        sink.send_sighting(sighting(f"s{number}", camera="yard" if number % 2 else "door"))
    wanted = range(1, 11) if camera is None else range(1, 11, 2)
    assert [event["seq"] for event in take(events, len(wanted))] == list(wanted)
    assert events.receive_dict(0) is None
    if camera is None:
        assert lossy.n_lost == len(lost)


def test_a_camera_filter_gives_this_cameras_matches_and_states_only(wire: Wire) -> None:
    events = wire.subscriber(camera="door", since=0)
    sink = wire.sink()
    for camera in ("door2", "door", "matcher"):
        sink.send_sighting(sighting(f"of-{camera}", camera=camera))
    wait_until(lambda: wire.publisher.summary().n_events == 3)
    wire.publisher.publish_status("camera.door", "running")
    wire.publisher.publish_status("camera.door2", "running")
    wire.publisher.publish_status("door", "running")  # a worker that is no camera
    sink.send_sighting(sighting("of-door", Phase.LEFT))
    got = take(events, 3)
    assert [(event["camera"], event["camera_seq"]) for event in got] == [
        ("door", 1),
        ("door", 2),
        ("door", 3),
    ]


def test_a_reader_goes_on_when_the_daemon_comes_back(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    wire.sink().send_sighting(sighting("a"))
    assert [event["seq"] for event in take(events, 1)] == [1]
    wire.restart()
    wire.sink().send_sighting(sighting("b"))
    assert [event["seq"] for event in take(events, 2)] == [2, 3]


def test_a_reader_follows_to_another_journal(wire: Wire, run_dir: Path) -> None:
    events, live_only = wire.subscriber(since=0), wire.subscriber()
    sink = wire.sink()
    for number in range(3):
        sink.send_sighting(sighting(f"s{number}"))
    assert len(take(events, 3)) == 3
    wait_until(lambda: live_only.receive_dict(0.05) is None and live_only.last_seq is not None)
    old = wire.journal.journal_id
    wire.restart(journal=run_dir / "new.db")
    wait_until(lambda: live_only.receive_dict(0.05) is None and live_only.last_seq == 0)
    wire.sink().send_sighting(sighting("b"))
    got = take(events, 4)
    assert [event["reason"] for event in got[:3]] == ["stopped"] * 3
    assert got[3]["seq"] == 1 and got[3]["journal_id"] != old
    assert take(live_only, 1) == got[3:]


def test_a_number_from_another_journal_is_an_error(wire: Wire) -> None:
    events = wire.subscriber(since=99)
    with pytest.raises(ConfigError, match="must be at most the journal's last number 0, got 99"):
        events.receive(DEADLINE_S)


def test_what_the_journal_forgot_is_counted(wire: Wire) -> None:
    sink = wire.sink()
    for number in range(10):
        sink.send_sighting(sighting(f"s{number}"))
    take(wire.subscriber(since=0), 10)
    keeper = JournalKeeper(wire.journal, PublishOptions(journal_keep_days=1e-9))
    keeper.tidy(wire.journal._db)
    sink.send_sighting(sighting("new"))
    late = wire.subscriber(since=0)
    assert take(late, 1)[0]["seq"] == 11
    assert late.n_unavailable == 10


def test_a_silent_daemon_is_noticed_and_its_return_as_well(wire: Wire) -> None:
    events = wire.subscriber(since=0, timeout_s=0.05)
    wait_until(lambda: is_live(events))
    assert not events.is_silent
    wire.stop()
    wait_until(lambda: events.receive(0.05) is None and events.is_silent)
    assert events.state(0.05) is None
    assert list(events) == []
    wire.restart()
    wait_until(lambda: events.receive(0.05) is None and not events.is_silent)


def test_a_stranger_that_publishes_there_is_named() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    pub, router = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
    port = pub.bind_to_random_port("tcp://127.0.0.1")
    ask = f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"
    with Subscriber(f"tcp://127.0.0.1:{port}", ask_endpoint=ask) as events:
        events._is_behind = False

        def hears() -> bool:
            pub.send_multipart([b"match.", b'{"hello": 1}'])
            return events.receive(0.02) is not None

        with pytest.raises(ConfigError, match="endpoint: must be a Magpie daemon's"):
            wait_until(hears)
    context.destroy(linger=0)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"endpoint": "http://127.0.0.1:1"}, "endpoint: expected tcp://HOST:PORT"),
        ({"endpoint": "tcp://127.0.0.1:0"}, "endpoint: a reader needs the port"),
        ({"since": -1}, "since: must be 0 or more, got -1"),
        ({"camera": "a b"}, "camera: may have"),
        ({"keys": Path("/nowhere")}, "curve keys: a CURVE certificate is needed"),
    ],
)
def test_a_usage_mistake_is_one_sentence(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Subscriber(**wrong)  # type: ignore[arg-type]
