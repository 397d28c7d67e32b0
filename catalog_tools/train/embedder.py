"""Train the embedder: a clean picture of a thing and a camera's view of it must land on the same
vector. With a catalog: fit it to those items, and keep the result only if it knows them better.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pytorch_metric_learning.losses import NTXentLoss
from torch.nn.modules.batchnorm import _BatchNorm

from catalog_tools.synthesize.views import camera_view, clean_view
from catalog_tools.train.batches_ahead import made_ahead
from catalog_tools.train.embedder_batches import EmbedderBatches
from catalog_tools.train.loop import (
    LICENCE,
    Recipe,
    agree,
    first_weights,
    mixed_precision,
    prepare,
    restore,
    to_pixels,
    train,
)
from catalog_tools.train.options import EmbedderOptions
from catalog_tools.train.pack_bank import HELD_OUT_SEED_START, render_family, to_rgb_batch
from catalog_tools.train.run import TrainingRun
from pipeline.engines.torch_embedder import Embedder, EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import parse_spec, save_weights, spec_json
from pipeline.fit import FITS
from pipeline.weights import SHIPPED_NAMES

PEAK_RATE, FINE_TUNING_RATE = 1.5e-3, 2e-4
TEMPERATURE = 0.07
# Seeds of views that no training draws: its own are (seed, step).
CHECK_VIEWS, FINAL_VIEWS = 0xC4EC, 0xF17A1
FINAL_VIEWS_A_CHECK = 6  # times the views of a check
MAX_MEASURED_ITEMS = 1000
PHOTOS = 600  # whose statistics the normalisation has at the end
LEAST_GAIN = 0.01  # of recall@1: less is within what other views would give


def train_embedder(options: EmbedderOptions) -> Path | None:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors).

    With a catalog: None when the new weights find its items no better than those begun with; then
    a sentence says so and nothing is left in `out`.
    """
    if options.catalog and options.start is None:
        options = options.model_copy(update={"start": Path(SHIPPED_NAMES["embedder"])})
    device = prepare(options)
    network = begin_embedder(options).to(device, memory_format=torch.channels_last)
    begun_with = copy.deepcopy(network)
    run = TrainingRun("embedder", options)
    state = run.load()
    batches = EmbedderBatches(options, network.spec.input_side_px, run.clock, network.spec.fit)
    recipe = EmbedderRecipe(network, batches, options)
    restore(run, recipe, state)
    try:
        train(run, recipe, made_ahead(batches.make, run.step, options.workers))
    finally:
        run.close()
    photos = [] if batches.items else batches.photos(PHOTOS)
    if photos:
        settle_normalisation(recipe.averaged, photos)
    if batches.items and not is_better(run, begun_with, recipe.averaged, batches):
        run.forget()
        return None
    run.draw_curve()
    path = export_embedder(run, recipe.averaged)
    run.split(path)
    return path


def begin_embedder(options: EmbedderOptions) -> Embedder:
    """Give the network to train: fresh, or with the weights to begin with."""
    begun = first_weights("embedder", options.start)
    if begun is None:
        fresh = EmbedderSpec(backbone=options.backbone or "resnet18")
        return build_embedder(replace(fresh, input_side_px=options.side or fresh.input_side_px))
    metadata, state = begun
    spec = parse_spec(EmbedderSpec, metadata["spec"])
    agree("--backbone", options.backbone, spec.backbone)
    side_px = options.side or spec.input_side_px
    if spec.projection:
        network = build_embedder(replace(spec, input_side_px=side_px))
        network.load_state_dict(state)
        return network
    # An upstream backbone: the projection, which it lacks, begins fresh.
    projected = EmbedderSpec(backbone=spec.backbone, input_side_px=side_px, fit=spec.fit)
    network = build_embedder(projected)
    added = ("projection.", "whitening.")
    fresh = {k: t for k, t in network.state_dict().items() if k.startswith(added)}
    network.load_state_dict(fresh | state)
    return network


