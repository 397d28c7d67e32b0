"""Keypoints by a network: real ALIKED finds a turned and scaled copy; mistakes have sentences."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.upstream import convert_upstream
from pipeline.engines import load_engine
from pipeline.engines.torch_keypoints import KeypointsSpec, build_keypoints
from pipeline.engines.torch_networks import save_weights, spec_json
from pipeline.errors import ConfigError, MagpieError, WeightsError
from pipeline.geometry import project_points, warp_picture
from pipeline.identify.check import load_checker
from pipeline.keypoints import KeypointExtractor, method_of
from pipeline.learned_keypoints import LearnedKeypoints, extractor_maker, to_input
from pipeline.options import EngineOptions, VerifyOptions
from tests.pipeline.checking import verify

TORCH = EngineOptions(engine="torch", device="cpu")
CROP_WH = (300, 320)


def pack(seed: int = 3) -> np.ndarray:
    return render_pack(DEMO_SEED_START + seed, (220, 300))


class OneCornerEngine:
    """Finds a keypoint at (10, 20) px of its input and one of the border, then nothing more."""

    name, device = "fake", "cpu"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        images, sizes = arrays
        self.shapes.append(images.shape)
        xy = np.zeros((1, 4, 2), np.float32)
        xy[0, 0], xy[0, 1] = (10, 20), sizes[0]
        descriptors = np.zeros((1, 4, 64), np.float32)
        descriptors[..., 0] = 1
        return xy, np.array([[0.9, 0.5, 0, 0]], np.float32), descriptors


def test_positions_come_back_in_the_pictures_pixels() -> None:
    engine = OneCornerEngine()
    extractor = LearnedKeypoints(engine, VerifyOptions(keypoint_side_px=320), "fake-1", 64)
    assert extractor.name == "fake-1-320px-256" and method_of(extractor.name) == "fake-1"
    found = extractor.extract(np.zeros((640, 500, 3), np.uint8))
    assert engine.shapes == [(1, 3, 320, 256)]
    assert len(found) == 2, "the rest is padding"
    np.testing.assert_allclose(found.xy_scale_ori[:, :2], [[20, 40], [500, 640]], rtol=1e-6)
    assert (found.xy_scale_ori[:, 2] > 0).all() and not found.xy_scale_ori[:, 3].any()
    geometry, descriptors = found.padded(3)
    assert geometry.shape == (3, 4) and descriptors.shape == (3, 64) and not geometry[2].any()


@pytest.mark.parametrize("shape", [(0, 0, 3), (5, 300, 3), (7, 7)])
def test_tiny_pictures_have_no_keypoints(shape: tuple[int, ...]) -> None:
    engine = OneCornerEngine()
    found = LearnedKeypoints(engine, VerifyOptions(), "fake-1", 64).extract(
        np.zeros(shape, np.uint8)
    )
    assert len(found) == 0 and found.descriptors.shape == (0, 64) and not engine.shapes


def test_the_input_is_red_first_and_its_border_repeated() -> None:
    image = np.zeros((40, 30, 3), np.uint8)
    image[..., 2] = 255
    planes = to_input(image)
    assert planes.shape == (1, 3, 64, 32) and planes.dtype == np.float32
    assert planes[0, 0].min() == 1 and planes[0, 1:].max() == 0


def make_aliked(shared_data: Path, folder: Path) -> Path:
    source = shared_data / "weights" / "aliked-n16rot.pth"
    if not source.is_file():
        pytest.skip("real data: no weights/aliked-n16rot.pth there")
    return convert_upstream(source, folder / "aliked-n16rot.safetensors", "aliked", "BSD-3-Clause")


def test_real_aliked_finds_the_turned_and_scaled_copy(shared_data: Path, tmp_path: Path) -> None:
    """1. a picture of a printed pack; 2. its copy turned by 35 degrees at 0.8 of its size over a
    gray ground; 3. the same for another pack. Result: the homography of the first, none of the
    second.
    """
    weights = make_aliked(shared_data, tmp_path)
    options = VerifyOptions(method="aliked", keypoint_weights=weights)
    checker = load_checker(TORCH, options)
    assert checker.extractor.startswith("aliked-n16rot-")
    turn = cv2.getRotationMatrix2D((110, 150), 35, 0.8)
    turn[:, 2] += (40, 10)
    view_to_crop = np.vstack([turn, [0, 0, 1]])
    crops = []
    for seed in (3, 8):
        drawn, inside = warp_picture(pack(seed), np.linalg.inv(view_to_crop), CROP_WH)
        crops.append(np.where(inside[..., None], drawn, 120).astype(np.uint8))
    view = checker.prepare(pack(3))
    right, wrong = verify(checker, [(checker.prepare(crop), view) for crop in crops])
    corners = np.array([[0, 0], [220, 0], [220, 300], [0, 300]], float)
    assert right.homography is not None and right.inliers >= 25
    error = project_points(right.homography, corners) - project_points(view_to_crop, corners)
    assert np.linalg.norm(error, axis=1).max() < 4.0
    assert abs((right.angle_deg + 35 + 180) % 360 - 180) < 2.0
    blank = checker.prepare(np.full((300, 220, 3), 250, np.uint8))
    assert len(blank.keypoints) == 0, "nothing is found where nothing is"
    assert wrong.inliers <= 8 and wrong.agreement < 0.5 * right.agreement


def random_weights(path: Path, architecture: str, dim: int) -> Path:
    torch.manual_seed(5)
    spec = KeypointsSpec(architecture, dim)
    network = build_keypoints(spec)
    if architecture == "xfeat":
        with torch.no_grad():  # random logits are too even for any keypoint
            network.net.keypoint_head[-1].weight.mul_(40)
    metadata = {"kind": "keypoints", "architecture": architecture, "spec": spec_json(spec)}
    rest = {"input_size_wh": "any", "licence": "test"}
    save_weights(path, network.state_dict(), metadata | rest, torch.float32)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "dim"), [("aliked-t16", 64), ("xfeat", 64)])
def test_openvino_finds_what_torch_finds_at_any_size(
    architecture: str, dim: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path))
    weights = random_weights(tmp_path / "k.safetensors", architecture, dim)
    engines = [load_engine(weights, o) for o in (TORCH, EngineOptions(engine="openvino"))]
    for shape, sizes in (((2, 3, 96, 160), [[160, 96], [150, 70]]), ((1, 3, 128, 64), [[64, 128]])):
        arrays = (
            np.random.default_rng(0).random(shape, np.float32),
            np.array(sizes, np.float32),
        )
        (xy, scores, rows), (xy_ov, scores_ov, rows_ov) = (engine(*arrays) for engine in engines)
        real = scores > 0
        assert real.sum() > 20 and np.array_equal(real, scores_ov > 0)
        distance = np.linalg.norm(xy[:, :, None] - xy_ov[:, None], axis=3)
        is_same = real & (distance.min(2) < 0.01)
        assert is_same.sum() > 0.99 * real.sum(), "but for ties, which noise has"
        batch = np.arange(len(xy))[:, None]
        cosine = (rows * rows_ov[batch, distance.argmin(2)]).sum(2)
        assert cosine[is_same].min() > 0.999


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        (
            {"method": "aliked+lightglue"},
            WeightsError,
            "no aliked-n16.safetensors .*pull aliked-n16",
        ),
        ({"keypoint_weights": "k.safetensors"}, ConfigError, "rootsift needs none"),
        (
            {"method": "aliked+lightglue", "keypoint_weights": "k.safetensors"},
            WeightsError,
            "expected aliked keypoints, as verify.method says, got 'xfeat'",
        ),
        (
            {
                "method": "xfeat+lighterglue",
                "keypoint_weights": "k.safetensors",
                "max_keypoints": 600,
            },
            ConfigError,
            "verify.max_keypoints: xfeat gives at most 512, got '?600",
        ),
        (
            {
                "method": "xfeat+lighterglue",
                "keypoint_weights": "k.safetensors",
                "weights": "m.safetensors",
            },
            WeightsError,
            "expected LightGlue for xfeat keypoints of 64 numbers.*got 'for rootsift of 128'",
        ),
    ],
)
def test_what_does_not_fit_together_is_said(
    options: dict[str, object], error: type[MagpieError], told: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("MAGPIE_WEIGHTS", str(tmp_path))
    random_weights(tmp_path / "k.safetensors", "xfeat", 64)
    metadata = {"kind": "matcher", "spec": json.dumps({"input_dim": 128}), "architecture": "x"}
    rest = {"input_size_wh": "any", "licence": "test"}
    save_weights(tmp_path / "m.safetensors", {"w": torch.zeros(1)}, metadata | rest)
    with pytest.raises(error, match=told):
        load_checker(TORCH, VerifyOptions.model_validate(options))


def test_rootsift_is_made_anew_for_each_thread_and_a_network_once(tmp_path: Path) -> None:
    make = extractor_maker(TORCH, VerifyOptions())
    assert isinstance(make(), KeypointExtractor) and make() is not make()
    weights = random_weights(tmp_path / "k.safetensors", "xfeat", 64)
    make = extractor_maker(TORCH, VerifyOptions(method="xfeat", keypoint_weights=weights))
    assert make() is make()
    found = make().extract(pack())
    assert len(found) > 20 and found.descriptors.shape[1] == 64
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
