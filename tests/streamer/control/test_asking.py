"""Asking a daemon over its private socket: who may, what is refused, and that nobody is held up."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from pipeline.errors import ConfigError, WorkerError
from streamer.control.answering import REQUEST_MAX_BYTES, REQUESTS_A_TURN, Answering
from streamer.control.asking import ask
from streamer.control.requests import (
    AddCamera,
    CameraList,
    IsReady,
    ListCameras,
    Readiness,
    Refusal,
    RefusedError,
    refusal_of,
    refused,
)

READY = Readiness(is_ready=True, reasons=())


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    made = Answering(tmp_path)
    yield made
    made.close()


@pytest.fixture
def served(answering: Answering) -> Iterator[Answering]:
    """Answers as a daemon's loop does: ready; whatever else is asked is refused."""
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            for asked in answering.take():
                if isinstance(asked.request, IsReady):
                    answering.answer(asked, READY)
                else:
                    answering.refuse(asked, refused("missing", "cameras", "none", "x", "y").refusal)
            time.sleep(0.001)

    thread = threading.Thread(target=serve)
    thread.start()
    yield answering
    is_over.set()
    thread.join()


def raw(answering: Answering, payload: bytes) -> dict[str, dict[str, object]]:
    """Return what is answered to these bytes."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(answering.endpoint)
        socket.send(payload)
        assert socket.poll(10_000)
        return dict(json.loads(socket.recv()))


def test_a_request_is_answered_by_what_it_asks_for(served: Answering, tmp_path: Path) -> None:
    assert ask(tmp_path, IsReady(), Readiness) == READY
    assert ask(served.endpoint, IsReady(), Readiness) == READY
    assert (tmp_path / "control").stat().st_mode & 0o077 == 0


def test_a_refusal_is_raised_with_its_parts(served: Answering, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cameras: none, got x; y") as caught:
        ask(tmp_path, ListCameras(), CameraList)
    assert caught.value.refusal.status == "missing"


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        (b"", "request"),
        (b"\xff", "request"),
        (b"[]", "request"),
        (b'{"do": "fly"}', "request"),
        (b'{"do": "remove_camera", "name": "../etc"}', "request.remove_camera.name"),
        (b'{"do": "cameras", "more": "rtsp://me:Geheim7@h/"}', "request.cameras.more"),
        (b'{"do": "add_camera", "name": "a", "options": "rtsp://me:Geheim7@h/"}', "request.add"),
        (b"[" * 50_000, "request"),
    ],
)
def test_what_is_no_request_is_refused_and_no_secret_comes_back(
    served: Answering, payload: bytes, where: str
) -> None:
    refusal = Refusal.model_validate(raw(served, payload)["refused"])
    assert refusal.status == "invalid" and refusal.where.startswith(where)
    assert "Geheim7" not in refusal.model_dump_json()


def test_who_is_not_answered_in_time_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"must answer within 0\.1 s"):
        ask(tmp_path, IsReady(), Readiness, wait_s=0.1)


def test_a_flood_and_askers_who_do_not_listen_hold_nobody_up(answering: Answering) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(answering.endpoint)
        for _ in range(200):
            socket.send(IsReady().model_dump_json().encode())
        socket.send(b" " * (REQUEST_MAX_BYTES + 1))
        n_taken, deadline_s = 0, time.monotonic() + 10
        while n_taken < 200 and time.monotonic() < deadline_s:
            began_s = time.monotonic()
            found = answering.take()
            for asked in found:
                answering.answer(asked, READY)
            assert len(found) <= REQUESTS_A_TURN and time.monotonic() - began_s < 1.0
            n_taken += len(found)
    assert n_taken == 200


def test_a_request_comes_as_it_was_sent() -> None:
    asked = AddCamera(name="door", options={"url": "test:"})
    assert AddCamera.model_validate_json(asked.model_dump_json()) == asked


def test_an_error_is_refused_with_its_parts() -> None:
    error = ConfigError.at("cameras.door.url", "expected a stream", "x", "give one")
    assert refusal_of(error, "invalid") == Refusal(
        status="invalid", where="cameras.door.url", rule="expected a stream", got="'x'",
        remedy="give one",
    )  # fmt: skip
