"""What /metrics tells, from the daemon's summary: names, kinds, and where each number comes from.

docs/grafana.json uses these names only; a test holds both together.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streamer.publishing.publish_figures import JOURNAL_TROUBLE

_QUANTILES = (("0.5", "p50_ms"), ("0.95", "p95_ms"), ("0.99", "p99_ms"))
_LOOKS = ("looks_done", "looks_replaced", "looks_dropped", "lost_events")


def metrics_text(
    state: Mapping[str, Any] | None, newest_by_camera: Mapping[str, float], n_streams: int
) -> bytes:
    """Return the text of a scrape. state: the daemon's answer, None when it gives none.

    newest_by_camera: when each camera's newest event was published, in Unix seconds.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(state, newest_by_camera, n_streams))
    return generate_latest(registry)


class _Scrape(Collector):
    """The families of one scrape."""

    def __init__(
        self, state: Mapping[str, Any] | None, newest: Mapping[str, float], n_streams: int
    ) -> None:
        self._state = state
        self._newest = newest
        self._n_streams = n_streams

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("magpie_build", "This program.", {"version": version("magpie")})
        yield GaugeMetricFamily("magpie_up", "1: the daemon answers.", self._state is not None)
        yield GaugeMetricFamily("magpie_event_streams", "Open event streams.", self._n_streams)
        yield from _process_metrics()
        if self._state is None:
            return
        summary = self._state.get("summary") or {}
        cameras: Mapping[str, Any] = summary.get("cameras", {})
        yield GaugeMetricFamily("magpie_run_seconds", "Age of the run.", summary.get("seconds", 0))
        yield from _journal_metrics(self._state, summary)
        yield from _frame_metrics(cameras)
        yield from _camera_metrics(self._state, cameras, self._newest)
        yield from _matcher_metrics(self._state, cameras)
        yield from _latency_metrics(summary.get("latency", {}))
        restarts = CounterMetricFamily("magpie_restarts", "Restarts of workers.", labels=["worker"])
        for worker, n in summary.get("restarts", {}).items():
            restarts.add_metric([worker], n)
        yield restarts


