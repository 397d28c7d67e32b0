"""The loop that every training runs: step, report, check, save, until its minutes are over."""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from catalog_tools.train.options import TrainOptions
from catalog_tools.train.run import TrainingRun
from pipeline.engines import choose_engine, count_cuda_devices, hardware_precision
from pipeline.errors import ConfigError, EngineError, WeightsError
from pipeline.options import EngineOptions
from pipeline.weights import Kind, find_weights

LICENCE = "AGPL-3.0-or-later"
Batch = TypeVar("Batch")
LARGEST_DECAY = 0.998  # of the mean weights, once training has come some way
DECAY_GROWS_STEPS = 300


class Recipe(ABC, Generic[Batch]):
    """What a training does with its network, as the loop sees it.

    averaged: the network with the running mean of its weights, which jitter less: what is measured
    and exported (Polyak and Juditsky, 1992).
    """

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        peak_rate: float,
    ) -> None:
        self.network, self.optimizer, self.peak_rate = network, optimizer, peak_rate
        self.device = next(network.parameters()).device
        self._mean = AveragedModel(network, avg_fn=_running_mean, use_buffers=True)

    @property
    def averaged(self) -> Any:
        return self._mean.module

    @abstractmethod
    def step(self, batch: Batch, progress: float) -> dict[str, float]:
        """Learn from one batch; give its losses by name."""

    @abstractmethod
    def check(self) -> dict[str, float]:
        """Measure on what the training never sees."""

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must hold."""
        parts = {"network": self.network, "optimizer": self.optimizer, "mean": self._mean}
        return {name: part.state_dict() for name, part in parts.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what a checkpoint holds; RuntimeError, ValueError, KeyError if it doesn't fit."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._mean.load_state_dict(state["mean"])

    def learn(self, loss: torch.Tensor, largest_norm: float) -> None:
        """One step down the loss's gradient, of limited length."""
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), largest_norm)
        self.optimizer.step()
        self._mean.update_parameters(self.network)


def _running_mean(mean: torch.Tensor, value: torch.Tensor, n_steps: torch.Tensor) -> torch.Tensor:
    """The mean follows the weights at once in the beginning, later by 1/500 a step."""
    if not mean.is_floating_point():
        return value
    decay = LARGEST_DECAY * (1 - math.exp(-float(n_steps) / DECAY_GROWS_STEPS))
    return mean.lerp(value, 1 - decay)


def restore(run: TrainingRun, recipe: Recipe[Any], state: Mapping[str, Any] | None) -> None:
    """Take up what the run's checkpoint held, if anything; ConfigError when it doesn't fit."""
    if state is None:
        return
    try:
        recipe.restore(state)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise run.bad_checkpoint("must fit the options", reason) from error


def train(run: TrainingRun, recipe: Recipe[Batch], batches: Generator[Batch, None, None]) -> None:
    """Step until the minutes are over; at least once, so that a checkpoint is left. Closes the
    batches.
    """
    losses: list[dict[str, float]] = []
    with closing(batches):
        for batch in batches:
            rate = run.learning_rate(recipe.peak_rate)
            for group in recipe.optimizer.param_groups:
                group["lr"] = rate
            losses.append(recipe.step(batch, run.progress()))
            run.advance(losses[-1])
            done = run.progress() >= 1
            if done or run.is_report_due():
                means = {key: float(np.mean([row[key] for row in losses])) for key in losses[0]}
                run.report_losses(means | {"lr": rate})
                losses.clear()
            if done or run.is_check_due():
                run.report_check(recipe.check())
            if done or run.is_save_due():
                run.save(recipe.state())
            if done:
                return


def prepare(options: TrainOptions) -> torch.device:
    """Seed torch, give it its threads, and choose the device; EngineError when it isn't there."""
    asked = options.device
    if asked == "auto" and not count_cuda_devices():
        asked = "cpu"
    try:
        device = torch.device(choose_engine(EngineOptions(engine="torch", device=asked))[1])
    except EngineError as error:
        raise EngineError(str(error).replace("engine.device", "--device")) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        rule, remedy = "this torch cannot use the CUDA device", "set it to cpu, or mend the driver"
        raise EngineError.at("--device", rule, options.device, remedy)
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # TF32 on CUDA, where bf16 is not used
    torch.manual_seed(options.seed)
    return device


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Compute in bf16 where the device has it in hardware, else in f32."""
    if device.type == "cuda" or hardware_precision() == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def to_pixels(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Give (B, 3, H, W) uint8 as float32 0..1 on the device; only bytes travel there."""
    pixels = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
    return pixels.float().div_(255)


def first_weights(
    kind: Kind, start: Path | None
) -> tuple[dict[str, str], dict[str, torch.Tensor]] | None:
    """Give header and tensors of the weights to begin with; None when none are named.

    start: a file, or a name as `magpie weights list` shows it. WeightsError: not there, other kind.
    """
    from pipeline.engines.torch_networks import read_weights

    if start is None:
        return None
    metadata, state = read_weights(find_weights(kind, start))
    if metadata["kind"] != kind:
        rule, got = f"must be weights of the {kind}", f"weights of the {metadata['kind']}"
        raise WeightsError.at(f"--start '{start}'", rule, got)
    return metadata, state


def agree(flag: str, asked: Any, has: Any) -> None:
    """Refuse an option that the weights to begin with contradict."""
    if asked is not None and asked != has:
        remedy = f"leave {flag} out, or begin with other weights"
        raise ConfigError.at(flag, f"the weights begun with have {has}", asked, remedy)
