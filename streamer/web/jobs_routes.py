"""Jobs: long work on catalogs, how far it is, and its end."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Path as PathPart
from pydantic import BaseModel

from streamer.query.asking import read_job
from streamer.query.requests import CancelJob, JobList, JobView, ListJobs, ShowJob
from streamer.web.access import Reader, Writer
from streamer.web.context import WebContext, context_of
from streamer.web.pages import Cursor, Limit, cursor_of, value_of
from streamer.web.problems import problem_responses
from streamer.web.query_desk import answer_of

router = APIRouter(prefix="/jobs", tags=["jobs"])
Context = Annotated[WebContext, Depends(context_of)]
JobId = Annotated[str, PathPart(pattern=r"^[0-9a-f]{16}$")]


class JobPage(BaseModel):
    """Jobs, the newest first."""

    items: list[JobView]
    next_cursor: str | None


@router.get("", response_model=JobPage, responses=problem_responses(401, 403, 404, 422, 503))
async def list_jobs(
    context: Context, caller: Reader, limit: Limit = 100, cursor: Cursor = None
) -> JobPage:
    """Return the jobs of the worker that runs now."""
    jobs = (await answer_of(context, ListJobs(), JobList)).jobs
    first = value_of(cursor, "job") or 0
    rest = first + limit if first + limit < len(jobs) else None
    page = list(jobs[first : first + limit])
    return JobPage(items=page, next_cursor=cursor_of("job", rest))


@router.get(
    "/{job_id}", response_model=JobView, responses=problem_responses(401, 403, 404, 422, 503)
)
async def read_one_job(job_id: JobId, context: Context, caller: Reader) -> JobView:
    """Return how a job stands, and its result when it has ended."""
    ended = read_job(context.run_dir, job_id)
    return ended or await answer_of(context, ShowJob(id=job_id), JobView)


@router.delete(
    "/{job_id}", response_model=JobView, responses=problem_responses(401, 403, 404, 422, 503)
)
async def cancel_job(job_id: JobId, context: Context, caller: Writer) -> JobView:
    """Give a job up; one that has ended stays as it is. What it would have changed is as before."""
    return await answer_of(context, CancelJob(id=job_id), JobView)