def _journal_metrics(state: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[Metric]:
    is_well = JOURNAL_TROUBLE not in summary.get("trouble", ())
    yield GaugeMetricFamily("magpie_journal_ok", "1: events are written down.", is_well)
    yield GaugeMetricFamily("magpie_journal_last_seq", "Newest number.", state["last_seq"])
    yield GaugeMetricFamily("magpie_journal_oldest_seq", "Oldest number held.", state["oldest_seq"])
    n_open = len(state["open_sightings"])
    yield GaugeMetricFamily("magpie_open_sightings", "Sightings that have not left.", n_open)
    n_troubles = len(summary.get("trouble", ()))
    yield GaugeMetricFamily("magpie_troubles", "What is wrong with the machine now.", n_troubles)


def _frame_metrics(cameras: Mapping[str, Any]) -> Iterator[Metric]:
    decoded = CounterMetricFamily("magpie_frames_decoded", "Frames decoded.", labels=["camera"])
    done = CounterMetricFamily("magpie_frames_processed", "Frames processed.", labels=["camera"])
    by_cause = ["camera", "cause"]
    skipped = CounterMetricFamily("magpie_frames_skipped", "Left out by wish.", labels=by_cause)
    dropped = CounterMetricFamily("magpie_frames_dropped", "Lost.", labels=by_cause)
    pending = GaugeMetricFamily("magpie_frames_pending", "In the ring.", labels=["camera"])
    for name, camera in cameras.items():
        counters = camera["counters"]
        decoded.add_metric([name], counters["decoded"])
        done.add_metric([name], counters["processed"])
        pending.add_metric([name], counters["pending"])
        for family, key in ((skipped, "skipped"), (dropped, "dropped")):
            for cause, n in counters[key].items():
                family.add_metric([name, cause], n)
    yield from (decoded, done, skipped, dropped, pending)


def _camera_metrics(
    state: Mapping[str, Any], cameras: Mapping[str, Any], newest: Mapping[str, float]
) -> Iterator[Metric]:
    fps = GaugeMetricFamily("magpie_camera_fps", "Frames processed a second.", labels=["camera"])
    load = GaugeMetricFamily("magpie_camera_load", "Share of a lane's time.", labels=["camera"])
    states = GaugeMetricFamily("magpie_camera_state", "1: this state.", labels=["camera", "state"])
    events = CounterMetricFamily("magpie_events", "Published matches.", labels=["camera", "type"])
    text = "Since the newest event."
    ages = GaugeMetricFamily("magpie_camera_event_age_seconds", text, labels=["camera"])
    for name, camera in cameras.items():
        fps.add_metric([name], camera["fps"])
        states.add_metric([name, camera["state"]], 1)
        if camera.get("load") is not None:
            load.add_metric([name], camera["load"])
        for kind, n in camera["events"].items():
            events.add_metric([name, kind], n)
        if name in newest:
            ages.add_metric([name], max(0.0, time.time() - newest[name]))
    yield from (fps, load, states, events, ages)


def _matcher_metrics(state: Mapping[str, Any], cameras: Mapping[str, Any]) -> Iterator[Metric]:
    labels = ["worker"]
    waiting = GaugeMetricFamily("magpie_looks_waiting", "Looks that wait.", labels=labels)
    waited = GaugeMetricFamily("magpie_look_waited_seconds", "The oldest's age.", labels=labels)
    counters = {
        name: CounterMetricFamily(f"magpie_{name}", name.replace("_", " "), labels=labels)
        for name in _LOOKS
    }
    for worker in sorted({camera["matcher"] for camera in cameras.values()}):
        told = state["workers"].get(worker, {}).get("counters", {})
        waiting.add_metric([worker], told.get("looks_waiting", 0))
        waited.add_metric([worker], told.get("look_waited_s", 0))
        for name, family in counters.items():
            family.add_metric([worker], told.get(name, 0))
    yield from (waiting, waited, *counters.values())


def _latency_metrics(latency: Mapping[str, Any]) -> Iterator[Metric]:
    histogram = HistogramMetricFamily("magpie_stage_seconds", "Time by stage.", labels=["stage"])
    labels = ["stage", "quantile"]
    newest = GaugeMetricFamily("magpie_latency_seconds", "Time by stage.", labels=labels)
    for stage, told in latency.items():
        for quantile, key in _QUANTILES:
            newest.add_metric([stage, quantile], told[key] / 1000)
        buckets = told.get("buckets") or {}
        if buckets:
            rows = [(f"{float(le_ms) / 1000:g}", float(n)) for le_ms, n in buckets.items()]
            histogram.add_metric([stage], [*rows, ("+Inf", told["n"])], told["sum_ms"] / 1000)
    yield from (newest, histogram)


def _process_metrics() -> Iterator[Metric]:
    """Memory and time of the daemon and of all its workers."""
    memory = GaugeMetricFamily("magpie_process_memory_bytes", "Resident.", labels=["worker"])
    cpu = CounterMetricFamily("magpie_process_cpu_seconds", "Time used.", labels=["worker"])
    files = GaugeMetricFamily("magpie_process_open_files", "Descriptors.", labels=["worker"])
    daemon = psutil.Process(os.getppid())
    try:
        processes = [daemon, *daemon.children()]
    except psutil.Error:
        processes = []
    for process in processes:
        try:
            name = "daemon" if process is daemon else process.cmdline()[-1]
            with process.oneshot():
                times = process.cpu_times()
                memory.add_metric([name], process.memory_info().rss)
                cpu.add_metric([name], times.user + times.system)
            files.add_metric([name], process.num_fds())
        except (psutil.Error, IndexError):  # it ends in this moment
            continue
    yield from (memory, cpu, files)
