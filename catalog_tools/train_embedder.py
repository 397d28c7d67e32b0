"""Train the embedder: a clean picture of a thing and a camera's view of it must land on the same
vector.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from pathlib import Path

import cv2
import numpy as np
import torch
from pytorch_metric_learning.losses import NTXentLoss

from catalog_tools.pack_bank import HELD_OUT_SEED_START, PackBank, render_family, to_rgb_batch
from catalog_tools.pool import Pool, open_pool
from catalog_tools.scenes import camera_effects, draw_hand, make_background, paste_pack, tilted_quad
from catalog_tools.training import TrainingRun, begin_with, check_options, made_ahead
from pipeline.engines.torch_embedder import Embedder, EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import save_weights, spec_json

PEAK_LEARNING_RATE = 1.5e-3
TEMPERATURE = 0.07
# Small pictures first: four times as many of them are seen in the same time, and what they teach
# carries over.
SIDE_PX_BY_PROGRESS = ((0.5, 64), (0.85, 96), (1.0, 128))
REPORT_EVERY_STEPS = 20
CHECK_EVERY_S = 420
LICENCE = "AGPL-3.0-or-later"


def train_embedder(
    pool: Path,
    out: Path,
    minutes: float,
    seed: int = 0,
    threads: int = 2,
    resume: bool = True,
    start: Path | None = None,
    batch: int = 96,
    check_count: int = 60,
) -> Path:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors).

    Half of each batch are synthetic packs with near-twins among them, half are pool pictures,
    sources evenly.
    """
    options = check_options(
        pool=pool,
        out=out,
        minutes=minutes,
        seed=seed,
        threads=threads,
        resume=resume,
        start=start,
        batch=batch,
        check_count=check_count,
    )
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    run = TrainingRun("embedder", options)
    network = build_embedder(EmbedderSpec()).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(_parameter_groups(network), lr=PEAK_LEARNING_RATE)
    state = run.load()
    if state is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
    elif options.start is not None:
        begin_with(network, "embedder", options.start)
    batches = EmbedderBatches(open_pool(options.pool), options.seed, run)
    try:
        _train(run, network, optimizer, batches)
    finally:
        run.close()
    run.draw_curve()
    return export_embedder(run, network)


def _parameter_groups(network: Embedder) -> list[dict[str, object]]:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]


def _train(
    run: TrainingRun, network: Embedder, optimizer: torch.optim.Optimizer, batches: EmbedderBatches
) -> None:
    contrast = NTXentLoss(temperature=TEMPERATURE)
    losses: list[float] = []
    seen, since_s, checked_s = 0, run.elapsed_s(), run.elapsed_s()
    network.train()
    for images, labels in made_ahead(batches.make, run.step):
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate(PEAK_LEARNING_RATE)
        pixels = torch.from_numpy(images).to(memory_format=torch.channels_last).float().div_(255)
        loss = contrast(network(pixels), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        run.advance()
        losses.append(loss.item())
        seen += len(images)
        if run.step % REPORT_EVERY_STEPS == 0:
            now_s = run.elapsed_s()
            rate = seen / (now_s - since_s)
            run.report(
                {
                    "loss": float(np.mean(losses)),
                    "lr": optimizer.param_groups[0]["lr"],
                    "images_per_s": rate,
                }
            )
            losses, seen, since_s = [], 0, now_s
        done = run.progress() >= 1
        if done or run.elapsed_s() - checked_s > CHECK_EVERY_S:
            run.report(check_recall(network, batches, run.options.check_count))
            checked_s = since_s = run.elapsed_s()
        if done or run.is_save_due():
            run.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()})
        if done:
            break


def export_embedder(run: TrainingRun, network: Embedder) -> Path:
    """Write the network as weights and give their path."""
    spec = network.spec
    path = run.options.out / "magpie-embedder-r18.safetensors"
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


