"""How fast, how late and how dear is a whole run: `magpie bench end-to-end`.

Runs the real daemon on a source (the demo's clip by default) and reads its events as any subscriber
does. Prints a table; writes JSON and a histogram of the latencies from capture to event.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.daemon_run import RunOptions, gather_figures, run_daemon
from benchmarks.harness import percentiles, write_result
from benchmarks.material import demo_material
from pipeline.errors import ConfigError


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
        made = demo_material(out, magpie)
        source, catalog = str(made.clip), made.catalog
    config = {
        "source": Path(source).name,
        "cameras": n_cameras,
        "realtime": is_realtime,
        "duration_s": duration_s,
    }
    options = RunOptions(
        {f"cam{number}": source for number in range(n_cameras)},
        catalog,
        duration_s,
        camera={"realtime": is_realtime},
    )
    with tempfile.TemporaryDirectory(prefix="magpie-bench-") as folder:
        result = run_daemon(Path(folder), magpie, options)
    figures = gather_figures(result)
    path = write_result(out, "end_to_end", config, figures)
    if result.latencies_ms:
        draw_histogram(result.latencies_ms, path.with_suffix(".png"))
    print_figures(figures)
    print(path)
    return path


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
