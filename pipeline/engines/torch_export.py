"""Converts a weights file for OpenVINO: `python -m pipeline.engines.torch_export WEIGHTS OUT_DIR`.

A child process of its own, because it needs torch and the process that matches must not have it.
Writes OUT_DIR/network.xml and .bin with free batch, and for the detector free height and width.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openvino
import torch
from openvino.frontend.pytorch import ConversionExtension

import pipeline.offline  # noqa: F401  (before torch and ultralytics)
from pipeline.engines.torch_networks import load_network
from pipeline.errors import WeightsError
from pipeline.weights import Kind, read_kind

TRACE_BATCH = 2  # not 1: a batch of one would be traced as a constant
N_KEYPOINTS = 256

# Example arrays, their shapes with -1 where they are free, and the outputs' names.
Inputs = tuple[tuple[torch.Tensor, ...], list[list[int]], tuple[str, ...]]


def export_openvino(weights: Path, out_dir: Path) -> Path:
    """Write the network of a weights file as OpenVINO IR (fp16 constants); return the .xml."""
    kind = read_kind(weights)
    network = load_network(weights, "cpu").eval()
    for module in network.modules():
        if hasattr(module, "dynamic"):  # ultralytics' head: anchors follow the input's size
            setattr(module, "dynamic", True)  # noqa: B010  (not a declared field)
    examples, shapes, output_names = INPUTS[kind](network)
    # kornia guards masked attention against NaN; our masks are finite, and OpenVINO lacks the step
    without_nan_guard = ConversionExtension("aten::nan_to_num", lambda node: [node.get_input(0)])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(
            network, example_input=examples, input=shapes, extension=[without_nan_guard]
        )
    for output, name in zip(model.outputs, output_names, strict=True):
        output.get_tensor().set_names({name})
    out_dir.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, out_dir / "network.xml", compress_to_fp16=True)
    return out_dir / "network.xml"


def _detector_inputs(network: Any) -> Inputs:
    return (_random(TRACE_BATCH, 3, 384, 640),), [[-1, 3, -1, -1]], ("boxes",)


def _embedder_inputs(network: Any) -> Inputs:
    side = network.spec.input_side_px
    return (_random(TRACE_BATCH, 3, side, side),), [[-1, 3, side, side]], ("embeddings",)


def _keypoints_inputs(network: Any) -> Inputs:
    arrays = (_random(TRACE_BATCH, 3, 256, 320), torch.tensor([[320.0, 256.0], [300.0, 200.0]]))
    return arrays, [[-1, 3, -1, -1], [-1, 2]], ("positions", "scores", "descriptors")


def _matcher_inputs(network: Any) -> Inputs:
    dim = network.spec.input_dim
    keypoints = _random(TRACE_BATCH, N_KEYPOINTS, 4) * 100 + 1
    descriptors = torch.nn.functional.normalize(_random(TRACE_BATCH, N_KEYPOINTS, dim), dim=-1)
    sizes = torch.full((TRACE_BATCH, 2), 200.0)
    return (
        (keypoints, keypoints, descriptors, descriptors, sizes, sizes),
        [[-1, -1, 4], [-1, -1, 4], [-1, -1, dim], [-1, -1, dim], [-1, 2], [-1, 2]],
        ("assignment",),
    )


def _comparer_inputs(network: Any) -> Inputs:
    side = network.spec.side_px
    pictures = _random(TRACE_BATCH, 3, side, side)
    inside = torch.ones(TRACE_BATCH, 1, side, side)
    shapes = [[-1, 3, side, side], [-1, 3, side, side], [-1, 1, side, side]]
    arrays = (pictures, pictures, inside, pictures, inside)
    return arrays, [*shapes, *shapes[1:]], ("log_odds",)


INPUTS: dict[Kind, Callable[[Any], Inputs]] = {
    "detector": _detector_inputs,
    "embedder": _embedder_inputs,
    "keypoints": _keypoints_inputs,
    "matcher": _matcher_inputs,
    "comparer": _comparer_inputs,
}


def _random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone: nobody waits for the result."""
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: python -m pipeline.engines.torch_export WEIGHTS OUT_DIR", file=sys.stderr)
        return 2
    _end_with_parent()
    try:
        export_openvino(Path(arguments[0]), Path(arguments[1]))
    except WeightsError as error:
        print(error, file=sys.stderr)
        return WeightsError.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
