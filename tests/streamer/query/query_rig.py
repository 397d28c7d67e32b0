"""A query worker in a process of its own, and the questions that tests put to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2

from catalog_tools.synthesize.packs import render_pack
from pipeline.options import MatcherOptions
from streamer.child import Ready, Report, WorkerState
from streamer.query.arguments import QUERY_TARGET, QueryArgs
from streamer.query.asking import ask, ask_for_job
from streamer.query.options import QueryOptions
from streamer.query.requests import (
    AddPictures,
    CreateCatalog,
    FramePicture,
    JobRequest,
    JobView,
)
from streamer.query.results import CatalogView
from streamer.supervisor import Supervisor, SupervisorOptions, WorkerEvent
from streamer.worker import WorkerSpec
from tests.fakes import wait_until
from tests.pipeline.matcher_rig import OPTIONS, SEED
from tests.query_tools import HOLD


class QueryRig:
    """A supervised query worker; `hold` keeps its descriptions waiting."""

    def __init__(
        self,
        folder: Path,
        configured: dict[str, Path] | None = None,
        loader: str = "tests.query_tools:load_tools",
        matcher: MatcherOptions = OPTIONS,
        **options: Any,
    ) -> None:
        self.run_dir, self.catalogs = folder / "run", folder / "catalogs"
        self.run_dir.mkdir(exist_ok=True)
        self.hold = folder / "hold"
        os.environ[HOLD] = str(self.hold)
        query = QueryOptions.model_validate(options)
        args = QueryArgs(self.catalogs, matcher, query, configured or {}, loader)
        spec = WorkerSpec("query", "query", QUERY_TARGET, args, 60.0, 60.0)
        self.events: list[WorkerEvent] = []
        self.supervisor = Supervisor([spec], self.run_dir, SupervisorOptions())
        self.start()

    def start(self) -> None:
        self.events.clear()
        self.supervisor.start("query")
        self.until(lambda: any(isinstance(event.what, Ready) for event in self.events), "ready")

    def until(self, condition: Any, what: str) -> None:
        def polled() -> object:
            self.events += self.supervisor.poll(0.02)
            return condition()

        wait_until(polled, what, 60)

    def has_said(self, state: WorkerState) -> bool:
        said = [event.what for event in self.events]
        return any(isinstance(what, Report) and what.state == state for what in said)

    @property
    def pid(self) -> int:
        return self.supervisor.pids()["query"]

    def create(self, name: str = "shelf") -> CatalogView:
        return ask(self.run_dir, CreateCatalog(catalog=name), CatalogView)

    def job(self, request: JobRequest, frames: Sequence[bytes] = (), wait_s: float = 60) -> JobView:
        return ask_for_job(self.run_dir, request, frames, wait_s=wait_s)

    def add(self, item_id: str, *seeds: int, name: str = "shelf", **more: Any) -> JobView:
        frames = [pack(seed) for seed in seeds]
        wait_s = more.pop("wait_s", 60)
        pictures = tuple(
            FramePicture(name=f"{seed}.png", frame=number) for number, seed in enumerate(seeds)
        )
        request = AddPictures(catalog=name, item_id=item_id, pictures=pictures, **more)
        return self.job(request, frames, wait_s)

    def close(self) -> None:
        self.hold.unlink(missing_ok=True)
        self.supervisor.stop()


def pack(number: int) -> bytes:
    """A picture of a pack as PNG."""
    done, data = cv2.imencode(".png", render_pack(SEED + number, (220, 300)))
    assert done
    return data.tobytes()


Start = Callable[..., QueryRig]
