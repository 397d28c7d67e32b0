"""Networks on the CPU by OpenVINO. Imports nothing of torch: ready in well under a second."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import openvino

from pipeline.engines import Array, hardware_precision
from pipeline.engines.engine_cache import network_file
from pipeline.errors import EngineError
from pipeline.options import EngineOptions
from pipeline.weights import read_kind


class OpenVinoEngine:
    """A network of any weights file, on all cores, tuned for the time of one call.

    Compiled once, with every free dimension left free: networks compiled for one shape each
    measured no faster (detector 640x384: 101 and 98 ms on a busy machine; matcher, 4 pairs of 192:
    79 and 87 ms), and each shape costs 0.4 s at its first frame and up to 35 MB.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, weights: Path, options: EngineOptions) -> None:
        # The matching network takes and the keypoint network gives coordinates: bf16 has three
        # digits, too few for px, and for the comparer's variances.
        kind = read_kind(weights)
        is_exact = options.precision == "f32" or kind in ("matcher", "keypoints", "comparer")
        self.precision = "f32" if is_exact else hardware_precision()
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": options.threads or len(os.sched_getaffinity(0)),
            "INFERENCE_PRECISION_HINT": self.precision,
            # Bound to cores, the networks of both lanes would all wait for the first one.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            with network_file(weights) as network:
                self._compiled = _core().compile_model(network, "CPU", config)
        except RuntimeError as error:
            raise EngineError.at(
                f"weights {weights}",
                "expected OpenVINO to compile them for this CPU",
                str(error).splitlines()[-1],
            ) from error

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the network's outputs, in memory of their own, for arrays of one batch."""
        if len(arrays[0]) == 0:
            return tuple(
                np.zeros((0, *_known(output.partial_shape)), np.float32)
                for output in self._compiled.outputs
            )
        results = self._compiled([np.ascontiguousarray(array) for array in arrays])
        return tuple(np.array(results[output]) for output in self._compiled.outputs)


@cache
def _core() -> openvino.Core:
    """Return the process's one Core, which lives as long as the process does.

    A Core puts a signal stack of its own in place of the thread's and frees it when it goes; of two
    that end in the order of their beginning, the second sets back the freed stack of the first, and
    the next signal with a handler in Python kills the process.
    """
    return openvino.Core()


def _known(shape: openvino.PartialShape) -> list[int]:
    return [d.get_length() if d.is_static else 0 for d in list(shape)[1:]]
