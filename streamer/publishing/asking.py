"""One question to the ask socket and its answer, with a deadline."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import zmq

from pipeline.errors import ConfigError
from streamer.publishing.options import (
    DEFAULT_ENDPOINT,
    Endpoint,
    ask_endpoint_of,
    parse_endpoint,
)
from streamer.publishing.sockets import connect_reader

_REPEAT_S = 3.0  # a question without an answer is asked anew, on a fresh connection


class Asker:
    """Asks one question at a time; an answer to an older one is thrown away."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: Endpoint, keys: Path | None
    ) -> None:
        """Raises ConfigError for an address without a port, or a damaged key."""
        self._context = context
        self._address = address
        self._keys = keys
        self._id = 0
        self._asked: dict[str, Any] | None = None
        self._asked_s = 0.0
        self._socket = self._open()

    def ask(self, question: dict[str, Any], wait_s: float) -> dict[str, Any] | None:
        """Return the answer, or None when none comes in time; asked again, the wait goes on.

        Raises ConfigError when the daemon calls the question wrong.
        """
        deadline_s = time.monotonic() + wait_s
        if question != self._asked or time.monotonic() - self._asked_s > _REPEAT_S:
            self._send(question)
        while True:
            left_ms = int(1000 * max(0.0, deadline_s - time.monotonic()))
            if not self._socket.poll(left_ms):
                return None
            answer = json.loads(self._socket.recv_multipart()[-1])
            if answer.get("id") != self._id:
                continue
            self._asked = None
            if "error" in answer:
                raise ConfigError(str(answer["error"]))
            return dict(answer)

    def close(self) -> None:
        self._socket.close(linger=0)

    def _send(self, question: dict[str, Any]) -> None:
        if self._asked is not None:  # leave no unanswered questions behind for a daemon to come
            self._socket.close(linger=0)
            self._socket = self._open()
        self._id += 1
        self._asked, self._asked_s = question, time.monotonic()
        with contextlib.suppress(zmq.Again):  # refused (keys): tried anew on a fresh connection
            self._socket.send(json.dumps({**question, "id": self._id}).encode(), zmq.NOBLOCK)

    def _open(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        connect_reader(socket, self._address, self._keys)
        return socket


def ask_state(
    endpoint: str = DEFAULT_ENDPOINT,
    timeout_s: float = 2.0,
    keys: Path | None = None,
    ask_endpoint: str | None = None,
) -> dict[str, Any] | None:
    """Return how the daemon that publishes at `endpoint` stands, or None when it does not answer.

    Raises ConfigError for an endpoint or key of the wrong form.
    """
    address = parse_endpoint(ask_endpoint or endpoint)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        asker = Asker(context, address if ask_endpoint else ask_endpoint_of(address), keys)
        try:
            return asker.ask({"state": True}, timeout_s)
        finally:
            asker.close()
    finally:
        context.term()
