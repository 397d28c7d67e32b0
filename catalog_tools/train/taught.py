"""Teach an embedder what published networks know, and what a camera makes of it.

Its vectors of a thing's clean picture and of a camera's views of it must agree with each other,
and keep the likenesses that the teachers see between clean pictures. A network that begins as one
of its teachers starts with that teacher's vectors, their mean over many pictures taken away; at the
end a share of that start's backbone is mixed in again.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
import copy
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.losses import NTXentLoss
from torch.nn import functional

from catalog_tools.synthesize.device_views import Gallery, ViewDrawer
from catalog_tools.train.embedder import export_embedder
from catalog_tools.train.loop import (
    Recipe,
    first_weights,
    mixed_precision,
    prepare,
    restore,
    train,
)
from catalog_tools.train.options import TaughtOptions
from catalog_tools.train.run import TrainingRun
from catalog_tools.train.things import Things, gather_things
from pipeline.engines.torch_embedder import Embedder, EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import parse_spec
from pipeline.errors import ConfigError, WeightsError

DIM = 256
HEAD_RATE = 5e-4
DEPTH_DECAY = 0.75  # of the rate, a block further from the end: what sees edges is good already
CONTRAST_TEMPERATURE, LIKENESS_TEMPERATURE = 0.07, 0.1
CONTRAST_WEIGHT = 0.5
# Of the backbone's weights at the end: what the start knew of things that no training shows comes
# back (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022). Chosen on dev sets.
KEPT_OF_START = 0.2
PIECE = 256


def train_taught(options: TaughtOptions) -> Path:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors)."""
    device = prepare(options)
    things = gather_things(options)
    gallery = Gallery.of(things.pictures, options.side, device)
    generator = torch.Generator(device).manual_seed(options.seed)
    drawer = ViewDrawer(gallery, options.side, generator)
    network = begin_taught(options, drawer).to(device, memory_format=torch.channels_last)
    start = copy.deepcopy(network.backbone.state_dict())
    lessons = teachers_vectors(options.teachers, gallery, device)
    run = TrainingRun("taught", options)  # its clock begins
    state = run.load()
    run.say(f"{len(things.pictures)} pictures, taught by {len(options.teachers)} networks")
    recipe = TaughtRecipe(network, drawer, things, lessons, options)
    restore(run, recipe, state)
    try:
        train(run, recipe, _steps(things, options, run.step))
    finally:
        run.close()
    if not options.fresh_rates:
        keep_of_start(recipe.averaged, start)
    run.draw_curve()
    path = export_embedder(run, recipe.averaged)
    run.split(path)
    return path


@torch.no_grad()
def keep_of_start(network: Embedder, start: Mapping[str, torch.Tensor]) -> None:
    """Mix the start's backbone into a trained network's."""
    for name, tensor in network.backbone.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(start[name].to(tensor.device), KEPT_OF_START)


def _steps(
    things: Things, options: TaughtOptions, first: int
) -> Generator[tuple[np.ndarray, ...], None, None]:
    step = first
    while True:
        yield things.draw(np.random.default_rng([options.seed, step]), options.batch)
        step += 1


def begin_taught(options: TaughtOptions, drawer: ViewDrawer) -> Embedder:
    """Give the network to train: one with a projection goes on; one without gets the directions in
    which its vectors of the gallery differ most (PCA).
    """
    begun = first_weights("embedder", options.start)
    if begun is None:
        raise WeightsError.at("--start", "must name the embedder to begin with", "none")
    metadata, state = begun
    spec = parse_spec(EmbedderSpec, metadata["spec"])
    built = EmbedderSpec(spec.backbone, spec.dim, options.side, spec.projection, fit="letterbox")
    network = build_embedder(built)
    network.load_state_dict(state)
    if spec.projection:
        return network
    projected = build_embedder(EmbedderSpec(spec.backbone, DIM, options.side, fit="letterbox"))
    projected.load_state_dict(projected.state_dict() | state)
    if len(drawer.gallery) < DIM:
        rule = f"must hold at least {DIM} pictures, packs counted in"
        raise ConfigError.at("--pool", rule, len(drawer.gallery))
    device = drawer.gallery.rgba.device
    picks = torch.randperm(len(drawer.gallery), generator=torch.Generator().manual_seed(0))[:4000]
    vectors = _vectors(network.to(device), drawer, picks.to(device))
    mean = vectors.mean(0)
    _, _, directions = torch.linalg.svd(vectors - mean, full_matrices=False)
    with torch.no_grad():
        projected.projection.weight.copy_(directions[:DIM])
        projected.whitening.running_mean.copy_(directions[:DIM] @ mean)
        projected.whitening.running_var.fill_(1 - projected.whitening.eps)
    return projected


@torch.no_grad()
def _vectors(network: Embedder, drawer: ViewDrawer, numbers: torch.Tensor) -> torch.Tensor:
    """Pooled features of clean views, (B, C) float32, as the projection gets them."""
    network.eval()
    parts = []
    for piece in numbers.split(PIECE):
        views = drawer.clean(piece, torch.zeros(len(piece), device=piece.device))
        parts.append(network.pooled(views))
    return torch.cat(parts)


@torch.inference_mode()
def teachers_vectors(paths: list[Path], gallery: Gallery, device: torch.device) -> torch.Tensor:
    """What the teachers say of each picture, centred, side by side: (N, D) float16 unit vectors."""
    columns = []
    for path in paths:
        begun = first_weights("embedder", path)
        assert begun is not None
        spec = parse_spec(EmbedderSpec, begun[0]["spec"])
        teacher = build_embedder(spec)
        teacher.load_state_dict(begun[1])
        teacher = teacher.to(device, memory_format=torch.channels_last)
        drawer = ViewDrawer(gallery, spec.input_side_px, torch.Generator(device).manual_seed(0))
        parts = []
        for piece in torch.arange(len(gallery), device=device).split(PIECE):
            views = drawer.clean(piece, torch.zeros(len(piece), device=device))
            with mixed_precision(device):
                parts.append(teacher(views).float())
        vectors = torch.cat(parts)
        columns.append(functional.normalize(vectors - vectors.mean(0), dim=1))
    return functional.normalize(torch.cat(columns, 1), dim=1).half()


