"""Trains a network of keypoints (XFeat) on made pairs.

Method: Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching" (CVPR 2024),
with corners of clean pictures for a teacher, and without its refinement of half-dense matches.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from catalog_tools.train.batches_ahead import made_ahead
from catalog_tools.train.keypoint_batches import (
    NO_CORNER,
    SIDE_PX,
    KeypointBatches,
    PictureBatch,
    make_check,
)
from catalog_tools.train.loop import (
    LICENCE,
    Recipe,
    first_weights,
    mixed_precision,
    prepare,
    restore,
    train,
)
from catalog_tools.train.options import KeypointsOptions
from catalog_tools.train.run import TrainingRun
from pipeline.engines.torch_keypoints import (
    KeypointsSpec,
    XFeatKeypoints,
    build_keypoints,
    sample_features,
)
from pipeline.engines.torch_networks import parse_spec, save_weights, spec_json
from pipeline.errors import ConfigError

WEIGHTS_NAME = "magpie-keypoints-xfeat.safetensors"
PEAK_RATE = 2e-3
SHARPNESS = 20.0  # of the softmax over cosines
EMPTY_CELL_WEIGHT = 0.1  # nine of ten cells have no corner
GOOD_PX = 3.0
SPEC = KeypointsSpec("xfeat", descriptor_dim=64, count=512)


def train_keypoints(options: KeypointsOptions) -> Path:
    """Train for so many minutes and give the path of the exported weights (fp16 safetensors)."""
    device = prepare(options)
    network = begin_keypoints(options).to(device, memory_format=torch.channels_last)
    run = TrainingRun("keypoints", options)
    state = run.load()
    recipe = KeypointsRecipe(network, make_check(options), options.rate or PEAK_RATE)
    restore(run, recipe, state)
    try:
        train(run, recipe, made_ahead(KeypointBatches(options).make, run.step, options.workers))
    finally:
        run.close()
    run.draw_curve()
    path = export_keypoints(run, recipe.averaged)
    run.split(path)
    return path


def begin_keypoints(options: KeypointsOptions) -> XFeatKeypoints:
    """Give the network to train: fresh, or with the weights to begin with."""
    begun = first_weights("keypoints", options.start)
    spec = SPEC if begun is None else parse_spec(KeypointsSpec, begun[0]["spec"])
    network = build_keypoints(spec)
    if not isinstance(network, XFeatKeypoints):
        raise ConfigError.at("--start", "must be weights of XFeat", spec.architecture)
    if begun is not None:
        network.load_state_dict(begun[1])
    return network


class KeypointsRecipe(Recipe[PictureBatch]):
    """Three losses: which point is which, how sure of that each place is, where the corners are."""

    def __init__(self, network: XFeatKeypoints, check: PictureBatch, rate: float) -> None:
        super().__init__(
            network, torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-3), rate
        )
        self._check = check

    def step(self, batch: PictureBatch, progress: float) -> dict[str, float]:
        self.network.train()
        images = _pixels(np.concatenate([batch.views, batch.scenes]), self.device)
        points = torch.from_numpy(batch.points).to(self.device)
        corners = torch.from_numpy(batch.corners).to(self.device)
        with mixed_precision(self.device):
            features, cells, reliability = self.network.net(images)
        size = torch.tensor([SIDE_PX, SIDE_PX], device=self.device)
        at_xy = points.flatten(0, 1).nan_to_num(0.0)  # first of all views, then of all scenes
        found = sample_features(features.float(), at_xy, size).unflatten(0, (2, -1))
        surest = read_map(reliability.float(), at_xy).unflatten(0, (2, -1))
        is_point = ~points[0, :, :, 0].isnan()
        same, sure = correspondence_loss(*found, *surest, is_point)
        corner = corner_loss(cells.float(), corners.flatten(0, 1))
        self.learn(same + sure + corner, 1.0)
        parts = {"same": same, "sure": sure, "corner": corner}
        return {name: float(loss.detach()) for name, loss in parts.items()}

    @torch.inference_mode()
    def check(self) -> dict[str, float]:
        return measure(self.averaged.eval(), self._check)


def correspondence_loss(
    view: Tensor, scene: Tensor, view_sure: Tensor, scene_sure: Tensor, is_point: Tensor
) -> tuple[Tensor, Tensor]:
    """Give the losses of the descriptors, a dual softmax, and of the reliability: two scalars.

    view, scene: (B, P, D) of unit length, row by row of one point. view_sure, scene_sure: (B, P)
    0..1, which shall say how likely the descriptor finds its partner. is_point: (B, P).
    """
    nearness = SHARPNESS * view @ scene.transpose(1, 2)
    both = is_point[:, :, None] & is_point[:, None]
    nearness = nearness.masked_fill(~both, -1e4)
    forth = functional.log_softmax(nearness, 2).diagonal(dim1=1, dim2=2)[is_point]
    back = functional.log_softmax(nearness, 1).diagonal(dim1=1, dim2=2)[is_point]
    found = (forth + back).detach().exp()
    n_points = is_point.sum().clamp(min=1)
    same = -(forth + back).sum() / (2 * n_points)
    sure = sum(
        functional.binary_cross_entropy(
            said[is_point].clamp(1e-4, 1 - 1e-4), found, reduction="sum"
        )
        for said in (view_sure, scene_sure)
    )
    return same, torch.as_tensor(sure) / (2 * n_points)


def corner_loss(cells: Tensor, corners: Tensor) -> Tensor:
    """Cross-entropy of where in its cell a corner lies, a scalar.

    cells: (N, 65, h, w) logits. corners: (N, h, w) int64, NO_CORNER for the 65th.
    """
    weight = torch.ones(NO_CORNER + 1, device=cells.device)
    weight[NO_CORNER] = EMPTY_CELL_WEIGHT
    return functional.cross_entropy(cells, corners, weight)


def measure(network: XFeatKeypoints, pairs: PictureBatch) -> dict[str, float]:
    """Give the share of mutual nearest descriptors that lie on one point, and how many a pair do.

    A point is judged by the nearest of the pair's known points, where one lies beside it.
    """
    device = next(network.parameters()).device
    right = judged = 0
    for row in range(len(pairs.views)):
        found = []
        for side, pictures in enumerate((pairs.views, pairs.scenes)):
            image = _pixels(pictures[row : row + 1], device)
            size = torch.from_numpy(pairs.sizes_wh[side, row : row + 1]).to(device)
            at_xy, scores, descriptors = (part[0].cpu() for part in network(image, size))
            found.append((at_xy[scores > 0] - 0.5, descriptors[scores > 0]))
        if min(len(at_xy) for at_xy, _ in found) == 0:
            continue
        nearness = found[0][1] @ found[1][1].T
        column = nearness.argmax(1)
        mutual = nearness.argmax(0)[column] == torch.arange(len(column))
        known = torch.from_numpy(pairs.points[:, row])
        known = known[:, ~known[0, :, 0].isnan()]
        if known.shape[1] == 0:
            continue
        apart, nearest = torch.cdist(found[0][0][mutual], known[0]).min(1)
        beside = apart < GOOD_PX
        truth = known[1][nearest[beside]]
        off = (found[1][0][column[mutual]][beside] - truth).norm(dim=1)
        right += int((off < 2 * GOOD_PX).sum())  # the known point lies up to GOOD_PX aside
        judged += int(beside.sum())
    return {"precision": right / max(judged, 1), "right_a_pair": right / max(len(pairs.views), 1)}


def read_map(maps: Tensor, at_xy: Tensor) -> Tensor:
    """(B, P): a map of the cells, (B, 1, h, w), at pixels, (B, P, 2), enlarged as in use."""
    grid = (2 * (at_xy + 0.5) / SIDE_PX - 1)[:, :, None]
    read = functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    return read[:, 0, :, 0]


def _pixels(gray: np.ndarray, device: torch.device) -> Tensor:
    """(B, 3, H, W) float32 0..1 of (B, 1, H, W) uint8, as the network is used."""
    return torch.from_numpy(gray).to(device).float().div_(255).expand(-1, 3, -1, -1)


def export_keypoints(run: TrainingRun, network: XFeatKeypoints) -> Path:
    """Write the network as weights and give their path."""
    spec, path = network.spec, run.options.out / WEIGHTS_NAME
    metadata = run.metadata(
        kind="keypoints",
        architecture=spec.architecture,
        spec=spec_json(spec),
        input_size_wh=f"{SIDE_PX}x{SIDE_PX}",
        licence=LICENCE,
    )
    save_weights(path, network.state_dict(), metadata)
    return path
