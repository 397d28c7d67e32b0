"""Stand-ins for trained networks, so that the whole pipeline runs without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from catalog_tools.build import Networks, build_catalog
from catalog_tools.packs import DEMO_SEED_START, render_pack, render_twin
from catalog_tools.scenes import make_background, paste_pack
from pipeline.catalog import Catalog
from pipeline.color import planes_from_bgr
from pipeline.detect import Detector
from pipeline.embed import Embedder
from pipeline.engines import Array
from pipeline.keypoints import KeypointExtractor
from pipeline.matcher import Matcher
from pipeline.options import EmbedOptions, MatcherOptions, VerifyOptions
from pipeline.types import ColorRange, Frame
from pipeline.verify import Verifier

SEED = DEMO_SEED_START + 5000
FRAME_WH = (640, 360)
OPTIONS = MatcherOptions(verify=VerifyOptions(verifier="sift"))
EMBEDDER_SHA256 = "f" * 64


class ColorsEngine:
    """An embedder of 9 x 9 colours."""

    name = "fake"
    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        images = arrays[0]
        if len(images):
            self.batches.append(len(images))
        rows = np.zeros((len(images), 256), np.float32)
        for row, image in zip(rows, images, strict=True):
            small = cv2.resize(image.transpose(1, 2, 0), (9, 9), interpolation=cv2.INTER_AREA)
            row[:243] = (small - small.mean()).ravel()
            row /= max(float(np.linalg.norm(row)), 1e-6)
        return (rows,)


class BoxesEngine:
    """A detector that finds what it is told: boxes in px of its own input, by brightness."""

    name = "fake"
    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Packs lie on a dark ground here: what is brighter is a box."""
        images = arrays[0]
        if len(images):
            self.batches.append(len(images))
        found = np.zeros((len(images), 300, 6), np.float32)
        for rows, image in zip(found, images, strict=True):
            bright = (np.ptp(image, axis=0) + image.mean(axis=0) > 0.35).astype(np.uint8)
            bright[np.abs(image - 114 / 255).max(axis=0) < 0.01] = 0  # the letterbox's border
            joined = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
            _, _, stats, _ = cv2.connectedComponentsWithStats(joined)
            boxes = [s for s in stats[1:] if s[2] > 20 and s[3] > 20]
            for row, (x, y, w, h, _) in zip(rows, boxes, strict=False):
                row[:] = (x, y, x + w, y + h, 0.9, 0)
        return (found,)


def networks(options: VerifyOptions | None = None) -> Networks:
    """What a catalog is built with."""
    embedder = Embedder(ColorsEngine(), EmbedOptions(), EMBEDDER_SHA256, "colours")
    return Networks(
        embedder.embed,
        EMBEDDER_SHA256,
        "colours",
        lambda: KeypointExtractor(options or VerifyOptions()),
    )


def build_pack_catalog(folder: Path, seeds: Sequence[int]) -> Path:
    """Build a catalog of packs, item ids pack-<seed offset>."""
    images = folder / "images"
    images.mkdir(parents=True)
    for seed in seeds:
        cv2.imwrite(str(images / f"pack-{seed - SEED}.png"), render_pack(seed, (220, 300)))
    build_catalog(images, folder / "catalog", networks())
    return folder / "catalog"


def make_matcher(directories: dict[str, Path], options: MatcherOptions = OPTIONS) -> Matcher:
    """The real matcher on the fake networks."""
    matcher = Matcher(
        options,
        Detector(BoxesEngine(), options.detect),
        Embedder(ColorsEngine(), options.embed, EMBEDDER_SHA256, "colours"),
        Verifier(None, options.verify),
    )
    for camera, directory in directories.items():
        matcher.switch_catalog(camera, Catalog.load(directory, EMBEDDER_SHA256))
    return matcher


def draw_frame(
    packs: Sequence[tuple[int, tuple[float, float]]],
    number: int,
    camera: str = "door",
    *,
    twin: int = 0,
    fps: int = 25,
    clock: str = "file",
) -> Frame:
    """A frame with packs (seed, top left px) 110 x 150 px on a dark ground."""
    image = (make_background(np.random.default_rng(1), FRAME_WH) * 0.12).astype(np.uint8)
    for seed, (x, y) in packs:
        pack = render_twin(seed, twin, (220, 300)) if twin else render_pack(seed, (220, 300))
        quad = np.array([[x, y], [x + 110, y], [x + 110, y + 150], [x, y + 150]], np.float32)
        paste_pack(image, pack, quad)
    y, u, v = planes_from_bgr(image)
    step_ns = int(number * 1e9 / fps)
    return Frame(
        camera, number, step_ns + 1, step_ns + 1, y, u, v, range=ColorRange.FULL, clock=clock,
        media_ns=step_ns if clock == "file" else -1,
    )  # fmt: skip
