"""The mean of trainings: of every tensor, and only of weights that fit each other."""

from pathlib import Path

import pytest
import torch

from catalog_tools.train.mean import write_mean
from pipeline.engines.torch_detector import DetectorSpec, build_detector
from pipeline.engines.torch_networks import load_network, read_weights, save_weights, spec_json
from pipeline.errors import WeightsError


def write_detector(path: Path, seed: int, spec: DetectorSpec) -> Path:
    torch.manual_seed(seed)
    header = {
        "kind": "detector", "architecture": spec.architecture, "spec": spec_json(spec),
        "input_size_wh": "640x384", "licence": "x", "trained_with": f"seed {seed}",
    }  # fmt: skip
    save_weights(path, build_detector(spec).state_dict(), header)
    return path


def test_the_mean_of_two_trainings_loads_and_says_what_it_is(tmp_path: Path) -> None:
    spec = DetectorSpec(activation="hardswish")
    files = [write_detector(tmp_path / f"{n}.safetensors", n, spec) for n in range(2)]
    out = write_mean(files, tmp_path / "mean.safetensors")
    load_network(out)
    metadata, means = read_weights(out)
    assert metadata["mean_of"] == "0.safetensors, 1.safetensors"
    assert metadata["trained_with"] == "seed 1"
    first, second = (read_weights(path)[1] for path in files)
    for name, tensor in means.items():
        expected = (first[name] + second[name]) / 2 if tensor.is_floating_point() else second[name]
        torch.testing.assert_close(tensor, expected, rtol=2e-3, atol=2e-3)


def test_weights_of_other_classes_have_no_mean(tmp_path: Path) -> None:
    first = write_detector(tmp_path / "a.safetensors", 0, DetectorSpec(class_names=("a", "b")))
    second = write_detector(tmp_path / "b.safetensors", 1, DetectorSpec())
    with pytest.raises(WeightsError, match="same kind, architecture and classes"):
        write_mean([first, second], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()
