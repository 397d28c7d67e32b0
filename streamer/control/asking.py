"""The other end: asks a running daemon for something, and waits for its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import zmq

from pipeline.errors import WorkerError
from streamer.control.answering import control_endpoint
from streamer.control.requests import ControlModel, Refusal, RefusedError, Request

ANSWER_MAX_BYTES = 8 * 2**20
_A = TypeVar("_A", bound=ControlModel)


def ask(place: Path | str, request: Request, answer: type[_A], wait_s: float = 10.0) -> _A:
    """Return the daemon's answer to a request.

    place: the run folder, or the control endpoint as `magpie status --json` tells it. answer: what
    the request is answered by.

    Raises RefusedError, which carries the refusal, and WorkerError when no daemon answers in time.
    """
    endpoint = place if isinstance(place, str) else control_endpoint(place)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.maxmsgsize = ANSWER_MAX_BYTES
            socket.connect(endpoint)
            socket.send(request.model_dump_json().encode())
            if not socket.poll(int(wait_s * 1000)):
                rule = f"a daemon of this machine and user must answer within {wait_s:g} s"
                remedy = "ask on the machine, and as the user, that the daemon runs on"
                raise WorkerError.at("control", rule, remedy=remedy)
            content = json.loads(socket.recv())
    finally:
        context.term()
    if "refused" in content:
        raise RefusedError(Refusal.model_validate(content["refused"]))
    return answer.model_validate(content["answer"])
