"""The correspondence network: padding takes no part, and OpenVINO gives torch's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.engines import load_engine
from pipeline.engines.torch_lightglue import (
    ARCHITECTURE,
    LightGlueSpec,
    build_lightglue,
    normalise_geometry,
)
from pipeline.engines.torch_networks import load_network, save_weights, spec_json
from pipeline.options import EngineOptions

N = 48


def inputs(batch: int, n: int = N, seed: int = 0) -> list[torch.Tensor]:
    """Keypoints of made-up pictures of 200 x 300 px; the second half follows the first's."""
    random = torch.Generator().manual_seed(seed)
    xy = torch.rand(batch, n, 2, generator=random) * torch.tensor([200.0, 300.0])
    scale = torch.rand(batch, n, 1, generator=random) * 10 + 2
    angle = torch.rand(batch, n, 1, generator=random) * 6.28
    keypoints = torch.cat([xy, scale, angle], -1)
    descriptors = torch.nn.functional.normalize(torch.rand(batch, n, 128, generator=random), dim=-1)
    sizes = torch.tensor([[200.0, 300.0]]).repeat(batch, 1)
    order = torch.randperm(n, generator=random)
    return [
        keypoints,
        keypoints[:, order],
        descriptors,
        descriptors[:, order],
        sizes,
        sizes.clone(),
    ]


def pad(arrays: list[torch.Tensor], n0: int, n1: int) -> list[torch.Tensor]:
    """Zero all but the first n0 and n1 keypoints."""
    padded = [a.clone() for a in arrays]
    for index, n in ((0, n0), (1, n1), (2, n0), (3, n1)):
        padded[index][:, n:] = 0
    return padded


@torch.no_grad()
def test_probabilities_are_shaped_and_bounded() -> None:
    torch.manual_seed(0)
    network = build_lightglue(LightGlueSpec())
    assert not network.training
    assignment = network(*inputs(3))
    assert assignment.shape == (3, N, N) and assignment.dtype == torch.float32
    assert 0 <= assignment.min() and assignment.max() <= 1
    assert (assignment.sum(1) <= 1 + 1e-4).all() and (assignment.sum(2) <= 1 + 1e-4).all()


@torch.no_grad()
def test_without_padding_it_gives_what_kornias_own_blocks_give() -> None:
    torch.manual_seed(0)
    network = build_lightglue(LightGlueSpec(n_layers=2))
    net, arrays = network.net, inputs(2)
    points0, points1, desc0, desc1, sizes0, sizes1 = arrays
    states = [net.input_proj(desc0), net.input_proj(desc1)]
    turns = [
        net.posenc(normalise_geometry(points, sizes))
        for points, sizes in ((points0, sizes0), (points1, sizes1))
    ]
    for layer in net.transformers:
        states = [layer.self_attn(x, turn) for x, turn in zip(states, turns, strict=True)]
        states = list(layer.cross_attn(*states))
    expected = net.log_assignment[-1](*states)[0][:, :-1, :-1].exp()
    torch.testing.assert_close(network(*arrays), expected, atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_padding_takes_no_part() -> None:
    torch.manual_seed(0)
    network = build_lightglue(LightGlueSpec())
    arrays = inputs(2)
    short = [*(a[:, :20] for a in arrays[:4]), *arrays[4:]]
    expected, padded = network(*short), network(*pad(arrays, 20, 20))
    torch.testing.assert_close(padded[:, :20, :20], expected, atol=1e-5, rtol=1e-3)
    assert not padded[:, 20:].any() and not padded[:, :, 20:].any()


@torch.no_grad()
def test_pictures_without_keypoints_give_zeros_not_nan() -> None:
    assignment = build_lightglue(LightGlueSpec())(*pad(inputs(2), 0, 0))
    assert torch.isfinite(assignment).all() and not assignment.any()


@torch.no_grad()
def test_a_batch_gives_what_single_pairs_give() -> None:
    torch.manual_seed(0)
    network = build_lightglue(LightGlueSpec())
    arrays = inputs(4)
    together = network(*arrays)
    alone = torch.cat([network(*(a[i : i + 1] for a in arrays)) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-3)


def test_padded_training_has_finite_gradients() -> None:
    torch.manual_seed(0)
    network = build_lightglue(LightGlueSpec())
    layers = network.layer_log_probabilities(*pad(inputs(2), 15, 0))
    assert len(layers) == LightGlueSpec().n_layers
    loss = sum(
        pairs[:, :15].mean() + alone0[:, :15].mean() + alone1.mean()
        for pairs, alone0, alone1 in layers
    )
    loss.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)


def test_geometry_is_relative_to_the_picture() -> None:
    keypoints = torch.tensor([[[100.0, 150.0, 9.375, 1.0], [200.0, 0.0, 37.5, 2.0]]])
    sizes = torch.tensor([[200.0, 300.0]])
    expected = torch.tensor([[[0.0, 0.0, 0.0, 1.0], [2 / 3, -1.0, 1.0, 2.0]]])
    torch.testing.assert_close(normalise_geometry(keypoints, sizes), expected)
    twice = keypoints * torch.tensor([2.0, 2.0, 2.0, 1.0])
    torch.testing.assert_close(normalise_geometry(twice, sizes * 2), expected)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    network = build_lightglue(LightGlueSpec())
    for head in network.net.log_assignment:
        head.matchability.bias.data.fill_(3.0)  # so that probabilities are worth comparing
        head.final_proj.weight.data.mul_(6.0)
    path = tmp_path_factory.mktemp("weights") / "matcher.safetensors"
    header = {"kind": "matcher", "architecture": ARCHITECTURE, "licence": "AGPL-3.0-or-later"}
    spec = {"spec": spec_json(LightGlueSpec()), "input_size_wh": "4x256"}
    save_weights(path, network.state_dict(), header | spec)
    return path


def test_weights_on_disk_give_the_same_network(weights: Path) -> None:
    assert weights.stat().st_size < 6e6
    first, second = load_network(weights, "cpu"), load_network(weights, "cpu")
    with torch.no_grad():
        assert torch.equal(first(*inputs(2)), second(*inputs(2)))


@pytest.mark.slow
def test_openvino_gives_the_same_numbers_for_every_batch(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path))
    here = load_engine(weights, EngineOptions(engine="torch", device="cpu"))
    there = load_engine(weights, EngineOptions(engine="openvino", device="cpu", precision="f32"))
    assert there.name == "openvino"
    for batch, n in ((1, 256), (3, 256), (2, 64)):
        arrays = [a.numpy() for a in pad(inputs(batch, n, seed=batch), n - 10, n - 20)]
        expected, found = here(*arrays)[0], there(*arrays)[0]
        assert expected.max() > 0.05
        np.testing.assert_allclose(found, expected, atol=2e-3)
        assert not found[:, n - 10 :].any()
