"""Train the detector on composed scenes and the pool's real boxes, from nothing.

A plain loop around ultralytics' own loss for the end-to-end head: its trainer wants files on disk
and, on a CPU, checks and defaults that cost more than they give.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch and ultralytics)

# isort: split
import copy
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from ultralytics.utils.loss import E2ELoss

from catalog_tools.compose import Scene, compose_scene
from catalog_tools.pack_bank import HELD_OUT_SEED_START, PackBank, render_family, to_rgb_batch
from catalog_tools.pool import LabelledPicture, Pool, cut_out, decode, open_pool
from catalog_tools.scenes import camera_effects
from catalog_tools.training import TrainingRun, begin_with, check_options, made_ahead
from pipeline.engines.torch_detector import Detector, DetectorSpec, build_detector
from pipeline.engines.torch_networks import save_weights, spec_json

PEAK_LEARNING_RATE = 2e-3
# Width and height of the pictures of a batch; small ones first, since most is learnt from them at a
# third of the cost.
SIZES_WH_BY_PROGRESS = (
    (0.4, ((256, 192), (224, 224))),
    (0.85, ((320, 192), (256, 256), (352, 224))),
    (1.0, ((416, 256), (320, 320), (480, 288))),
)
REAL_SHARE = 0.12
REPORT_EVERY_STEPS = 20
CHECK_EVERY_S = 420
CHECK_SIZE_WH = (640, 384)
BACKGROUND_SOURCES = ("boofcv", "foodish", "clothing_cc0", "grocery_fruitveg")
CUT_OUT_SOURCES = ("fluent3d", "trashnet", "magento")
LICENCE = "AGPL-3.0-or-later"


def train_detector(
    pool: Path,
    out: Path,
    minutes: float,
    seed: int = 0,
    threads: int = 2,
    resume: bool = True,
    start: Path | None = None,
    batch: int = 16,
    check_count: int = 24,
) -> Path:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors)."""
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
    run = TrainingRun("detector", options)
    detector = build_detector(DetectorSpec()).to(memory_format=torch.channels_last)
    if options.start is not None:
        begin_with(detector, "detector", options.start)
    averaged = copy.deepcopy(detector)
    optimizer = torch.optim.AdamW(_parameter_groups(detector), lr=PEAK_LEARNING_RATE)
    state = run.load()
    if state is not None:
        detector.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
    batches = DetectorBatches(open_pool(options.pool), options.seed, run)
    try:
        _train(run, detector, averaged, optimizer, batches)
    finally:
        run.close()
    run.draw_curve()
    return export_detector(run, averaged)


def _parameter_groups(detector: Detector) -> list[dict[str, object]]:
    decayed = [p for p in detector.parameters() if p.ndim > 1]
    plain = [p for p in detector.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]


