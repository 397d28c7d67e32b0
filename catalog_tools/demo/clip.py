"""Makes the demo's catalog pictures, its clip and the truth beside it, from seeds alone.

    python -m catalog_tools.demo.clip demo-output

writes `demo-output/clip-<seconds>s/`: clip.mp4, truth.json, truth.csv, pictures/<item id>/front.png
and items.csv, which names and labels the pictures for `magpie catalog build`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from catalog_tools.demo import script as demo_script
from catalog_tools.demo import truth as demo_truth
from catalog_tools.demo import video_file
from catalog_tools.demo.script import (
    CLIP_S,
    FPS,
    FRAME_SIZE_WH,
    SCRIPT_SEED,
    Actor,
    HandPass,
    Visit,
    list_actors,
    pose_at,
    write_script,
)
from catalog_tools.demo.truth import Shown, TruePack, Truth, find_sightings, write_truth
from catalog_tools.demo.video_file import write_clip
from catalog_tools.synthesize import pack_art, packs, scenes
from catalog_tools.synthesize.packs import render_pack, render_twin
from catalog_tools.synthesize.scenes import draw_hand, draw_shadow, make_background, paste_pack
from pipeline.picture_file import write_picture

_CHUNK_FRAMES = 20
_PICTURE_SIDE_PX = 400
_NOISE_SIGMA = 3.5
_EXPOSURE_S = 0.01
_SMEAR_FROM_PX = 2.0
_FOCUS_HUNTS_S = ((9.0, 10.0), (19.5, 20.3))  # the camera loses its focus for a moment


def make_demo_clip(
    out: Path, clip_s: float = CLIP_S, progress: Callable[[float], None] | None = None
) -> Path:
    """Give the folder with pictures, clip and truth; one that this generator made is kept.

    progress: told the share that is done, 0..1.
    """
    directory = out / f"clip-{clip_s:g}s"
    complete = directory / "complete.json"
    version = json.dumps({"generator": _generator_digest()})
    if complete.exists() and complete.read_text() == version:
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for actor in list_actors():
        if actor.in_catalog:
            front = directory / "pictures" / actor.name / "front.png"
            write_picture(front, _print_of(actor, _PICTURE_SIDE_PX), "--out")
    _write_labels(directory)
    n_frames = round(clip_s * FPS)
    shown: list[Shown] = []

    def frames() -> Iterator[np.ndarray]:
        for done, (image, rows) in enumerate(_render_all(n_frames, clip_s), 1):
            shown.extend(rows)
            if progress is not None:
                progress(done / n_frames)
            yield image

    write_clip(directory / "clip.mp4", frames(), FRAME_SIZE_WH, FPS)
    true_packs = [
        TruePack(actor.name, actor.label, actor.name if actor.in_catalog else None, actor.twin_of)
        for actor in list_actors()
    ]
    sightings = tuple(find_sightings(shown, true_packs, FPS))
    truth = Truth(FPS, FRAME_SIZE_WH, n_frames, tuple(true_packs), tuple(shown), sightings)
    write_truth(directory, truth)
    complete.write_text(version)
    return directory


def _generator_digest() -> str:
    """Give the hash of all code that the clip depends on, so that no stale clip is ever shown."""
    modules = (demo_script, demo_truth, packs, pack_art, scenes, video_file, sys.modules[__name__])
    digest = hashlib.sha256()
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def _write_labels(directory: Path) -> None:
    """Write the catalog's items with their labels as a CSV that `magpie catalog build` reads."""
    lines = ["item_id,label,image"]
    for actor in list_actors():
        if actor.in_catalog:
            lines.append(f"{actor.name},{actor.label},pictures/{actor.name}/front.png")
    (directory / "items.csv").write_text("\n".join(lines) + "\n")


