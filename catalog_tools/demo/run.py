"""Runs the demo: catalog, the real daemon on the clip in real time, events, pictures, the verdict.

Everything is done by the commands that a user would type; nothing of the daemon is imported here.
"""

from __future__ import annotations

import json
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import Progress

from catalog_tools.demo.check import CheckReport, check_events
from catalog_tools.demo.clip import make_demo_clip
from catalog_tools.demo.pictures import write_annotated_clip, write_evidence_sheet
from catalog_tools.demo.script import CLIP_S, FAST_CLIP_S
from catalog_tools.demo.truth import Truth, read_truth
from catalog_tools.demo.view import LiveView, print_summary, print_verdict
from pipeline.errors import WorkerError
from pipeline.writable import make_ready

CAMERA = "demo"
_START_WITHIN_S = 120.0  # the first run of all exports the networks for this machine
_AFTER_CLIP_S = 60.0
_LOG_LINES = 12
# Positions five times a second: the drawn outlines follow the items. No threshold is touched.
_CONFIG = "matcher:\n  decide:\n    update_every_s: 0.2\n"


class Events(Protocol):
    """The part of streamer.publishing.Subscriber that the demo uses."""

    def receive_dict(self, timeout_s: float | None = None) -> dict[str, Any] | None: ...


Subscribe = Callable[[str, str], AbstractContextManager[Events]]


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """What lies in the demo's output folder."""

    out: Path

    @property
    def report(self) -> Path:
        return self.out / "report.json"

    @property
    def annotated_clip(self) -> Path:
        return self.out / "annotated.mp4"

    @property
    def evidence_sheet(self) -> Path:
        return self.out / "evidence.png"

    @property
    def evidence(self) -> Path:
        return self.out / "evidence"

    @property
    def summary(self) -> Path:
        return self.out / "summary.json"

    @property
    def log(self) -> Path:
        return self.out / "daemon.log"


def run_demo(out: Path, magpie: Sequence[str], subscribe: Subscribe, is_fast: bool = False) -> bool:
    """Run the demo and say whether its targets hold; all its files go to `out`.

    magpie: how the command line is started. subscribe: opens a reader of events for the events and
    the ask endpoint. is_fast: the first seconds of the clip only.
    Raises WorkerError when a step cannot be run at all.
    """
    console = Console()
    files = DemoFiles(out)
    make_ready(out, "--out", "choose another")
    clip_dir = _make_clip(out, FAST_CLIP_S if is_fast else CLIP_S, console)
    truth = read_truth(clip_dir)
    catalog = _build_catalog(clip_dir, out, magpie, console)
    _clear_last_run(files)
    events = _watch_clip(clip_dir / "clip.mp4", catalog, truth, files, magpie, subscribe, console)
    matches = [event for event in events if event["type"] in ("appeared", "updated", "left")]
    (out / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    summary = json.loads(files.summary.read_text())
    report = check_events(matches, truth)
    lost = _count_lost(matches, summary)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("drawing", total=1.0)
        write_annotated_clip(
            clip_dir / "clip.mp4", matches, truth, files.annotated_clip,
            lambda share: bar.update(task, completed=share),
        )  # fmt: skip
    write_evidence_sheet(files.evidence, files.evidence_sheet)
    _write_report(files.report, report, lost, summary)
    print_summary(console, summary)
    print_verdict(console, report, lost)
    for path in (files.annotated_clip, files.evidence_sheet, files.report):
        console.print(f"  {path}", highlight=False)
    return report.is_met and lost == 0


def _make_clip(out: Path, clip_s: float, console: Console) -> Path:
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"making a clip of {clip_s:g} s", total=1.0)
        clip_dir = make_demo_clip(out, clip_s, lambda share: bar.update(task, completed=share))
    console.print(f"clip and truth   {clip_dir}", highlight=False)
    return clip_dir


