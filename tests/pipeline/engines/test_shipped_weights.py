"""The shipped networks do their work on packs that training never drew."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from catalog_tools.synthesize.compose import compose_scene
from catalog_tools.synthesize.laid_photos import lay_photo
from catalog_tools.synthesize.packs import (
    DEMO_SEED_START,
    natural_size_wh,
    render_pack,
)
from catalog_tools.synthesize.shots import make_twin
from catalog_tools.synthesize.views import camera_view, clean_view
from catalog_tools.train.detector import measure_boxes
from catalog_tools.train.pack_bank import to_rgb_batch
from pipeline.embed import load_embedder
from pipeline.engines.torch_networks import load_network, read_weights
from pipeline.identify.compare import Overlay, load_comparer
from pipeline.options import EmbedOptions, EngineOptions, VerifyOptions

WEIGHTS = Path(__file__).resolve().parents[3] / "weights"
DETECTOR = WEIGHTS / "magpie-detector-n.safetensors"
RESNET = WEIGHTS / "magpie-embedder-r18.safetensors"
LITE = WEIGHTS / "magpie-embedder-lite0.safetensors"
COMPARER = WEIGHTS / "magpie-comparer.safetensors"
SEEDS = range(DEMO_SEED_START + 500, DEMO_SEED_START + 524)


@pytest.fixture(scope="module")
def packs() -> list[np.ndarray]:
    """24 packs of unseen seeds."""
    return [render_pack(seed, natural_size_wh(seed, 320)) for seed in SEEDS]


@pytest.mark.parametrize(
    ("path", "limit_bytes"),
    [(DETECTOR, 6e6), (RESNET, 23.5e6), (LITE, 8e6), (COMPARER, 1e6)],
)
def test_shipped_weights_are_small_and_say_how_they_were_trained(
    path: Path, limit_bytes: float
) -> None:
    metadata, _ = read_weights(path)
    assert path.stat().st_size <= limit_bytes
    assert metadata["trained_with"].startswith("magpie train ")
    assert int(metadata["steps"]) > 0 and metadata["created"] and metadata["licence"]
    assert path.with_suffix(".md").is_file(), "every shipped file has its card"


def test_detector_finds_unseen_packs_loose_in_a_wide_scene(packs: list[np.ndarray]) -> None:
    rng = np.random.default_rng(11)
    scenes = []
    for _ in range(10):
        chosen = [packs[int(pick)] for pick in rng.choice(len(packs), 5, replace=False)]
        scenes.append(compose_scene(rng, (640, 384), chosen, (), (45, 200), 0.5, shelf_share=0))
    pictures, truths = [s.image_bgr for s in scenes], [s.xyxy for s in scenes]
    recall, precision = measure_boxes(load_network(DETECTOR), pictures, truths)
    assert recall >= 0.8 and precision >= 0.6, (recall, precision)


def test_detector_finds_next_to_nothing_on_empty_backgrounds() -> None:
    rng = np.random.default_rng(12)
    scenes = [compose_scene(rng, (640, 384), []) for _ in range(8)]
    images = torch.from_numpy(to_rgb_batch([scene.image_bgr for scene in scenes])).float() / 255
    with torch.inference_mode():
        boxes = load_network(DETECTOR)(images)
    assert int((boxes[..., 4] > 0.5).sum()) <= 4


@pytest.mark.parametrize("weights", [RESNET, LITE], ids=["r18", "lite0"])
def test_embedder_puts_a_camera_view_next_to_its_own_pack(
    packs: list[np.ndarray], weights: Path
) -> None:
    rng = np.random.default_rng(13)
    clean = [clean_view(rng, pack, 192) for pack in packs]
    camera = [camera_view(rng, pack, 192, packs[:4], hard=0.5) for pack in packs]
    embedder = load_embedder(
        EngineOptions(engine="torch", device="cpu"), EmbedOptions(weights=weights)
    )
    order = np.argsort(-embedder.embed(camera) @ embedder.embed(clean).T, axis=1)
    own = np.arange(len(packs))[:, None]
    recall_1 = float((order[:, :1] == own).any(1).mean())
    recall_5 = float((order[:, :5] == own).any(1).mean())
    assert recall_1 >= 0.7 and recall_5 >= 0.9, (recall_1, recall_5)


def test_comparer_tells_a_print_from_one_with_another_picture_or_colour_in_it() -> None:
    rng = np.random.default_rng(14)
    comparer = load_comparer(EngineOptions(engine="torch", device="cpu"), VerifyOptions())
    overlays: dict[str, list[Overlay]] = {"same": [], "twin": []}
    for seed in SEEDS:
        size = natural_size_wh(seed, 160)
        view, other = render_pack(seed, size), render_pack(seed + 100, size)
        twin = make_twin(rng, view, other)
        for name, shown in (("same", view), ("twin", twin)):
            crop, inside = lay_photo(rng, shown, other, comparer.side_px)
            square = cv2.resize(view, (comparer.side_px, comparer.side_px))
            none = np.zeros_like(crop), np.zeros_like(inside > 0)  # no near-twin is listed
            overlay = Overlay(np.asarray(square, np.uint8), crop, inside > 0, *none)
            overlays[name].append(overlay)
    same, twin_odds = (comparer.tell_sameness(overlays[name]) for name in ("same", "twin"))
    better = (same[:, None] > twin_odds[None, :]).mean()
    assert better >= 0.75, f"of the pairs of a same and a twin {better:.2f} in the right order"
