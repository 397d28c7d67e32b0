"""The embedder: a timm ResNet, generalised-mean pooling and a projection to unit vectors."""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before timm)

# isort: split
from dataclasses import dataclass, field

import timm
import torch
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """The numbers that the architecture is built from.

    projection: whether pooled features are projected to `dim`; without, `dim` is the backbone's.
    fit: how a picture becomes a square: stretched, or whole in the middle of grey (letterbox).
    """

    backbone: str = "resnet18"
    dim: int = 256
    input_side_px: int = 128
    projection: bool = field(default=True, metadata={"later": True})
    fit: str = field(default="stretch", metadata={"later": True})


class Embedder(torch.nn.Module):
    """Pictures to unit vectors.

    GeM pooling: Radenović, Tolias, Chum, "Fine-tuning CNN image retrieval with no human annotation"
    (2018).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: EmbedderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = timm.create_model(
            spec.backbone, pretrained=False, num_classes=0, global_pool=""
        )
        self.gem_power = torch.nn.Parameter(torch.tensor(3.0))
        self.projection: torch.nn.Module = torch.nn.Identity()
        self.whitening: torch.nn.Module = torch.nn.Identity()
        if spec.projection:
            self.projection = torch.nn.Linear(self.backbone.num_features, spec.dim, bias=False)
            self.whitening = torch.nn.BatchNorm1d(spec.dim)
        elif spec.dim != self.backbone.num_features:
            raise ValueError(
                f"dim must be {self.backbone.num_features} without projection, got {spec.dim}"
            )
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give one unit vector a picture.

        images: (B, 3, H, W) float32 RGB 0..1; returns (B, dim) float32.
        """
        projected = self.whitening(self.projection(self.pooled(images)))
        # In float32 also where half floats compute the rest: a vector's length must be 1.
        return functional.normalize(projected.float(), dim=1)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Give the features of each picture that the projection gets: (B, C) float32."""
        features = self.backbone((images - self.mean) / self.std)
        power = self.gem_power.clamp(1.0, 8.0)
        pooled: torch.Tensor = features.clamp(min=1e-6).pow(power).mean((2, 3)).pow(1.0 / power)
        return pooled


def build_embedder(spec: EmbedderSpec) -> Embedder:
    """Give the embedder of this spec with fresh weights, in evaluation mode."""
    return Embedder(spec).eval()