def _build_catalog(clip_dir: Path, out: Path, magpie: Sequence[str], console: Console) -> Path:
    catalog = out / "catalog"
    began_s = time.monotonic()
    command = [*magpie, "catalog", "build", str(clip_dir / "items.csv"), "--out", str(catalog)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerError.at("demo", "the catalog can't be built", _last_lines(done.stderr))
    console.print(
        f"catalog          {catalog}, {time.monotonic() - began_s:.1f} s", highlight=False
    )
    return catalog


def _clear_last_run(files: DemoFiles) -> None:
    shutil.rmtree(files.evidence, ignore_errors=True)
    for pattern in ("journal.db*", "report.json", "annotated.mp4", "evidence.png", "summary.json"):
        for path in files.out.glob(pattern):
            path.unlink()
    (files.out / "demo.yaml").write_text(_CONFIG)


def _watch_clip(
    clip: Path,
    catalog: Path,
    truth: Truth,
    files: DemoFiles,
    magpie: Sequence[str],
    subscribe: Subscribe,
    console: Console,
) -> list[dict[str, Any]]:
    """Run the daemon on the clip and give every event that it published, in order."""
    options = {
        "--catalog": catalog,
        "--config": files.out / "demo.yaml",
        "--publish": "tcp://127.0.0.1:*",
        "--journal": files.out / "journal.db",
        "--evidence": files.evidence,
        "--summary-json": files.summary,
    }
    given = [str(part) for option in options.items() for part in option]
    command = [*magpie, "run", f"{CAMERA}={clip}", "--realtime", *given]
    shown = " ".join(["magpie", *command[len(magpie) :]])
    console.print(f"daemon           {shown}", highlight=False, soft_wrap=True)
    with files.log.open("w") as log:
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            endpoint, ask = _read_endpoints(daemon, files.log)
            clip_s = truth.n_frames / truth.fps
            deadline_s = time.monotonic() + _START_WITHIN_S + clip_s + _AFTER_CLIP_S
            with subscribe(endpoint, ask) as source, LiveView(console, truth) as view:
                events = _collect(source, daemon, view, deadline_s)
        finally:
            if daemon.poll() is None:
                daemon.terminate()
            daemon.communicate(timeout=10)
    if daemon.returncode or not files.summary.exists():
        got = f"exit {daemon.returncode}: {_last_lines(files.log.read_text())}"
        raise WorkerError.at("demo", "the daemon must run to the clip's end", got)
    return events


def _read_endpoints(daemon: subprocess.Popen[str], log: Path) -> tuple[str, str]:
    """Give the events and the ask endpoint, from the daemon's first line."""
    assert daemon.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(daemon.stdout, selectors.EVENT_READ)
        line = daemon.stdout.readline() if selector.select(_START_WITHIN_S) else ""
    words = line.split()
    if len(words) != 4:
        got = line.strip() or _last_lines(log.read_text())
        raise WorkerError.at("demo", "the daemon must tell where its events are", got)
    return words[1], words[3]


def _collect(
    source: Events, daemon: subprocess.Popen[str], view: LiveView, deadline_s: float
) -> list[dict[str, Any]]:
    """Give the events until the daemon has ended and nothing more comes."""
    events: list[dict[str, Any]] = []
    while time.monotonic() < deadline_s:
        has_ended = daemon.poll() is not None
        event = source.receive_dict(0.1)
        if event is not None:
            events.append(event)
            view.show(event)
        elif has_ended:
            return events
    raise WorkerError.at("demo", "the daemon must end with the clip", "no end", "see daemon.log")


def _count_lost(matches: list[dict[str, Any]], summary: dict[str, Any]) -> int:
    """Give how many of the events that the daemon counted did not reach the subscriber."""
    return int(sum(summary["events"].values()) - len(matches))


def _write_report(path: Path, report: CheckReport, lost: int, summary: dict[str, Any]) -> None:
    targets = [
        {"target": what, "found": found, "wanted": wanted, "held": held}
        for what, found, wanted, held in report.targets()
    ]
    document = {
        "targets": targets,
        "n_events_lost_on_the_wire": lost,
        "check": report.as_json(),
        "summary": summary,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _last_lines(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-_LOG_LINES:])
