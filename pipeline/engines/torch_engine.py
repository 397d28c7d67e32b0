"""Networks by torch, on the CPU or on CUDA. The one engine that imports torch."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pipeline.offline  # noqa: F401  (before torch)
from pipeline.engines import TAKE_PICTURES, Array
from pipeline.engines.torch_networks import load_network
from pipeline.errors import EngineError
from pipeline.options import EngineOptions
from pipeline.weights import read_kind

DTYPES = {"f32": None, "bf16": torch.bfloat16, "f16": torch.float16}
# The others take or give coordinates, or small differences of large numbers.
IN_HALF = ("detector", "embedder")


class TorchEngine:
    """A network of any weights file; on CUDA detector and embedder compute in float16.

    precision: "f32", "bf16" or "f16"; none: as the options and the device say.
    """

    name = "torch"
    calls_at_once = 1

    def __init__(
        self, weights: Path, options: EngineOptions, device: str, precision: str | None = None
    ) -> None:
        is_cuda = device != "cpu"
        if is_cuda and not torch.cuda.is_available():
            raise EngineError.at(
                "engine.device",
                "this torch cannot use the CUDA device",
                device,
                "set it to cpu, or install a torch build that fits the driver",
            )
        self.device = device
        self._device = torch.device(device)
        if not is_cuda:
            torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
        kind = read_kind(weights)
        self._takes_pictures = kind in TAKE_PICTURES
        is_half = is_cuda and options.precision == "auto" and kind in IN_HALF
        self.precision = precision or ("f16" if is_half else "f32")
        self._dtype = DTYPES[self.precision]
        self._network = load_network(weights, device).eval()
        if self._dtype is not None and kind == "detector":
            _keep_head_exact(self._network, self._device.type)
        self._stream: torch.cuda.Stream | None = None
        if is_cuda:
            # f32 must mean it: TF32's eleven bits leave nothing of the comparer's variances.
            torch.backends.cudnn.allow_tf32 = False
            torch.cuda.synchronize(self._device)  # the weights are there for every stream
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the network's outputs as arrays in main memory, for arrays of one batch."""
        n_rows = len(arrays[0])
        if n_rows == 0:  # some heads cannot run on nothing: ask for the shape with one row
            one = self(*(np.zeros((1, *array.shape[1:]), array.dtype) for array in arrays))
            return tuple(array[:0] for array in one)
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._stream is not None:  # the other lane's networks run beside this one
                stack.enter_context(torch.cuda.stream(self._stream))
            if self._dtype is not None:
                stack.enter_context(torch.autocast(self._device.type, self._dtype))
            tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(self._device) for a in arrays]
            if self._takes_pictures:  # as bytes they are on the device in a quarter of the time
                tensors = [pictures.permute(0, 3, 1, 2).float() / 255 for pictures in tensors]
            results = self._network(*tensors)
            outputs = results if isinstance(results, tuple) else (results,)
            return tuple(output.float().cpu().numpy() for output in outputs)


def _keep_head_exact(network: Any, device_type: str) -> None:
    """Let the detector's last layer compute in float32: half floats tell px of boxes to half a px.

    network: a torch_detector.Detector.
    """
    head = network.network.model[-1]
    forward = head.forward

    def exact(features: list[torch.Tensor]) -> Any:
        with torch.autocast(device_type, enabled=False):
            return forward([feature.float() for feature in features])

    head.forward = exact
