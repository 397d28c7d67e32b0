"""A worker that is started when it is asked for: who asks hears of it when it is ready."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.control.answering import Answering
from streamer.control.asking import ask
from streamer.control.requests import QueryPlace, RefusedError, StartQuery
from streamer.on_demand import OnDemand
from streamer.supervisor import Supervisor, SupervisorOptions
from streamer.worker import WorkerSpec
from tests.fakes import Script

Served = Callable[[str | None], OnDemand]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Runs a daemon's loop around a scripted worker; None: there is none."""
    answering = Answering(tmp_path)
    supervisor = Supervisor([], tmp_path, SupervisorOptions(stop_grace_s=0.5))
    is_over = threading.Event()
    threads: list[threading.Thread] = []

    def start(mode: str | None) -> OnDemand:
        script = Script(mode or "", tmp_path / "query.pids")
        spec = WorkerSpec("query", "query", "tests.fakes:run_script", script, 30.0, 5.0)
        made = OnDemand(spec if mode else None, "ipc://place", supervisor, answering)

        def loop() -> None:  # workers end with the thread that started them: it stops them too
            while not is_over.is_set():
                for event in supervisor.poll(0.05, [answering.fileno()]):
                    made.hear(event)
                for asked in answering.take():
                    made.ask(asked)
            supervisor.stop()

        threads.append(threading.Thread(target=loop))
        threads[0].start()
        return made

    yield start
    is_over.set()
    for thread in threads:
        thread.join()
    answering.close()


def starts(folder: Path) -> int:
    return len((folder / "query.pids").read_text().split())


def test_the_worker_is_started_once_and_told_to_all_who_ask(served: Served, tmp_path: Path) -> None:
    served("works")
    for _ in range(2):
        place = ask(tmp_path, StartQuery(), QueryPlace, 30)
        assert place == QueryPlace(endpoint="ipc://place")
    assert starts(tmp_path) == 1


def test_one_that_has_gone_by_itself_is_started_again(served: Served, tmp_path: Path) -> None:
    served("ends")
    ask(tmp_path, StartQuery(), QueryPlace, 30)
    while starts(tmp_path) < 2:  # it may not be gone yet
        ask(tmp_path, StartQuery(), QueryPlace, 30)


def test_one_that_cannot_start_is_busy_and_one_that_is_not_there_is_missing(
    served: Served, tmp_path: Path
) -> None:
    served("dies")
    with pytest.raises(RefusedError, match=r"could not be started: .* fell over") as caught:
        ask(tmp_path, StartQuery(), QueryPlace, 30)
    assert caught.value.refusal.status == "busy"
    assert "hunter2" not in str(caught.value)


def test_a_run_without_such_a_worker_says_so(served: Served, tmp_path: Path) -> None:
    served(None)
    with pytest.raises(RefusedError) as caught:
        ask(tmp_path, StartQuery(), QueryPlace)
    assert caught.value.refusal.status == "missing"
