"""The keypoints' training: what its pairs say, its losses, its check, and a short run."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.train.keypoint_batches import (
    CELL_PX,
    NO_CORNER,
    POINTS,
    SIDE_PX,
    KeypointBatches,
    PictureBatch,
    draw_points,
    make_check,
    teach,
)
from catalog_tools.train.keypoints import (
    KeypointsRecipe,
    begin_keypoints,
    corner_loss,
    correspondence_loss,
    measure,
    read_map,
    train_keypoints,
)
from catalog_tools.train.options import KeypointsOptions
from catalog_tools.train.pairs import Photographed, Warped
from pipeline.engines.torch_keypoints import AlikedKeypoints, KeypointsSpec
from pipeline.engines.torch_networks import read_weights, save_weights, spec_json
from pipeline.errors import ConfigError
from pipeline.learned_keypoints import load_learned_keypoints
from pipeline.options import EngineOptions, VerifyOptions


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> KeypointsOptions:
    folder = tmp_path_factory.mktemp("pool")
    (folder / "printed").mkdir()
    for seed in range(6):
        picture = render_pack(DEMO_SEED_START + 970 + seed, (160, 220))
        cv2.imwrite(str(folder / "printed" / f"{seed}.jpg"), picture)
    return KeypointsOptions(pool=folder, out=folder, minutes=1, batch=6, check_count=4)


def patches(pictures: np.ndarray, at_xy: np.ndarray) -> np.ndarray:
    """(P, 9 x 9) of one picture, each less its mean and of unit length."""
    columns, rows = np.clip(np.round(at_xy).astype(int), 4, SIDE_PX - 5).T
    step = np.arange(-4, 5)
    read = pictures[rows[:, None, None] + step[:, None], columns[:, None, None] + step]
    flat = read.reshape(len(at_xy), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def test_a_batch_is_a_function_of_its_step(options: KeypointsOptions) -> None:
    batches = KeypointBatches(options)
    first, again, other = batches.make(3), batches.make(3), batches.make(4)
    assert np.array_equal(first.scenes, again.scenes)
    assert np.array_equal(first.points, again.points, equal_nan=True)
    assert not np.array_equal(first.scenes, other.scenes)
    assert not np.array_equal(make_check(options).scenes[:4], first.scenes[:4])


def test_points_show_the_same_in_both_pictures(options: KeypointsOptions) -> None:
    """Turned and tilted patches differ, so the likeness of many is held against strangers'."""
    batch = KeypointBatches(options).make(0, 24)
    assert batch.points.shape == (2, 24, POINTS, 2)
    likeness = []
    for row in range(24):
        known = ~np.isnan(batch.points[0, row, :, 0])
        if known.sum() < 8:
            continue
        view = patches(batch.views[row, 0], batch.points[0, row, known])
        scene = patches(batch.scenes[row, 0], batch.points[1, row, known])
        likeness.append(((view * scene).sum(1).mean(), (view * scene[::-1]).sum(1).mean()))
    same, strangers = np.mean(likeness, 0)
    assert len(likeness) > 12 and same > strangers + 0.15


def test_points_are_exact_and_only_what_the_scene_shows() -> None:
    """The view lies in the scene 40 px to the right and 30 px down; its right half is hidden."""
    rng = np.random.default_rng(0)
    view = rng.integers(0, 256, (100, 120), np.uint8)
    scene = np.full((200, 240), 90, np.uint8)
    scene[30:130, 40:160] = view
    visible = np.zeros_like(scene)
    visible[30:130, 40:100] = 1
    shift = np.array([[1, 0, 40], [0, 1, 30], [0, 0, 1.0]])
    points = draw_points(rng, Photographed(view, scene, view, Warped(scene, visible, shift, 0.0)))
    known = ~np.isnan(points[0, :, 0])
    assert known.sum() > 100
    np.testing.assert_allclose(
        points[1, known] - points[0, known], [[40, 30]] * known.sum(), atol=1e-4
    )
    assert points[0, known, 0].max() <= 59.5 and points[0, known].min() >= -0.5


