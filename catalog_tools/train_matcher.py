"""Trains the correspondence network (LightGlue over RootSIFT) from nothing, on made pairs."""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from catalog_tools.pair_batches import FIRST_BATCHES, PairBatch, PairStore, collate, make_pairs
from catalog_tools.pairs import IGNORED, UNMATCHED, Pair, assign
from catalog_tools.training import TrainingRun, begin_with, check_options
from pipeline.engines.torch_lightglue import (
    ARCHITECTURE,
    LightGlueMatcher,
    LightGlueSpec,
    build_lightglue,
)
from pipeline.engines.torch_networks import save_weights, spec_json
from pipeline.options import VerifyOptions

WEIGHTS_NAME = "magpie-lightglue-sift.safetensors"
LICENCE = "AGPL-3.0-or-later"
PEAK_LEARNING_RATE = 8e-4
AVERAGE_DECAY = 0.995  # of the averaged weights, which are what is measured and exported
CHECK_EVERY_S = 240.0
CHECK_COUNT = 256  # keypoints in a check, as in use
WHITENING = 0.7
RESIDUAL_START = 0.2


def train_matcher(
    pool: Path,
    out: Path,
    minutes: float,
    seed: int = 0,
    threads: int = 2,
    resume: bool = True,
    start: Path | None = None,
    batch: int = 8,
    check_count: int = 48,
) -> Path:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors).

    Half of the pairs show synthetic packs, half pool pictures, sources evenly. `check_count` pairs
    are kept out to measure on. Raises ConfigError when the pool holds no picture.
    """
    options = check_options(
        pool=pool,
        out=out,
        minutes=minutes,
        seed=seed,
        threads=threads,
        resume=resume,
        start=start,
        batch=batch,
        check_count=check_count,
    )
    torch.set_num_threads(max(1, options.threads - 1))  # a thread renders pairs beside
    torch.manual_seed(options.seed)
    run = TrainingRun("matcher", options)
    network = build_lightglue(LightGlueSpec())
    optimizer = torch.optim.AdamW(network.parameters(), PEAK_LEARNING_RATE, weight_decay=0.01)
    state = run.load()
    held_out = make_pairs(options.pool, options.seed, options.check_count)
    store = PairStore(options.pool, options.seed, run.step)
    try:
        if state is None:
            if options.start is not None:
                begin_with(network, "matcher", options.start)
            else:
                store.fill(FIRST_BATCHES * options.batch)
                start_from_principal_axes(network, store.pairs)
            average = {name: t.clone() for name, t in network.state_dict().items()}
        else:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            average = state["average"]
        _train(run, network, optimizer, average, store, held_out)
    finally:
        store.close()
        run.close()
    run.draw_curve()
    return export_matcher(run, average)


def _train(
    run: TrainingRun,
    network: LightGlueMatcher,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    store: PairStore,
    held_out: list[Pair],
) -> None:
    """Step until the minutes are over; every few minutes measure, save, say so."""
    rng = np.random.default_rng([run.options.seed, run.step])
    checked_s = run.elapsed_s()
    losses: list[float] = []
    while True:  # at least one step, so that even the shortest training leaves a checkpoint
        rate = run.learning_rate(PEAK_LEARNING_RATE)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses.append(_step(network, optimizer, average, store.sample(rng, run.options.batch)))
        run.advance()
        done = run.progress() >= 1
        if done or run.elapsed_s() - checked_s > CHECK_EVERY_S:
            run.report({"loss": float(np.mean(losses)), "lr": rate} | measure(average, held_out))
            state = {"network": network.state_dict(), "average": average}
            run.save({**state, "optimizer": optimizer.state_dict()})
            losses, checked_s = [], run.elapsed_s()
        if done:
            return


def _step(
    network: LightGlueMatcher,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    batch: PairBatch,
) -> float:
    layers = network.layer_log_probabilities(*batch.inputs)
    losses = [assignment_loss(layer, batch.partner0, batch.partner1) for layer in layers]
    loss = torch.stack(losses).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            average[name].lerp_(tensor, 1 - AVERAGE_DECAY)
    return float(loss.detach())


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
def measure(state: dict[str, Tensor], pairs: list[Pair]) -> dict[str, float]:
    """Precision and recall of mutual-best assignments above the default threshold."""
    network = build_lightglue(LightGlueSpec())
    network.load_state_dict(state)
    least = VerifyOptions().min_assignment
    right = said = true = 0
    for start in range(0, len(pairs), 8):
        chunk = pairs[start : start + 8]
        batch = collate([(p.view, p.scene, *assign(p, CHECK_COUNT)) for p in chunk], CHECK_COUNT)
        probability = network(*batch.inputs)
        best, column = probability.max(2)
        mutual = probability.argmax(1).gather(1, column) == torch.arange(CHECK_COUNT)
        chosen = mutual & (best >= least) & (batch.partner0 != IGNORED)
        right += int((chosen & (batch.partner0 == column)).sum())
        said += int(chosen.sum())
        true += int((batch.partner0 >= 0).sum())
    return {"precision": right / max(said, 1), "recall": right / max(true, 1)}


def export_matcher(run: TrainingRun, state: dict[str, Tensor]) -> Path:
    """Write the network as weights and give their path."""
    path = run.options.out / WEIGHTS_NAME
    metadata = run.metadata(
        kind="matcher",
        architecture=ARCHITECTURE,
        spec=spec_json(LightGlueSpec()),
        input_size_wh=f"4x{CHECK_COUNT}",
        licence=LICENCE,
    )
    save_weights(path, state, metadata)
    return path
