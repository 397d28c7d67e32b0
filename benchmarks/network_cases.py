"""Each network alone: by device, threads, precision, batch and shape, on drawn numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.embed import SIDE_PX
from pipeline.engines import (
    TAKE_PICTURES,
    Array,
    Engine,
    choose_engine,
    hardware_precision,
    load_engine,
)
from pipeline.options import EngineOptions
from pipeline.weights import Kind, find_weights, read_spec

Shape = tuple[int, ...]
SHAPES: dict[Kind, tuple[Shape, ...]] = {
    "detector": ((384, 640), (640, 640)),  # px: 16:9 and a square picture
    "matcher": ((128,), (256,)),  # keypoints of each of the two pictures
    "comparer": ((160, 160),),
}
BATCHES_CPU: dict[Kind, tuple[int, ...]] = {
    "detector": (1, 4), "embedder": (1, 4, 16), "matcher": (1, 4), "comparer": (1, 4),
}  # fmt: skip
BATCHES_CUDA: dict[Kind, tuple[int, ...]] = {
    "detector": (1, 8, 32), "embedder": (1, 16, 64), "matcher": (1, 8, 32), "comparer": (1, 8, 32),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NetworkCase:
    """One network, made ready in one way. threads: 0 where the device has none to choose."""

    kind: Kind
    engine: str
    device: str
    threads: int
    precision: str

    def load(self) -> Engine:
        """Return the network, ready to run in this precision whatever the options' default is."""
        options = EngineOptions.model_validate(
            {
                "engine": self.engine,
                "device": self.device,
                "threads": self.threads,
                "precision": "f32" if self.precision == "f32" else "auto",
            }
        )
        weights = find_weights(self.kind)
        if self.engine == "torch":
            from pipeline.engines.torch_engine import TorchEngine

            return TorchEngine(weights, options, self.device, self.precision)
        return load_engine(weights, options)


def shapes_of(kind: Kind) -> tuple[Shape, ...]:
    """Return the shapes that a kind is measured at: an embedder's is its own."""
    if kind == "embedder":
        side_px = int(read_spec(find_weights(kind)).get("input_side_px", SIDE_PX))
        return ((side_px, side_px),)
    return SHAPES[kind]


def network_cases(options: EngineOptions, kinds: Sequence[Kind]) -> Iterator[NetworkCase]:
    """Yield the ways in which this machine can run each network."""
    engine, device = choose_engine(options)
    if device != "cpu":
        precisions, threads = ["f32", "f16", "bf16"], [0]
    else:
        half = hardware_precision()
        precisions = ["f32"] if half == "f32" or engine == "torch" else ["f32", half]
        n_cores = len(os.sched_getaffinity(0))
        threads = [options.threads] if options.threads else sorted({1, min(4, n_cores)})
    for kind in kinds:
        for precision in precisions:
            is_exact = engine == "openvino" and kind == "comparer"
            if precision != "f32" and is_exact:
                continue  # it never leaves f32 there
            for n_threads in threads:
                yield NetworkCase(kind, engine, device, n_threads, precision)


def draw_inputs(kind: Kind, batch: int, shape: Shape, seed: int = 0) -> tuple[Array, ...]:
    """Return a network's inputs with drawn numbers, of the range that real ones have."""
    rng = np.random.default_rng(seed)
    if kind in TAKE_PICTURES:
        return (rng.integers(0, 256, (batch, *shape, 3), np.uint8),)
    if kind == "matcher":
        first, second = (_draw_keypoints(rng, batch, shape[0]) for _ in range(2))
        size = np.full((batch, 2), 320, np.float32)
        return (first[0], second[0], first[1], second[1], size, size)
    pictures = [rng.random((batch, 3, *shape), np.float32) for _ in range(3)]
    inside = np.ones((batch, 1, *shape), np.float32)
    return (pictures[0], pictures[1], inside, pictures[2], inside)


def _draw_keypoints(rng: np.random.Generator, batch: int, count: int) -> tuple[Array, Array]:
    """(B, N, 4) float32 x, y px, scale px, angle; (B, N, 128) float32 unit vectors."""
    rows = rng.random((batch, count, 4), np.float32)
    rows *= np.array([320, 320, 20, 2 * np.pi], np.float32)
    rows[..., 2] += 2
    descriptors = rng.random((batch, count, 128), np.float32)
    return rows, descriptors / np.linalg.norm(descriptors, axis=2, keepdims=True)


def device_times_ms(
    case: NetworkCase, inputs: Sequence[Array], seconds: float, weights: Path
) -> list[float]:
    """Return what calls take on a CUDA device alone, ms: inputs there already, outputs left there.

    Timed by the device's events; the first calls do not count.
    """
    import torch

    from pipeline.engines.torch_engine import DTYPES

    network = _network_on(weights, case.device)
    tensors = [torch.from_numpy(array).to(case.device) for array in inputs]
    if case.kind in TAKE_PICTURES:
        tensors = [pictures.permute(0, 3, 1, 2).float() / 255 for pictures in tensors]
    dtype = DTYPES[case.precision]

    def call() -> Any:
        with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=dtype is not None):
            return network(*tensors)

    times_ms: list[float] = []
    for number in range(10_000):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        call()
        ended.record()
        ended.synchronize()
        if number >= 3:
            times_ms.append(began.elapsed_time(ended))
        if len(times_ms) >= 5 and sum(times_ms) > seconds * 1e3:
            break
    return times_ms


@cache
def _network_on(weights: Path, device: str) -> Any:
    from pipeline.engines.torch_networks import load_network

    return load_network(weights, device)
