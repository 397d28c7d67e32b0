"""What makes work cheaper changes nothing that is told: the demo's clip, the shipped networks.

Lanes, bf16 and fixed shapes against f32 with both lanes in turn; the motion gate, in motion and at
rest by turns, against none.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.daemon_run import RunOptions, run_daemon
from catalog_tools.build import build_catalog
from catalog_tools.demo.clip import make_demo_clip
from catalog_tools.demo.script import FPS
from catalog_tools.demo.video_file import read_clip
from catalog_tools.networks import load_networks
from pipeline.color import planes_from_bgr
from pipeline.matcher import create_matcher
from pipeline.options import EmbedOptions, EngineOptions, MatcherOptions
from pipeline.types import ColorRange, Frame, Phase
from pipeline.weights import SHIPPED_DIR, SHIPPED_NAMES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((SHIPPED_DIR / f"{name}.safetensors").is_file() for name in SHIPPED_NAMES.values()),
        reason="the shipped weights are not in weights/",
    ),
]
CLIP_S = 10.0
EVERY = 3  # one of so many frames is due, as detect_fps has it
MOVES, RESTS = 20, 28  # due frames in which the clip goes on, and then stands still
NOISE_LEVELS = 2.5
LOOK_AGAIN_S = 2.0
SAME_S = 0.5
AS_FILE = {"range": ColorRange.FULL, "clock": "file"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_clip(tmp_path_factory.mktemp("demo"), CLIP_S)


@pytest.fixture(scope="module")
def catalog(clip: Path) -> Path:
    networks = load_networks(EngineOptions(), EmbedOptions())
    build_catalog(clip / "items.csv", clip / "catalog", networks)
    return clip / "catalog"


def frames_of(clip: Path) -> list[Frame]:
    """The clip's due frames; now and then it rests, and nothing but noise changes."""
    rng = np.random.default_rng(0)
    due = [image for number, image in enumerate(read_clip(clip / "clip.mp4")) if not number % EVERY]
    images: list[np.ndarray] = []
    for number, image in enumerate(due):
        images.append(image)
        if number % MOVES == MOVES - 1:
            images += [image] * RESTS
    frames = []
    for number, image in enumerate(images):
        y, u, v = planes_from_bgr(image)
        noisy = y + rng.normal(0, NOISE_LEVELS, y.shape).astype(np.float32)
        y = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        at_ns = round(number * EVERY * 1e9 / FPS)
        frames.append(
            Frame("demo", number, at_ns + 1, at_ns + 1, y, u, v, **AS_FILE, media_ns=at_ns)
        )
    return frames


def run(frames: list[Frame], catalog: Path, look_again_s: float) -> tuple[list, int]:
    """Return (phase, item, s) of all that appeared and left, and how many frames were searched.

    look_again_s: 0: no gate.
    """
    matcher = create_matcher(MatcherOptions(lockstep=True), {"demo": catalog})
    sightings, n_searched = [], 0
    for frame in frames:
        if look_again_s and matcher.is_still(frame, look_again_s):
            told, looks = matcher.stay([frame])
            sightings += [*told, *matcher.apply(matcher.identify(looks))]
        else:
            n_searched += 1
            sightings += matcher.match([frame])
    sightings += matcher.reset_camera("demo")
    lives = [
        (s.phase, s.match.item_id, s.frame_number * EVERY / FPS)
        for s in sightings
        if s.phase is not Phase.UPDATED
    ]
    return lives, n_searched


def late(ungated: list, gated: list) -> list:
    """Return what the gate lost, or tells later by more than SAME_S."""
    left = sorted(gated, key=lambda life: life[2])
    missing = []
    for phase, item, at_s in sorted(ungated, key=lambda life: life[2]):
        same = next((each for each in left if each[:2] == (phase, item)), None)
        if same is None or same[2] > at_s + SAME_S:
            missing.append((phase, item, at_s))
        if same is not None:
            left.remove(same)
    return missing


def test_the_demos_clip_is_told_the_same_with_and_without_the_gate(
    clip: Path, catalog: Path
) -> None:
    frames = frames_of(clip)
    ungated, n_all = run(frames, catalog, 0)
    gated, n_searched = run(frames, catalog, LOOK_AGAIN_S)
    print(f"searched {n_searched} of {n_all}; told {len(gated)} and {len(ungated)}")
    assert Counter(phase for phase, *_ in ungated)[Phase.APPEARED] >= 6
    assert n_searched <= 0.8 * n_all
    of_ungated, of_gated = (Counter(life[:2] for life in lives) for lives in (ungated, gated))
    differing = (of_ungated - of_gated) + (of_gated - of_ungated)
    assert differing.total() <= 0.01 * len(ungated), differing
    # Sooner is no fault: a track that got fewer looks at rest is looked at sooner when it moves.
    assert len(late(ungated, gated)) <= 0.01 * len(ungated), late(ungated, gated)


def told(folder: Path, clip: Path, catalog: Path, **matcher: object) -> list[tuple[str, str]]:
    """Return (type, item) of all that a real daemon told of the clip, but for what changed."""
    run = RunOptions({"cam": str(clip)}, catalog, camera={"realtime": False}, matcher=matcher)
    command = [sys.executable, "-c", "from streamer.cli import main; main()"]
    events = run_daemon(folder, command, run).events
    return [(e["type"], e["item_id"]) for e in events if e["type"] in ("appeared", "left")]


def test_lanes_and_fewer_digits_tell_what_f32_in_turn_tells(
    clip: Path, catalog: Path, tmp_path: Path
) -> None:
    video = clip / "clip.mp4"
    exact = {"lockstep": True, "engine": {"precision": "f32"}}
    expected, found = (
        Counter(told(tmp_path / name, video, catalog, **options))
        for name, options in (("exact", exact), ("default", {}))
    )
    assert expected.total() >= 12
    differing = (expected - found) + (found - expected)
    assert differing.total() <= 0.01 * expected.total(), differing
