"""Networks by torch, on the CPU or on CUDA. The one engine that imports torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

import pipeline.offline  # noqa: F401  (before torch)
from pipeline.engines import Array
from pipeline.engines.torch_networks import load_network
from pipeline.errors import EngineError
from pipeline.options import EngineOptions


class TorchEngine:
    """A network of any weights file, in float32, as its definition computes it."""

    name = "torch"

    def __init__(self, weights: Path, options: EngineOptions, device: str) -> None:
        if device != "cpu" and not torch.cuda.is_available():
            raise EngineError.at(
                "engine.device",
                "this torch cannot use the CUDA device",
                device,
                "set it to cpu, or install a torch build that fits the driver",
            )
        self.device = device
        self._device = torch.device(device)
        if device == "cpu":
            torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
        self._network = load_network(weights, device).eval()

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the network's outputs as arrays in main memory, for arrays of one batch."""
        n_rows = len(arrays[0])
        if n_rows == 0:  # some heads cannot run on nothing: ask for the shape with one row
            one = self(*(np.zeros((1, *array.shape[1:]), array.dtype) for array in arrays))
            return tuple(array[:0] for array in one)
        with torch.inference_mode():
            tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(self._device) for a in arrays]
            results = self._network(*tensors)
        outputs = results if isinstance(results, tuple) else (results,)
        return tuple(output.float().cpu().numpy() for output in outputs)
