"""The real matcher on fake networks: a catalog of packs, and frames that show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from catalog_tools.build import build_catalog
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack, render_twin
from catalog_tools.synthesize.scenes import make_background, paste_pack
from pipeline.catalog import Catalog
from pipeline.color import planes_from_bgr
from pipeline.detect import Detector
from pipeline.identify import Stages
from pipeline.identify.check import Checker
from pipeline.identify.compare import Comparer
from pipeline.matcher import Matcher
from pipeline.options import MatcherOptions, VerifyOptions
from pipeline.types import ColorRange, Frame
from tests.fake_networks import EMBEDDER_SHA256, BoxesEngine, colors_embedder, make_networks

SEED = DEMO_SEED_START + 5000
FRAME_WH = (640, 360)
OPTIONS = MatcherOptions(verify=VerifyOptions(method="rootsift"))


def build_pack_catalog(folder: Path, seeds: Sequence[int]) -> Path:
    """Build a catalog of packs, item ids pack-<seed offset>."""
    images = folder / "images"
    images.mkdir(parents=True)
    for seed in seeds:
        cv2.imwrite(str(images / f"pack-{seed - SEED}.png"), render_pack(seed, (220, 300)))
    build_catalog(images, folder / "catalog", make_networks())
    return folder / "catalog"


def make_matcher(directories: dict[str, Path], options: MatcherOptions = OPTIONS) -> Matcher:
    """The real matcher on the fake networks."""
    matcher = Matcher(
        options,
        Detector(BoxesEngine(), options.detect),
        Stages(colors_embedder(options.embed), Checker(None, options.verify), Comparer(None)),
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
    fps: float = 25,
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
