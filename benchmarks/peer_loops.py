"""Scripts that do Magpie's work in one loop, on the same weights, catalog and clip.

plain:  ultralytics' `track` by torch on each frame; each box identified in each frame by torch.
export: the same with the detector as ultralytics exports it to OpenVINO.
strong: one process on our OpenVINO networks in static shapes; searched as often as Magpie does;
        each track identified once, and again every half second while nothing is known of it.
Each runs in a process of its own until the clip or its time ends.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.answers import Answer, Appearances
from pipeline.color import crop_bgr as crop_of
from pipeline.color import letterbox_rgb
from pipeline.errors import WorkerError
from pipeline.types import Detections, Frame
from streamer.sources.base import Picture

LOOPS = ("plain", "export", "strong")
CAMERA = "cam0"
_TRY_AGAIN_S = 0.5
_DETECT_FPS = 10.0  # Magpie's
_MIN_SCORE = 0.1
_INPUT_HW = (384, 640)  # px of the detector's input, for pictures of 16:9
_START_WITHIN_S = 240.0


@dataclass(frozen=True, slots=True)
class LoopResult:
    """What a loop did. seconds: from its first frame's decoding to its last frame's end; loading
    and warming up do not count. covered_s: of the clip.
    """

    name: str
    n_frames: int
    n_searched: int
    n_identified: int
    seconds: float
    covered_s: float
    answers: tuple[Answer, ...]

    @property
    def fps(self) -> float:
        return self.n_frames / self.seconds if self.seconds else 0.0


def run_loop(name: str, clip: Path, catalog: Path, fps: float, at_most_s: float) -> LoopResult:
    """Run one of LOOPS in a new process; WorkerError when it fails."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    arguments = (name, clip, catalog, fps, at_most_s, theirs)
    process = spawn.Process(target=_run, args=arguments)
    process.start()
    theirs.close()
    try:
        if not ours.poll(at_most_s + _START_WITHIN_S):
            raise WorkerError.at(f"bench peers: {name}", "expected it to end", "still running")
        result: LoopResult = ours.recv()
    except EOFError as error:
        raise WorkerError.at(f"bench peers: {name}", "expected a result", "it died") from error
    finally:
        process.terminate()
        process.join()
    return result


def _run(
    name: str, clip: Path, catalog: Path, fps: float, at_most_s: float, results: Connection
) -> None:
    loops: dict[str, Callable[..., LoopResult]] = {
        "plain": _tracked_by_ultralytics,
        "export": _tracked_by_ultralytics,
        "strong": _strong,
    }
    with tempfile.TemporaryDirectory(prefix="magpie-peer-") as folder:
        results.send(loops[name](name, clip, catalog, fps, at_most_s, Path(folder)))


def _tracked_by_ultralytics(
    name: str, clip: Path, catalog: Path, fps: float, at_most_s: float, folder: Path
) -> LoopResult:
    from benchmarks.peer_parts import CropIdentifier, torch_network, yolo_of_shipped_weights
    from pipeline.catalog import Catalog

    model = yolo_of_shipped_weights(folder, _INPUT_HW if name == "export" else None)
    networks = torch_network("embedder"), torch_network("matcher")
    identifier = CropIdentifier(Catalog.load(catalog, None), *networks)
    options = {"persist": True, "imgsz": list(_INPUT_HW), "conf": 0.25, "verbose": False}
    blank = np.full((720, 1280, 3), 114, np.uint8)
    model.track(blank, **options)  # compiles, and starts its tracker
    appearances, counts = Appearances(CAMERA), {"frames": 0, "crops": 0}
    began_s = time.perf_counter()
    for number, image in enumerate(_images_of(clip)):
        boxes = model.track(image, **options)[0].boxes
        seen = []
        for x0, y0, x1, y1 in boxes.xyxy.int().tolist():
            seen.append(identifier.identify(image[max(0, y0) : y1, max(0, x0) : x1]))
        counts["frames"] += 1
        counts["crops"] += len(seen)
        appearances.see([item for item in seen if item is not None], number / fps)
        if time.perf_counter() - began_s > at_most_s:
            break
    seconds = time.perf_counter() - began_s
    n_frames = counts["frames"]
    answers = tuple(appearances.answers)
    return LoopResult(name, n_frames, n_frames, counts["crops"], seconds, n_frames / fps, answers)