def _render_all(n_frames: int, clip_s: float) -> Iterator[tuple[np.ndarray, list[Shown]]]:
    """Give every frame and its truth in order, rendered on all cores a few chunks ahead."""
    workers = max(1, min(8, os.cpu_count() or 1))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        starts = deque(range(0, n_frames, _CHUNK_FRAMES))
        ahead: deque[Future[list[tuple[np.ndarray, list[Shown]]]]] = deque()
        while starts or ahead:
            while starts and len(ahead) <= workers:
                first = starts.popleft()
                last = min(first + _CHUNK_FRAMES, n_frames)
                ahead.append(pool.submit(render_frames, first, last, clip_s))
            yield from ahead.popleft().result()


def render_frames(first: int, last: int, clip_s: float) -> list[tuple[np.ndarray, list[Shown]]]:
    """Draw the frames first..last-1: each (H, W, 3) uint8 BGR with what it shows."""
    cv2.setNumThreads(1)  # one process a core already
    visits = _script(clip_s)
    return [render_frame(number, visits) for number in range(first, last)]


@lru_cache(maxsize=2)
def _script(clip_s: float) -> tuple[Visit, ...]:
    return tuple(write_script(clip_s))


@lru_cache(maxsize=64)
def _print_of(actor: Actor, long_side_px: int) -> np.ndarray:
    size = actor.size_wh(long_side_px)
    return (
        render_twin(actor.seed, actor.twin, size) if actor.twin else render_pack(actor.seed, size)
    )


@lru_cache(maxsize=1)
def _backdrop() -> np.ndarray:
    """Give a table top, a little larger than the frame so that the camera can drift over it."""
    width, height = FRAME_SIZE_WH[0] + 80, FRAME_SIZE_WH[1] + 80
    return make_background(np.random.default_rng([SCRIPT_SEED, 7]), (width, height))


@lru_cache(maxsize=1)
def _noise_bank() -> np.ndarray:
    rng = np.random.default_rng([SCRIPT_SEED, 11])
    width, height = FRAME_SIZE_WH[0] + 64, FRAME_SIZE_WH[1] + 64
    return np.clip(rng.normal(0, _NOISE_SIGMA, (height, width, 3)), -127, 127).astype(np.int16)


@lru_cache(maxsize=1)
def _light_field() -> np.ndarray:
    """Give (H, W) float32 gains: a window at the left, darker corners."""
    width, height = FRAME_SIZE_WH
    xs, ys = (
        np.linspace(-1, 1, width, dtype=np.float32),
        np.linspace(-1, 1, height, dtype=np.float32),
    )
    field = 1.06 - 0.16 * xs[None] - 0.10 * (xs[None] ** 2 + ys[:, None] ** 2)
    return np.asarray(field, np.float32)


def render_frame(number: int, visits: tuple[Visit, ...]) -> tuple[np.ndarray, list[Shown]]:
    """Draw one frame of a script, (H, W, 3) uint8 BGR, with what it shows; at most 254 visits."""
    time_s = number / FPS
    rng = np.random.default_rng([SCRIPT_SEED, 13, number])
    width, height = FRAME_SIZE_WH
    shift = 40 + 30 * np.array([np.sin(0.25 * time_s), np.cos(0.21 * time_s)])
    move = np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]])
    scene = cv2.warpAffine(_backdrop(), move, (width, height), flags=cv2.INTER_LINEAR)
    owner = np.full((height, width), 255, np.uint8)
    on_stage = [(i, visit) for i, visit in enumerate(visits) if pose_at(visit, time_s) is not None]
    on_stage.sort(key=lambda entry: (entry[1].is_crossing, entry[0]))
    for index, visit in on_stage:
        _draw_actor(scene, owner, index, visit, time_s)
    counts = np.bincount(owner.ravel(), minlength=256)
    rows = [_shown(number, visit, time_s, int(counts[index])) for index, visit in on_stage]
    return _camera(scene, time_s, rng), rows


