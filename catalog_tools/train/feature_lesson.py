"""What a detector's backbone learns from an embedder: at each place, what is there.

An embedder begun from ImageNet knows a thousand kinds of things; the detector's boxes teach it only
that something is there. Features are compared where both networks have one for 32 x 32 px.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from catalog_tools.train.loop import first_weights
from pipeline.engines.torch_embedder import Embedder, EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import parse_spec

BACKBONE_END = 10  # the last layer of YOLO26's backbone: stride 32, 256 channels in the size n
N_CHANNELS = 256


class FeatureLesson(torch.nn.Module):
    """A teacher that does not change, and the layer that turns the detector's features into its.

    teacher: weights of an embedder, a file or a name; WeightsError where they are none.
    """

    def __init__(self, teacher: Path) -> None:
        super().__init__()
        begun = first_weights("embedder", teacher)
        assert begun is not None
        embedder: Embedder = build_embedder(parse_spec(EmbedderSpec, begun[0]["spec"]))
        embedder.load_state_dict(begun[1])
        self.teacher = embedder.requires_grad_(False)
        self.pupil = torch.nn.Conv2d(N_CHANNELS, embedder.backbone.num_features, 1)
        self._heard: list[torch.Tensor] = []

    def listen(self, network: Any) -> None:
        """Keep what the detector's backbone gives, each time that it computes in training."""

        def hear(module: torch.nn.Module, _: Any, features: torch.Tensor) -> None:
            if module.training:
                self._heard[:] = [features]

        network.model[BACKBONE_END].register_forward_hook(hear)

    def unlike(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return one minus the cosine of both features, the mean over all places of the batch that
        the detector has just seen. pixels: (B, 3, H, W) float32 RGB 0..1.
        """
        with torch.no_grad():
            wanted = self.teacher.backbone((pixels - self.teacher.mean) / self.teacher.std)
        given = self.pupil(self._heard.pop())
        alike = functional.cosine_similarity(given.float(), wanted.float(), dim=1)
        return 1 - alike.mean()