def _train(
    run: TrainingRun, detector: Detector, averaged: Detector, optimizer: torch.optim.Optimizer,
    batches: DetectorBatches,
) -> None:  # fmt: skip
    network = detector.network.train()
    # The gains of ultralytics' own recipe for YOLO26; `epochs` only drives a schedule that is set
    # by time below.
    network.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=100)
    criterion = E2ELoss(network)
    losses: list[np.ndarray] = []
    seen, since_s, checked_s = 0, run.elapsed_s(), run.elapsed_s()
    for images, targets in made_ahead(batches.make, run.step):
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate(PEAK_LEARNING_RATE)
        # The many-boxes head teaches the backbone early; the end-to-end head takes over.
        criterion.o2m = 0.8 - 0.7 * run.progress()
        criterion.o2o = 1.0 - criterion.o2m
        pixels = torch.from_numpy(images).to(memory_format=torch.channels_last).float().div_(255)
        loss, parts = criterion(network(pixels), _as_ultralytics(pixels, targets))
        optimizer.zero_grad()
        (loss.sum() / len(images)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        run.advance()
        _average(averaged, detector, run.step)
        losses.append(np.array([float(value) for value in parts.values()]))
        seen += len(images)
        if run.step % REPORT_EVERY_STEPS == 0:
            now_s = run.elapsed_s()
            box, score = np.mean(losses, 0)[:2]
            rate = seen / (now_s - since_s)
            run.report(
                {
                    "box_loss": box,
                    "score_loss": score,
                    "lr": optimizer.param_groups[0]["lr"],
                    "images_per_s": rate,
                }
            )
            losses, seen, since_s = [], 0, now_s
        done = run.progress() >= 1
        if done or run.elapsed_s() - checked_s > CHECK_EVERY_S:
            run.report(check_boxes(averaged, batches, run.options.check_count))
            checked_s = since_s = run.elapsed_s()
        if done or run.is_save_due():
            state = {"network": detector.state_dict(), "averaged": averaged.state_dict()}
            run.save({**state, "optimizer": optimizer.state_dict()})
        if done:
            break


def _as_ultralytics(pixels: torch.Tensor, targets: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """Give the batch as ultralytics' loss reads it: centre and size in shares of the picture."""
    height, width = pixels.shape[2:]
    xyxy = np.concatenate([*targets, np.zeros((0, 4), np.float32)]) / np.array(
        [width, height] * 2, np.float32
    )
    cxcywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)
    index = np.repeat(np.arange(len(targets)), [len(boxes) for boxes in targets])
    return {
        "img": pixels,
        "batch_idx": torch.from_numpy(index).float(),
        "cls": torch.zeros(len(index), 1),
        "bboxes": torch.from_numpy(cxcywh.astype(np.float32)),
    }


@torch.no_grad()
def _average(averaged: Detector, detector: Detector, step: int) -> None:
    """Move the averaged weights towards the trained ones: slower and slower, up to 1/500 a step."""
    decay = 0.998 * (1 - np.exp(-step / 300))
    for mean, value in zip(
        averaged.state_dict().values(), detector.state_dict().values(), strict=True
    ):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def export_detector(run: TrainingRun, detector: Detector) -> Path:
    """Write the network as weights and give their path."""
    path = run.options.out / "magpie-detector-n.safetensors"
    metadata = run.metadata(
        kind="detector", architecture=detector.spec.architecture, spec=spec_json(detector.spec),
        input_size_wh="640x384", licence=LICENCE,
    )  # fmt: skip
    save_weights(path, detector.state_dict(), metadata)
    return path


class DetectorBatches:
    """Makes batches of scenes with their boxes."""

    def __init__(self, pool: Pool, seed: int, run: TrainingRun) -> None:
        self._pool, self._seed, self._run = pool, seed, run
        self._bank = PackBank(capacity=1200, side_px=224, twins=1)
        self._is_filled = False
        self.real_held_out = pool.labelled.get("val", [])

    def make(self, step: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Make the batch of this step: images (16, 3, H, W) uint8 RGB, boxes (N, 4) xyxy px of
        each.
        """
        rng = np.random.default_rng([self._seed, step])
        batch = self._run.options.batch
        self._bank.refresh(rng, 1 if self._is_filled else batch * 2)
        self._is_filled = True
        sizes = next(
            sizes for until, sizes in SIZES_WH_BY_PROGRESS if self._run.progress() <= until
        )
        size_wh = sizes[int(rng.integers(len(sizes)))]
        real = self._pool.labelled.get("train", [])
        images, targets = [], []
        for _ in range(batch):
            if real and rng.random() < REAL_SHARE:
                image, xyxy = real_scene(rng, real[int(rng.integers(len(real)))], size_wh)
            else:
                scene = self._compose(rng, size_wh)
                image, xyxy = scene.image_bgr, scene.xyxy
            images.append(image)
            targets.append(xyxy)
        return to_rgb_batch(images), targets

    def _compose(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Scene:
        count = 0 if rng.random() < 0.07 else int(rng.integers(1, 9))
        pictures: list[np.ndarray] = []
        for _, family in self._bank.draw(rng, count):
            picture = self._draw_cut_out(rng) if rng.random() < 0.3 else None
            pictures.append(family[int(rng.integers(len(family)))] if picture is None else picture)
        backgrounds = [self._draw_background(rng)] if rng.random() < 0.75 else []
        largest = min(size_wh) * (1.2 if count < 4 else 0.7)
        return compose_scene(
            rng, size_wh, pictures, backgrounds, (22, largest), float(rng.uniform(0.2, 1))
        )

    def _draw_cut_out(self, rng: np.random.Generator) -> np.ndarray | None:
        picture = self._draw_picture(rng, CUT_OUT_SOURCES)
        return picture if picture is None or picture.shape[2] == 4 else cut_out(picture)

    def _draw_background(self, rng: np.random.Generator) -> np.ndarray:
        # Photographs of places are worth more here than close-ups, so they come half of the time.
        sources = BACKGROUND_SOURCES[:1] if rng.random() < 0.6 else BACKGROUND_SOURCES[1:]
        picture = self._draw_picture(rng, sources)
        return np.zeros((8, 8, 3), np.uint8) if picture is None else picture[..., :3]

    def _draw_picture(
        self, rng: np.random.Generator, sources: tuple[str, ...]
    ) -> np.ndarray | None:
        known = [source for source in sources if source in self._pool.groups]
        if not known:
            return None
        groups = self._pool.groups[known[int(rng.integers(len(known)))]]
        return self._pool.read(groups[int(rng.integers(len(groups)))][0])


def real_scene(
    rng: np.random.Generator, labelled: LabelledPicture, size_wh: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a labelled photo to the size: (H, W, 3) uint8 BGR and its boxes (N, 4) xyxy px; mirrored
    half of the time.
    """
    image = decode(labelled.encoded)
    if image is None:
        raise ValueError("a labelled picture cannot be decoded")
    height, width = image.shape[:2]
    scale = max(size_wh[0] / width, size_wh[1] / height) * rng.uniform(0.7, 1.3)
    shift = rng.uniform(0, 1, 2) * (np.array(size_wh) - np.array([width, height]) * scale)
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out = cv2.warpAffine(image[..., :3], matrix, size_wh, flags=flags, borderValue=(114, 114, 114))
    xyxy = labelled.xyxy_share * np.array([width, height] * 2) * scale + np.tile(shift, 2)
    whole = np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)
    xyxy = np.clip(xyxy, 0, np.array([*size_wh, *size_wh]))
    kept = np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1) > np.maximum(whole * 0.25, 64)
    xyxy = xyxy[kept].astype(np.float32)
    if rng.random() < 0.5:
        out = np.ascontiguousarray(out[:, ::-1])
        xyxy = np.stack(
            [size_wh[0] - xyxy[:, 2], xyxy[:, 1], size_wh[0] - xyxy[:, 0], xyxy[:, 3]], 1
        )
    return camera_effects(out, rng, float(rng.uniform(0, 0.5))), xyxy


