"""The summary for people at a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from streamer.cli.terminal import cells
from streamer.summary import load_text


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a run's summary (its JSON form) as tables."""
    console = console or Console()
    cameras = Table(title=f"{summary['seconds']:.1f} s", title_justify="left")
    for column in (
        "camera",
        "state",
        "decoded",
        "processed",
        "skipped",
        "dropped",
        "fps",
        "matcher",
        "load",
        "events",
    ):
        right = column not in ("camera", "state", "matcher", "events")
        cameras.add_column(column, justify="right" if right else "left")
    for name, camera in summary["cameras"].items():
        told = ", ".join(f"{n} {kind}" for kind, n in camera["events"].items()) or "none"
        matcher = camera.get("matcher", ""), load_text(camera)
        cameras.add_row(*cells(name, *_frames(camera), f"{camera['fps']:.1f}", *matcher, told))
        if main := camera.get("main"):
            cameras.add_row(*cells(f"{name}, main stream", *_frames(main), "", "", "", ""))
    console.print(cameras)
    if summary["latency"]:
        latency = Table(title="latency, ms", title_justify="left")
        latency.add_column("stage")
        for column in ("p50", "p95", "p99", "over"):
            latency.add_column(column, justify="right")
        for stage, figures in summary["latency"].items():
            percentiles = (f"{figures[f'{name}_ms']:.1f}" for name in ("p50", "p95", "p99"))
            latency.add_row(*cells(stage, *percentiles, figures["n"]))
        console.print(latency)
    for worker, n in summary["restarts"].items():
        console.print(*cells(f"{worker} was restarted {n} times"))
    for text in summary.get("trouble", ()):
        console.print(*cells(f"trouble: {text}"))


def _frames(stream: Mapping[str, Any]) -> tuple[str, ...]:
    counters = stream["counters"]
    return (
        stream["state"],
        str(counters["decoded"]),
        str(counters["processed"]),
        _by_cause(counters["skipped"]),
        _by_cause(counters["dropped"]),
    )


def _by_cause(counts: Mapping[str, int]) -> str:
    causes = ", ".join(f"{cause} {n}" for cause, n in counts.items())
    return f"{sum(counts.values())} ({causes})" if causes else "0"
