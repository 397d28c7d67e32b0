"""Asks the query worker for routes: wakes it, waits for its jobs, turns its refusals into ours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Response
from fastapi.responses import JSONResponse

from streamer.control.asking import ask as ask_daemon
from streamer.control.requests import QueryPlace, RefusedError, StartQuery
from streamer.query.asking import ask, ask_for_job, ask_for_picture
from streamer.query.refusals import QueryRefusedError
from streamer.query.requests import (
    JobRequest,
    JobView,
    QueryModel,
    QuickRequest,
    ReadPicture,
    Status,
)
from streamer.query.requests import Refusal as QueryRefusal
from streamer.web.context import WebContext
from streamer.web.problems import Refusal

START_WITHIN_S = 30.0
CHANGE_WITHIN_S = 15.0  # a change that takes longer is answered by its job
# Requests that wait for jobs: more than may be queued, and not on the threads of the readers.
_WAITERS = CapacityLimiter(32)
_STATUSES: dict[Status, int] = {
    "invalid": 422,
    "conflict": 409,
    "missing": 404,
    "changed": 412,
    "busy": 503,
    "broken": 503,
}
_A = TypeVar("_A", bound=QueryModel)
_T = TypeVar("_T")


async def answer_of(context: WebContext, asked: QuickRequest, answer: type[_A]) -> _A:
    """Return the worker's answer to what takes no job; raises its refusal as one of ours."""
    return await _waiting(partial(_ask, context, asked, answer))


async def picture_of(context: WebContext, asked: ReadPicture) -> bytes:
    """Return a picture of a catalog; raises as `answer_of`."""
    return await _waiting(partial(_ask_for_picture, context, asked))


async def job_of(
    context: WebContext,
    asked: JobRequest,
    frames: Sequence[bytes] = (),
    *,
    wait_s: float = CHANGE_WITHIN_S,
    is_given_up: bool = False,
) -> Response:
    """Return a job's result, or 202 and the job when it has not ended after `wait_s`.

    is_given_up: it is cancelled then, and refused as busy. Raises as `answer_of`.
    """
    view = await _waiting(partial(_do, context, asked, frames, wait_s, is_given_up))
    if view.state == "done" and view.result is not None:
        etag = view.result.get("etag")
        return JSONResponse(view.result, headers={"ETag": etag} if etag else {})
    if view.refused is not None:
        raise _as_refusal(view.refused)
    if is_given_up or view.state == "cancelled":
        rule = f"was given up after {wait_s:g} s" if is_given_up else "was cancelled"
        raise Refusal(503, f"job {view.do}", rule, headers={"Retry-After": "5"})
    return _later(context, view)


async def started(context: WebContext, asked: JobRequest, frames: Sequence[bytes] = ()) -> Response:
    """Return 202 and the job that has been taken in; raises as `answer_of`."""
    return _later(context, await _waiting(partial(_do, context, asked, frames, 0.0, False)))


def _later(context: WebContext, view: JobView) -> Response:
    place = f"{context.options.base_path}/api/v1/jobs/{view.id}"
    return JSONResponse(view.model_dump(mode="json"), 202, {"Location": place})


def _ask(context: WebContext, asked: QuickRequest, answer: type[_A]) -> _A:
    _wake(context)
    try:
        return ask(context.run_dir, asked, answer)
    except QueryRefusedError as error:
        raise _as_refusal(error.refusal) from None


def _ask_for_picture(context: WebContext, asked: ReadPicture) -> bytes:
    _wake(context)
    try:
        return ask_for_picture(context.run_dir, asked)
    except QueryRefusedError as error:
        raise _as_refusal(error.refusal) from None


def _do(
    context: WebContext,
    asked: JobRequest,
    frames: Sequence[bytes],
    wait_s: float,
    is_given_up: bool,
) -> JobView:
    _wake(context)
    try:
        return ask_for_job(context.run_dir, asked, frames, wait_s=wait_s, is_given_up=is_given_up)
    except QueryRefusedError as error:
        raise _as_refusal(error.refusal) from None


def _wake(context: WebContext) -> None:
    """Return when the worker is ready; one that left because it was idle is started again."""
    try:
        ask_daemon(context.run_dir, StartQuery(), QueryPlace, START_WITHIN_S)
    except RefusedError as error:
        told = error.refusal
        headers = {"Retry-After": "5"} if told.status == "busy" else {}
        status = 503 if told.status == "busy" else 404
        remedy = told.remedy or None
        raise Refusal(status, told.where, told.rule, told.got, remedy, headers) from None


def _as_refusal(told: QueryRefusal) -> Refusal:
    after_s = told.retry_after_s
    headers = {} if after_s is None else {"Retry-After": str(after_s)}
    status, remedy = _STATUSES[told.status], told.remedy or None
    return Refusal(status, told.where, told.rule, told.got, remedy, headers)


async def _waiting(act: partial[_T]) -> _T:
    return await run_sync(act, limiter=_WAITERS)
