"""How old an event is when a subscriber has it: `magpie bench latency`.

A real RTSP server sends a made scene at 30 frames a second, over TCP on loopback, and notes when
the last packet of each picture left. An event tells its picture's time by the sender's clock
(RTCP), so the picture is the one that was sent nearest to it. Latency: from that last packet until
this process, a subscriber, has the event. Until the sender has told its clock (some seconds),
events are not counted. Prints a table, writes JSON, draws the distribution.
"""

from __future__ import annotations

import subprocess
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.daemon_run import LOST, RunOptions, RunResult, run_daemon
from benchmarks.harness import percentiles, write_result
from benchmarks.material import Material
from benchmarks.plots import draw_latency
from pipeline.errors import WorkerError
from pipeline.options import MatcherOptions

SYSTEM_PYTHON = Path("/usr/bin/python3")  # it has GStreamer's bindings
SENDER = Path(__file__).resolve().parent.parent / "scripts" / "rtsp_sender.py"
UPDATE_EVERY_S = 0.5  # each update tells a latency, too


def run_benchmark(
    out: Path,
    magpie: Sequence[str],
    options: MatcherOptions,
    materials: Mapping[str, Material],
    seconds: float = 30.0,
    detect_fps: float = 10.0,
) -> Path:
    """Measure each material, by the size of its pictures; return the JSON's path."""
    decide = {**options.decide.model_dump(mode="json"), "update_every_s": UPDATE_EVERY_S}
    matcher = {**options.model_dump(mode="json"), "decide": decide}
    rows, drawn = [], {}
    for name, material in materials.items():
        with tempfile.TemporaryDirectory(prefix="magpie-bench-") as folder:
            stamps = Path(folder) / "stamps"
            with sending(material.clip, stamps) as url:
                run = RunOptions(
                    {"cam": url},
                    material.catalog,
                    seconds,
                    camera={"detect_fps": detect_fps},
                    matcher=matcher,
                )
                result = run_daemon(Path(folder) / "run", magpie, run)
            sent_ns = read_stamps(stamps)
        row, drawn[name] = figures_of(name, result, sent_ns)
        rows.append(row)
        print_rows(rows[-1:])
    config = {
        "seconds": seconds,
        "detect_fps": detect_fps,
        "clips": {name: material.clip.name for name, material in materials.items()},
        "engine": options.engine.model_dump(),
    }
    path = write_result(out, "latency", config, {"sizes": rows})
    draw_latency(drawn, path.with_suffix(".png"))
    print(path)
    return path


@contextmanager
def sending(clip: Path, stamps: Path) -> Iterator[str]:
    """Give the URL at which a clip is sent in a loop; WorkerError where no server can run."""
    sender = subprocess.Popen(
        [str(SYSTEM_PYTHON), str(SENDER), str(clip), str(stamps)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert sender.stdout is not None
        words = sender.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise WorkerError.at(
                "bench latency",
                "expected GStreamer's RTSP server with the system Python's bindings",
                remedy="bash scripts/install_test_tools.sh",
            )
        yield words[1]
    finally:
        sender.terminate()
        sender.communicate(timeout=10)


def read_stamps(path: Path) -> list[int]:
    """Return when each picture's last packet was sent, ns Unix time, ascending."""
    return [int(line.split()[1]) for line in path.read_text().splitlines() if " " in line]


def latency_ms(event: Mapping[str, Any], sent_ns: Sequence[int]) -> float | None:
    """Return how old an event's picture was on receipt; None when the sender's clock is not known.

    event: `appeared` or `updated`, with `received_ns`.
    """
    if event["time"]["clock"] != "rtcp" or not sent_ns:
        return None
    captured = datetime.fromisoformat(event["time"]["captured"])
    captured_ns = round(captured.timestamp() * 1e6) * 1000
    after = bisect_left(sent_ns, captured_ns)
    near = sent_ns[max(0, after - 1) : after + 1]
    nearest = min(near, key=lambda stamp: abs(stamp - captured_ns))
    return (int(event["received_ns"]) - nearest) / 1e6


def figures_of(
    name: str, result: RunResult, sent_ns: Sequence[int]
) -> tuple[dict[str, Any], list[float]]:
    """Return one run's figures and its latencies, ms."""
    by_type: dict[str, list[float]] = {"appeared": [], "updated": []}
    for event in result.events:
        if event["type"] in by_type:
            found = latency_ms(event, sent_ns)
            if found is not None:
                by_type[event["type"]].append(found)
    every = [ms for found in by_type.values() for ms in found]
    row = {
        "size": name,
        "seconds": result.summary["seconds"],
        "all_ms": percentiles(every),
        "appeared_ms": percentiles(by_type["appeared"]),
        "updated_ms": percentiles(by_type["updated"]),
        "capture_to_publish_ms": percentiles(result.latencies_ms),
        "decoded": result.counted("decoded"),
        "processed": result.counted("processed"),
        "dropped": result.dropped(*LOST),
        "events": result.summary["events"],
        "stages": result.summary["latency"],
        "processes": result.processes,
    }
    return row, every


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line a size and kind of event."""
    table = Table("size", "events", "n", "p50 ms", "p95 ms", "p99 ms", "decoded", "dropped")
    for row in rows:
        for kind in ("all", "appeared", "updated"):
            found = row[f"{kind}_ms"]
            if found is None:
                continue
            shown = (f"{found[key]:.0f}" for key in ("p50", "p95", "p99"))
            counts = str(row["decoded"]), str(row["dropped"])
            table.add_row(row["size"], kind, str(found["n"]), *shown, *counts)
    Console(width=110).print(table)
