"""What the motion gate costs a frame, and what it saves before a still scene.

    python -m benchmarks.bench_gate CLIP CATALOG

CLIP: its picture at second 6 stands still for 30 s, with a camera's noise, 10 due frames a second,
through the whole matcher (lockstep: both lanes in one thread's turn), without the gate and with it.
Core-time of this process, so that what else runs on the machine hardly counts.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.eval_setup import Out, finish, run_command
from benchmarks.harness import percentiles, time_calls
from benchmarks.recorded import frames_of
from pipeline.motion import has_moved, thumbnail
from pipeline.options import MatcherOptions
from pipeline.types import U8, Frame, Phase

SIZES_WH = ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))
CAMERA = "cam"
STILL_AT_FRAME, FPS, SECONDS = 150, 10, 30
NOISE_LEVELS = 2.5
LOOK_AGAIN_S = 2.0


def main(
    clip: Annotated[Path, typer.Argument(help="A clip of items of the catalog.")],
    catalog: Annotated[Path, typer.Argument(help="Its catalog.")],
    out: Out = Path("bench-output"),
) -> None:
    """Measure; print a table and write the JSON."""
    cost_us = {"{}x{}".format(*size_wh): gate_us(size_wh) for size_wh in SIZES_WH}
    frames = still_frames(clip)
    without = watch(frames, catalog, 0.0)
    gated = watch(frames, catalog, LOOK_AGAIN_S)
    figures = {"gate_us": cost_us, "without": without, "gated": gated}
    rows = [
        (f"the gate at {size}, us a frame", f"{found['p50']:.0f}", f"p95 {found['p95']:.0f}")
        for size, found in cost_us.items()
    ]
    for name, run in (("without the gate", without), ("with it", gated)):
        rows.append((f"searched {name}", str(run["searched"]), str(len(frames))))
        rows.append((f"core-time a frame {name}, ms", f"{run['frame_ms']:.2f}", ""))
        rows.append((f"appeared and left {name}", str(run["told"]), ""))
    config = {"seconds": SECONDS, "fps": FPS, "noise": NOISE_LEVELS, "look_again_s": LOOK_AGAIN_S}
    finish(out, "gate", config, figures, rows)


def gate_us(size_wh: tuple[int, int]) -> dict[str, float]:
    """What thumbnail and comparison take on one thread, us."""
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 255, size_wh[::-1], np.uint8)
    y: U8 = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3.0), np.uint8)
    before = thumbnail(y)
    times_ms = time_calls(lambda: has_moved(before, thumbnail(y)), 0.5)
    return {name: 1e3 * ms for name, ms in percentiles(times_ms).items() if name[0] == "p"}


def still_frames(clip: Path) -> list[Frame]:
    """One picture of the clip for SECONDS, with noise of its own in each frame."""
    one = frames_of(clip, CAMERA, STILL_AT_FRAME + 1)[-1]
    rng = np.random.default_rng(0)
    noises = rng.normal(0, NOISE_LEVELS, (6, *one.y.shape)).astype(np.float32)
    luma = [np.clip(np.rint(one.y + noise), 0, 255).astype(np.uint8) for noise in noises]
    step_ns = 10**9 // FPS
    return [
        replace(one, number=n, y=luma[int(rng.integers(6))], media_ns=n * step_ns)
        for n in range(FPS * SECONDS)
    ]


def watch(frames: list[Frame], catalog: Path, look_again_s: float) -> dict[str, Any]:
    """Run the matcher over the frames; look_again_s: 0: no gate."""
    from pipeline.matcher import create_matcher

    matcher = create_matcher(MatcherOptions(lockstep=True), {CAMERA: catalog})
    sightings, n_searched, began_s = [], 0, time.process_time()
    for frame in frames:
        if look_again_s and matcher.is_still(frame, look_again_s):
            sightings += matcher.stay([frame])
        else:
            n_searched += 1
            sightings += matcher.match([frame])
    spent_s = time.process_time() - began_s
    told = [s for s in sightings if s.phase is not Phase.UPDATED]
    return {
        "searched": n_searched,
        "frame_ms": 1e3 * spent_s / len(frames),
        "told": len(told),
        "items": sorted(str(s.match.item_id) for s in told),
    }


if __name__ == "__main__":
    run_command(main)
