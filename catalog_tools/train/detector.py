"""Train the detector on composed scenes and real boxes, from nothing or from given weights.

A plain loop around ultralytics' own loss for the end-to-end head: its trainer wants files on disk
and, on a CPU, checks and defaults that cost more than they give.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch and ultralytics)

# isort: split
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from ultralytics.utils.loss import E2ELoss

from catalog_tools.synthesize.compose import compose_scene
from catalog_tools.train.batches_ahead import made_ahead
from catalog_tools.train.detector_batches import DetectorBatches, real_scene
from catalog_tools.train.feature_lesson import FeatureLesson
from catalog_tools.train.loop import (
    LICENCE,
    Recipe,
    first_weights,
    mixed_precision,
    prepare,
    restore,
    to_pixels,
    train,
)
from catalog_tools.train.options import DetectorOptions
from catalog_tools.train.pack_bank import HELD_OUT_SEED_START, render_family, to_rgb_batch
from catalog_tools.train.run import TrainingRun
from pipeline.engines.torch_detector import Detector, DetectorSpec, build_detector
from pipeline.engines.torch_networks import parse_spec, save_weights, spec_json
from pipeline.errors import WeightsError
from pipeline.weights import SHIPPED_NAMES

NEW_ACTIVATION = "hardswish"  # costs a CPU nothing; SiLU costs as much as the convolutions
PEAK_RATE, FINE_TUNING_RATE = 2e-3, 5e-4
FEATURE_GAIN = 4.0  # the boxes' loss is 3 to 8, one minus the cosine 0.2 to 1
CHECK_SIZE_WH = (640, 384)
CHECK_SIDE_PX = 416


def train_detector(options: DetectorOptions) -> Path:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors).

    With a catalog or boxes it begins with the shipped weights, unless others are named.
    """
    is_fine_tuning = options.catalog is not None or options.boxes is not None
    if is_fine_tuning and options.start is None:
        options = options.model_copy(update={"start": Path(SHIPPED_NAMES["detector"])})
    device = prepare(options)
    run = TrainingRun("detector", options)
    state = run.load()
    batches = DetectorBatches(options, run.clock)
    detector = begin_detector(options.start, batches.names, options.activation)
    recipe = DetectorRecipe(
        detector.to(device, memory_format=torch.channels_last),
        batches,
        options.rate or (FINE_TUNING_RATE if batches.items else PEAK_RATE),
        options.check_count,
        None if options.teacher is None else FeatureLesson(options.teacher).to(device),
    )
    restore(run, recipe, state)
    try:
        train(run, recipe, made_ahead(batches.make, run.step, options.workers))
    finally:
        run.close()
    run.draw_curve()
    path = export_detector(run, recipe.averaged)
    run.split(path)
    return path


def begin_detector(
    start: Path | None, names: tuple[str, ...], activation: str | None = None
) -> Detector:
    """Give the network to train: fresh, or with the weights to begin with.

    activation: none: hardswish, or that of the weights; another is learnt by going on.
    For another number of classes, each new class begins as the mean of the old ones, where the
    layers' shapes allow it, else fresh.
    """
    begun = first_weights("detector", start)
    if begun is None:
        return build_detector(
            DetectorSpec(class_names=names, activation=activation or NEW_ACTIVATION)
        )
    metadata, state = begun
    spec = parse_spec(DetectorSpec, metadata["spec"])
    detector = build_detector(
        replace(spec, class_names=names, activation=activation or spec.activation)
    )
    own = detector.state_dict()
    fitting = {name: t for name, t in state.items() if name in own and own[name].shape == t.shape}
    n_old, n_new = len(spec.class_names), len(names)
    for name in own.keys() - fitting.keys():
        old = state.get(name)
        shapes = None if old is None else (tuple(old.shape), tuple(own[name].shape))
        if shapes == ((n_old, *own[name].shape[1:]), (n_new, *own[name].shape[1:])):
            fitting[name] = old.mean(0, keepdim=True).expand_as(own[name]).clone()
    if n_old == n_new and len(fitting) < len(own):
        raise WeightsError.at(f"--start '{start}'", "tensors and header must fit each other")
    detector.load_state_dict(own | fitting)
    return detector


class DetectorRecipe(Recipe[tuple[np.ndarray, list[np.ndarray]]]):
    """ultralytics' loss for both heads, and a teacher's of features, if there is one."""

    def __init__(
        self,
        detector: Detector,
        batches: DetectorBatches,
        peak_rate: float,
        check_count: int,
        lesson: FeatureLesson | None = None,
    ) -> None:
        learnt = [*detector.parameters(), *(lesson.pupil.parameters() if lesson else ())]
        decayed = [p for p in learnt if p.ndim > 1]
        plain = [p for p in learnt if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
        super().__init__(detector, torch.optim.AdamW(groups, lr=peak_rate), peak_rate)
        self._batches, self._check_count, self._lesson = batches, check_count, lesson
        network = detector.network
        if lesson is not None:
            lesson.listen(network)
        # The gains of ultralytics' own recipe for YOLO26; `epochs` only drives a schedule that is
        # set by time below.
        network.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=100)
        self._criterion = E2ELoss(network)

    def step(self, batch: tuple[np.ndarray, list[np.ndarray]], progress: float) -> dict[str, float]:
        images, boxes = batch
        network = self.network.network.train()
        # The many-boxes head teaches the backbone early; the end-to-end head takes over.
        self._criterion.o2m = 0.8 - 0.7 * progress
        self._criterion.o2o = 1.0 - self._criterion.o2m
        pixels = to_pixels(images, self.device)
        with mixed_precision(self.device):
            loss, parts = self._criterion(network(pixels), _as_ultralytics(pixels, boxes))
            box, score = [float(value) for value in parts.values()][:2]
            losses = {"box_loss": box, "score_loss": score}
            wrong = loss.sum() / len(images)
            if self._lesson is not None:
                unlike = self._lesson.unlike(pixels)
                losses["feature_loss"] = float(unlike.detach())
                wrong = wrong + FEATURE_GAIN * unlike
        self.learn(wrong, 10.0)
        return losses

    def check(self) -> dict[str, float]:
        return check_boxes(self.averaged, self._batches, self._check_count)


