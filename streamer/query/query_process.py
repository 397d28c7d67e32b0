"""The query worker's process: answers at once what it can, does the rest as jobs, leaves when idle.

It runs only where the processor has nothing else to do: searches and builds never hold up cameras.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from typing import TYPE_CHECKING

import zmq

from pipeline.errors import MagpieError
from streamer.child import ChildContext, WorkerState, function_of
from streamer.publishing.sockets import Waker
from streamer.query.answering import Answering, Asked
from streamer.query.arguments import QueryArgs
from streamer.query.jobs import Jobs
from streamer.query.requests import (
    AddPictures,
    CancelJob,
    Check,
    CreateCatalog,
    DecideDuplicate,
    DeleteCatalog,
    FindDuplicates,
    JobList,
    LabelItem,
    ListCatalogs,
    ListGenerations,
    ListItems,
    ListJobs,
    QueryModel,
    ReadPicture,
    Rebuild,
    RemoveItem,
    RemovePicture,
    RollBack,
    Search,
    ShowCatalog,
    ShowItem,
    ShowJob,
)
from streamer.reporting import Log

if TYPE_CHECKING:  # heavy: loaded when the processor has been yielded
    from streamer.query.catalogs import Catalogs

TURN_MS = 500
JOB_STUCK_S = 900.0  # longest step of a job: an index of a large catalog is one
STOP_WITHIN_S = 0.6  # that a job may take to be given up
_CHANGES = (AddPictures, RemoveItem, RemovePicture, LabelItem, Rebuild, DecideDuplicate)
_JOBS = (*_CHANGES, Check, FindDuplicates, Search)

log = Log("query")


def run_query(context: ChildContext, args: QueryArgs) -> None:
    """Answer questions until asked to stop, or until nothing was asked for `idle_s`."""
    yield_processor()
    from streamer.query.catalogs import Catalogs
    from streamer.query.work import Work

    catalogs = Catalogs(args.folder, args.configured)
    load = partial(function_of(args.loader), args.matcher)
    waker = Waker()
    desk = Answering(context.run_dir)
    work = Work(catalogs, args.query, load)
    jobs = Jobs(context.run_dir, args.query.queue, work.do, waker.wake)
    _schedule("SCHED_OTHER")  # this thread only: what it does at once is little, and is waited for
    try:
        _Loop(context, args, catalogs, desk, jobs, waker).run()
    finally:
        jobs.stop(STOP_WITHIN_S)
        desk.close()
        waker.close()


def yield_processor() -> None:
    """Let every other process go first; before threads are started, which do as their maker."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    _schedule("SCHED_IDLE")
    with contextlib.suppress(OSError):
        os.nice(19)


def _schedule(policy: str) -> None:
    """Put this thread, and those that it starts from now on, under a policy of the kernel."""
    with contextlib.suppress(OSError, AttributeError):  # a sandbox, or another system
        os.sched_setscheduler(0, getattr(os, policy), os.sched_param(0))


class _Loop:
    """Questions and answers, one turn at a time."""

    def __init__(
        self,
        context: ChildContext,
        args: QueryArgs,
        catalogs: Catalogs,
        desk: Answering,
        jobs: Jobs,
        waker: Waker,
    ) -> None:
        self._context, self._idle_s = context, args.query.idle_s
        self._catalogs, self._desk, self._jobs, self._waker = catalogs, desk, jobs, waker
        self._asked_s = time.monotonic()

    def run(self) -> None:
        """Return when asked to stop, or idle for long."""
        poller = zmq.Poller()
        poller.register(self._desk.router, zmq.POLLIN)
        poller.register(self._waker.fileno(), zmq.POLLIN)
        poller.register(self._context.stop_descriptor(), zmq.POLLIN)
        self._context.ready()
        while not self._context.is_stopping():
            if self._jobs.stuck_s() < JOB_STUCK_S:
                self._context.beat()
            poller.poll(int(min(TURN_MS, self._idle_s * 1000)))
            self._turn()
            if self._jobs.is_idle and time.monotonic() - self._asked_s > self._idle_s:
                log.info("the query worker ends, nothing was asked", idle_s=self._idle_s)
                self._context.report(WorkerState.ENDED)
                return
            self._context.report(WorkerState.RUNNING)

    def _turn(self) -> None:
        self._waker.clear()
        for asked in self._desk.take():
            self._asked_s = time.monotonic()
            try:
                self._take(asked)
            except MagpieError as error:
                self._desk.refuse(asked.asker, error)
        for job in self._jobs.ended():
            self._asked_s = time.monotonic()
            self._desk.answer(job.asker, job.view)

    def _take(self, asked: Asked) -> None:
        request = asked.request
        if isinstance(request, _JOBS):
            self._catalogs.path(request.catalog)
            # Behind jobs of the same catalog it is another when this one's turn comes.
            if isinstance(request, _CHANGES) and not self._jobs.has(request.catalog):
                self._catalogs.check(request.catalog, request.if_match)
            job = self._jobs.put(request, asked.frames, asked.asker)
            self._desk.answer(asked.asker, job.view)
        elif isinstance(request, ReadPicture):
            from streamer.query.results import PictureSize

            data = self._catalogs.picture(request.catalog, request.sha256)
            self._desk.answer(asked.asker, PictureSize(n_bytes=len(data)), [data])
        else:
            self._desk.answer(asked.asker, self._answer(request))

    def _answer(self, request: object) -> QueryModel:
        match request:
            case ListCatalogs():
                return self._catalogs.all()
            case ShowCatalog(catalog=name):
                return self._catalogs.view(name)
            case CreateCatalog():
                return self._catalogs.create(request)
            case DeleteCatalog():
                return self._catalogs.delete(request)
            case RollBack():
                return self._catalogs.roll_back(request)
            case ListItems():
                return self._catalogs.items(request)
            case ShowItem(catalog=name, item_id=item_id):
                return self._catalogs.item(name, item_id)
            case ListGenerations(catalog=name):
                return self._catalogs.generations(name)
            case ShowJob(id=job_id):
                return self._jobs.view(job_id)
            case CancelJob(id=job_id):
                return self._jobs.cancel(job_id)
            case ListJobs():
                return JobList(jobs=self._jobs.all())
        raise TypeError(request)
