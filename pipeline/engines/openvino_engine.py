"""Networks on the CPU by OpenVINO. Imports nothing of torch: ready in well under a second."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import openvino

from pipeline.engines import Array
from pipeline.engines.engine_cache import converted_network
from pipeline.errors import EngineError
from pipeline.options import EngineOptions
from pipeline.weights import read_kind

_MAX_SHAPES = 8  # compiled networks kept: one an input size; a camera brings one, seldom more


class OpenVinoEngine:
    """A network of any weights file, on all cores, tuned for the time of one call.

    The batch is free; every other dimension is compiled for at its first use (0.1-0.4 s), because
    a network with free height and width measured slower.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, weights: Path, options: EngineOptions) -> None:
        self._weights = weights
        self._core = openvino.Core()
        self._network = converted_network(weights)
        threads = options.threads or len(os.sched_getaffinity(0))
        # The matching network's inputs are coordinates: bf16 has three digits, too few for px.
        is_exact = options.precision == "f32" or read_kind(weights) == "matcher"
        self.precision = "f32" if is_exact else hardware_precision()
        self._config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        self._compiled: dict[tuple[tuple[int, ...], ...], openvino.CompiledModel] = {}

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the network's outputs, in memory of their own, for arrays of one batch."""
        compiled = self._compile(tuple(array.shape[1:] for array in arrays))
        if len(arrays[0]) == 0:
            return tuple(
                np.zeros((0, *_known(output.partial_shape)), np.float32)
                for output in compiled.outputs
            )
        results = compiled([np.ascontiguousarray(array) for array in arrays])
        return tuple(np.array(results[output]) for output in compiled.outputs)

    def _compile(self, shapes: tuple[tuple[int, ...], ...]) -> openvino.CompiledModel:
        compiled = self._compiled.get(shapes)
        if compiled is not None:
            return compiled
        try:
            model = self._core.read_model(self._network)
            model.reshape(
                {i: openvino.PartialShape([-1, *shape]) for i, shape in enumerate(shapes)}
            )
            compiled = self._core.compile_model(model, "CPU", self._config)
        except RuntimeError as error:
            raise EngineError.at(
                f"weights {self._weights}",
                f"expected OpenVINO to run them with inputs {shapes}",
                str(error).splitlines()[-1],
            ) from error
        if len(self._compiled) >= _MAX_SHAPES:
            self._compiled.pop(next(iter(self._compiled)))
        self._compiled[shapes] = compiled
        return compiled


def hardware_precision() -> str:
    """Return "bf16" where this CPU computes in it, else "f32" (emulated bf16 is 15x slower)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "f32"
    flags = set(text.split())
    wanted = {"avx512_bf16", "amx_bf16"} if platform.machine() == "x86_64" else {"bf16"}
    return "bf16" if flags & wanted else "f32"


def _known(shape: openvino.PartialShape) -> list[int]:
    return [d.get_length() if d.is_static else 0 for d in list(shape)[1:]]