def _images_of(clip: Path) -> Iterator[np.ndarray]:
    """Yield (H, W, 3) uint8 BGR each, as OpenCV reads a file."""
    import cv2

    capture = cv2.VideoCapture(str(clip))
    try:
        while True:
            is_read, image = capture.read()
            if not is_read:
                return
            yield image
    finally:
        capture.release()


def _strong(
    name: str, clip: Path, catalog: Path, fps: float, at_most_s: float, folder: Path
) -> LoopResult:
    from benchmarks.peer_parts import CropIdentifier, embedder_input, static_network
    from benchmarks.recorded import pictures_of
    from pipeline.catalog import Catalog
    from pipeline.engines import hardware_precision
    from pipeline.options import TrackOptions
    from pipeline.track import Tracker
    from streamer.pacer import Pacer

    half = hardware_precision()
    detect = static_network("detector", (1, 3, *_INPUT_HW), precision=half)
    side_px, _ = embedder_input()
    embed = static_network("embedder", (1, 3, side_px, side_px), precision=half)
    sizes = ((1, 256, 4), (1, 256, 4), (1, 256, 128), (1, 256, 128), (1, 2), (1, 2))
    lightglue = _padded(static_network("matcher", *sizes))
    identifier = CropIdentifier(Catalog.load(catalog, None), embed, lightglue)
    follower = _TrackNames(Tracker(CAMERA, TrackOptions()), identifier)
    appearances, pacer = Appearances(CAMERA), Pacer(_DETECT_FPS)
    n_frames = n_searched = 0
    detect(np.zeros((1, 3, *_INPUT_HW), np.float32))
    began_s = time.perf_counter()
    for number, picture in enumerate(pictures_of(clip)):
        n_frames += 1
        if pacer.is_due(picture):
            n_searched += 1
            frame = _frame_of(picture, number)
            boxes = _detected(detect, frame)
            appearances.see(follower.follow(frame, boxes, number / fps), number / fps)
        if time.perf_counter() - began_s > at_most_s:
            break
    seconds = time.perf_counter() - began_s
    answers = tuple(appearances.answers)
    return LoopResult(
        name, n_frames, n_searched, follower.n_identified, seconds, n_frames / fps, answers
    )


class _TrackNames:
    """Names each track once; one without a name is tried again after a while."""

    def __init__(self, tracker: Any, identifier: Any) -> None:
        self._tracker, self._identifier = tracker, identifier
        self._known: dict[int, str | None] = {}
        self._tried_s: dict[int, float] = {}
        self.n_identified = 0

    def follow(self, frame: Frame, boxes: Detections, now_s: float) -> list[str]:
        """Return the items of the tracks in a frame."""
        seen = []
        for track in self._tracker.track(boxes, now_s, frame.size_wh):
            is_due = now_s - self._tried_s.get(track.track_id, -1.0) >= _TRY_AGAIN_S
            if self._known.get(track.track_id) is None and is_due:
                self._tried_s[track.track_id] = now_s
                self.n_identified += 1
                crop_bgr, _ = crop_of(frame, track.xyxy, 512)
                self._known[track.track_id] = self._identifier.identify(crop_bgr)
            item = self._known.get(track.track_id)
            if item is not None:
                seen.append(item)
        return seen


def _frame_of(picture: Picture, number: int) -> Frame:
    planes = picture.y, picture.u, picture.v
    times = picture.captured_ns, picture.wall_ns
    return Frame(CAMERA, number, *times, *planes, picture.matrix, picture.range)


def _detected(detect: Callable[..., Any], frame: Frame) -> Detections:
    pixels = np.empty((*_INPUT_HW, 3), np.uint8)
    letterbox = letterbox_rgb(frame, pixels)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
    found = np.asarray(detect(planes)[0][0])
    found = found[found[:, 4] >= _MIN_SCORE]
    xyxy = letterbox.to_frame(found[:, :4])
    return Detections(xyxy, found[:, 4].copy(), found[:, 5].astype(np.int32))


def _padded(lightglue: Callable[..., Any]) -> Callable[..., Any]:
    """Give shorter lists the static length: padding has scale 0 and takes no part."""

    def call(*arrays: Any) -> tuple[Any, ...]:
        count = arrays[0].shape[1]
        room = [(0, 0), (0, 256 - count), (0, 0)]
        padded = [np.pad(array, room) for array in arrays[:4]]
        (assignment,) = lightglue(*padded, *arrays[4:])
        return (assignment[:, :count, :count],)

    return call
