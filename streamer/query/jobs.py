"""The jobs of the query worker: a short queue, one at a time, and how each of them stands.

What a job ended in also lies as a file in the run folder, for a while: the worker goes when it is
idle, and its asker may come later.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import MagpieError
from streamer.query.refusals import refusal_of, refused
from streamer.query.requests import JobRequest, JobState, JobView, QueryModel, Refusal, Search
from streamer.redaction import redact
from streamer.reporting import Log

KEPT = 200  # jobs that have ended
_GUESS_S = 5.0  # that a job takes, before one has been measured

log = Log("query")

Progress = Callable[[int, int], None]
Do = Callable[[JobRequest, Sequence[bytes], Progress], QueryModel]


class CancelledError(Exception):
    """A job's work is given up, because its asker wants no more of it."""


class Job:
    """One question that takes long. asker: where its answer goes."""

    def __init__(
        self, request: JobRequest, frames: Sequence[bytes], asker: Sequence[bytes]
    ) -> None:
        self.request = request
        self.frames: Sequence[bytes] = frames
        self.asker = asker
        self.is_cancelled = False
        self.moved_s = time.monotonic()  # when its work last came on
        self.view = JobView(
            id=secrets.token_hex(8),
            do=request.do,
            catalog=request.catalog,
            state="queued",
            created=_now(),
        )

    def progress(self, n_done: int, n_total: int) -> None:
        """Note how far the work is; CancelledError when it is to be given up."""
        self.moved_s = time.monotonic()
        if self.is_cancelled:
            raise CancelledError
        self.view = self.view.model_copy(update={"n_done": n_done, "n_total": n_total})

    def set(
        self,
        state: JobState,
        result: QueryModel | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        told = None if result is None else result.model_dump(mode="json")
        ended = None if state in ("queued", "running") else _now()
        update = {"state": state, "result": told, "refused": refusal, "ended": ended}
        self.moved_s = time.monotonic()
        self.view = self.view.model_copy(update=update)


class Jobs:
    """Takes jobs in, does them in a thread of its own, and says which have ended."""

    def __init__(self, run_dir: Path, limit: int, do: Do, wake: Callable[[], None]) -> None:
        """limit: how many may wait. wake: called when a job has ended."""
        self._store = _Store(run_dir)
        self._limit, self._do, self._wake = limit, do, wake
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._ended: deque[Job] = deque()
        self._running: Job | None = None
        self._is_stopping = False
        self._usual_s = _GUESS_S
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def put(self, request: JobRequest, frames: Sequence[bytes], asker: Sequence[bytes]) -> Job:
        """Take a job in and return it; QueryRefusedError, busy, when too many wait."""
        with self._changed:
            if len(self._waiting) >= self._limit:
                rule = f"at most {self._limit} jobs may wait"
                after_s = max(1, round(self._usual_s))
                raise refused("busy", "jobs", rule, None, f"ask again in {after_s} s", after_s)
            job = Job(request, frames, asker)
            self._jobs[job.view.id] = job
            self._waiting.append(job)
            self._store.write(job.view)
            self._changed.notify()
        return job

    def view(self, job_id: str) -> JobView:
        """Return how a job stands; QueryRefusedError when there is none of that number."""
        job = self._jobs.get(job_id)
        found = self._store.read(job_id) if job is None else job.view
        if found is None:
            raise refused("missing", f"job {job_id!r}", "no such job, or not any more")
        return found

    def all(self) -> tuple[JobView, ...]:
        """Return all that are known, the newest first."""
        with self._changed:  # the thread of the jobs forgets old ones
            return tuple(job.view for job in reversed(self._jobs.values()))

    def cancel(self, job_id: str) -> JobView:
        """Give a job up; one that runs ends at its next step."""
        with self._changed:
            job = self._jobs.get(job_id)
            if job is not None and job.view.ended is None:
                job.is_cancelled = True
                if job in self._waiting:
                    self._waiting.remove(job)
                    self._end(job, "cancelled")
        return self.view(job_id)

    def ended(self) -> list[Job]:
        """Return the jobs that have ended since the last call."""
        found = []
        while self._ended:
            found.append(self._ended.popleft())
        return found

    def has(self, catalog: str) -> bool:
        """Whether a job of a catalog waits or runs."""
        return any(job.catalog == catalog and job.ended is None for job in self.all())

    @property
    def is_idle(self) -> bool:
        return self._running is None and not self._waiting

    def stuck_s(self) -> float:
        """Return for how long the job that runs has not come on; 0 without one."""
        running = self._running
        return 0.0 if running is None else time.monotonic() - running.moved_s

    def stop(self, wait_s: float) -> None:
        """Give all up; returns when the work has ended, or after `wait_s`. Twice is fine."""
        with self._changed:
            self._is_stopping = True
            for job in self._waiting:
                self._end(job, "cancelled")
            self._waiting.clear()
            if self._running is not None:
                self._running.is_cancelled = True
            self._changed.notify()
        self._thread.join(wait_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_stopping)
                if self._is_stopping:
                    return
                job = self._running = self._waiting.popleft()
                job.set("running")
                self._store.write(job.view)
            began_s = time.monotonic()
            self._work(job)
            self._usual_s += 0.3 * (time.monotonic() - began_s - self._usual_s)

    def _work(self, job: Job) -> None:
        result: QueryModel | None = None
        refusal: Refusal | None = None
        state: JobState = "failed"
        try:
            result = self._do(job.request, job.frames, job.progress)
            state = "done"
        except CancelledError:
            state = "cancelled"
        except MagpieError as error:
            refusal = refusal_of(error)
        except Exception as error:
            log.exception("a job failed", do=job.view.do, job=job.view.id)
            rule = f"failed by an error of its own ({type(error).__name__})"
            remedy = "the daemon's log tells more"
            refusal = Refusal(
                status="broken", where=f"job {job.view.do}", rule=redact(rule), remedy=remedy
            )
        with self._changed:
            self._running = None
            self._end(job, state, result, refusal)

    def _end(
        self,
        job: Job,
        state: JobState,
        result: QueryModel | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        job.set(state, result, refusal)
        job.frames = ()
        self._store.write(job.view)
        self._ended.append(job)
        while len(self._jobs) > KEPT and next(iter(self._jobs.values())).view.ended is not None:
            self._jobs.popitem(last=False)
        self._wake()


class _Store:
    """Jobs as files in the run folder, those of searches excepted: their askers wait for them."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = jobs_folder(run_dir)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        files = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files[:-KEPT]:
            path.unlink(missing_ok=True)
        for path in files[-KEPT:]:
            view = read_job_file(path)
            if view is not None and view.ended is None:  # of a worker that died
                rule = "the worker that did it has ended"
                refusal = Refusal(status="broken", where="job", rule=rule, remedy="ask again")
                update = {"state": "failed", "refused": refusal, "ended": _now()}
                self.write(view.model_copy(update=update))

    def write(self, view: JobView) -> None:
        if view.do == Search.model_fields["do"].default:
            return
        new = self._folder / f".{os.getpid()}.new"
        with contextlib.suppress(OSError):  # a full disk must not end the work itself
            new.write_text(view.model_dump_json())
            new.replace(self._folder / f"{view.id}.json")

    def read(self, job_id: str) -> JobView | None:
        return read_job_file(self._folder / f"{job_id}.json") if job_id.isalnum() else None


def jobs_folder(run_dir: Path) -> Path:
    """Return where jobs lie as files."""
    return run_dir / "jobs"


def read_job_file(path: Path) -> JobView | None:
    """Return the job that a file tells of; None when there is none."""
    try:
        return JobView.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
