"""How the query worker begins, yields and ends, and who may ask it at once."""

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from pipeline.errors import WorkerError
from streamer.child import Ready, WorkerState
from streamer.query.asking import ask, read_job
from streamer.query.requests import (
    FramePicture,
    JobView,
    ListCatalogs,
    Search,
    ShowJob,
)
from streamer.query.results import (
    CatalogList,
    SearchResult,
)
from tests.fakes import wait_until
from tests.pipeline.matcher_rig import SEED, build_pack_catalog
from tests.streamer.query.query_rig import Start, pack


def test_it_goes_when_idle_and_its_jobs_can_still_be_read(start: Start) -> None:
    rig = start(idle_s=0.5)
    rig.create()
    job = rig.add("tea", 0)
    rig.until(lambda: rig.has_said(WorkerState.ENDED), "its end")
    rig.until(lambda: not rig.supervisor.pids(), "its process is gone")
    read = read_job(rig.run_dir, job.id)
    assert read is not None and read.state == "done"
    with pytest.raises(WorkerError, match=r"the query worker must answer within 0\.2 s"):
        ask(rig.run_dir, ListCatalogs(), CatalogList, wait_s=0.2)


def test_a_job_of_a_worker_that_was_killed_is_told_as_failed(start: Start) -> None:
    rig = start()
    rig.create()
    rig.add("tea", 0)
    rig.hold.touch()
    job = rig.add("tea", 1, wait_s=0)
    wait_until(lambda: ask(rig.run_dir, ShowJob(id=job.id), JobView).state == "running", "running")
    os.kill(rig.pid, signal.SIGKILL)
    rig.hold.unlink()
    rig.until(
        lambda: sum(isinstance(event.what, Ready) for event in rig.events) == 2, "its restart"
    )
    told = ask(rig.run_dir, ShowJob(id=job.id), JobView)
    assert told.state == "failed" and told.refused is not None
    assert "the worker that did it has ended" in told.refused.rule
    assert rig.add("tea", 1).state == "done", "the catalog is whole and not locked"


def test_it_runs_only_where_nothing_else_does(start: Start) -> None:
    """All of its threads but the one that answers at once, and the one that watches its parent."""
    rig = start()
    rig.create()
    rig.add("tea", 0)
    process = psutil.Process(rig.pid)
    assert process.nice() == 19
    policies = [os.sched_getscheduler(thread.id) for thread in process.threads()]
    assert len(policies) > 2 and policies.count(os.SCHED_IDLE) >= len(policies) - 2
    assert (rig.run_dir / "query").stat().st_mode & 0o777 == 0o600


def test_many_askers_at_once_each_get_their_own_answer(start: Start, tmp_path: Path) -> None:
    packs = build_pack_catalog(tmp_path / "other", [SEED + n for n in range(4)])
    rig = start(configured={"packs": packs}, queue=20)
    search = Search(catalog="packs", pictures=(FramePicture(name="a", frame=0),), k=1)
    found: dict[int, str] = {}

    def ask_one(number: int) -> None:
        job = rig.job(search, [pack(number)])
        found[number] = SearchResult.model_validate(job.result).pictures[0].ranked[0].item_id

    threads = [threading.Thread(target=ask_one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: f"pack-{number}" for number in range(4)}
