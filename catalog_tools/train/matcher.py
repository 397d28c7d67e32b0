"""Trains the correspondence network (LightGlue over RootSIFT) on made pairs."""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from catalog_tools.train.batches_ahead import made_ahead
from catalog_tools.train.loop import (
    LICENCE,
    Recipe,
    agree,
    first_weights,
    prepare,
    restore,
    train,
)
from catalog_tools.train.options import MatcherOptions
from catalog_tools.train.pair_batches import (
    FIRST_BATCHES,
    PairBatch,
    PairStore,
    collate,
    make_pairs,
)
from catalog_tools.train.pairs import IGNORED, UNMATCHED, Pair, assign
from catalog_tools.train.run import TrainingRun
from pipeline.engines.torch_lightglue import (
    ARCHITECTURE,
    LightGlueMatcher,
    LightGlueSpec,
    build_lightglue,
)
from pipeline.engines.torch_networks import parse_spec, save_weights, spec_json
from pipeline.options import VerifyOptions

WEIGHTS_NAME = "magpie-lightglue-sift.safetensors"
PEAK_RATE = 8e-4
CHECK_COUNT = 256  # keypoints in a check, as in use
WHITENING = 0.7
RESIDUAL_START = 0.2


def train_matcher(options: MatcherOptions) -> Path:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors).

    Half of the pairs show synthetic packs, half pool pictures, sources evenly. `check_count` pairs
    are kept out to measure on. Raises ConfigError when the pool holds no picture.
    """
    device = prepare(options)
    torch.set_num_threads(max(1, options.threads - 1))  # a thread renders pairs beside
    run = TrainingRun("matcher", options)
    state = run.load()
    network = begin_matcher(options)
    held_out = make_pairs(options, options.check_count)
    store = PairStore(options, run.step)
    try:
        if state is None and options.start is None:
            store.fill(FIRST_BATCHES * options.batch)
            start_from_principal_axes(network, store.pairs)
        recipe = MatcherRecipe(network.to(device), held_out, options.rate or PEAK_RATE)
        restore(run, recipe, state)
        train(run, recipe, made_ahead(store.make, run.step))
    finally:
        store.close()
        run.close()
    run.draw_curve()
    path = export_matcher(run, recipe.averaged)
    run.split(path)
    return path


def begin_matcher(options: MatcherOptions) -> LightGlueMatcher:
    """Give the network to train: fresh, or with the weights to begin with."""
    begun = first_weights("matcher", options.start)
    if begun is None:
        fresh = LightGlueSpec()
        layers, width = options.layers or fresh.n_layers, options.width or fresh.descriptor_dim
        return build_lightglue(replace(fresh, n_layers=layers, descriptor_dim=width))
    metadata, state = begun
    spec = parse_spec(LightGlueSpec, metadata["spec"])
    agree("--layers", options.layers, spec.n_layers)
    agree("--width", options.width, spec.descriptor_dim)
    agree("--start", "rootsift", spec.keypoints)  # what the pairs are made of
    network = build_lightglue(spec)
    network.load_state_dict(state)
    return network


class MatcherRecipe(Recipe[PairBatch]):
    """The true assignment's likelihood after every layer. In f32, TF32 on CUDA: the inputs are
    coordinates, and bf16 has too few digits for pixels.
    """

    def __init__(self, network: LightGlueMatcher, held_out: list[Pair], peak_rate: float) -> None:
        optimizer = torch.optim.AdamW(network.parameters(), peak_rate, weight_decay=0.01)
        super().__init__(network, optimizer, peak_rate)
        self._held_out = held_out

    def step(self, batch: PairBatch, progress: float) -> dict[str, float]:
        inputs = [tensor.to(self.device) for tensor in batch.inputs]
        partner0, partner1 = batch.partner0.to(self.device), batch.partner1.to(self.device)
        layers = self.network.layer_log_probabilities(*inputs)
        losses = [assignment_loss(layer, partner0, partner1) for layer in layers]
        loss = torch.stack(losses).mean()
        self.learn(loss, 1.0)
        return {"loss": float(loss.detach())}

    def check(self) -> dict[str, float]:
        return measure(self.averaged, self._held_out)


def assignment_loss(
    layer: tuple[Tensor, Tensor, Tensor], partner0: Tensor, partner1: Tensor
) -> Tensor:
    """Negative log-likelihood of the true assignment, a scalar.

    layer: log probabilities of pairs (B, N, N), of being unmatched (B, N) twice.
    partner0, partner1: (B, N) int64 true partners, UNMATCHED, or IGNORED (padding too).
    """
    pairs, unmatched0, unmatched1 = layer
    is_paired = partner0 >= 0
    chosen = pairs.gather(2, partner0.clamp(min=0)[..., None])[..., 0]
    loss = -(chosen * is_paired).sum() / is_paired.sum().clamp(min=1)
    for unmatched, partner in ((unmatched0, partner0), (unmatched1, partner1)):
        alone = partner == UNMATCHED
        loss = loss - 0.5 * (unmatched * alone).sum() / alone.sum().clamp(min=1)
    return loss


@torch.no_grad()
def start_from_principal_axes(network: LightGlueMatcher, pairs: list[Pair]) -> None:
    """Make the untrained network compare (partly whitened) RootSIFT, its layers nearly idle.

    RootSIFT vectors share a large common part; from random projections the network needs
    thousands of pairs before it sees past that. Measured before the first step: precision 0.8,
    recall 0.36.
    """
    descriptors = torch.from_numpy(np.concatenate([p.scene.descriptors for p in pairs]))
    mean = descriptors.mean(0)
    values, axes = torch.linalg.eigh(torch.cov((descriptors - mean).T))
    dim = network.net.input_proj.out_features
    whiten = axes[:, -dim:].T / (values[-dim:, None].clamp(min=0).sqrt() + 1e-3) ** WHITENING
    whiten = whiten * dim**0.5 / ((descriptors - mean) @ whiten.T).norm(dim=1).mean()
    network.net.input_proj.weight.copy_(whiten)
    network.net.input_proj.bias.copy_(-whiten @ mean)
    for layer in network.net.transformers:
        for block in (layer.self_attn, layer.cross_attn):
            block.ffn[-1].weight.mul_(RESIDUAL_START)
            block.ffn[-1].bias.mul_(RESIDUAL_START)
    for head in network.net.log_assignment:
        head.final_proj.weight.copy_(torch.eye(dim))
        head.final_proj.bias.zero_()
        head.matchability.weight.mul_(0.1)


@torch.no_grad()
def measure(network: LightGlueMatcher, pairs: list[Pair]) -> dict[str, float]:
    """Precision and recall of mutual-best assignments above the default threshold."""
    device = next(network.parameters()).device
    least = VerifyOptions().min_assignment
    right = said = true = 0
    for start in range(0, len(pairs), 8):
        chunk = pairs[start : start + 8]
        batch = collate([(p.view, p.scene, *assign(p, CHECK_COUNT)) for p in chunk], CHECK_COUNT)
        probability = network(*(tensor.to(device) for tensor in batch.inputs)).cpu()
        best, column = probability.max(2)
        mutual = probability.argmax(1).gather(1, column) == torch.arange(CHECK_COUNT)
        chosen = mutual & (best >= least) & (batch.partner0 != IGNORED)
        right += int((chosen & (batch.partner0 == column)).sum())
        said += int(chosen.sum())
        true += int((batch.partner0 >= 0).sum())
    return {"precision": right / max(said, 1), "recall": right / max(true, 1)}


def export_matcher(run: TrainingRun, network: LightGlueMatcher) -> Path:
    """Write the network as weights and give their path."""
    spec, path = network.spec, run.options.out / WEIGHTS_NAME
    metadata = run.metadata(
        kind="matcher",
        architecture=ARCHITECTURE,
        spec=spec_json(spec),
        input_size_wh=f"4x{CHECK_COUNT}",
        licence=LICENCE,
    )
    save_weights(path, network.state_dict(), metadata)
    return path
