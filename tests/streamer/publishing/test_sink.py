"""The matcher's end: it hands over, and never waits for a daemon that does not take."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from pipeline.errors import WorkerError
from pipeline.types import Phase
from streamer.publishing.events import MatchDraft
from streamer.publishing.sink import EventSink, Handover
from streamer.publishing.sockets import sink_path
from tests.fakes import wait_until
from tests.streamer.publishing.rig import DEADLINE_S, Wire, sighting, take


def test_a_sink_may_open_before_the_daemon_listens(run_dir: Path) -> None:
    sink = EventSink(run_dir, "matcher.3", 7)
    assert sink.send_sighting(sighting("a"))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.PULL) as pull:
        pull.bind(f"ipc://{sink_path(run_dir)}")
        assert pull.poll(1000 * DEADLINE_S)
        handover = Handover.model_validate_json(pull.recv())
    sink.close()
    context.term()
    assert (handover.worker, handover.incarnation) == ("matcher.3", 7)
    assert isinstance(handover.what, MatchDraft) and handover.what.sighting_id == "a"


def test_a_daemon_that_takes_nothing_costs_the_timeout_and_is_counted(run_dir: Path) -> None:
    sink = EventSink(run_dir, "matcher.0", timeout_ms=1)
    n_sent = 0
    while sink.send_sighting(sighting(f"s{n_sent}")):
        n_sent += 1
        assert n_sent < 10_000
    assert n_sent >= 1000 and sink.n_lost == 1
    started_s = time.monotonic()
    assert not sink.send_sighting(sighting("late"))
    assert time.monotonic() - started_s < 0.5 and sink.n_lost == 2
    sink.close()
    sink.close()


def test_a_sighting_too_large_for_the_wire_is_counted_and_the_next_goes(wire: Wire) -> None:
    events = wire.subscriber(since=0)
    sink = wire.sink()
    stages = {f"stage-{number}-{'x' * 4000}": 1.0 for number in range(20)}
    assert not sink.send_sighting(sighting("large", stage_ms=stages))
    assert sink.n_lost == 1
    small = sighting("small")
    long_label = replace(small, match=replace(small.match, label="é" * 5000))
    assert sink.send_sighting(long_label)
    assert take(events, 1)[0]["label"] == "é" * 1024


def test_a_cameras_end_comes_after_all_that_was_seen_in_it(wire: Wire) -> None:
    """1. Of two cameras an item is in view. 2. One's source ends, its matcher says of one of its
    two sightings that it left. Result: the daemon ends the other, and nothing else."""
    events = wire.subscriber(since=0)
    sink = wire.sink()
    for name, camera in (("a", "door"), ("b", "door"), ("c", "yard")):
        assert sink.send_sighting(sighting(name, camera=camera))
    last = sighting("a", Phase.LEFT, frame_number=950, reason="source_ended")
    assert sink.send_sighting(last) and sink.send_end("door")
    got = take(events, 5)[3:]
    assert [(e["sighting_id"], e["type"], e["reason"], e["frame_number"]) for e in got] == [
        ("a", "left", "source_ended", 950),
        ("b", "left", "source_ended", 901),
    ]
    wait_until(lambda: wire.publisher.has_ended("door"))
    assert not wire.publisher.has_ended("yard")
    assert not wire.publisher.summary().refused


def test_a_path_too_long_for_a_socket_is_named() -> None:
    with pytest.raises(WorkerError, match=r"run folder: a socket's path may have 107 bytes"):
        EventSink(Path("/tmp") / ("x" * 120), "matcher.0")
