"""The detector: YOLO26 by ultralytics with its end-to-end head (no suppression of overlapping boxes
after it).
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before ultralytics)

# isort: split
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import PIL.Image
import torch
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from ultralytics.utils import patches

# ultralytics replaces Pillow's open by one that installs a package when a file is no picture.
PIL.Image.open = patches._image_open


# On a CPU with bf16 the exponentials of SiLU cost as much as all convolutions together; the
# hard one (Howard et al., MobileNetV3, 2019) has nearly its shape and costs nothing there.
ACTIVATIONS: Mapping[str, Callable[[], torch.nn.Module]] = {
    "silu": torch.nn.SiLU,
    "hardswish": torch.nn.Hardswish,
}


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """The numbers that the architecture is built from.

    activation: after each convolution, one of ACTIVATIONS.
    """

    architecture: str = "yolo26n.yaml"
    class_names: tuple[str, ...] = ("item",)
    activation: str = field(default="silu", metadata={"later": True})


class Detector(torch.nn.Module):
    """Pictures to at most 300 boxes each."""

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.spec = spec
        # The number of classes is set beforehand: ultralytics would print that it overrides it.
        architecture = yaml_model_load(spec.architecture) | {"nc": len(spec.class_names)}
        self.network = DetectionModel(architecture, verbose=False)
        _set_activation(self.network, ACTIVATIONS[spec.activation])
        head = self.network.model[-1]
        head.end2end = True
        head.max_det = 300
        head.export = True  # boxes alone, not the raw maps beside them

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the boxes of each picture, best first.

        images: (B, 3, H, W) float32 RGB 0..1, H and W multiples of 32.
        Returns (B, 300, 6) float32: x0, y0, x1, y1 in px of the input, score 0..1, class number.
        """
        boxes: torch.Tensor = self.network(images)
        return boxes


def _set_activation(network: torch.nn.Module, activation: Callable[[], torch.nn.Module]) -> None:
    """Put another one in place of SiLU; ultralytics' own switch is one for the whole process."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.SiLU):
                setattr(module, name, activation())


def build_detector(spec: DetectorSpec) -> Detector:
    """Give the detector of this spec with fresh weights, in evaluation mode."""
    return Detector(spec).eval()
