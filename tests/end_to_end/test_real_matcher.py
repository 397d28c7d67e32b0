"""`magpie run` with its real networks, as a user has it: shipped weights, a catalog, a clip."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from catalog_tools.synthesize.packs import render_pack
from pipeline.weights import SHIPPED_DIR, SHIPPED_NAMES
from streamer.publishing import Subscriber
from streamer.publishing.events import MatchEvent
from tests.end_to_end.test_daemon import first
from tests.streamer.clips import write_clip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((SHIPPED_DIR / f"{name}.safetensors").is_file() for name in SHIPPED_NAMES.values()),
        reason="the shipped weights are not in weights/",
    ),
]
MAGPIE = [sys.executable, "-c", "from streamer.cli import main; main()"]
SHOWN, OTHERS = 90_001, (90_002, 90_003)  # packs that training never drew
MATCHER_MAX_BYTES = 350_000_000  # of its own memory


def magpie(*arguments: str | Path, exit_code: int = 0) -> str:
    """Run a command to its end; returns what it said."""
    done = subprocess.run([*MAGPIE, *arguments], capture_output=True, text=True, timeout=500)
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """images/ and more/ with packs, shelf/ built from images, clip.mp4 with one pack that moves."""
    folder = tmp_path_factory.mktemp("real")
    for name, seeds in (("images", (SHOWN, OTHERS[0])), ("more", (OTHERS[1],))):
        (folder / name).mkdir()
        for seed in seeds:
            cv2.imwrite(str(folder / name / f"pack{seed}.png"), render_pack(seed, (360, 480)))
    write_clip(folder / "clip.mp4", [scene(number) for number in range(75)], size_wh=(640, 360))
    assert "2 items" in magpie("catalog", "build", folder / "images", "--out", folder / "shelf")
    return folder


def scene(number: int) -> np.ndarray:
    """(360, 640, 3) uint8 RGB: the pack before a soft background, moving to the right."""
    noise = np.random.default_rng(5).integers(60, 200, (9, 16, 3), np.uint8)
    image = cv2.resize(noise, (640, 360), interpolation=cv2.INTER_CUBIC)
    left = 100 + number
    image[60:300, left : left + 180] = render_pack(SHOWN, (180, 240))[..., ::-1]
    return image


@contextmanager
def running(
    folder: Path, *arguments: str | Path
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start `magpie run`; gives the process and both addresses; kills it at the end if need be."""
    command = [
        *MAGPIE, "run", *arguments, "--publish", "tcp://127.0.0.1:0", "--log-level", "debug",
    ]  # fmt: skip
    with (folder / "run.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:1] == ["events"], (folder / "run.log").read_text()
        yield process, [words[1], words[3]]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def private_bytes(pid: int) -> int:
    """What the process shares with nobody (USS), pages of libraries that only it maps included."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(value) for name, value, *_ in (line.split() for line in rollup)}
    return (kib["Private_Clean:"] + kib["Private_Dirty:"]) * 1024


def test_item_in_view_is_published_and_a_new_catalog_is_taken_up(folder: Path) -> None:
    """1. A clip runs in a loop. 2. An item is added to the catalog. 3. SIGINT.

    Result: the right item and no other; evidence on disk; the new generation within the run; the
    matcher holds no torch and stays below its memory limit.
    """
    evidence = folder / "evidence"
    arguments = ["cam=" + str(folder / "clip.mp4"), "--catalog", folder / "shelf", "--realtime"]
    with running(folder, *arguments, "--loop", "--evidence", evidence) as (process, addresses):
        with Subscriber(
            addresses[0], ask_endpoint=addresses[1], since=0, timeout_s=400
        ) as subscriber:
            appeared = first(subscriber, "appeared")
            assert appeared.item_id == f"pack{SHOWN}" and appeared.tier == "exact"
            assert {"decode", "wait", "detect", "embed", "search", "verify"} <= set(
                appeared.stage_ms
            )
            matcher = matcher_of(process.pid)
            maps = Path(f"/proc/{matcher.pid}/maps").read_text()
            assert "openvino" in maps and "libtorch" not in maps
            used_bytes = private_bytes(matcher.pid)
            assert used_bytes <= MATCHER_MAX_BYTES, f"{used_bytes / 2**20:.0f} MiB"
            assert "generation 2" in magpie("catalog", "add", folder / "shelf", folder / "more")
            # On a busy machine the pack may just have left by itself, so: whatever the reason.
            assert first(subscriber, "left", catalog_generation=1).item_id == appeared.item_id
            again = first(subscriber, "appeared", catalog_generation=2)
            assert again.item_id == f"pack{SHOWN}"
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
    names = [path.name for path in evidence.iterdir()]
    assert any(f"pack{SHOWN}" in name and name.endswith(".png") for name in names)
    assert not any(f"pack{other}" in name for other in OTHERS for name in names)


def matcher_of(daemon_pid: int) -> psutil.Process:
    children = psutil.Process(daemon_pid).children()
    return next(child for child in children if "matcher.0" in child.cmdline())


def test_catalog_of_another_embedder_is_refused_with_the_command_that_mends_it(
    folder: Path,
) -> None:
    manifest = next((folder / "shelf" / "generations").glob("000001/manifest.json"))
    foreign = folder / "foreign"
    subprocess.run(["cp", "-r", folder / "shelf", foreign], check=True)
    text = manifest.read_text()
    sha256 = text.split('"embedder_sha256": "')[1].split('"')[0]
    for copy in foreign.glob("generations/*/manifest.json"):
        os.chmod(copy, 0o600)
        copy.write_text(copy.read_text().replace(sha256, "0" * 64))
    told = magpie(
        "run", folder / "clip.mp4", "--catalog", foreign, "--publish", "tcp://127.0.0.1:0",
        exit_code=2,
    )  # fmt: skip
    last = told.strip().splitlines()[-1]
    assert last.startswith(f"magpie: catalog '{foreign}': built with embedder 00000000…")
    assert "magpie catalog build" in last


LARGE_WH, SMALL_WH = (1280, 720), (320, 180)


def large_scene(number: int) -> np.ndarray:
    """(720, 1280, 3) uint8 RGB: as `scene`, in a resolution that shows the small print."""
    image = cv2.resize(scene(0)[:, :60], LARGE_WH, interpolation=cv2.INTER_CUBIC)
    left = 300 + 2 * number
    image[240:440, left : left + 150] = render_pack(SHOWN, (150, 200))[..., ::-1]
    return image


def run_on(folder: Path, name: str, streams: str) -> tuple[list[MatchEvent], dict[str, Any]]:
    """Return the matches of a run on a camera with these streams, and the camera's summary."""
    config, summary = folder / f"{name}.yaml", folder / f"{name}.json"
    config.write_text(
        f"catalog: shelf\nsummary_json: {summary}\ncameras: {{door: {{{streams}}}}}\n"
    )
    arguments = ["--config", config, "--lockstep", "--evidence", folder / name]
    events = []
    with running(folder, *arguments) as (process, addresses):
        with Subscriber(
            addresses[0], ask_endpoint=addresses[1], since=0, timeout_s=400
        ) as subscriber:
            for event in subscriber:
                if isinstance(event, MatchEvent):
                    events.append(event)
                elif event.process == "daemon" and event.state == "stopped":
                    break
        assert process.wait(20) == 0
    return events, json.loads(summary.read_text())["cameras"]["door"]


def lives_of(events: list[MatchEvent]) -> list[tuple[str, str, str]]:
    return [(e.item_id, e.type, e.tier) for e in events if e.type != "updated"]


def test_what_is_searched_in_a_small_stream_is_identified_in_the_main_one(folder: Path) -> None:
    """A clip in two sizes: the large one alone, the small one alone, and both.

    Result: with both, the events are as with the large one alone, in px of the small one.
    """
    large = [large_scene(number) for number in range(40)]
    small = [cv2.resize(image, SMALL_WH, interpolation=cv2.INTER_AREA) for image in large]
    write_clip(folder / "large.mp4", large, size_wh=LARGE_WH)
    write_clip(folder / "small.mp4", small, size_wh=SMALL_WH)
    alone, _ = run_on(folder, "alone", "url: large.mp4")
    poor, _ = run_on(folder, "poor", "url: small.mp4")
    both, door = run_on(folder, "both", "url: large.mp4, detect_url: small.mp4")
    life = [(f"pack{SHOWN}", "appeared", "exact"), (f"pack{SHOWN}", "left", "exact")]
    assert lives_of(both) == lives_of(alone) == life
    assert {event.frame_size_wh for event in both} == {SMALL_WH}
    assert both[0].box_normalized == pytest.approx(alone[0].box_normalized, abs=0.02)
    assert both[0].outline is not None and alone[0].outline is not None
    scale = np.array(LARGE_WH) / SMALL_WH
    assert np.abs(np.array(both[0].outline) * scale - alone[0].outline).max() < 8
    assert both[0].inliers > 2 * poor[0].inliers  # seen once: of about 120 and 30
    assert door["main"]["counters"]["processed"] > 0
    assert door["main"]["counters"]["dropped"] == {}


def test_a_camera_that_is_added_while_it_runs_is_seen_by_the_same_networks(folder: Path) -> None:
    """1. A clip runs in a loop. 2. Another camera is added from the shell, with a catalog of its
    own, then removed. Result: its item is told, and leaves with the reason; the first runs on."""
    magpie("catalog", "build", folder / "images", "--out", folder / "own")
    clip = str(folder / "clip.mp4")
    arguments = [f"cam={clip}", "--catalog", folder / "shelf", "--realtime", "--loop"]
    with running(folder, *arguments) as (process, (endpoint, ask)):
        where = ["--endpoint", endpoint, "--ask", ask]
        with Subscriber(endpoint, ask_endpoint=ask, since=0, timeout_s=120) as subscriber:
            first(subscriber, "appeared", camera="cam")
            told = magpie(
                "camera", "add", f"late={clip}", "--catalog", folder / "own", "--set", "loop=true",
                "--set", "realtime=true", *where,
            )  # fmt: skip
            assert "640x360" in told and "camera late: starting" in told
            appeared = first(subscriber, "appeared", camera="late")
            assert (appeared.item_id, appeared.catalog) == (f"pack{SHOWN}", "own")
            magpie("camera", "remove", "late", *where)
            while (left := first(subscriber, "left", camera="late")).reason == "gone":
                pass  # the clip began anew
            assert left.reason == "camera_removed"
        assert "started worker=matcher.1" not in (folder / "run.log").read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
