"""Detector and embedder keep their contract, and weights files are checked when they are read."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.engines.torch_detector import DetectorSpec, build_detector
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import load_network, read_weights, save_weights, spec_json
from pipeline.errors import WeightsError


def _header(**changed: str) -> dict[str, str]:
    header = {
        "kind": "embedder",
        "architecture": "resnet18",
        "spec": spec_json(EmbedderSpec()),
        "input_size_wh": "128x128",
        "licence": "AGPL-3.0-or-later",
    }
    return header | changed


def test_embedder_gives_unit_vectors_the_same_in_a_batch_as_alone() -> None:
    torch.manual_seed(0)
    embedder = build_embedder(EmbedderSpec())
    images = torch.rand(3, 3, 128, 128)
    with torch.inference_mode():
        together = embedder(images)
        alone = torch.cat([embedder(image[None]) for image in images])
    assert together.shape == (3, 256) and together.dtype == torch.float32
    assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(together, alone, atol=1e-5)


def test_detector_gives_300_rows_at_every_input_size() -> None:
    detector = build_detector(DetectorSpec())
    for height, width in ((384, 640), (320, 320)):
        with torch.inference_mode():
            boxes = detector(torch.rand(2, 3, height, width))
        assert boxes.shape == (2, 300, 6)
        assert 0 <= float(boxes[..., 4].min()) and float(boxes[..., 4].max()) <= 1
        assert (boxes[:, 1:, 4] <= boxes[:, :-1, 4]).all(), "best first"


def test_weights_come_back_as_they_went_within_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    embedder = build_embedder(EmbedderSpec())
    path = tmp_path / "e.safetensors"
    save_weights(path, embedder.state_dict(), _header())
    metadata, state = read_weights(path)
    assert json.loads(metadata["spec"])["dim"] == 256
    assert all(t.dtype == torch.float32 for t in state.values() if t.is_floating_point())
    assert path.stat().st_size < 23.5e6
    images = torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        assert torch.allclose(load_network(path)(images), embedder(images), atol=2e-3)
    assert not list(tmp_path.glob("*.part"))


def test_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.safetensors.*must be a file"):
        read_weights(tmp_path / "none.safetensors")


def test_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(b"\x40\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(WeightsError, match="whole safetensors file"):
        read_weights(path)


def test_foreign_file_without_header_is_said(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="none of kind, architecture"):
        read_weights(path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kind": "teapot"}, "teapot"),
        ({"spec": '{"dim": 256}'}, "EmbedderSpec has"),
        ({"spec": spec_json(EmbedderSpec(dim=64))}, "must fit each other"),
    ],
)
def test_header_and_tensors_that_do_not_fit_are_said(
    tmp_path: Path, changed: dict[str, str], told: str
) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, build_embedder(EmbedderSpec()).state_dict(), _header(**changed))
    with pytest.raises(WeightsError, match=told):
        load_network(path)


def test_numbers_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="finite in float16"):
        save_weights(tmp_path / "w.safetensors", {"x": torch.tensor([1e6])}, _header())
    assert not (tmp_path / "w.safetensors").exists()


def test_loading_the_detector_leaves_pillow_as_it_was(tmp_path: Path) -> None:
    from PIL import Image, UnidentifiedImageError

    import pipeline.engines.torch_detector  # noqa: F401

    no_picture = tmp_path / "text.jpg"
    no_picture.write_text("this is text")
    with pytest.raises(UnidentifiedImageError):
        Image.open(no_picture)
