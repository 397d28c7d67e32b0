"""What speed is measured on: the demo's clip and catalog, or a busier scene and a larger catalog.

Everything is drawn from seeds and kept in a folder; what is there already is used again.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import WorkerError
from pipeline.picture_file import write_picture
from pipeline.writable import make_ready

_SEED = 1_000_400_000  # of packs that no training drew
_PICTURE_SIDE_PX = 400
_CHUNK_FRAMES = 8
_STAY_S, _AWAY_S = 3.6, 0.4  # of a pack at its place, and of the place between two packs


@dataclass(frozen=True, slots=True)
class Material:
    """A recording and the catalog of what is in it. n_items: of the catalog."""

    clip: Path
    catalog: Path
    n_items: int


SCENE_S, STILL_SCENE_S = 6.0, 40.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A made recording: `in_view` packs at any time, each replaced by another after some seconds.

    n_items: how many packs the catalog has. still: packs stay, and nothing moves.
    """

    size_wh: tuple[int, int] = (1920, 1080)
    fps: int = 30
    seconds: float = SCENE_S
    in_view: int = 4
    n_items: int = 100
    still: bool = False


def demo_material(
    folder: Path, magpie: Sequence[str], engine: Sequence[str] = (), seconds: float | None = None
) -> Material:
    """Return the demo's clip and catalog. engine: options of `catalog build`."""
    from catalog_tools.demo.clip import make_demo_clip
    from catalog_tools.demo.script import CLIP_S

    folder = folder.absolute()  # the daemon takes paths from beside its configuration file
    make_ready(folder, "--out", "choose another")
    made = make_demo_clip(folder, seconds or CLIP_S)
    catalog = _build(folder / "catalog", made / "items.csv", magpie, engine)
    return Material(made / "clip.mp4", catalog, _count_items(catalog))


def scene_material(
    folder: Path, magpie: Sequence[str], scene: Scene, engine: Sequence[str] = ()
) -> Material:
    """Return a made scene's clip and a catalog of its packs among others."""
    from catalog_tools.demo.video_file import write_clip

    folder, height = folder.absolute(), scene.size_wh[1]
    kind = "still" if scene.still else "scene"
    clip = folder / f"{kind}-{height}p{scene.fps}-{scene.in_view}-{scene.seconds:g}s.mp4"
    if not _is_made(clip, scene):
        make_ready(folder, "--out", "choose another")
        write_clip(clip, draw_scene(scene), scene.size_wh, scene.fps)
        _mark_made(clip, scene)
    pictures = write_pictures(folder / f"pictures-{scene.n_items}", scene.n_items)
    catalog = _build(folder / f"catalog-{scene.n_items}", pictures, magpie, engine)
    return Material(clip, catalog, _count_items(catalog))


def write_pictures(folder: Path, n_items: int) -> Path:
    """Write a folder of pictures for `catalog build`, one an item; return it."""
    for number in range(n_items):
        file = folder / f"pack-{number:05d}" / "front.png"
        if not file.exists():
            write_picture(file, _print_of(number, _PICTURE_SIDE_PX), "--out")
    return folder


def draw_scene(scene: Scene) -> Iterator[np.ndarray]:
    """Yield the scene's frames, (H, W, 3) uint8 BGR each, drawn on all cores."""
    n_frames = round(scene.fps * scene.seconds)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(max(1, min(16, os.cpu_count() or 1))) as pool:
        starts = range(0, n_frames, _CHUNK_FRAMES)
        chunks = [(scene, first, min(first + _CHUNK_FRAMES, n_frames)) for first in starts]
        for frames in pool.imap(_draw_chunk, chunks):
            yield from frames


def _draw_chunk(chunk: tuple[Scene, int, int]) -> list[np.ndarray]:
    from catalog_tools.synthesize.scenes import paste_pack

    cv2.setNumThreads(1)  # one process a core already
    scene, first, last = chunk
    width, height = scene.size_wh
    backdrop, grain = _ground_of(scene.size_wh)
    frames = []
    for number in range(first, last):
        image = backdrop.copy()
        for pack, quad in packs_at(scene, 0.0 if scene.still else number / scene.fps):
            paste_pack(image, _print_of(pack, round(height * 0.45)), quad)
        x, y = np.random.default_rng([_SEED, 3, number]).integers(0, 32, 2)
        frames.append(cv2.add(image, grain[y : y + height, x : x + width], dtype=cv2.CV_8U))
    return frames


@lru_cache(maxsize=1)
def _ground_of(size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The scene's ground (H, W, 3) uint8 BGR, and the sensor's noise, int16, a little larger."""
    from catalog_tools.synthesize.scenes import make_background

    width, height = size_wh
    backdrop = make_background(np.random.default_rng([_SEED, 1]), size_wh)
    noise = np.random.default_rng([_SEED, 2]).normal(0, 3, (height + 32, width + 32, 3))
    return backdrop, np.clip(noise, -64, 64).astype(np.int16)


def packs_at(scene: Scene, time_s: float) -> list[tuple[int, np.ndarray]]:
    """Return what is in view: a pack's number and its outline, (4, 2) float32 px, each.

    Each place shows one pack after another; the places change in turn, not all at once.
    """
    from catalog_tools.synthesize.packs import natural_size_wh

    width, height = scene.size_wh
    columns = math.ceil(math.sqrt(scene.in_view * 1.5))
    rows = -(-scene.in_view // columns)
    cell_w, cell_h = width / columns, height / rows
    shown = []
    for place in range(scene.in_view):
        turn_s = time_s + place * (_STAY_S + _AWAY_S) / scene.in_view
        turn, since_s = divmod(turn_s, _STAY_S + _AWAY_S)
        if since_s > _STAY_S:
            continue
        number = (place + int(turn) * scene.in_view) % scene.n_items
        size = np.array(natural_size_wh(_SEED + number, round(min(cell_w, cell_h) * 0.62)))
        sway = 0.03 * min(cell_w, cell_h) * np.array([np.sin(2 * turn_s), np.cos(1.7 * turn_s)])
        middle = np.array([place % columns + 0.5, place // columns + 0.5]) * (cell_w, cell_h) + sway
        angle = np.deg2rad(12 * np.sin(0.9 * turn_s + place))
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) * size
        shown.append((number, (corners @ turned.T + middle).astype(np.float32)))
    return shown


@lru_cache(maxsize=64)
def _print_of(number: int, long_side_px: int) -> np.ndarray:
    from catalog_tools.synthesize.packs import natural_size_wh, render_pack

    seed = _SEED + number
    return render_pack(seed, natural_size_wh(seed, long_side_px))


def _build(catalog: Path, pictures: Path, magpie: Sequence[str], engine: Sequence[str]) -> Path:
    command = [*magpie, "catalog", "build", str(pictures), "--out", str(catalog), *engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerError.at("bench", "the catalog can't be built", done.stderr.strip())
    return catalog


def _count_items(catalog: Path) -> int:
    from pipeline.catalog import Catalog

    return len(Catalog.load(catalog, None).items)


def _is_made(clip: Path, scene: Scene) -> bool:
    mark = clip.with_suffix(".json")
    return clip.exists() and mark.exists() and json.loads(mark.read_text()) == _as_json(scene)


def _mark_made(clip: Path, scene: Scene) -> None:
    clip.with_suffix(".json").write_text(json.dumps(_as_json(scene)))


def _as_json(scene: Scene) -> dict[str, object]:
    return {**asdict(scene), "size_wh": list(scene.size_wh), "drawing": 2}
