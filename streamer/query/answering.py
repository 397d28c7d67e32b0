"""The worker's end of its socket: questions in, answers out; nothing here waits."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq
from pydantic import ValidationError

from pipeline.errors import MagpieError
from streamer.private_socket import bind_private
from streamer.query.refusals import refusal_of, refused
from streamer.query.requests import FRAMES_MAX_BYTES, MAX_PICTURES, REQUEST, QueryModel, Request
from streamer.redaction import redact
from streamer.run_dir import socket_path

QUESTIONS_A_TURN = 32
ANSWERS_KEPT = 16  # for an asker that does not read them
QUESTIONS_KEPT = 4  # of one asker, in the socket
LINGER_MS = 200


def query_endpoint(run_dir: Path) -> str:
    """Return where the worker is asked; WorkerError when the path is too long for a socket."""
    return f"ipc://{socket_path(run_dir, 'query')}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that waits for its answer, and the pictures that came with it."""

    request: Request
    frames: Sequence[bytes]
    asker: Sequence[bytes]


class Answering:
    """A ROUTER in the run folder, for this user only."""

    def __init__(self, run_dir: Path) -> None:
        """Bind; WorkerError when the path is too long for a socket, or cannot be written."""
        self.endpoint = query_endpoint(run_dir)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.router = self._context.socket(zmq.ROUTER)
        self.router.maxmsgsize = FRAMES_MAX_BYTES
        self.router.rcvhwm = QUESTIONS_KEPT
        self.router.sndhwm = ANSWERS_KEPT
        self.router.linger = LINGER_MS
        bind_private(self.router, self.endpoint)

    def take(self) -> list[Asked]:
        """Return the questions that wait; those that are none are answered."""
        found = []
        for _ in range(QUESTIONS_A_TURN):
            try:
                asker, *parts = self.router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                found.append(Asked(_parse(parts), tuple(parts[1:]), (asker,)))
            except MagpieError as error:
                self.refuse((asker,), error)
        return found

    def answer(
        self, asker: Sequence[bytes], answer: QueryModel, frames: Sequence[bytes] = ()
    ) -> None:
        """Send an answer, and pictures behind it."""
        self._send(asker, {"answer": answer.model_dump(mode="json")}, frames)

    def refuse(self, asker: Sequence[bytes], error: MagpieError) -> None:
        """Send word that something was not done."""
        self._send(asker, {"refused": refusal_of(error).model_dump()})

    def close(self) -> None:
        self.router.close()
        self._context.term()

    def _send(
        self, asker: Sequence[bytes], content: dict[str, object], frames: Sequence[bytes] = ()
    ) -> None:
        with contextlib.suppress(zmq.Again):  # who asked does not listen
            payload = json.dumps(content).encode()
            self.router.send_multipart([*asker, payload, *frames], zmq.NOBLOCK)


def _parse(parts: Sequence[bytes]) -> Request:
    """Return the checked question; QueryRefusedError for what is none."""
    n_bytes = sum(map(len, parts))
    if n_bytes > FRAMES_MAX_BYTES or len(parts) > MAX_PICTURES + 1:
        rule = f"pictures that come with a question may have {FRAMES_MAX_BYTES >> 20} MiB in all"
        raise refused("invalid", "pictures", rule, None, "send fewer, or smaller ones")
    try:
        raw = json.loads(parts[0] if parts else b"")
    except (ValueError, RecursionError):
        raise refused("invalid", "question", "expected a JSON object") from None
    try:
        return REQUEST.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["question", *(str(part) for part in first["loc"])])
        got = redact(repr(first["input"])[:80])
        raise refused("invalid", where, redact(first["msg"].lower()), got) from None
