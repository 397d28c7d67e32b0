"""The motion gate: what moves is never left out, what does not move is, whatever the light does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np
import pytest

from pipeline.motion import HOLD_S, MotionGate, has_moved, thumbnail
from pipeline.types import U8

SIZE_WH = (640, 360)
FPS = 25
SIDE_PX = 68  # of an item: 2 % of the frame
CELL_PX = 8
NEVER_S = 1e6

Light = Callable[[int, np.random.Generator], tuple[float, float]]


def steady(number: int, rng: np.random.Generator) -> tuple[float, float]:
    """Gain and levels that the light adds in a frame: none."""
    return 1.0, 0.0


def flicker(number: int, rng: np.random.Generator) -> tuple[float, float]:
    return rng.uniform(0.96, 1.04), rng.uniform(-3, 3)


def step(number: int, rng: np.random.Generator) -> tuple[float, float]:
    return (1.15, 6.0) if number >= 60 else (1.0, 0.0)


def drift(number: int, rng: np.random.Generator) -> tuple[float, float]:
    return 1.0 - 0.001 * number, 0.1 * number


LIGHTS = (steady, flicker, step, drift)


def scene(seed: int) -> np.ndarray:
    """(360, 640) float32 luma: a room of soft shapes and some fine ones."""
    rng = np.random.default_rng(seed)
    soft = cv2.resize(rng.uniform(60, 170, (9, 16)), SIZE_WH, interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(rng.normal(0, 25, (SIZE_WH[1], SIZE_WH[0])), (0, 0), 1.5)
    return (soft + fine).astype(np.float32)


def with_item(luma: np.ndarray, x: float, y: float, contrast: float) -> np.ndarray:
    """The scene with an item, by so many levels brighter than what it hides on the whole."""
    item = np.full((SIDE_PX, SIDE_PX), luma.mean() + contrast, np.float32)
    item[10:20, 8:60] -= 12
    carry = np.array([[1, 0, x], [0, 1, y]], np.float32)
    drawn = cv2.warpAffine(item, carry, SIZE_WH)
    covered = cv2.warpAffine(np.ones_like(item), carry, SIZE_WH)
    return luma * (1 - covered) + drawn


def taken(
    luma: np.ndarray, number: int, noise: float, light: Light, rng: np.random.Generator
) -> U8:
    """What a camera gives of it."""
    gain, shift = light(number, rng)
    own = noise_bank()[rng.integers(len(noise_bank()))]
    own = np.roll(own, int(rng.integers(own.size)))
    noisy = luma * np.float32(gain) + own * np.float32(noise)
    return np.clip(noisy + np.float32(shift + 0.5), 0, 255).astype(np.uint8)


@lru_cache
def noise_bank() -> np.ndarray:
    """(4, 360, 640) float32, deviation 1: drawing each frame's anew takes long."""
    return np.random.default_rng(0).normal(size=(4, *SIZE_WH[::-1])).astype(np.float32)


def search_all(frames: Sequence[U8], look_again_s: float = NEVER_S) -> list[int]:
    """Return the numbers of the frames that are searched."""
    gate, searched = MotionGate(), []
    for number, y in enumerate(frames):
        if not gate.is_still(y, number / FPS, look_again_s):
            gate.searched(number / FPS)
            searched.append(number)
    return searched


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("noise", [0.0, 3.0, 8.0])
@pytest.mark.parametrize("contrast", [-60.0, 35.0])
def test_an_item_that_creeps_in_is_searched_before_it_has_moved_by_a_cell(
    light: Light, noise: float, contrast: float
) -> None:
    rng = np.random.default_rng([LIGHTS.index(light), int(noise), int(contrast + 100)])
    luma, y = scene(int(rng.integers(100))), float(rng.uniform(0, SIZE_WH[1] - SIDE_PX))
    lefts = [-SIDE_PX - 15 + 0.5 * number for number in range(120)]  # 0.5 px a frame
    frames = [
        taken(with_item(luma, x, y, contrast), number, noise, light, rng)
        for number, x in enumerate(lefts)
    ]
    searched = search_all(frames)
    in_view = next(number for number, x in enumerate(lefts) if x + SIDE_PX > 0)
    steps = np.diff([in_view, *(n for n in searched if n > in_view), len(lefts)])
    assert 0.5 * steps.max() <= CELL_PX, f"searched {searched}"


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("noise", [0.0, 3.0, 8.0])
def test_a_scene_in_which_only_noise_and_light_change_is_hardly_searched(
    light: Light, noise: float
) -> None:
    rng, luma = np.random.default_rng(3), scene(11)
    frames = [taken(luma, number, noise, light, rng) for number in range(120)]
    at_start = round(HOLD_S * FPS) + 1
    assert len(search_all(frames)) <= 2 * at_start + 4  # once more for a step, or a long drift


def test_light_that_jumps_beyond_all_bounds_opens_it_once() -> None:
    luma = scene(5)
    frames = [np.full_like(luma, 20).astype(np.uint8)] * 50 + [luma.astype(np.uint8)] * 100
    assert search_all(frames)[-1] <= 50 + HOLD_S * FPS + 1


def test_a_frame_is_searched_again_after_so_long_without_one() -> None:
    luma = scene(1).astype(np.uint8)
    searched = search_all([luma] * 150, look_again_s=2.0)
    late = [number for number in searched if number > HOLD_S * FPS + 1]
    assert np.diff([late[0] - 50, *late]).tolist() == [50] * len(late) and len(late) >= 2


def test_it_stays_open_for_a_while_after_something_moved() -> None:
    luma = scene(1)
    there = with_item(luma, 300, 100, 60)
    frames = [luma.astype(np.uint8)] * 50 + [there.astype(np.uint8)] * 50
    after = [number for number in search_all(frames) if number >= 50]
    assert after == list(range(50, 50 + len(after))) and len(after) >= HOLD_S * FPS


def test_what_was_not_searched_after_all_is_not_compared_with() -> None:
    luma = scene(1)
    there = with_item(luma, 300, 100, 60).astype(np.uint8)
    gate = MotionGate()
    gate.is_still(luma.astype(np.uint8), 0.0, NEVER_S)
    gate.searched(0.0)
    for now_s in (10.0, 20.0):  # the search of the first failed
        assert not gate.is_still(there, now_s, NEVER_S)


def test_a_picture_that_covers_all_at_once_or_changes_size_has_moved() -> None:
    one, other = scene(1).astype(np.uint8), scene(2).astype(np.uint8)
    assert has_moved(thumbnail(one), thumbnail(other))
    assert has_moved(thumbnail(one), thumbnail(one[:300]))
    assert not has_moved(thumbnail(one), thumbnail(one))


@pytest.mark.parametrize(
    "size_wh", [(1, 1), (1, 300), (2, 2), (16, 16), (79, 81), (704, 576), (1921, 1081)]
)
def test_pictures_of_any_size_have_a_thumbnail(size_wh: tuple[int, int]) -> None:
    y = np.full(size_wh[::-1], 77, np.uint8)
    found = thumbnail(y)
    assert found.shape[1] < 160 and (found == 77).all() and not has_moved(found, found)
