"""Stand-ins with which processes are tested without networks; named in tests as "tests.fakes:…"."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streamer.child import ChildContext, WorkerState


@dataclass(frozen=True)
class Script:
    """What a scripted worker does: it writes its pid to `mark`, then one of the modes below."""

    mode: str
    mark: Path


def run_script(context: ChildContext, script: Script) -> None:
    """A worker for the supervisor's tests.

    works: beats until asked to stop. ends: finishes its work. dies: raises before it is ready.
    silent: is ready and never beats again. deaf: beats and ignores every request to stop.
    late: never gets ready. mistake: a user's error. leaves: exits with code 0, work unfinished.
    """
    with script.mark.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if script.mode == "dies":
        raise RuntimeError("rtsp://user:hunter2@camera/ fell over")
    if script.mode == "mistake":
        from pipeline.errors import CatalogError

        raise CatalogError.at("catalog 'shelf'", "expected a catalog", remedy="build it")
    if script.mode == "late":
        context.wait(60)
        return
    context.ready()
    context.report(WorkerState.RUNNING, None, n=1)
    if script.mode == "leaves":
        return
    if script.mode == "ends":
        context.report(WorkerState.ENDED)
        return
    while script.mode == "deaf" or not context.is_stopping():
        if script.mode != "silent":
            context.beat()
        if script.mode == "deaf":
            time.sleep(0.02)
        else:
            context.wait(0.02)


def wait_until(condition: Callable[[], object], what: str, within_s: float = 20.0) -> None:
    """Return when the condition holds; fail with `what` when it does not in time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.005)