def _shown(number: int, visit: Visit, time_s: float, seen_px: int) -> Shown:
    pose = pose_at(visit, time_s)
    assert pose is not None
    quad = pose.quad.astype(np.float32)
    face_px = max(float(cv2.contourArea(quad)), 1.0)
    frame_px = FRAME_SIZE_WH[0] * FRAME_SIZE_WH[1]
    return Shown(number, visit.actor.name, quad, seen_px / frame_px, min(seen_px / face_px, 1.0))


def _draw_actor(
    scene: np.ndarray, owner: np.ndarray, index: int, visit: Visit, time_s: float
) -> None:
    pose = pose_at(visit, time_s)
    assert pose is not None
    # The same draws in every frame of a visit, so that shadow and fingers stay what they are.
    draw_shadow(scene, pose.quad, np.random.default_rng([SCRIPT_SEED, 17, index]))
    light = 0.82 + 0.22 * float(np.cos(np.radians(pose.yaw_deg + 25)))
    picture = _print_of(visit.actor, int(np.ceil(visit.size_px * 1.2)))
    before = pose_at(visit, time_s - _EXPOSURE_S)
    if before is not None:
        picture = _smeared(picture, pose.quad, before.quad)
    owner[paste_pack(scene, picture, pose.quad, light) > 127] = index
    box = [*pose.quad.min(0), *pose.quad.max(0)]
    if visit.is_held:
        _draw_fingers(scene, owner, np.random.default_rng([SCRIPT_SEED, 19, index]), box, 0.16)
    if visit.hand is not None and visit.hand.start_s < time_s < visit.hand.end_s:
        reach = _reach_at(visit.hand, time_s)
        _draw_fingers(scene, owner, np.random.default_rng([SCRIPT_SEED, 23, index]), box, reach)


def _smeared(picture: np.ndarray, quad: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Blur the print along the way that it moves during the exposure."""
    height, width = picture.shape[:2]
    edges = np.stack([(quad[1] - quad[0]) / width, (quad[3] - quad[0]) / height], axis=1)
    way_px = np.linalg.solve(edges, (quad - before).mean(0))
    length_px = float(np.linalg.norm(way_px))
    if length_px < _SMEAR_FROM_PX:
        return picture
    half = int(np.ceil(length_px / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    start, end = half - way_px / 2, half + way_px / 2
    cv2.line(kernel, np.rint(start).astype(int).tolist(), np.rint(end).astype(int).tolist(), 1.0)
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _draw_fingers(
    scene: np.ndarray, owner: np.ndarray, rng: np.random.Generator, box: list[float], reach: float
) -> None:
    owner[draw_hand(scene, rng, box, reach) > 127] = 255


def _reach_at(hand: HandPass, time_s: float) -> float:
    share = (time_s - hand.start_s) / (hand.end_s - hand.start_s)
    return float(-0.5 + 1.25 * np.sin(np.pi * share))


def _camera(scene: np.ndarray, time_s: float, rng: np.random.Generator) -> np.ndarray:
    """Give the scene through the demo's camera: light that breathes, focus, noise of the sensor."""
    gain = 1 + 0.05 * np.sin(0.9 * time_s) + 0.02 * np.sin(5.3 * time_s)
    lit = cv2.multiply(scene, cv2.merge([_light_field() * np.float32(gain)] * 3), dtype=cv2.CV_8U)
    sigma = 0.6
    for start_s, end_s in _FOCUS_HUNTS_S:
        if start_s < time_s < end_s:
            sigma += 2.0 * float(np.sin(np.pi * (time_s - start_s) / (end_s - start_s)))
    soft = cv2.GaussianBlur(lit, (0, 0), sigma)
    x, y = rng.integers(0, 64, 2)
    width, height = FRAME_SIZE_WH
    return cv2.add(soft, _noise_bank()[y : y + height, x : x + width], dtype=cv2.CV_8U)


if __name__ == "__main__":
    print(make_demo_clip(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")))