def _as_ultralytics(pixels: torch.Tensor, boxes: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """Give the batch as ultralytics' loss reads it: centre and size in shares of the picture."""
    height, width = pixels.shape[2:]
    rows = np.concatenate([*boxes, np.zeros((0, 5), np.float32)])
    xyxy = rows[:, :4] / np.array([width, height] * 2, np.float32)
    cxcywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)
    index = np.repeat(np.arange(len(boxes)), [len(part) for part in boxes])
    return {
        "img": pixels,
        "batch_idx": torch.from_numpy(index).float().to(pixels.device),
        "cls": torch.from_numpy(rows[:, 4:].astype(np.float32)).to(pixels.device),
        "bboxes": torch.from_numpy(cxcywh.astype(np.float32)).to(pixels.device),
    }


def export_detector(run: TrainingRun, detector: Detector) -> Path:
    """Write the network as weights and give their path."""
    path = run.options.out / "magpie-detector-n.safetensors"
    metadata = run.metadata(
        kind="detector", architecture=detector.spec.architecture, spec=spec_json(detector.spec),
        input_size_wh="640x384", licence=LICENCE,
    )  # fmt: skip
    save_weights(path, detector.state_dict(), metadata)
    return path


def check_boxes(detector: Detector, batches: DetectorBatches, count: int) -> dict[str, float]:
    """Give recall and precision at IoU 0.5 and score 0.25: scenes of unseen packs at 640x384,
    loose and on shelves, and real photos with their classes.
    """
    rng = np.random.default_rng(7)
    figures: dict[str, float] = {}
    if "item" in batches.names:
        families = [render_family(HELD_OUT_SEED_START + seed, 0, 320) for seed in range(8 + count)]
        packs = [pack for pack, *_ in families]
        for name, shelf_share in (("packs", 0.0), ("shelf", 1.0)):
            scenes = []
            for _ in range(count):
                picks = rng.choice(len(packs), int(rng.integers(3, 9)), replace=False)
                chosen = [packs[int(pick)] for pick in picks]
                scenes.append(
                    compose_scene(rng, CHECK_SIZE_WH, chosen, (), (40, 200), 0.6, shelf_share)
                )
            pictures, truths = [s.image_bgr for s in scenes], [s.xyxy for s in scenes]
            recall, precision = measure_boxes(detector, pictures, truths)
            figures |= {f"recall_{name}": recall, f"precision_{name}": precision}
    held_out = batches.real_held_out[: count * 2]
    if held_out:
        real = [
            real_scene(rng, labelled, (CHECK_SIDE_PX, CHECK_SIDE_PX), 0.2) for labelled in held_out
        ]
        truths, classes = [b[:, :4] for _, b in real], [b[:, 4] for _, b in real]
        recall, precision = measure_boxes(detector, [i for i, _ in real], truths, classes)
        figures |= {"recall_real": recall, "precision_real": precision}
    return figures


def measure_boxes(
    detector: torch.nn.Module,
    pictures: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    classes: Sequence[np.ndarray] | None = None,
    min_score: float = 0.25,
) -> tuple[float, float]:
    """Give (recall, precision) at IoU 0.5 over pictures, by the end-to-end head alone.

    truths: (N, 4) xyxy px of each picture; classes: (N,) each, which a box must have as well.
    """
    device = next((p.device for p in detector.parameters()), torch.device("cpu"))
    found = hits = wanted = 0
    detector.eval()
    for number, (picture, truth) in enumerate(zip(pictures, truths, strict=True)):
        with torch.inference_mode():
            rows = detector(to_pixels(to_rgb_batch([picture]), device))[0].float().cpu().numpy()
        boxes = rows[rows[:, 4] >= min_score]
        found, wanted = found + len(boxes), wanted + len(truth)
        left = list(range(len(truth)))
        for box in boxes:  # best first
            fitting = [at for at in left if classes is None or classes[number][at] == box[5]]
            overlaps = [_iou(box, truth[at]) for at in fitting]
            if overlaps and max(overlaps) >= 0.5:
                hits += 1
                left.remove(fitting[int(np.argmax(overlaps))])
    return hits / max(wanted, 1), hits / max(found, 1)


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:4], second[2:4])
    shared = float(np.prod(np.maximum(high - low, 0)))
    both = float(np.prod(first[2:4] - first[:2]) + np.prod(second[2:4] - second[:2]))
    return shared / max(both - shared, 1e-9)
