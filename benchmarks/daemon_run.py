"""One run of the real daemon, as a benchmark sees it: its summary, its events, its processes' cost.

Nothing of the daemon is imported but its subscriber: it runs as a user starts it.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import ProcessCosts, percentiles
from pipeline.errors import WorkerError
from streamer.frame_counters import FrameCounters, read_counters
from streamer.publishing import Subscriber
from streamer.run_dir import shared_memory

_STARTED = re.compile(r"started worker=(?P<name>\S+) pid=(?P<pid>\d+)")
# Causes for which a frame is lost while a run goes on; others count what its beginning or end left.
LOST = ("overrun", "failed", "corrupt", "matcher_died")
_START_WITHIN_S = 120.0
_SILENT_S = 60.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the daemon is asked to do.

    sources: by camera name. matcher: the configuration's `matcher` section. seconds: 0: to the end.
    camera: options of each camera (`loop`, `realtime`, `detect_fps`, …). settle_s: what is lost in
    the first seconds, when all cameras begin at once, is counted apart.
    """

    sources: Mapping[str, str]
    catalog: Path
    seconds: float = 0.0
    matchers: int = 1
    camera: Mapping[str, Any] = field(default_factory=dict)
    matcher: Mapping[str, Any] = field(default_factory=dict)
    settle_s: float = 0.0

    def as_config(self, folder: Path) -> dict[str, Any]:
        """Return the daemon's configuration; its files go to `folder`."""
        return {
            "catalog": str(self.catalog.resolve()),
            "duration_s": self.seconds,
            "matchers": self.matchers,
            "summary_json": str(folder / "summary.json"),
            "log_level": "debug",
            "cameras": {name: {"url": url, **self.camera} for name, url in self.sources.items()},
            "publish": {"endpoint": "tcp://127.0.0.1:*", "journal": str(folder / "journal.db")},
            "matcher": dict(self.matcher),
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of it. processes: cost by process name. events: as their JSON, with `received_ns`,
    the wall time at which this process had them. others_cores: how many cores other programs kept
    busy meanwhile. settling: by camera, its counts when it had settled; none: not asked.
    """

    summary: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    processes: Mapping[str, Mapping[str, float]]
    others_cores: float = 0.0
    settling: Mapping[str, FrameCounters] = field(default_factory=dict)

    @property
    def latencies_ms(self) -> list[float]:
        """From capture to event, of `appeared` and `updated`: a `left` is late by nature."""
        return [float(e["latency_ms"]) for e in self.events if e["type"] in ("appeared", "updated")]

    def counted(self, key: str) -> int:
        """Return a counter's sum over the cameras: decoded, processed."""
        return sum(int(c["counters"][key]) for c in self.summary["cameras"].values())

    def dropped(self, *causes: str) -> int:
        """Return how many frames of all cameras were lost for these causes (none: any)."""
        return sum(
            int(n)
            for camera in self.summary["cameras"].values()
            for cause, n in camera["counters"]["dropped"].items()
            if not causes or cause in causes
        )

    def dropped_share(self, *causes: str) -> float:
        """Return the share of the frames, after the cameras had settled, that were lost so."""
        before = self.settling.values()
        decoded = self.counted("decoded") - sum(counts.decoded for counts in before)
        dropped = self.dropped(*causes) - sum(
            n for counts in before for cause, n in counts.dropped.items() if cause in causes
        )
        return round(dropped / max(1, decoded), 5)

    def stage_count(self, stage: str) -> int:
        """Return how often a stage was measured over the run."""
        return int(self.summary["latency"].get(stage, {"n": 0})["n"])


def run_daemon(
    folder: Path,
    magpie: Sequence[str],
    options: RunOptions,
    while_running: Callable[[], None] | None = None,
) -> RunResult:
    """Run the daemon to its end and return what came of it; WorkerError when it fails.

    magpie: how the command line is started. while_running: called for each event and each tenth of
    a second without one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, log_path = folder / "run.json", folder / "daemon.log"
    config.write_text(json.dumps(options.as_config(folder)))  # JSON is YAML
    with log_path.open("w") as log:
        daemon = subprocess.Popen(
            [*magpie, "run", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    settling: dict[str, FrameCounters] = {}
    began_s = time.monotonic()

    def look_in() -> None:
        if while_running is not None:
            while_running()
        if options.settle_s and not settling and time.monotonic() > began_s + options.settle_s:
            (run_dir,) = shared_memory().glob(f"magpie-{daemon.pid}-*")
            settling.update({name: read_counters(run_dir, name) for name in options.sources})

    def pids() -> dict[str, int]:
        return {"daemon": daemon.pid, **worker_pids(log_path.read_text())}

    try:
        endpoint, ask = _endpoints(daemon, log_path)
        with Subscriber(endpoint, ask_endpoint=ask, since=0) as subscriber, ProcessCosts(pids) as c:
            began_s = time.monotonic()
            events = _collect(subscriber, daemon, look_in)
    finally:
        if daemon.poll() is None:
            daemon.terminate()
        daemon.communicate(timeout=15)
    if daemon.returncode:
        raise WorkerError.at("bench", "the daemon must run to its end", _last_words(log_path))
    summary = json.loads((folder / "summary.json").read_text())
    return RunResult(summary, events, c.figures(), c.others_cores(), settling)


def worker_pids(log: str) -> dict[str, int]:
    """Give the process id of each worker from the daemon's log; the last start counts."""
    return {found["name"]: int(found["pid"]) for found in _STARTED.finditer(log)}


def gather_figures(result: RunResult) -> dict[str, Any]:
    """Join the daemon's own account with what a subscriber saw."""
    seen = [event for event in result.events if event["type"] in ("appeared", "updated")]
    stages: dict[str, list[float]] = {}
    for event in seen:
        for stage, ms in event["stage_ms"].items():
            stages.setdefault(stage, []).append(float(ms))
    cameras = {
        name: {
            "fps_processed": camera["fps"],
            **{key: camera["counters"][key] for key in ("decoded", "processed")},
            "skipped": camera["counters"]["skipped"],
            "dropped": camera["counters"]["dropped"],
        }
        for name, camera in result.summary["cameras"].items()
    }
    return {
        "seconds": result.summary["seconds"],
        "cameras": cameras,
        "events": result.summary["events"],
        "capture_to_event_ms": percentiles(result.latencies_ms),
        "stage_ms_of_all_frames": result.summary["latency"],
        "stage_ms_of_frames_with_events": {s: percentiles(ms) for s, ms in stages.items()},
        "restarts": result.summary["restarts"],
        "processes": result.processes,
    }


def _endpoints(daemon: subprocess.Popen[str], log_path: Path) -> tuple[str, str]:
    assert daemon.stdout is not None
    words = daemon.stdout.readline().split()
    if len(words) != 4:
        where = "the daemon must tell where its events are"
        raise WorkerError.at("bench", where, _last_words(log_path))
    return words[1], words[3]


def _last_words(log_path: Path) -> str:
    return " | ".join(log_path.read_text().splitlines()[-5:])


def _collect(
    subscriber: Subscriber, daemon: subprocess.Popen[str], while_running: Callable[[], None]
) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    heard_s = time.monotonic()
    while time.monotonic() - heard_s < (_SILENT_S if events else _START_WITHIN_S):
        has_ended = daemon.poll() is not None
        event = subscriber.receive_dict(0.1)
        while_running()
        if event is not None:
            events.append({**event, "received_ns": time.time_ns()})
            heard_s = time.monotonic()
        elif has_ended:
            return events
    raise WorkerError.at("bench", "the daemon must end or publish", f"nothing for {_SILENT_S:g} s")