def check_boxes(detector: Detector, batches: DetectorBatches, count: int) -> dict[str, float]:
    """Give recall and precision at IoU 0.5 and score 0.25: scenes of unseen packs at 640x384, and
    real photos.
    """
    rng = np.random.default_rng(7)
    packs = [render_family(HELD_OUT_SEED_START + seed, 0, 320)[0] for seed in range(8 + count)]
    pictures, truths = [], []
    for _ in range(count):
        chosen = [
            packs[int(pick)]
            for pick in rng.choice(len(packs), int(rng.integers(3, 9)), replace=False)
        ]
        scene = compose_scene(rng, CHECK_SIZE_WH, chosen, (), (40, 200), 0.6)
        pictures.append(scene.image_bgr)
        truths.append(scene.xyxy)
    recall, precision = measure_boxes(detector, pictures, truths)
    figures = {"recall_packs": recall, "precision_packs": precision}
    if batches.real_held_out:
        real = [
            real_scene(rng, labelled, (416, 416)) for labelled in batches.real_held_out[: count * 2]
        ]
        recall, precision = measure_boxes(
            detector, [image for image, _ in real], [xyxy for _, xyxy in real]
        )
        figures |= {"recall_real": recall, "precision_real": precision}
    return figures


def measure_boxes(
    detector: Detector,
    pictures: list[np.ndarray],
    truths: list[np.ndarray],
    min_score: float = 0.25,
) -> tuple[float, float]:
    """Give (recall, precision) at IoU 0.5 over pictures, by the end-to-end head alone."""
    found = hits = wanted = 0
    detector.eval()
    for picture, truth in zip(pictures, truths, strict=True):
        with torch.inference_mode():
            rows = detector(torch.from_numpy(to_rgb_batch([picture])).float() / 255)[0].numpy()
        boxes = rows[rows[:, 4] >= min_score, :4]
        found, wanted = found + len(boxes), wanted + len(truth)
        left = list(range(len(truth)))
        for box in boxes:  # best first
            overlaps = [_iou(box, truth[at]) for at in left]
            if overlaps and max(overlaps) >= 0.5:
                hits += 1
                left.pop(int(np.argmax(overlaps)))
    return hits / max(wanted, 1), hits / max(found, 1)


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    both = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]))
    return shared / max(both - shared, 1e-9)
