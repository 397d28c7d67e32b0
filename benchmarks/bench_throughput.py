"""How many frames a second, and how well the cores are used: `magpie bench throughput`.

The real daemon reads a recording again and again as fast as it can. *Efficiency* is the core-time
of the work itself (decode, search, track, identify: each measured alone in the same run) over the
time that the cores had. What is missing was spent on waiting, copying and each other's way. On a
machine that does other work as well, *of what was left* leaves the cores out that it took.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.alone import Alone, efficiency, measure_alone
from benchmarks.daemon_run import LOST, RunOptions, RunResult, run_daemon
from benchmarks.harness import write_result
from benchmarks.material import Material
from benchmarks.plots import draw_throughput
from pipeline.options import MatcherOptions


def run_benchmark(
    out: Path,
    magpie: Sequence[str],
    options: MatcherOptions,
    material: Material,
    cameras: Sequence[int] = (1,),
    seconds: float = 10.0,
    matchers: int = 1,
) -> Path:
    """Run once for each number of cameras; return the JSON's path."""
    alone = measure_alone(material.clip, material.catalog, options)
    runs = []
    for n_cameras in cameras:
        run = RunOptions(
            {f"cam{number}": str(material.clip) for number in range(n_cameras)},
            material.catalog,
            seconds,
            min(matchers, n_cameras),
            camera={"loop": True},
            matcher=options.model_dump(mode="json"),
        )
        with tempfile.TemporaryDirectory(prefix="magpie-bench-") as folder:
            runs.append(figures_of(run_daemon(Path(folder), magpie, run), alone, n_cameras))
        print_runs(runs[-1:])
    config = {
        "clip": material.clip.name,
        "n_items": material.n_items,
        "seconds": seconds,
        "matchers": matchers,
        "engine": options.engine.model_dump(),
    }
    path = write_result(out, "throughput", config, {"alone": asdict(alone), "runs": runs})
    draw_throughput(runs, path.with_suffix(".png"))
    print(path)
    return path


def figures_of(result: RunResult, alone: Alone, n_cameras: int) -> dict[str, Any]:
    """Return one run's figures, the efficiency with its parts among them."""
    seconds, n_cores = float(result.summary["seconds"]), len(os.sched_getaffinity(0))
    decoded, processed = result.counted("decoded"), result.counted("processed")
    searched, looks = result.stage_count("wait"), result.stage_count("embed")
    needed_s = alone.needed_s(decoded, searched, looks)
    left_cores = max(0.1, n_cores - result.others_cores)
    return {
        "cameras": n_cameras,
        "seconds": seconds,
        "decoded": decoded,
        "processed": processed,
        "searched": searched,
        "looks": looks,
        "lost": result.dropped(*LOST),
        "frames_a_second": round(processed / seconds, 2),
        "searched_a_second": round(searched / seconds, 2),
        "looks_a_second": round(looks / seconds, 2),
        "core_s_needed": round(needed_s, 3),
        "core_s_there": round(seconds * n_cores, 3),
        "efficiency": round(efficiency(needed_s, seconds, n_cores), 4),
        "others_cores": round(result.others_cores, 3),
        "efficiency_of_what_was_left": round(efficiency(needed_s, seconds, left_cores), 4),
        "events": result.summary["events"],
        "stages": result.summary["latency"],
        "processes": result.processes,
    }


def print_runs(runs: Sequence[dict[str, Any]]) -> None:
    """Print a line a run."""
    table = Table(
        "cameras",
        "frames/s",
        "searched/s",
        "looks/s",
        "efficiency",
        "of what was left",
        "cores used",
    )
    for run in runs:
        used = sum(cost["cpu_percent"] for cost in run["processes"].values()) / 100
        rates = (run[key] for key in ("frames_a_second", "searched_a_second", "looks_a_second"))
        table.add_row(
            str(run["cameras"]),
            *(f"{rate:.1f}" for rate in rates),
            f"{run['efficiency']:.3f}",
            f"{run['efficiency_of_what_was_left']:.3f}",
            f"{used:.2f}",
        )
    Console(width=110).print(table)