def test_the_teacher_names_the_corners_of_a_square() -> None:
    picture = np.full((200, 240), 40, np.uint8)
    picture[50:121, 60:171] = 220
    cells = teach(picture)
    rows, columns = np.nonzero(cells != NO_CORNER)
    pixel = cells[rows, columns]
    found = np.stack([columns * CELL_PX + pixel % CELL_PX, rows * CELL_PX + pixel // CELL_PX], 1)
    wanted = np.array([(60, 50), (170, 50), (60, 120), (170, 120)])
    apart = np.abs(found[:, None] - wanted).max(2)
    assert len(found) == 4 and (apart.min(0) <= 2).all()


def test_descriptors_that_find_their_partner_cost_little() -> None:
    unit = torch.eye(6)[None]
    sure = torch.full((1, 6), 0.999)
    is_point = torch.tensor([[True] * 4 + [False] * 2])
    right = correspondence_loss(unit, unit, sure, sure, is_point)
    wrong = correspondence_loss(unit, unit.flip(1), sure, sure, is_point)
    assert float(right[0]) < 0.01 and float(right[1]) < 0.01
    assert float(wrong[0]) > 3 and float(wrong[1]) > 3, "and so does being sure of it"
    fillers_differ = unit.clone()
    fillers_differ[0, 4:] = unit[0, 4:].flip(0)
    again = correspondence_loss(unit, fillers_differ, sure, sure, is_point)
    torch.testing.assert_close(again, right)


def test_a_corner_in_its_place_costs_less_than_none() -> None:
    corners = torch.full((1, 2, 2), NO_CORNER)
    corners[0, 0, 1] = 9
    placed = torch.zeros(1, NO_CORNER + 1, 2, 2)
    placed[0, NO_CORNER] = 8.0
    missed = placed.clone()
    placed[0, 9, 0, 1], placed[0, NO_CORNER, 0, 1] = 8.0, 0.0
    assert float(corner_loss(placed, corners)) < 0.1 < 1.0 < float(corner_loss(missed, corners))


def test_sureness_is_read_as_the_network_enlarges_it() -> None:
    maps = torch.rand(1, 1, SIDE_PX // CELL_PX, SIDE_PX // CELL_PX)
    whole = functional.interpolate(maps, scale_factor=CELL_PX, mode="bilinear")
    at_xy = torch.tensor([[[0.0, 0.0], [1, 160], [319, 160], [100, 41], [319, 319]]])
    x, y = at_xy[0].long().T
    torch.testing.assert_close(read_map(maps, at_xy)[0], whole[0, 0, y, x])


def test_views_are_paired_with_their_own_scenes(options: KeypointsOptions) -> None:
    """Scenes that are their views: even a fresh network gives one point one descriptor in both."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (3, 1, SIDE_PX, SIDE_PX), np.uint8)
    points = np.repeat(rng.uniform(20, 300, (1, 3, POINTS, 2)).astype(np.float32), 2, axis=0)
    corners = np.full((2, 3, SIDE_PX // CELL_PX, SIDE_PX // CELL_PX), NO_CORNER)
    sizes_wh = np.full((2, 3, 2), SIDE_PX, np.float32)
    losses = [
        KeypointsRecipe(begin_keypoints(options), make_check(options), 2e-3).step(
            PictureBatch(views, scenes, points, corners, sizes_wh), 0.0
        )["same"]
        for scenes in (views, views[::-1].copy())
    ]
    assert losses[0] < losses[1] - 1.0, losses


def test_the_network_learns_where_corners_are_and_what_is_one(options: KeypointsOptions) -> None:
    """Corners that follow the picture's kind: one pixel of a cell in views, another in scenes."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    made = KeypointBatches(options).make(1, 3)
    corners = made.corners.copy()
    corners[0], corners[1] = 5, 9
    batch = replace(made, scenes=255 - made.views, corners=corners)
    recipe = KeypointsRecipe(begin_keypoints(options), made, 5e-3)
    losses = [recipe.step(batch, 0.0) for _ in range(20)]
    assert losses[-1]["same"] < 0.5 * losses[0]["same"], losses
    images = torch.from_numpy(np.concatenate([batch.views, batch.scenes])).float() / 255
    with torch.inference_mode():
        cells = recipe.network.net(images.expand(-1, 3, -1, -1))[1]
    chosen = [half[:, [5, 9]].mean((0, 2, 3)).argmax().item() for half in cells.chunk(2)]
    assert chosen == [0, 1]


class Reciting(torch.nn.Module):
    """Gives a batch's own points; descriptors by their number, or by that of another one."""

    def __init__(self, points: np.ndarray, is_right: bool) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.calls, self.points, self.is_right = 0, points, is_right

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        side, row = self.calls % 2, self.calls // 2
        self.calls += 1
        at_xy = torch.from_numpy(self.points[side, row])
        names = torch.eye(POINTS)
        if side and not self.is_right:
            names = names.roll(POINTS // 2, 0)
        return (at_xy.nan_to_num(0)[None] + 0.5, (~at_xy[None, :, 0].isnan()).float(), names[None])


@pytest.mark.parametrize("is_right", [True, False])
def test_the_check_tells_right_correspondences_from_wrong(
    is_right: bool, options: KeypointsOptions
) -> None:
    batch = make_check(options)
    figures = measure(Reciting(batch.points, is_right), batch)  # type: ignore[arg-type]
    if is_right:
        assert figures["precision"] > 0.95 and figures["right_a_pair"] > 20
    else:
        assert figures["precision"] < 0.3


def test_only_xfeat_can_be_begun_with(options: KeypointsOptions, tmp_path: Path) -> None:
    spec = KeypointsSpec("aliked-t16", descriptor_dim=64)
    start = tmp_path / "aliked.safetensors"
    header = {"kind": "keypoints", "architecture": "aliked-t16", "spec": spec_json(spec)}
    state = AlikedKeypoints(spec).state_dict()
    save_weights(start, state, header | {"input_size_wh": "320x320", "licence": "x"})
    with pytest.raises(ConfigError, match=r"--start: must be weights of XFeat, got 'aliked-t16'"):
        begin_keypoints(options.model_copy(update={"start": start}))


@pytest.mark.slow
def test_a_training_goes_on_from_its_checkpoint_and_its_weights_run(
    options: KeypointsOptions, tmp_path: Path
) -> None:
    """1. train a moment; 2. go on; 3. use the weights. Result: verify.keypoints: xfeat runs."""
    short = options.model_copy(
        update={"out": tmp_path, "minutes": 0.0001, "batch": 2, "threads": 1}
    )
    steps = int(read_weights(train_keypoints(short))[0]["steps"])
    assert steps >= 1
    path = train_keypoints(short.model_copy(update={"minutes": 0.0002}))
    metadata, state = read_weights(path)
    assert int(metadata["steps"]) > steps and metadata["kind"] == "keypoints"
    assert all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point())
    assert (tmp_path / "keypoints.png").is_file()
    chosen = VerifyOptions(method="xfeat", keypoint_weights=path)
    extractor = load_learned_keypoints(EngineOptions(engine="torch", device="cpu"), chosen)
    found = extractor.extract(render_pack(DEMO_SEED_START + 980, (200, 200)))
    assert extractor.descriptor_dim == 64 and found.descriptors.shape == (len(found), 64)
