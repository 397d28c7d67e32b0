"""The demo, with a stand-in for the command line: files, verdict, failures in a sentence."""

import contextlib
import json
import sys
from collections import deque

import numpy as np
import pytest

from catalog_tools.demo import run as demo
from catalog_tools.demo.clip import make_demo_clip
from catalog_tools.demo.pictures import write_annotated_clip
from catalog_tools.demo.run import run_demo
from catalog_tools.demo.truth import Truth, read_truth
from catalog_tools.demo.video_file import read_clip, write_clip
from pipeline.errors import WorkerError

CLIP_S = 2.4
STAND_IN = """
import json, sys
from pathlib import Path
args = sys.argv[1:]
if args[:2] == ["catalog", "build"]:
    sys.exit("magpie: no weights" if {fail_build} else 0)
option = {{args[i]: args[i + 1] for i in range(2, len(args)) if args[i].startswith("--")}}
if {fail_run}:
    sys.exit("magpie: no matcher could be kept alive")
print("events tcp://127.0.0.1:1  ask tcp://127.0.0.1:2", flush=True)
counters = {{"decoded": 60, "processed": 50, "skipped": {{}}, "dropped": {{"overrun": 10}}}}
Path(option["--summary-json"]).write_text(json.dumps({{
    "seconds": 2.4, "events": {{"appeared": 1, "left": 1}}, "latency": {{}}, "restarts": {{}},
    "cameras": {{"demo": {{"state": "ended", "counters": counters, "fps": 20.8, "events": {{}}}}}},
}}))
"""


def _magpie(tmp_path, fail_build=False, fail_run=False) -> list[str]:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN.format(fail_build=fail_build, fail_run=fail_run))
    return [sys.executable, str(script)]


class _Scripted:
    def __init__(self, events: list[dict]) -> None:
        self._events = deque(events)

    def receive_dict(self, timeout_s: float | None = None) -> dict | None:
        return self._events.popleft() if self._events else None


def _events_of(truth: Truth) -> list[dict]:
    """A right life for each true sighting of the clip."""
    frames, events = truth.by_frame(), []
    for sighting in truth.sightings:
        if sighting.item_id is None:
            continue
        for kind, number in (("appeared", sighting.appearance_frame), ("left", truth.n_frames - 1)):
            shown = next(row for row in frames[number] if row.name == sighting.name)
            events.append({
                "type": kind, "sighting_id": sighting.name, "item_id": sighting.item_id,
                "label": "", "tier": "exact", "probability": 0.99, "similarity": 0.9, "inliers": 40,
                "box_xyxy": shown.xyxy.tolist(), "outline": shown.quad.tolist(), "reason": "gone",
                "frame_number": number, "latency_ms": 30.0,
            })  # fmt: skip
    return events


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    make_demo_clip(folder, CLIP_S)
    return folder


@pytest.fixture(autouse=True)
def short_clip(monkeypatch):
    monkeypatch.setattr(demo, "CLIP_S", CLIP_S)


def test_a_run_with_right_events_holds_and_leaves_every_file(out, tmp_path, capsys):
    truth = read_truth(out / f"clip-{CLIP_S:g}s")
    events = [{"type": "status"}, *_events_of(truth)]
    opened = []

    def subscribe(endpoint: str, ask: str):
        opened.append((endpoint, ask))
        return contextlib.nullcontext(_Scripted(events))

    assert run_demo(out, _magpie(tmp_path), subscribe)
    assert opened == [("tcp://127.0.0.1:1", "tcp://127.0.0.1:2")]
    report = json.loads((out / "report.json").read_text())
    assert report["check"]["is_met"] and report["n_events_lost_on_the_wire"] == 0
    assert len((out / "events.jsonl").read_text().splitlines()) == len(events)
    assert sum(1 for _ in read_clip(out / "annotated.mp4")) == truth.n_frames
    assert (out / "evidence.png").exists()
    assert "held" in capsys.readouterr().out


def test_a_run_without_events_is_missed_and_counts_what_was_lost(out, tmp_path, capsys):
    assert not run_demo(out, _magpie(tmp_path), lambda *_: contextlib.nullcontext(_Scripted([])))
    report = json.loads((out / "report.json").read_text())
    assert report["n_events_lost_on_the_wire"] == 2 and not report["check"]["is_met"]
    assert "never announced" in capsys.readouterr().out


@pytest.mark.parametrize("step", ["fail_build", "fail_run"])
def test_a_step_that_cannot_be_run_ends_in_one_sentence(out, tmp_path, step):
    with pytest.raises(WorkerError, match=r"demo: .*magpie: no"):
        run_demo(
            out, _magpie(tmp_path, **{step: True}), lambda *_: contextlib.nullcontext(_Scripted([]))
        )


def test_outlines_are_drawn_between_two_events_and_nowhere_else(tmp_path):
    clip = tmp_path / "clip.mp4"
    write_clip(clip, [np.zeros((240, 320, 3), np.uint8)] * 12, (320, 240), 25)
    event = {
        "type": "appeared", "sighting_id": "1", "item_id": "a", "label": "A", "tier": "exact",
        "probability": 1.0, "box_xyxy": [50, 80, 90, 200], "outline": None, "frame_number": 2,
    }  # fmt: skip
    later = {**event, "type": "updated", "box_xyxy": [250, 80, 290, 200], "frame_number": 8}
    truth = Truth(25, (320, 240), 12, (), (), ())
    write_annotated_clip(clip, [event, later], truth, tmp_path / "drawn.mp4")
    frames = [frame.astype(int) for frame in read_clip(tmp_path / "drawn.mp4")]
    assert frames[1].max() < 20 and frames[9].max() < 20
    assert frames[5][150, 148:153].max() > 100  # half way between 50 and 250
    assert frames[5][150, 60:140].max() < 60