class EmbedderRecipe(Recipe[tuple[np.ndarray, np.ndarray]]):
    """In-batch contrast (NT-Xent) of clean and camera views."""

    def __init__(
        self, network: Embedder, batches: EmbedderBatches, options: EmbedderOptions
    ) -> None:
        decayed = [p for p in network.parameters() if p.ndim > 1]
        plain = [p for p in network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        peak_rate = options.rate or (FINE_TUNING_RATE if batches.items else PEAK_RATE)
        super().__init__(network, torch.optim.AdamW(groups, lr=peak_rate), peak_rate)
        self._batches, self._options = batches, options
        self._contrast = NTXentLoss(temperature=TEMPERATURE)

    def step(self, batch: tuple[np.ndarray, np.ndarray], progress: float) -> dict[str, float]:
        # Half of a fine-tuning's batch are a few items over and over: their statistics are not
        # those of the pictures to come, so the normalisation keeps what it has learnt.
        self.network.train(not self._batches.items)
        images, labels = batch
        with mixed_precision(self.device):
            vectors = self.network(to_pixels(images, self.device))
        loss = self._contrast(vectors.float(), torch.from_numpy(labels).to(self.device))
        self.learn(loss, 5.0)
        return {"loss": loss.item()}

    def check(self) -> dict[str, float]:
        if not self._batches.items:
            return check_recall(self.averaged, self._batches, self._options.check_count)
        side, count = self.network.spec.input_side_px, 2 * self._options.check_count
        views = ItemViews.draw(self._batches, side, self.network.spec.fit, CHECK_VIEWS, count)
        return {"recall1_catalog": views.recall(self.averaged)}


def is_better(run: TrainingRun, old: Embedder, new: Embedder, batches: EmbedderBatches) -> bool:
    """Compare both on unseen camera-like views of the catalog's items, and say how it came out."""
    count = FINAL_VIEWS_A_CHECK * run.options.check_count
    spec = new.spec
    views = ItemViews.draw(batches, spec.input_side_px, spec.fit, FINAL_VIEWS, count)
    before, after = views.recall(old), views.recall(new)
    found = f"of {count} unseen views the weights begun with find {before:.1%}"
    if after < before + LEAST_GAIN:
        run.say(f"{found}, the new ones {after:.1%}: no gain, so nothing was written")
        return False
    run.say(f"{found}, the new ones {after:.1%}")
    return True


@torch.no_grad()
def settle_normalisation(network: Embedder, photos: list[np.ndarray]) -> None:
    """Give the normalisation layers the statistics of photographs in place of training's views.

    photos: each (h, w, 3) uint8 BGR. Those of made-up views gave all shop photos nearly the same
    vector. Method: adaptive batch normalisation (Li et al., 2016).
    """
    side, device = network.spec.input_side_px, next(network.parameters()).device
    inputs = to_rgb_batch([FITS[network.spec.fit](photo, side) for photo in photos])
    layers = [m for m in network.eval().modules() if isinstance(m, _BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over all batches
        layer.train()
    for piece in np.array_split(inputs, -(-len(inputs) // 64)):
        network(to_pixels(piece, device))
    network.eval()


def export_embedder(run: TrainingRun, network: Embedder) -> Path:
    """Write the network as weights and give their path."""
    spec = network.spec
    short = spec.backbone.replace("resnet", "r").removeprefix("tf_efficientnet_")
    path = run.options.out / f"magpie-embedder-{short}.safetensors"
    side = spec.input_side_px
    metadata = run.metadata(
        kind="embedder",
        architecture=spec.backbone,
        spec=spec_json(spec),
        input_size_wh=f"{side}x{side}",
        licence=LICENCE,
    )
    save_weights(path, network.state_dict(), metadata)
    return path


def check_recall(network: Embedder, batches: EmbedderBatches, count: int) -> dict[str, float]:
    """Give recall@1 of camera views against clean views, for unseen packs (twins among them) and
    pool pictures.
    """
    packs = [p for seed in range(count) for p in render_family(HELD_OUT_SEED_START + seed, 1, 192)]
    names = sorted(batches.held_out)
    picks = np.random.default_rng(1).permutation(len(names))[: count * 2]
    things = [batches.pool.read(names[int(pick)]) for pick in picks]
    figures = {"recall1_packs": _recall(network, packs)}
    return figures | ({"recall1_pool": _recall(network, things)} if things else {})


def _recall(network: Embedder, pictures: list[np.ndarray]) -> float:
    rng = np.random.default_rng(0)
    side, fit = network.spec.input_side_px, network.spec.fit
    clean = [clean_view(rng, picture, side, fit) for picture in pictures]
    camera = [camera_view(rng, picture, side, pictures[:20], fit=fit) for picture in pictures]
    best = (embed(network, camera) @ embed(network, clean).T).argmax(1)
    return float(np.mean(best == np.arange(len(pictures))))


@dataclass(frozen=True, slots=True)
class ItemViews:
    """A catalog's pictures and unseen camera-like views of its items, all (side, side, 3) uint8
    BGR, and the item that each of them shows.
    """

    pictures: list[np.ndarray]
    owners: np.ndarray
    views: list[np.ndarray]
    shown: np.ndarray

    @classmethod
    def draw(
        cls, batches: EmbedderBatches, side: int, fit: str, views_seed: int, count: int
    ) -> ItemViews:
        """Draw them; the same seed draws the same ones."""
        rng = np.random.default_rng([views_seed, batches.seed])
        chosen = rng.permutation(len(batches.items))[:MAX_MEASURED_ITEMS]
        items = [batches.items[int(number)] for number in chosen]
        owners = np.repeat(np.arange(len(items)), [len(pictures) for pictures in items])
        pictures = [picture for pictures in items for picture in pictures]
        shown = rng.permutation(np.arange(count) % len(items))
        views = []
        for item in shown:
            picture = items[item][int(rng.integers(len(items[item])))]
            near = [pictures[int(pick)] for pick in rng.integers(len(pictures), size=8)]
            views.append(camera_view(rng, picture, side, near, turns=batches.turns, fit=fit))
        whole = [FITS[fit](picture, side) for picture in pictures]
        return cls(whole, owners, views, shown)

    def recall(self, network: Embedder) -> float:
        """Give the share of the views whose nearest catalog picture is of their item."""
        best = (embed(network, self.views) @ embed(network, self.pictures).T).argmax(1)
        return float(np.mean(self.owners[best] == self.shown))


@torch.inference_mode()
def embed(network: Embedder, images_bgr: list[np.ndarray]) -> np.ndarray:
    """Give (N, dim) float32 unit vectors of (side, side, 3) uint8 BGR pictures."""
    network.eval()
    device = next(network.parameters()).device
    parts = [
        network(to_pixels(to_rgb_batch(images_bgr[at : at + 32]), device)).float().cpu().numpy()
        for at in range(0, len(images_bgr), 32)
    ]
    return np.concatenate(parts)