class EmbedderBatches:
    """Makes batches of (clean, camera) pairs; held-out things are never in them."""

    def __init__(self, pool: Pool, seed: int, run: TrainingRun) -> None:
        self.pool, self._seed, self._run = pool, seed, run
        self._bank = PackBank(capacity=1500, side_px=192, twins=2)
        self.held_out = _hold_out(pool)
        self._neighbours: list[np.ndarray] = []

    def make(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Make the batch of this step: images (2·T, 3, S, S) uint8 RGB and their labels (2·T,)
        int64.
        """
        rng = np.random.default_rng([self._seed, step])
        batch = self._run.options.batch
        self._bank.refresh(rng, 1 if self._neighbours else batch)
        side = next(side for until, side in SIDE_PX_BY_PROGRESS if self._run.progress() <= until)
        things = self._draw_packs(rng, batch // 2)
        while len(things) < batch:
            things.append(self._draw_pool(rng, len(things)))
        self._neighbours = (self._neighbours + [seen for _, _, seen in things[::3]])[-200:]
        clean = [clean_view(rng, first, side) for _, first, _ in things]
        camera = [camera_view(rng, second, side, self._neighbours) for _, _, second in things]
        labels = np.array([label for label, _, _ in things], np.int64)
        return to_rgb_batch(clean + camera), np.concatenate([labels, labels])

    def _draw_packs(
        self, rng: np.random.Generator, count: int
    ) -> list[tuple[int, np.ndarray, np.ndarray]]:
        things: list[tuple[int, np.ndarray, np.ndarray]] = []
        for _, family in self._bank.draw(rng, count):
            members = rng.permutation(len(family))[
                : int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))
            ]
            things += [(len(things) + at, family[m], family[m]) for at, m in enumerate(members)]
        return things[:count]

    def _draw_pool(
        self, rng: np.random.Generator, label: int
    ) -> tuple[int, np.ndarray, np.ndarray]:
        while True:
            group = self.pool.draw_group(rng)
            if group[0] not in self.held_out:
                break
        first = self.pool.read(group[int(rng.integers(len(group)))])
        # Another side of the same product counts as the same thing where the pool has one.
        second = (
            self.pool.read(group[int(rng.integers(len(group)))]) if rng.random() < 0.5 else first
        )
        return label, first, second


def _hold_out(pool: Pool, every: int = 50) -> set[str]:
    several = [groups for groups in pool.groups.values() if len(groups) > 1]  # never a whole source
    return {group[0] for groups in several for group in groups[::every]}


def flat_bgr(picture: np.ndarray, paper: int = 255) -> np.ndarray:
    """Lay a cut-out on plain paper: (h, w, 3) uint8 BGR; a BGR picture comes back as it is."""
    if picture.shape[2] == 3:
        return picture
    share = picture[..., 3:].astype(np.float32) / 255
    return (picture[..., :3] * share + paper * (1 - share)).astype(np.uint8)


def clean_view(rng: np.random.Generator, picture: np.ndarray, side: int) -> np.ndarray:
    """Give the picture as a catalog shows it: stretched to (side, side, 3), trimmed or framed by a
    hair.
    """
    image = flat_bgr(picture, int(rng.integers(200, 256)))
    height, width = image.shape[:2]
    left, top, right, bottom = rng.uniform(0, 0.05, 4) * (width, height, width, height)
    cut = image[int(top) : height - int(bottom), int(left) : width - int(right)]
    return cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)


def camera_view(
    rng: np.random.Generator,
    picture: np.ndarray,
    side: int,
    neighbours: list[np.ndarray],
    hard: float = 1.0,
) -> np.ndarray:
    """Give the picture as a detector cuts it out of a camera's frame: (side, side, 3) uint8 BGR.

    Turned, tilted, framed loosely or tightly, over clutter, beside neighbours, with hands, in poor
    light.
    """
    height, width = picture.shape[:2]
    angle = rng.normal(0, 12 * hard) if rng.random() < 0.85 else rng.uniform(0, 360)
    tilt = float(rng.uniform(0, 0.85) * hard)
    quad = tilted_quad(rng, (0, 0), (width / height, 1.0), tilt, float(angle))
    low, high = quad.min(0), quad.max(0)
    pad = rng.uniform(-0.06, 0.2, 4) if rng.random() < 0.8 else rng.uniform(-0.15, 0.7, 4)
    extent = high - low
    low, high = low - pad[:2] * extent, high + pad[2:] * extent
    scale = side / (high - low)
    quad = ((quad - low) * scale).astype(np.float32)
    pictures = [flat_bgr(seen) for seen in neighbours[-8:]]
    view = make_background(rng, (side, side), pictures)
    if neighbours and rng.random() < 0.4:
        shift = np.array([quad[:, 0].max() - quad[:, 0].min(), 0]) * rng.choice([-1.05, 1.05])
        paste_pack(
            view, neighbours[int(rng.integers(len(neighbours)))], (quad + shift).astype(np.float32)
        )
    paste_pack(view, picture, quad, float(rng.uniform(0.75, 1.15)))
    if rng.random() < 0.35 * hard:
        draw_hand(view, rng, (*quad.min(0), *quad.max(0)), float(rng.uniform(0.1, 0.55)))
    return camera_effects(view, rng, hard * float(rng.uniform(0.3, 1.0)))


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
    side = network.spec.input_side_px
    clean = [clean_view(rng, picture, side) for picture in pictures]
    camera = [camera_view(rng, picture, side, pictures[:20]) for picture in pictures]
    network.eval()
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(to_rgb_batch(views[at : at + 20])).float() / 255)
            for views in (clean, camera)
            for at in range(0, len(views), 20)
        ]
    network.train()
    catalog, queries = torch.cat(parts).split(len(pictures))
    return float(((queries @ catalog.T).argmax(1) == torch.arange(len(pictures))).float().mean())
