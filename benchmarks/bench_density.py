"""How many cameras one machine serves in time: `magpie bench density`.

Cameras in real time, each a recording at its own pace, searched ten times a second. The number is
doubled until the limits break, then the border is searched between. The limits: p99 from capture to
event, and the share of frames that were lost because the matcher had no time. No camera may be
served less than the others: the least must have half the frames of the mean.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.daemon_run import LOST, RunOptions, RunResult, run_daemon
from benchmarks.harness import percentiles, write_result
from benchmarks.material import Material
from benchmarks.plots import draw_density
from pipeline.options import MatcherOptions

UPDATE_EVERY_S = 0.5  # events tell the latency: more of them tell it better


@dataclass(frozen=True, slots=True)
class Limits:
    """What a number of cameras must keep to. p99_ms: from capture to event. dropped_share: 0..1."""

    p99_ms: float = 500.0
    dropped_share: float = 0.001

    def are_kept(self, run: dict[str, Any]) -> bool:
        """Whether a run keeps to them; one without an event does not."""
        latency = run["capture_to_event_ms"]
        return (
            latency is not None
            and latency["p99"] <= self.p99_ms
            and run["dropped_share"] <= self.dropped_share
            and run["least_share"] >= 0.5
        )


def run_benchmark(
    out: Path,
    magpie: Sequence[str],
    options: MatcherOptions,
    material: Material,
    limits: Limits,
    start: int = 1,
    at_most: int = 64,
    seconds: float = 12.0,
    within_s: float = 600.0,
    matchers: int = 1,
    motion_gate: bool = False,
    settle_s: float = 0.0,
) -> Path:
    """Search the largest number of cameras; return the JSON's path.

    within_s: no further run is begun after so long; what was found until then stands. motion_gate:
    of each camera. settle_s: of each run, before losses count.
    """
    decide = {**options.decide.model_dump(mode="json"), "update_every_s": UPDATE_EVERY_S}
    matcher = {**options.model_dump(mode="json"), "decide": decide}
    runs: list[dict[str, Any]] = []

    def holds(n_cameras: int) -> bool:
        run = RunOptions(
            {f"cam{number}": str(material.clip) for number in range(n_cameras)},
            material.catalog,
            seconds,
            min(matchers, n_cameras),
            camera={"realtime": True, "loop": True, "motion_gate": motion_gate},
            matcher=matcher,
            settle_s=settle_s,
        )
        with tempfile.TemporaryDirectory(prefix="magpie-bench-") as folder:
            figures = figures_of(run_daemon(Path(folder), magpie, run), n_cameras)
        runs.append({**figures, "holds": limits.are_kept(figures)})
        print_runs(runs[-1:])
        return bool(runs[-1]["holds"])

    end_s = time.monotonic() + within_s
    best = search_most(holds, start, at_most, lambda: time.monotonic() < end_s)
    config = {
        "clip": material.clip.name,
        "n_items": material.n_items,
        "limits": asdict(limits),
        "seconds_a_run": seconds,
        "matchers": matchers,
        "motion_gate": motion_gate,
        "settle_s": settle_s,
        "engine": options.engine.model_dump(),
    }
    figures = {"most_cameras": best, "runs": runs}
    path = write_result(out, "density", config, figures)
    draw_density(runs, limits.p99_ms, path.with_suffix(".png"))
    print(f"most cameras within the limits: {best} (of {[run['cameras'] for run in runs]} tried)")
    print(path)
    return path


def search_most(
    holds: Callable[[int], bool], start: int, at_most: int, has_time: Callable[[], bool]
) -> int:
    """Return the largest number that was found to hold, 0 when none was.

    Doubles from `start` while it holds, then halves the gap.
    """
    best, worst, number = 0, at_most + 1, min(start, at_most)
    while best + 1 < worst and has_time():
        if holds(number):
            best = number
        else:
            worst = number
        is_open = worst > at_most
        number = min(at_most, 2 * best) if is_open and best else (best + worst) // 2
        if number <= best:
            break
    return best


def figures_of(result: RunResult, n_cameras: int) -> dict[str, Any]:
    """Return one run's figures."""
    decoded = result.counted("decoded")
    processed = [c["counters"]["processed"] for c in result.summary["cameras"].values()]
    return {
        "cameras": n_cameras,
        "seconds": result.summary["seconds"],
        "decoded": decoded,
        "processed": sum(processed),
        "dropped_share": result.dropped_share(*LOST),
        "least_share": round(min(processed) / max(1.0, float(np.mean(processed))), 3),
        "capture_to_event_ms": percentiles(result.latencies_ms),
        "searched": result.stage_count("wait"),
        "looks": result.stage_count("embed"),
        "events": result.summary["events"],
        "stages": result.summary["latency"],
        "processes": {n: c for n, c in result.processes.items() if not n.startswith("camera")},
        "cameras_cpu_percent": round(
            sum(c["cpu_percent"] for n, c in result.processes.items() if n.startswith("camera")), 1
        ),
    }


def print_runs(runs: Sequence[dict[str, Any]]) -> None:
    """Print a line a run."""
    table = Table("cameras", "p50 ms", "p95 ms", "p99 ms", "dropped", "searched/s", "holds")
    for run in runs:
        found = run["capture_to_event_ms"]
        shown = (f"{found[key]:.0f}" if found else "-" for key in ("p50", "p95", "p99"))
        table.add_row(
            str(run["cameras"]),
            *shown,
            f"{run['dropped_share']:.2%}",
            f"{run['searched'] / run['seconds']:.1f}",
            "yes" if run["holds"] else "no",
        )
    Console(width=110).print(table)
