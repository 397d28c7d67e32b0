"""What a detector's training begins with, and what it learns beside boxes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from catalog_tools.train.batches_ahead import Clock
from catalog_tools.train.detector import DetectorRecipe, begin_detector
from catalog_tools.train.detector_batches import DetectorBatches
from catalog_tools.train.feature_lesson import FeatureLesson
from catalog_tools.train.options import DetectorOptions
from pipeline.engines.torch_detector import DetectorSpec, build_detector
from pipeline.engines.torch_networks import parse_spec, read_weights
from pipeline.weights import find_weights


def test_each_class_of_a_detector_begins_as_an_item() -> None:
    shipped = Path("magpie-detector-n")
    same, other = begin_detector(shipped, ("item",)), begin_detector(shipped, ("mug", "bottle"))
    assert other.spec.class_names == ("mug", "bottle")
    theirs = other.state_dict()
    for name, tensor in same.state_dict().items():
        if tensor.shape == theirs[name].shape:
            assert torch.equal(tensor, theirs[name]), name
        else:
            assert ".2." in name and "cv3." in name
            assert all(torch.equal(tensor[0], row) for row in theirs[name])


def test_a_detector_keeps_its_activation_unless_another_is_asked_for() -> None:
    old, start = build_detector(DetectorSpec()), Path("magpie-detector-n")
    assert old.spec.activation == "silu", "files of before do not say which"
    kept, asked = begin_detector(start, ("item",)), begin_detector(start, ("item",), "silu")
    metadata, _ = read_weights(find_weights("detector", start))
    assert kept.spec == parse_spec(DetectorSpec, metadata["spec"])
    assert any(isinstance(part, torch.nn.SiLU) for part in asked.network.modules())
    fresh = begin_detector(None, ("item",))
    assert not any(isinstance(part, torch.nn.SiLU) for part in fresh.network.modules())
    assert any(isinstance(part, torch.nn.Hardswish) for part in fresh.network.modules())


def test_a_detectors_backbone_learns_what_an_embedder_sees(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    (pool / "things").mkdir(parents=True)
    cv2.imwrite(str(pool / "things" / "one.png"), np.full((40, 40, 3), 90, np.uint8))
    options = DetectorOptions(pool=pool, out=tmp_path, minutes=1)
    batches = DetectorBatches(options, Clock(0.0, 0.0, 1e12))
    lesson = FeatureLesson(Path("magpie-embedder-lite0"))
    taught = {name: tensor.clone() for name, tensor in lesson.teacher.state_dict().items()}
    torch.manual_seed(0)
    recipe = DetectorRecipe(begin_detector(None, ("item",)), batches, 2e-3, 2, lesson)
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 96)).astype(np.uint8)
    nothing = [np.zeros((0, 5), np.float32)] * 2
    losses = [recipe.step((images, nothing), 0.0)["feature_loss"] for _ in range(12)]
    assert losses[0] == pytest.approx(1, abs=0.15) and losses[-1] < losses[0] - 0.1
    assert all(torch.equal(tensor, taught[n]) for n, tensor in lesson.teacher.state_dict().items())
    assert not any("pupil" in name for name in recipe.averaged.state_dict())
