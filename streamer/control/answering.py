"""The daemon's end: a private socket in the run folder, served between two turns of its loop."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import zmq
from pydantic import ValidationError

from pipeline.errors import MagpieError, WorkerError
from streamer.control.requests import REQUEST, Answer, Refusal, Request, refusal_of, refused
from streamer.redaction import redact, remember_texts
from streamer.reporting import Log
from streamer.run_dir import socket_path

REQUEST_MAX_BYTES = 256 * 1024
REQUESTS_A_TURN = 32
ANSWERS_KEPT = 16  # for an asker that does not read them
LINGER_MS = 200

log = Log("control")


def control_endpoint(run_dir: Path) -> str:
    """Return where a run is asked; WorkerError when the path is too long for a socket."""
    return f"ipc://{socket_path(run_dir, 'control')}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that waits for its answer."""

    request: Request
    envelope: tuple[bytes, ...]


class Answering:
    """Takes requests and sends answers; nothing here waits."""

    def __init__(self, run_dir: Path) -> None:
        """Bind; WorkerError when the path is too long for a socket, or cannot be written."""
        self.endpoint = control_endpoint(run_dir)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.maxmsgsize = REQUEST_MAX_BYTES
        self._router.sndhwm = ANSWERS_KEPT
        self._router.linger = LINGER_MS
        try:
            self._router.bind(self.endpoint)
            socket_path(run_dir, "control").chmod(0o600)
        except (zmq.ZMQError, OSError) as error:
            self._context.destroy(linger=0)
            rule = f"its sockets in shared memory could not be written ({error.strerror})"
            raise WorkerError.at("control", rule, str(run_dir), "give it more room") from error

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when a request comes; then `take` them all."""
        return int(self._router.getsockopt(zmq.FD))

    def take(self) -> list[Asked]:
        """Return the requests that wait; those that are none are answered."""
        found = []
        for _ in range(REQUESTS_A_TURN):
            try:
                *envelope, payload = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                found.append(Asked(_parse(payload), tuple(envelope)))
            except MagpieError as error:
                self._send(tuple(envelope), {"refused": refusal_of(error, "invalid").model_dump()})
        return found

    def answer(self, asked: Asked, answer: Answer) -> None:
        """Send the answer to a request."""
        self._send(asked.envelope, {"answer": answer.model_dump(mode="json")})

    def refuse(self, asked: Asked, refusal: Refusal) -> None:
        """Send word that a request was not done, and log it."""
        text = f"{refusal.where}: {refusal.rule}"
        log.warning("a request was refused", do=asked.request.do, why=text)
        self._send(asked.envelope, {"refused": refusal.model_dump()})

    def close(self) -> None:
        self._router.close()
        self._context.term()

    def _send(self, envelope: tuple[bytes, ...], content: dict[str, object]) -> None:
        with contextlib.suppress(zmq.Again):  # who asked does not listen
            self._router.send_multipart([*envelope, json.dumps(content).encode()], zmq.NOBLOCK)


def _parse(payload: bytes) -> Request:
    """Return the checked request; RefusedError for what is none."""
    try:
        raw = json.loads(payload)
    except (ValueError, RecursionError):
        raise refused("invalid", "request", "expected a JSON object") from None
    remember_texts(raw)
    try:
        return REQUEST.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["request", *(str(part) for part in first["loc"])])
        got = redact(repr(first["input"])[:80])
        raise refused("invalid", where, redact(first["msg"].lower()), got) from None