class TaughtRecipe(Recipe[tuple[np.ndarray, ...]]):
    """Contrast of clean and camera views (NT-Xent), the teachers' likenesses between the batch's
    things (as in Park et al., "Relational knowledge distillation", 2019, by cross-entropy) and the
    teachers' vectors.
    """

    def __init__(
        self,
        network: Embedder,
        drawer: ViewDrawer,
        things: Things,
        lessons: torch.Tensor,
        options: TaughtOptions,
    ) -> None:
        self._head = torch.nn.Linear(network.spec.dim, lessons.shape[1], bias=False)
        self._head.to(next(network.parameters()).device)
        peak_rate = options.rate or HEAD_RATE
        groups = list(_groups_by_depth(network, 1.0 if options.fresh_rates else DEPTH_DECAY))
        groups.append({"params": list(self._head.parameters()), "scale": 4.0, "weight_decay": 0.0})
        super().__init__(network, torch.optim.AdamW(groups, lr=peak_rate), peak_rate)
        self._drawer, self._things, self._lessons, self._options = drawer, things, lessons, options
        self._contrast = NTXentLoss(temperature=CONTRAST_TEMPERATURE)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "head": self._head.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._head.load_state_dict(state["head"])

    def step(self, batch: tuple[np.ndarray, ...], progress: float) -> dict[str, float]:
        # The normalisation keeps the statistics of the pictures that the start has learnt from.
        self.network.train(self._options.fresh_rates)
        for group in self.optimizer.param_groups:
            group["lr"] *= group["scale"]
        first, second, labels, hue = (torch.from_numpy(part).to(self.device) for part in batch)
        with torch.no_grad():
            views = torch.cat(
                [
                    self._drawer.clean(first, hue),
                    self._drawer.camera(second, hue, turns=self._options.turns),
                ]
            )
        with mixed_precision(self.device):
            vectors = self.network(views.to(memory_format=torch.channels_last)).float()
        contrast = self._contrast(vectors, torch.cat([labels, labels]))
        known = hue == 0  # the teachers have seen things in their own colours alone
        clean, camera = vectors.chunk(2)
        taught = self._lessons[first[known]].float()
        likeness = _likeness_loss(clean[known], camera[known], taught)
        told = functional.normalize(self._head(torch.cat([clean[known], camera[known]])), dim=1)
        words = 1 - (told * torch.cat([taught, taught])).sum(1).mean()
        loss = CONTRAST_WEIGHT * contrast + likeness + 2 * words
        self.learn(loss, 5.0)
        return {
            "contrast": contrast.item(),
            "likeness": likeness.item(),
            "words": words.item(),
        }

    def check(self) -> dict[str, float]:
        return {
            f"recall1_{name}": self._recall(numbers)
            for name, numbers in self._things.held_out.items()
        }

    @torch.inference_mode()
    def _recall(self, numbers: np.ndarray) -> float:
        """Give the share of camera views whose nearest clean view is of their thing."""
        drawer = ViewDrawer(
            self._drawer.gallery, self._drawer.side_px, torch.Generator(self.device).manual_seed(1)
        )
        places = torch.from_numpy(numbers).to(self.device)
        clean, camera = [], []
        self.averaged.eval()
        for piece in places.split(PIECE):
            hue = torch.zeros(len(piece), device=self.device)
            for views, found in (
                (drawer.clean(piece, hue), clean),
                (drawer.camera(piece, hue), camera),
            ):
                with mixed_precision(self.device):
                    found.append(self.averaged(views).float())
        best = (torch.cat(camera) @ torch.cat(clean).T).argmax(1).cpu().numpy()
        return float(np.mean(best == np.arange(len(best))))


def _likeness_loss(clean: torch.Tensor, camera: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """How far the batch's likenesses are from the teachers', a row a distribution over things."""
    wanted = functional.softmax(taught @ taught.T / LIKENESS_TEMPERATURE, dim=1)
    seen = torch.stack([camera @ clean.T, clean @ clean.T]) / LIKENESS_TEMPERATURE
    entropy = -(wanted * wanted.clamp(min=1e-9).log()).sum(1).mean()
    return -(wanted * functional.log_softmax(seen, dim=2)).sum(2).mean() - entropy


def _groups_by_depth(network: Embedder, decay: float) -> Generator[dict[str, object], None, None]:
    """Parameters by their distance from the end, with a smaller rate the further away."""
    children = list(network.backbone.named_children())
    stages: list[list[torch.nn.Parameter]] = []
    for _, child in children:
        blocks = list(child.children()) if isinstance(child, torch.nn.Sequential) else [child]
        stages += [
            list(block.parameters()) for block in blocks if any(True for _ in block.parameters())
        ]
    stages.append(
        [*network.projection.parameters(), *network.whitening.parameters(), network.gem_power]
    )
    for depth, parameters in enumerate(reversed(stages)):
        scale = decay**depth
        heavy = [p for p in parameters if p.ndim > 1]
        light = [p for p in parameters if p.ndim <= 1]
        if heavy:
            yield {"params": heavy, "scale": scale, "weight_decay": 0.02}
        if light:
            yield {"params": light, "scale": scale, "weight_decay": 0.0}
