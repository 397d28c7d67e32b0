"""Catalogs, photos and networks for tunings: the real matcher on fake networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from catalog_tools.build import build_catalog, no_progress
from catalog_tools.synthesize.packs import render_pack
from catalog_tools.train.options import EmbedderOptions
from catalog_tools.tune.candidates import Means
from pipeline.detect import Detector
from pipeline.embed import Embedder
from pipeline.engines import Array
from pipeline.identify import Stages
from pipeline.identify.check import Checker
from pipeline.identify.compare import Comparer
from pipeline.matcher import Matcher
from pipeline.options import DetectOptions, MatcherOptions, SearchOptions, VerifyOptions
from tests.fake_networks import BoxesEngine, ColorsEngine, make_networks
from tests.pipeline.matcher_rig import SEED

OPTIONS = MatcherOptions(  # small: each test asks about a photo some two hundred times
    detect=DetectOptions(panels=False),
    search=SearchOptions(k=2),
    verify=VerifyOptions(method="rootsift", keypoint_side_px=128, max_keypoints=64),
)
N_ITEMS = 4
N_PHOTOS = 84
SEEING = b"weights that see"
BLIND_SHA256, SEEING_SHA256 = "b" * 64, "5" * 64
Fit = Callable[[EmbedderOptions], Path | None]


class BlindEngine(ColorsEngine):
    """To it all pictures are the same."""

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        rows = np.zeros((len(arrays[0]), 256), np.float32)
        rows[:, 255] = 1
        return (rows,)


def make_embedder(options: MatcherOptions) -> Embedder:
    """Blind as shipped and with the weights of `fit_badly`, seeing with those of `fit_well`."""
    weights = options.embed.weights
    if weights is None or weights.read_bytes() != SEEING:
        return Embedder(BlindEngine(), options.embed, BLIND_SHA256, "blind")
    return Embedder(ColorsEngine(), options.embed, SEEING_SHA256, weights.stem)


def make_matcher(options: MatcherOptions) -> Matcher:
    stages = Stages(make_embedder(options), Checker(None, options.verify), Comparer(None))
    return Matcher(options, Detector(BoxesEngine(), options.detect), stages)


@contextmanager
def show_nothing(title: str) -> Iterator[Callable[[int, int], None]]:
    yield no_progress


def fit_in_vain(training: EmbedderOptions) -> None:
    """A training that gains nothing."""


def fit_well(training: EmbedderOptions) -> Path:
    return _write(training.out, SEEING)


def fit_badly(training: EmbedderOptions) -> Path:
    """A training whose gain is worth nothing before real photos."""
    return _write(training.out, b"weights that see no more than before")


def _write(out: Path, weights: bytes) -> Path:
    out.mkdir()
    path = out / "fitted.safetensors"
    path.write_bytes(weights)
    return path


def means_with(fit: Fit) -> Means:
    return Means(make_matcher, fit, show_nothing)


def draw_pack(item: int) -> np.ndarray:
    return render_pack(SEED + item, (132, 180))


def draw_plain(item: int) -> np.ndarray:
    """Colours that run into each other: nothing that a keypoint could hold on to."""
    corners = np.random.default_rng(item).integers(0, 255, (2, 2, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(corners, (66, 90), interpolation=cv2.INTER_CUBIC), np.uint8)


Draw = Callable[[int], np.ndarray]


def build(folder: Path, draw: Draw) -> Path:
    """Build a catalog of the blind embedder: items item-0 to item-3."""
    (folder / "images").mkdir(parents=True)
    for item in range(N_ITEMS):
        assert cv2.imwrite(str(folder / "images" / f"item-{item}.png"), draw(item))
    embedder = make_embedder(OPTIONS)
    networks = make_networks(embedder.embed, BLIND_SHA256)
    build_catalog(folder / "images", folder / "shelf", networks)
    return folder / "shelf"


def take_photos(folder: Path, draw: Draw, count: int = N_PHOTOS) -> Path:
    """Write labelled photos: three of four show an item, the others something unknown."""
    folder.mkdir()
    lines = ["image,item_id"]
    for number in range(count):
        item = number % N_ITEMS
        is_listed = number % 4 != 3
        image = draw(item if is_listed else 100 + number)
        rng = np.random.default_rng(number)
        x, y = (int(n) for n in rng.integers(0, 8, 2))
        noise = rng.normal(0, 3, image.shape)
        photo = np.clip(image + noise, 0, 255).astype(np.uint8)[y:, x:]
        assert cv2.imwrite(str(folder / f"{number:03d}.png"), photo)
        lines.append(f"{number:03d}.png,{f'item-{item}' if is_listed else 'none'}")
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")
    return folder


def files_of(directory: Path) -> dict[str, bytes]:
    """Return the content of each file of a catalog, but for its lock."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(p.relative_to(directory)): p.read_bytes() for p in files if p.name != ".lock"}
