"""Pieces of scenes land where they should, and composed scenes carry their truth."""

import cv2
import numpy as np

from catalog_tools.synthesize.compose import compose_scene
from catalog_tools.synthesize.packs import DEMO_SEED_START, natural_size_wh, render_pack
from catalog_tools.synthesize.scenes import (
    camera_effects,
    draw_hand,
    make_background,
    paste_pack,
    tilted_quad,
)


def _packs(count: int) -> list[np.ndarray]:
    seeds = range(DEMO_SEED_START, DEMO_SEED_START + count)
    return [render_pack(seed, natural_size_wh(seed, 120)) for seed in seeds]


def test_pasted_pack_covers_exactly_its_outline() -> None:
    scene = np.zeros((100, 140, 3), np.uint8)
    quad = np.array([(20, 30), (100, 30), (100, 80), (20, 80)], np.float32)
    coverage = paste_pack(scene, np.full((50, 80, 3), 200, np.uint8), quad)
    expected = np.zeros_like(coverage)
    expected[30:80, 20:100] = 1
    assert np.array_equal(coverage > 127, expected > 0)
    assert np.array_equal(scene[40, 50], (200, 200, 200)) and scene[10, 10].max() == 0


def test_pasted_pack_keeps_its_pixels_in_place() -> None:
    pack = _packs(1)[0]
    height, width = pack.shape[:2]
    scene = np.zeros((height + 20, width + 30, 3), np.uint8)
    quad = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    paste_pack(scene, pack, quad + np.float32((10, 5)))
    inside = scene[6 : 4 + height, 11 : 9 + width].astype(int)
    assert np.abs(inside - pack[1:-1, 1:-1]).max() <= 2


def test_pack_outside_of_the_scene_changes_nothing() -> None:
    scene = np.full((50, 50, 3), 9, np.uint8)
    quad = np.array([(100, 0), (150, 0), (150, 40), (100, 40)], np.float32)
    assert paste_pack(scene, _packs(1)[0], quad).max() == 0 and scene.min() == scene.max() == 9


def test_cut_out_lets_the_background_through() -> None:
    scene = np.full((40, 40, 3), 10, np.uint8)
    cut_out = np.zeros((40, 40, 4), np.uint8)
    cut_out[10:30, 10:30] = (250, 250, 250, 255)
    quad = np.array([(0, 0), (40, 0), (40, 40), (0, 40)], np.float32)
    coverage = paste_pack(scene, cut_out, quad)
    assert scene[20, 20].min() == 250 and scene[4, 4].max() == 10
    assert (coverage > 127).sum() == 400


def test_tilted_quad_without_tilt_is_a_turned_rectangle() -> None:
    quad = tilted_quad(np.random.default_rng(0), (50, 40), (20, 10), 0.0, 90.0)
    assert np.allclose(quad.mean(0), (50, 40), atol=1e-3)
    assert np.allclose(quad[0], (55, 30), atol=1e-3)  # the top-left corner, turned clockwise


def test_camera_effects_are_deterministic_and_none_at_zero() -> None:
    image = make_background(np.random.default_rng(1), (64, 48))
    assert image.shape == (48, 64, 3)
    assert np.array_equal(camera_effects(image, np.random.default_rng(0), 0), image)
    once = camera_effects(image, np.random.default_rng(2), 1.0)
    assert np.array_equal(once, camera_effects(image, np.random.default_rng(2), 1.0))
    assert once.shape == image.shape and not np.array_equal(once, image)


def test_hand_covers_part_of_the_box() -> None:
    scene = np.zeros((120, 120, 3), np.uint8)
    coverage = draw_hand(scene, np.random.default_rng(0), (30, 30, 90, 90), 0.4)
    inside = (coverage[30:90, 30:90] > 127).mean()
    assert 0.01 < inside < 0.6
    assert scene[coverage == 255].max(1).min() > 0
    around = cv2.dilate(coverage, np.ones((5, 5), np.uint8))
    assert scene[around == 0].max() == 0


def test_composed_scene_is_deterministic_and_its_boxes_hold_the_items() -> None:
    packs = _packs(6)
    for seed in range(6):
        scene = compose_scene(np.random.default_rng(seed), (320, 192), packs, (), (40, 150))
        again = compose_scene(np.random.default_rng(seed), (320, 192), packs, (), (40, 150))
        assert np.array_equal(scene.image_bgr, again.image_bgr)
        assert np.array_equal(scene.xyxy, again.xyxy)
        assert scene.image_bgr.shape == (192, 320, 3)
        assert len(scene.xyxy) == len(scene.item_index) == len(scene.outlines)
        assert (scene.xyxy[:, :2] < scene.xyxy[:, 2:]).all()
        assert scene.xyxy.min() >= 0 and (scene.xyxy.max(0) <= (320, 192, 320, 192)).all()
        assert (scene.xyxy[:, :2] >= scene.outlines.min(1) - 1).all()
        assert (scene.xyxy[:, 2:] <= scene.outlines.max(1) + 1).all()


def test_hidden_items_are_not_in_the_truth() -> None:
    packs = _packs(12)
    scenes = [
        compose_scene(np.random.default_rng(seed), (128, 96), packs, (), (90, 120), 1.0, 0.0)
        for seed in range(4)
    ]
    assert all(len(scene.xyxy) < 12 for scene in scenes)
    assert min(float(scene.visible.min()) for scene in scenes) >= 0.3


def test_scene_without_items_has_empty_truth_of_the_right_shape() -> None:
    scene = compose_scene(np.random.default_rng(3), (64, 64), [])
    assert scene.xyxy.shape == (0, 4) and scene.outlines.shape == (0, 4, 2)


def test_shelves_are_full_of_touching_items_several_of_each() -> None:
    packs = _packs(5)
    counts, gaps = [], []
    for seed in range(5):
        scene = compose_scene(
            np.random.default_rng(seed), (400, 300), packs, (), (60, 120), 0.3, shelf_share=1.0
        )
        counts.append(np.bincount(scene.item_index).max())
        assert len(scene.xyxy) >= 8
        nearest = [
            min(abs(box[0] - other[2]) for j, other in enumerate(scene.xyxy) if j != i)
            for i, box in enumerate(scene.xyxy)
        ]
        gaps.append(np.median(nearest))
    assert max(counts) >= 4, "facings of one item stand side by side"
    assert np.median(gaps) <= 4, "neighbours touch"
