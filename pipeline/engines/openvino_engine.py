"""Networks on the CPU by OpenVINO. Imports nothing of torch: ready in well under a second."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from pipeline.engines import TAKE_PICTURES, Array, hardware_precision
from pipeline.engines.engine_cache import network_file
from pipeline.errors import EngineError, MagpieError
from pipeline.options import EngineOptions
from pipeline.weights import Kind, read_kind

# How many shapes of one row a network is compiled for; more than these go to one that takes any. It
# saves the bookkeeping of free shapes: half of the comparer's time, a fifth of LightGlue's, a tenth
# of the others'. It costs 0.2-0.4 s at a shape's first call, and up to 35 MB.
SHAPES_OF: dict[Kind, int] = {"comparer": 1, "detector": 2, "embedder": 1, "matcher": 2}
# Keypoints are coordinates, and the comparer tells small differences of large numbers apart: never
# in bf16. LightGlue only looks where keypoints lie: what it pairs keeps its px (decisions/014).
EXACT: tuple[Kind, ...] = ("keypoints", "comparer")


class OpenVinoEngine:
    """A network of any weights file, tuned for the time of one call. Any thread may call."""

    name = "openvino"
    device = "cpu"

    def __init__(self, weights: Path, options: EngineOptions) -> None:
        kind = read_kind(weights)
        is_exact = options.precision == "f32" or kind in EXACT
        self.precision = "f32" if is_exact else hardware_precision()
        self._weights = weights
        self.calls_at_once = options.calls_at_once or 1
        threads = options.threads or len(os.sched_getaffinity(0))
        self._config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": self.calls_at_once,
            "INFERENCE_NUM_THREADS": self.calls_at_once * threads,
            "INFERENCE_PRECISION_HINT": self.precision,
            # Bound to cores, the networks of both lanes would all wait for the first one.
            "ENABLE_CPU_PINNING": False,
        }
        self._shapes_left = SHAPES_OF.get(kind, 0)
        self._of_shapes: dict[tuple[tuple[int, ...], ...], openvino.CompiledModel] = {}
        self._of_any: openvino.CompiledModel | None = None
        self._requests = threading.local()
        self._compiling = threading.Lock()
        try:
            with network_file(weights) as network:
                self._network = _core().read_model(network)
            if kind in TAKE_PICTURES:
                self._network = _taking_pictures(self._network)
        except RuntimeError as error:
            raise self._refused(error) from error
        if not self._shapes_left:
            self._of_any = self._compile(self._network)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the network's outputs, in memory of their own, for arrays of one batch."""
        if len(arrays[0]) == 0:
            return tuple(
                np.zeros((0, *_known(output.partial_shape)), np.float32)
                for output in self._network.outputs
            )
        with self._compiling:
            compiled = self._compiled_for(tuple(array.shape for array in arrays))
        results = self._request(compiled).infer([np.ascontiguousarray(array) for array in arrays])
        return tuple(np.array(results[output]) for output in compiled.outputs)

    def _request(self, compiled: openvino.CompiledModel) -> openvino.InferRequest:
        """Return this thread's own request: what one is given another must not overwrite."""
        mine: dict[int, openvino.InferRequest] = self._requests.__dict__.setdefault("mine", {})
        if id(compiled) not in mine:  # an engine keeps what it has compiled
            mine[id(compiled)] = compiled.create_infer_request()
        return mine[id(compiled)]

    def _compiled_for(self, shapes: tuple[tuple[int, ...], ...]) -> openvino.CompiledModel:
        known = self._of_shapes.get(shapes)
        if known is not None:
            return known
        if self._shapes_left and shapes[0][0] == 1:
            self._shapes_left -= 1
            network = self._network.clone()
            network.reshape(dict(zip(network.inputs, map(list, shapes), strict=True)))
            self._of_shapes[shapes] = self._compile(network)
            return self._of_shapes[shapes]
        if self._of_any is None:
            self._of_any = self._compile(self._network)
        return self._of_any

    def _compile(self, network: openvino.Model) -> openvino.CompiledModel:
        try:
            return _core().compile_model(network, "CPU", self._config)
        except RuntimeError as error:
            raise self._refused(error) from error

    def _refused(self, error: RuntimeError) -> MagpieError:
        return EngineError.at(
            f"weights {self._weights}",
            "expected OpenVINO to compile them for this CPU",
            str(error).splitlines()[-1],
        )


@cache
def _core() -> openvino.Core:
    """Return the process's one Core, which lives as long as the process does.

    A Core puts a signal stack of its own in place of the thread's and frees it when it goes; of two
    that end in the order of their beginning, the second sets back the freed stack of the first, and
    the next signal with a handler in Python kills the process.
    """
    return openvino.Core()


def _taking_pictures(network: openvino.Model) -> openvino.Model:
    """Return the network for (B, h, w, 3) uint8 in place of (B, 3, h, w) float32 0..1.

    It is merged with the first layer: 2 ms less a frame than planes made by numpy.
    """
    prepared = PrePostProcessor(network)
    given = prepared.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.model().set_layout(openvino.Layout("NCHW"))
    given.preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    return prepared.build()


def _known(shape: openvino.PartialShape) -> list[int]:
    return [d.get_length() if d.is_static else 0 for d in list(shape)[1:]]
