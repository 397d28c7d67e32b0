"""What each network and each step costs alone: `magpie bench stages`.

Networks by threads, precision, batch and shape, on drawn numbers; steps on the pictures of a clip,
one at a time, with the engine as configured. Prints tables, writes JSON and draws what a row of a
batch takes. On CUDA `device` is the network alone, with its numbers there already; `call` is all
that a stage waits for: copies to the device and back are in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import percentiles, time_calls, write_result
from benchmarks.material import Material
from benchmarks.network_cases import (
    BATCHES_CPU,
    BATCHES_CUDA,
    NetworkCase,
    device_times_ms,
    draw_inputs,
    network_cases,
    shapes_of,
)
from benchmarks.plots import draw_stages, draw_steps
from benchmarks.recorded import measure_decoding
from benchmarks.step_cases import make_scenery, step_cases
from pipeline.options import MatcherOptions
from pipeline.weights import Kind, find_weights

NETWORKS: tuple[Kind, ...] = ("detector", "embedder", "matcher", "comparer")


def run_benchmark(
    out: Path,
    options: MatcherOptions,
    material: Material,
    seconds: float = 0.3,
    networks: Sequence[Kind] = NETWORKS,
    steps: bool = True,
) -> Path:
    """Measure for `seconds` a case; return the JSON's path."""
    rows = [
        row for case in network_cases(options.engine, networks) for row in _measure(case, seconds)
    ]
    print_networks(rows)
    of_steps = _measure_steps(options, material, seconds) if steps else []
    print_steps(of_steps)
    config = {
        "engine": options.engine.model_dump(),
        "clip": material.clip.name,
        "n_items": material.n_items,
        "seconds_a_case": seconds,
    }
    path = write_result(out, "stages", config, {"networks": rows, "steps": of_steps})
    if rows:
        draw_stages(rows, path.with_suffix(".png"))
    if of_steps:
        draw_steps(of_steps, path.with_suffix(".steps.png"))
    print(path)
    return path


def _measure(case: NetworkCase, seconds: float) -> list[dict[str, Any]]:
    """A row a batch and shape: what a call takes, ms, and what it takes a row of the batch."""
    engine = case.load()
    batches = BATCHES_CPU if case.device == "cpu" else BATCHES_CUDA
    rows = []
    for shape in shapes_of(case.kind):
        for batch in batches[case.kind]:
            inputs = draw_inputs(case.kind, batch, shape)
            took_ms = percentiles(time_calls(lambda: engine(*inputs), seconds))  # noqa: B023
            assert took_ms is not None
            row = {
                "network": case.kind,
                "engine": case.engine,
                "device": case.device,
                "threads": case.threads,
                "precision": case.precision,
                "batch": batch,
                "shape": list(shape),
                "call_ms": took_ms,
                "ms_a_row": round(took_ms["p50"] / batch, 4),
            }
            if case.device != "cpu":
                weights = find_weights(case.kind)
                row["device_ms"] = percentiles(device_times_ms(case, inputs, seconds / 2, weights))
            rows.append(row)
    return rows


def _measure_steps(
    options: MatcherOptions, material: Material, seconds: float
) -> list[dict[str, Any]]:
    decoding = measure_decoding(material.clip)
    rows: list[dict[str, Any]] = [
        {
            "step": "decode",
            "shape": material.clip.name,
            "rows": 1,
            "call_ms": {"n": decoding.n_frames, "p50": round(decoding.wall_ms, 3)},
            "core_ms": round(decoding.core_ms, 3),
        }
    ]
    for case in step_cases(make_scenery(options, material)):
        took_ms = percentiles(time_calls(case.call, seconds))
        rows.append({"step": case.name, "shape": case.shape, "rows": case.rows, "call_ms": took_ms})
    return rows


def print_networks(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line a network, precision, shape and batch."""
    columns = ("network", "engine", "threads", "precision", "shape", "batch", "call p50 ms")
    table = Table(*columns, "p95 ms", "ms a row", "device p50 ms", box=None)
    for row in rows:
        device = row.get("device_ms")
        table.add_row(
            row["network"],
            f"{row['engine']} {row['device']}",
            str(row["threads"] or "-"),
            row["precision"],
            "x".join(map(str, row["shape"])),
            str(row["batch"]),
            f"{row['call_ms']['p50']:.2f}",
            f"{row['call_ms']['p95']:.2f}",
            f"{row['ms_a_row']:.2f}",
            f"{device['p50']:.2f}" if device else "",
        )
    Console(width=120).print(table)


def print_steps(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line a step."""
    table = Table("step", "of", "rows", "p50 ms", "p95 ms", "ms a row", box=None)
    for row in rows:
        took = row["call_ms"]
        p95 = f"{took['p95']:.2f}" if "p95" in took else ""
        per_row = f"{took['p50'] / row['rows']:.2f}"
        table.add_row(
            row["step"], row["shape"], str(row["rows"]), f"{took['p50']:.2f}", p95, per_row
        )
    Console(width=120).print(table)
