"""The other end: asks the query worker of a running daemon, and waits for its answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import zmq

from pipeline.errors import WorkerError
from streamer.query.answering import query_endpoint
from streamer.query.jobs import jobs_folder, read_job_file
from streamer.query.refusals import QueryRefusedError
from streamer.query.requests import (
    CancelJob,
    JobRequest,
    JobView,
    QueryModel,
    QuickRequest,
    ReadPicture,
    Refusal,
)

ANSWER_MAX_BYTES = 64 * 2**20
TAKEN_WITHIN_S = 20.0  # by a worker that only runs where nothing else does
LINGER_MS = 500
_A = TypeVar("_A", bound=QueryModel)


def ask(
    run_dir: Path, request: QuickRequest, answer: type[_A], wait_s: float = TAKEN_WITHIN_S
) -> _A:
    """Return the worker's answer to a question that takes no job.

    answer: what the question is answered by. Raises QueryRefusedError, which carries the refusal,
    and WorkerError when no query worker answers in time.
    """
    with _connected(run_dir) as socket:
        socket.send(request.model_dump_json().encode())
        content, _ = _receive(socket, wait_s)
    return answer.model_validate(content)


def ask_for_picture(run_dir: Path, request: ReadPicture, wait_s: float = TAKEN_WITHIN_S) -> bytes:
    """Return a picture of a catalog as JPEG; raises as `ask`."""
    with _connected(run_dir) as socket:
        socket.send(request.model_dump_json().encode())
        _, frames = _receive(socket, wait_s)
    return frames[0]


def ask_for_job(
    run_dir: Path,
    request: JobRequest,
    frames: Sequence[bytes] = (),
    *,
    wait_s: float,
    is_given_up: bool = False,
) -> JobView:
    """Return how a job stands when it has ended, or after `wait_s` when it has not.

    frames: the pictures that its FramePictures name. is_given_up: it is cancelled if it has not
    ended then. A job that was refused after it began is returned as failed. Raises as `ask`; the
    refusal of a full queue says when to ask again.
    """
    with _connected(run_dir) as socket:
        socket.send_multipart([request.model_dump_json().encode(), *frames], copy=False)
        content, _ = _receive(socket, TAKEN_WITHIN_S)
        view = JobView.model_validate(content)
        deadline_s = time.monotonic() + wait_s
        if view.ended is None and socket.poll(int(1000 * max(0.0, wait_s))):
            content, _ = _receive(socket, max(0.1, deadline_s - time.monotonic()))
            view = JobView.model_validate(content)
        if view.ended is None and is_given_up:
            socket.send(CancelJob(id=view.id).model_dump_json().encode())
            content, _ = _receive(socket, TAKEN_WITHIN_S)
            view = JobView.model_validate(content)
    return view


def read_job(run_dir: Path, job_id: str) -> JobView | None:
    """Return how a job ended, also when its worker has gone; None when that is not known here."""
    view = read_job_file(jobs_folder(run_dir) / f"{job_id}.json") if job_id.isalnum() else None
    return view if view is not None and view.ended is not None else None


@contextmanager
def _connected(run_dir: Path) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with context.socket(zmq.DEALER) as socket:
            socket.linger = LINGER_MS
            socket.maxmsgsize = ANSWER_MAX_BYTES
            socket.connect(query_endpoint(run_dir))
            yield socket
            socket.linger = 0
    finally:
        context.destroy(linger=0)


def _receive(socket: zmq.Socket[bytes], wait_s: float) -> tuple[dict[str, Any], list[bytes]]:
    if not socket.poll(int(wait_s * 1000)):
        rule = f"the query worker must answer within {wait_s:g} s"
        raise WorkerError.at("query", rule, remedy="start it, and ask again")
    payload, *frames = socket.recv_multipart()
    content = json.loads(payload)
    if "refused" in content:
        raise QueryRefusedError(Refusal.model_validate(content["refused"]))
    return content["answer"], frames
