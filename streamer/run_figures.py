"""Collects what workers and counters tell into the figures of one run."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from streamer.camera_load import Load
from streamer.child import WorkerState
from streamer.frame_counters import Skip, read_counters
from streamer.latency import Histograms, merge_histograms
from streamer.matcher_args import main_ring
from streamer.publishing.publish_figures import PublishSummary
from streamer.summary import CameraSummary, MainSummary, RunSummary, StageSummary

BUCKETS_MS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000)


class RunFigures:
    """The daemon's memory of a run's figures."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._began_s = time.monotonic()
        self._histograms: dict[tuple[str, int], Histograms] = {}
        self._loads: dict[tuple[str, int], Mapping[str, Load]] = {}
        self._restarts: Counter[str] = Counter()
        self._first_s: dict[str, float] = {}
        self._last_s: dict[str, float] = {}

    def begin(self) -> None:
        """The cameras start now: from here on the run's seconds count."""
        self._began_s = time.monotonic()

    def note_state(self, camera: str, state: WorkerState) -> None:
        """A camera's speed counts from its first picture to its end."""
        if state == WorkerState.RUNNING:
            self._first_s.setdefault(camera, time.monotonic())
        elif state == WorkerState.ENDED:
            self._last_s[camera] = time.monotonic()

    def add(self, worker: str, incarnation: int, content: Mapping[str, object]) -> None:
        """Take over a matcher's figures; each note holds all since that worker's start."""
        self._histograms[worker, incarnation] = cast(Histograms, content["stages"])
        self._loads[worker, incarnation] = cast(Mapping[str, Load], content["loads"])

    def loads(self) -> dict[str, Load]:
        """Return the loads by camera, as far as they are measured, over all of a worker's lives."""
        found: dict[str, Load] = {}
        for loads in self._loads.values():
            for camera, load in loads.items():
                found[camera] = found[camera] + load if camera in found else load
        return found

    def forget(self, camera: str) -> None:
        """A camera is gone; one that comes under its name begins anew."""
        self._first_s.pop(camera, None)
        self._last_s.pop(camera, None)

    def count_restart(self, worker: str) -> None:
        self._restarts[worker] += 1

    def summary(
        self,
        states: Mapping[str, WorkerState],
        mains: Mapping[str, WorkerState],
        matcher_of: Mapping[str, str],
        published: PublishSummary,
        is_last: bool,
    ) -> RunSummary:
        """Return the run's figures now; at the last, what nobody took any more is dropped.

        states: of all cameras. mains: of the main streams, by those cameras that have one beside.
        matcher_of: the worker that has a camera.
        """
        now_s = time.monotonic()
        cameras = {}
        loads = self.loads()
        for camera, state in states.items():
            counters = read_counters(self._run_dir, camera)
            if is_last:
                counters = counters.settled()
            cameras[camera] = CameraSummary(
                state=state.value,
                counters=counters,
                fps=round(self._fps(camera, counters.processed, now_s), 2),
                events=published.n_by_camera.get(camera, {}),
                matcher=matcher_of.get(camera, ""),
                load=round(loads[camera].share, 3) if camera in loads else None,
                main=self._main(camera, mains[camera], is_last) if camera in mains else None,
            )
        return RunSummary(
            seconds=round(now_s - self._began_s, 3),
            cameras=cameras,
            events=_matches_only(published.n_by_type),
            latency=self._latency(published),
            restarts=dict(self._restarts),
            trouble=published.trouble,
        )

    def _main(self, camera: str, state: WorkerState, is_last: bool) -> MainSummary:
        counters = read_counters(self._run_dir, main_ring(camera))
        if is_last:
            counters = counters.settled(Skip.UNNEEDED)
        return MainSummary(state.value, counters)

    def _fps(self, camera: str, n_processed: int, now_s: float) -> float:
        first_s = self._first_s.get(camera, self._began_s)
        seconds = self._last_s.get(camera, now_s) - first_s
        return n_processed / seconds if seconds > 0.001 else 0.0

    def _latency(self, published: PublishSummary) -> dict[str, StageSummary]:
        latency = {}
        for stage, histogram in merge_histograms(list(self._histograms.values())).items():
            found = histogram.percentiles()
            latency[stage] = StageSummary(
                found.n,
                round(found.p50_ms, 3),
                round(found.p95_ms, 3),
                round(found.p99_ms, 3),
                round(histogram.sum_ms, 3),
                histogram.up_to(BUCKETS_MS),
            )
        for stage, quantiles in (
            ("publish", published.publish),
            ("capture to publish", published.latency),
        ):
            if quantiles.n:
                latency[stage] = StageSummary(
                    quantiles.n, quantiles.p50_ms, quantiles.p95_ms, quantiles.p99_ms
                )
        return latency


def _matches_only(n_by_type: Mapping[str, int]) -> dict[str, int]:
    return {kind: n_by_type[kind] for kind in ("appeared", "updated", "left") if kind in n_by_type}
