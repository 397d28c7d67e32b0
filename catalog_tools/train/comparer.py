"""Trains the comparer: does a crop laid over a view show the same print, or a near-twin's?"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from catalog_tools.train.batches_ahead import made_ahead
from catalog_tools.train.comparer_batches import ComparedPairs, ComparerBatches
from catalog_tools.train.loop import (
    LICENCE,
    Recipe,
    first_weights,
    mixed_precision,
    prepare,
    restore,
    to_pixels,
    train,
)
from catalog_tools.train.options import ComparerOptions
from catalog_tools.train.run import TrainingRun
from pipeline.engines.torch_comparer import ARCHITECTURE, Comparer, ComparerSpec, build_comparer
from pipeline.engines.torch_networks import parse_spec, save_weights, spec_json

WEIGHTS_NAME = "magpie-comparer.safetensors"
PEAK_RATE = 2e-3
# It measures correlations in windows, so it may be used at a side that shows smaller words than the
# one that it learns at, where a step takes a third of the time (weights/magpie-comparer.md).
LEARNT_SIDE_PX = 96
FALSE_SHARE = 0.05  # of pairs that differ, at which the recall of a check is taken


def train_comparer(options: ComparerOptions) -> Path:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors)."""
    device = prepare(options)
    network = begin_comparer(options).to(device, memory_format=torch.channels_last)
    run = TrainingRun("comparer", options)
    state = run.load()
    batches = ComparerBatches(options, LEARNT_SIDE_PX)
    recipe = ComparerRecipe(network, batches.make_check(options.check_count), options)
    restore(run, recipe, state)
    try:
        train(run, recipe, made_ahead(batches.make, run.step, options.workers))
    finally:
        run.close()
    run.draw_curve()
    path = export_comparer(run, recipe.averaged)
    run.split(path)
    return path


def begin_comparer(options: ComparerOptions) -> Comparer:
    """Give the network to train: fresh, or with the weights to begin with."""
    begun = first_weights("comparer", options.start)
    if begun is None:
        return build_comparer(ComparerSpec())
    metadata, state = begun
    network = build_comparer(parse_spec(ComparerSpec, metadata["spec"]))
    network.load_state_dict(state)
    return network


class ComparerRecipe(Recipe[ComparedPairs]):
    """Logistic loss of "the same" against everything else; the pictures turned and mirrored alike,
    so that no place and no reading direction matters.
    """

    def __init__(self, network: Comparer, check: ComparedPairs, options: ComparerOptions) -> None:
        rate = options.rate or PEAK_RATE
        super().__init__(
            network, torch.optim.AdamW(network.parameters(), rate, weight_decay=0.02), rate
        )
        self._check = check
        self._rng = np.random.default_rng([options.seed, 2])

    def step(self, batch: ComparedPairs, progress: float) -> dict[str, float]:
        self.network.train()
        quarters, is_mirrored = int(self._rng.integers(4)), self._rng.random() < 0.5
        inputs = [_turned(tensor, quarters, is_mirrored) for tensor in _inputs(batch, self.device)]
        same = torch.from_numpy(batch.same).to(self.device)
        with mixed_precision(self.device):
            log_odds = self.network.judge(*inputs).float()
        # Each head for itself: heads that learnt to complete one another would err together.
        loss = functional.binary_cross_entropy_with_logits(log_odds, same.expand_as(log_odds))
        self.learn(loss, 5.0)
        return {
            "loss": loss.item(),
            "right": float(((log_odds.mean(0) > 0) == (same > 0.5)).float().mean()),
        }

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        network = self.averaged.eval()
        inputs = _inputs(self._check, self.device)
        parts = zip(*(tensor.split(64) for tensor in inputs), strict=True)
        said = torch.cat([network(*part) for part in parts]).float().cpu().numpy()
        same = self._check.same > 0.5
        least = np.quantile(said[~same], 1 - FALSE_SHARE)
        return {
            "right": float(np.mean((said > 0) == same)),
            "recall_at_5pc_false": float(np.mean(said[same] > least)),
        }


def _inputs(pairs: ComparedPairs, device: torch.device) -> list[Tensor]:
    return [
        to_pixels(pairs.views, device),
        to_pixels(pairs.crops, device),
        torch.from_numpy(pairs.inside).to(device).float(),
        to_pixels(pairs.twins, device),
        torch.from_numpy(pairs.twin_inside).to(device).float(),
    ]


def _turned(pictures: Tensor, quarters: int, is_mirrored: bool) -> Tensor:
    turned = torch.rot90(pictures, quarters, (2, 3))
    return turned.flip(3) if is_mirrored else turned


def export_comparer(run: TrainingRun, network: Comparer) -> Path:
    """Write the network as weights and give their path."""
    spec, path = network.spec, run.options.out / WEIGHTS_NAME
    metadata = run.metadata(
        kind="comparer",
        architecture=ARCHITECTURE,
        spec=spec_json(spec),
        input_size_wh=f"{spec.side_px}x{spec.side_px}",
        licence=LICENCE,
    )
    save_weights(path, network.state_dict(), metadata)
    return path
