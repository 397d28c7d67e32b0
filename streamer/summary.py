"""What a run came to: every frame accounted for, events, speed, latency by stage."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import WorkerError
from pipeline.writable import writing
from streamer.frame_counters import FrameCounters


@dataclass(frozen=True, slots=True)
class MainSummary:
    """The main stream beside the one that is searched. Processed: at hand in a search."""

    state: str
    counters: FrameCounters


@dataclass(frozen=True, slots=True)
class CameraSummary:
    """One camera's part. fps: frames processed a second of the run.

    matcher: the worker that searches its frames. load: the share of the time that a lane of it
    works for this camera (0.25 is a quarter); none until it is measured. main: None where one
    stream is searched and identified in.
    """

    state: str
    counters: FrameCounters
    fps: float
    events: Mapping[str, int] = field(default_factory=dict)
    matcher: str = ""
    load: float | None = None
    main: MainSummary | None = None


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One stage's latency, in ms, over n frames (or events).

    buckets: how many took no longer than so many ms, where all are counted; sum_ms: of all.
    """

    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    sum_ms: float = 0.0
    buckets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run, while it lasts or at its end.

    restarts: of workers, by name. trouble: what is wrong with the machine now, a sentence each.
    """

    seconds: float
    cameras: Mapping[str, CameraSummary]
    events: Mapping[str, int]
    latency: Mapping[str, StageSummary]
    restarts: Mapping[str, int]
    trouble: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def write_summary(summary: RunSummary, path: Path) -> None:
    """Write the summary as JSON; WorkerError when the disk refuses it."""
    with writing(path, "summary_json", "free some space, or choose another file", WorkerError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(summary.as_json(), indent=2) + "\n")


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return the summary (its JSON form) as plain lines, for a log or a pipe."""
    lines = [f"ran {summary['seconds']:.1f} s"]
    for name, camera in summary["cameras"].items():
        lines.append(
            f"camera {name}: {frames_text(camera['counters'])}, {camera['fps']:.1f} fps, "
            f"{camera.get('matcher', '')} load {load_text(camera)}"
        )
        if main := camera.get("main"):
            lines.append(
                f"camera {name}, main stream {main['state']}: {frames_text(main['counters'])}"
            )
    events = summary["events"]
    lines.append("events: " + (", ".join(f"{n} {kind}" for kind, n in events.items()) or "none"))
    for stage, latency in summary["latency"].items():
        lines.append(
            f"latency {stage}: p50 {latency['p50_ms']:.1f} ms, p95 {latency['p95_ms']:.1f} ms, "
            f"p99 {latency['p99_ms']:.1f} ms over {latency['n']}"
        )
    lines += [f"restarted {name}: {n} times" for name, n in summary["restarts"].items()]
    lines += [f"trouble: {text}" for text in summary.get("trouble", ())]
    return lines


def frames_text(counters: Mapping[str, Any]) -> str:
    """Return `decoded 100 = processed 90 + skipped 0 + dropped 10 (overrun 10)`."""
    skipped, dropped = counters["skipped"], counters["dropped"]
    text = f"decoded {counters['decoded']} = processed {counters['processed']}"
    text += f" + skipped {sum(skipped.values())}{_causes(skipped)}"
    text += f" + dropped {sum(dropped.values())}{_causes(dropped)}"
    return text + (f" + pending {counters['pending']}" if counters["pending"] else "")


def load_text(camera: Mapping[str, Any]) -> str:
    """Return a camera's load as `0.23`, `?` while it is not known."""
    load = camera.get("load")
    return "?" if load is None else f"{load:.2f}"


def _causes(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{cause} {n}' for cause, n in counts.items())})" if counts else ""
