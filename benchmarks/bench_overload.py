"""What happens when far more is asked than can be done: `magpie bench overload`.

Full load first: as many cameras as the machine just serves. Then so many times more, for longer.
Told: how much later events come (p99 of the second over p99 of the first), whether the processes'
memory stays flat (their last quarter against the second), and whether the cameras are served alike
(each one's processed frames against the mean). Prints a table, writes JSON, draws the shares.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bench_density import UPDATE_EVERY_S
from benchmarks.daemon_run import RunOptions, RunResult, run_daemon
from benchmarks.harness import percentiles, write_result
from benchmarks.material import Material
from benchmarks.plots import draw_shares
from pipeline.options import MatcherOptions


def run_benchmark(
    out: Path,
    magpie: Sequence[str],
    options: MatcherOptions,
    material: Material,
    full: int = 2,
    times: int = 4,
    seconds: float = 60.0,
    matchers: int = 1,
) -> Path:
    """Run `full` cameras for a third of the time, then `times` as many; return the JSON's path."""
    decide = {**options.decide.model_dump(mode="json"), "update_every_s": UPDATE_EVERY_S}
    runs = []
    for n_cameras, run_s in ((full, max(10.0, seconds / 3)), (full * times, seconds)):
        run = RunOptions(
            {f"cam{number}": str(material.clip) for number in range(n_cameras)},
            material.catalog,
            run_s,
            min(matchers, n_cameras),
            camera={"realtime": True, "loop": True},
            matcher={**options.model_dump(mode="json"), "decide": decide},
        )
        with tempfile.TemporaryDirectory(prefix="magpie-bench-") as folder:
            runs.append(figures_of(run_daemon(Path(folder), magpie, run)))
    figures = {"full": runs[0], "overload": runs[1], **compare(runs[0], runs[1])}
    config = {
        "clip": material.clip.name,
        "n_items": material.n_items,
        "cameras": [full, full * times],
        "seconds": seconds,
        "matchers": matchers,
        "engine": options.engine.model_dump(),
    }
    path = write_result(out, "overload", config, figures)
    print_figures(figures)
    draw_shares(runs[1]["processed_by_camera"], path.with_suffix(".png"))
    print(path)
    return path


def figures_of(result: RunResult) -> dict[str, Any]:
    """Return one run's figures."""
    processed = {
        name: int(camera["counters"]["processed"])
        for name, camera in result.summary["cameras"].items()
    }
    return {
        "cameras": len(processed),
        "seconds": result.summary["seconds"],
        "decoded": result.counted("decoded"),
        "processed_by_camera": processed,
        "dropped_overrun": result.dropped("overrun"),
        "capture_to_event_ms": percentiles(result.latencies_ms),
        "restarts": result.summary["restarts"],
        "events": result.summary["events"],
        "stages": result.summary["latency"],
        "processes": result.processes,
    }


def compare(full: Mapping[str, Any], overload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ratios that the benchmark is about; None where a run had no events."""
    late = [run["capture_to_event_ms"] for run in (full, overload)]
    processed = np.array(list(overload["processed_by_camera"].values()), float)
    shares = processed / max(1e-9, float(processed.mean()))
    growth = {
        name: round(cost["private_mb_late"] / cost["private_mb_early"], 3)
        for name, cost in overload["processes"].items()
        if not name.startswith("camera")
    }
    return {
        "p99_ratio": round(late[1]["p99"] / late[0]["p99"], 2) if all(late) else None,
        "least_share": round(float(shares.min()), 3),
        "largest_share": round(float(shares.max()), 3),
        "memory_growth": growth,
    }


def print_figures(figures: Mapping[str, Any]) -> None:
    """Print both runs and what they say together."""
    table = Table("run", "cameras", "processed/s", "p50 ms", "p99 ms", "overrun")
    for name in ("full", "overload"):
        run = figures[name]
        found = run["capture_to_event_ms"]
        rate = sum(run["processed_by_camera"].values()) / run["seconds"]
        shown = (f"{found[key]:.0f}" if found else "-" for key in ("p50", "p99"))
        overrun = f"{run['dropped_overrun'] / max(1, run['decoded']):.0%}"
        table.add_row(name, str(run["cameras"]), f"{rate:.1f}", *shown, overrun)
    console = Console(width=110)
    console.print(table)
    shares = f"{figures['least_share']} to {figures['largest_share']} of the mean"
    grown = ", ".join(f"{name} x{ratio}" for name, ratio in figures["memory_growth"].items())
    console.print(f"p99 x{figures['p99_ratio']}; cameras {shares}; memory {grown}")
