"""How fast, how late and how dear is a whole run: `magpie bench end-to-end`.

Runs the real daemon on a source (the demo's clip by default) and reads its events as any subscriber
does. Prints a table; writes JSON and a histogram of the latencies from capture to event.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import ProcessCosts, percentiles, write_result
from pipeline.errors import ConfigError, WorkerError
from streamer.publishing import Subscriber

_STARTED = re.compile(r"started worker=(?P<name>\S+) pid=(?P<pid>\d+)")
_START_WITHIN_S = 120.0
_SILENT_S = 60.0


def run_benchmark(
    out: Path,
    magpie: Sequence[str],
    source: str | None = None,
    catalog: Path | None = None,
    n_cameras: int = 1,
    is_realtime: bool = True,
    duration_s: float = 0.0,
) -> Path:
    """Run the daemon, print the figures and give the path of the JSON that holds them.

    magpie: how the command line is started. n_cameras: the same source so many times at once.
    is_realtime: files at their own pace, the newest frame wins; else every frame is processed.
    """
    if (source is None) != (catalog is None):
        raise ConfigError.at("bench end-to-end", "expected both --source and --catalog, or none")
    if source is None or catalog is None:
        source, catalog = _demo_material(out, magpie)
    config = {
        "source": Path(source).name,
        "cameras": n_cameras,
        "realtime": is_realtime,
        "duration_s": duration_s,
    }
    with tempfile.TemporaryDirectory(prefix="magpie-bench-") as folder:
        figures = _run(Path(folder), magpie, source, catalog, config)
    latencies = figures.pop("latencies_ms")
    path = write_result(out, "end_to_end", config, figures)
    if latencies:
        draw_histogram(latencies, path.with_suffix(".png"))
    print_figures(figures)
    print(path)
    return path


def _demo_material(out: Path, magpie: Sequence[str]) -> tuple[str, Path]:
    """Give the demo's clip and catalog, made when they are not there yet."""
    from catalog_tools.demo.clip import make_demo_clip

    clip_dir = make_demo_clip(out)
    catalog = out / "catalog"
    command = [*magpie, "catalog", "build", str(clip_dir / "items.csv"), "--out", str(catalog)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerError.at("bench", "the catalog can't be built", done.stderr.strip())
    return str(clip_dir / "clip.mp4"), catalog


def _run(
    folder: Path, magpie: Sequence[str], source: str, catalog: Path, config: dict[str, Any]
) -> dict[str, Any]:
    options = ["--catalog", str(catalog), "--publish", "tcp://127.0.0.1:*"]
    options += ["--journal", str(folder / "journal.db"), "--log-level", "debug"]
    options += ["--summary-json", str(folder / "summary.json")]
    options += ["--realtime"] if config["realtime"] else []
    options += ["--duration", str(config["duration_s"])] if config["duration_s"] else []
    sources = [f"cam{number}={source}" for number in range(config["cameras"])]
    log_path = folder / "daemon.log"
    with log_path.open("w") as log:
        daemon = subprocess.Popen(
            [*magpie, "run", *sources, *options], stdout=subprocess.PIPE, stderr=log, text=True
        )

    def pids() -> dict[str, int]:
        return {"daemon": daemon.pid, **worker_pids(log_path.read_text())}

    try:
        endpoint, ask = _endpoints(daemon, log_path)
        with Subscriber(endpoint, ask_endpoint=ask, since=0) as subscriber, ProcessCosts(pids) as c:
            events = _collect(subscriber, daemon)
    finally:
        if daemon.poll() is None:
            daemon.terminate()
        daemon.communicate(timeout=15)
    if daemon.returncode:
        got = " | ".join(log_path.read_text().splitlines()[-5:])
        raise WorkerError.at("bench", "the daemon must run to its end", got)
    summary = json.loads((folder / "summary.json").read_text())
    return {**gather_figures(summary, events), "processes": c.figures()}


def worker_pids(log: str) -> dict[str, int]:
    """Give the process id of each worker from the daemon's log; the last start counts."""
    return {found["name"]: int(found["pid"]) for found in _STARTED.finditer(log)}


def _endpoints(daemon: subprocess.Popen[str], log_path: Path) -> tuple[str, str]:
    assert daemon.stdout is not None
    words = daemon.stdout.readline().split()
    if len(words) != 4:
        got = " | ".join(log_path.read_text().splitlines()[-5:])
        raise WorkerError.at("bench", "the daemon must tell where its events are", got)
    return words[1], words[3]


def _collect(subscriber: Subscriber, daemon: subprocess.Popen[str]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    heard_s = time.monotonic()
    while time.monotonic() - heard_s < (_SILENT_S if events else _START_WITHIN_S):
        has_ended = daemon.poll() is not None
        event = subscriber.receive_dict(0.1)
        if event is not None:
            events.append(event)
            heard_s = time.monotonic()
        elif has_ended:
            return events
    raise WorkerError.at("bench", "the daemon must end or publish", f"nothing for {_SILENT_S:g} s")


def gather_figures(summary: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    """Join the daemon's own account with what a subscriber saw.

    Latency from capture to event is taken of `appeared` and `updated`: a `left` is late by nature.
    """
    seen = [event for event in events if event["type"] in ("appeared", "updated")]
    latencies = [float(event["latency_ms"]) for event in seen]
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
        for name, camera in summary["cameras"].items()
    }
    return {
        "seconds": summary["seconds"],
        "cameras": cameras,
        "events": summary["events"],
        "capture_to_event_ms": percentiles(latencies),
        "stage_ms_of_all_frames": summary["latency"],
        "stage_ms_of_frames_with_events": {s: percentiles(ms) for s, ms in stages.items()},
        "restarts": summary["restarts"],
        "latencies_ms": latencies,
    }


def draw_histogram(latencies_ms: Sequence[float], path: Path) -> None:
    """Draw how often which latency from capture to event occurred."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 3.2))
    axis.hist(latencies_ms, bins=40, color="#3a6ea5")
    marks = percentiles(latencies_ms) or {}
    for key, style in (("p50", "-"), ("p95", "--"), ("p99", ":")):
        axis.axvline(marks[key], color="black", linestyle=style, label=f"{key} {marks[key]:.0f} ms")
    axis.set(xlabel="capture to event, ms", ylabel="events")
    axis.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def print_figures(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table(title="end to end", title_justify="left", box=None, show_header=False)
    for name, camera in figures["cameras"].items():
        frames = f"{camera['decoded']} decoded, {camera['processed']} processed"
        table.add_row(name, f"{camera['fps_processed']:.1f} fps; {frames}")
        for key in ("skipped", "dropped"):
            causes = ", ".join(f"{cause} {n}" for cause, n in camera[key].items()) or "none"
            table.add_row("", f"{key}: {causes}")
    events = ", ".join(f"{n} {kind}" for kind, n in figures["events"].items())
    table.add_row("events", events or "none")
    latency = figures["capture_to_event_ms"]
    shown = "none" if latency is None else _text(latency, "p50", "p95", "p99")
    table.add_row("capture to event", shown)
    for stage, found in figures["stage_ms_of_all_frames"].items():
        table.add_row(f"  {stage}", _text(found, "p50_ms", "p95_ms", "p99_ms"))
    for name, cost in figures["processes"].items():
        memory = f"{cost['private_mb_median']:.0f} MB private, {cost['private_mb_max']:.0f} at most"
        table.add_row(name, f"{cost['cpu_percent']:.0f} % of a core, {memory}")
    Console().print(table)


def _text(found: dict[str, float], *keys: str) -> str:
    return " / ".join(f"{found[key]:.1f}" for key in keys) + " ms (p50 / p95 / p99)"
