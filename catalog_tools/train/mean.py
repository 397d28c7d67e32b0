"""The mean of several trainings' weights: often better than each, at the cost of one.

Method: Wortsman et al., "Model soups" (ICML 2022). It holds for trainings that went on from one
another, or from one start: others' layers do not fit each other.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from collections.abc import Sequence
from pathlib import Path

import torch

from pipeline.engines.torch_networks import read_weights, save_weights
from pipeline.errors import WeightsError


def write_mean(paths: Sequence[Path], out: Path) -> Path:
    """Write the mean of the files' tensors as `out`, with the last one's header; return it.

    Whole numbers are the last one's. Raises WeightsError when they are not of one architecture.
    """
    metadata, state = read_weights(paths[-1])
    others = [read_weights(path) for path in paths[:-1]]
    for path, (other, tensors) in zip(paths, others, strict=False):
        shapes = {name: tensor.shape for name, tensor in state.items()}
        if other["kind"] != metadata["kind"] or shapes != {n: t.shape for n, t in tensors.items()}:
            rule = f"must be of the same kind, architecture and classes as {paths[-1].name}"
            raise WeightsError.at(f"weights '{path}'", rule, f"{other['kind']} {other['spec']}")
    means = {
        name: torch.stack([tensors[name] for _, tensors in others] + [tensor]).mean(0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in state.items()
    }
    save_weights(out, means, {**metadata, "mean_of": ", ".join(path.name for path in paths)})
    return out
