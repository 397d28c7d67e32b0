"""Photos and listed siblings laid over a view, as verification sees them."""

from __future__ import annotations

import cv2
import numpy as np

from catalog_tools.synthesize.scenes import camera_effects, draw_hand
from catalog_tools.synthesize.shots import crumple, relight, show_other_face
from pipeline.types import F32, U8

POOREST_CAMERA = 0.45  # of what camera_effects may do: worse photos tell nothing apart


def lay_photo(rng: np.random.Generator, shown: U8, other: U8, side_px: int) -> tuple[U8, U8]:
    """Photograph a thing and lay the photo over its view, as well as a homography can.

    Returns the square picture (side, side, 3) uint8 BGR, 0 outside the photo, and where it is
    inside: (side, side) uint8 0 or 1.
    """
    scale = float(np.exp(rng.uniform(np.log(90), np.log(230)))) / max(shown.shape[:2])
    size = (max(24, round(shown.shape[1] * scale)), max(24, round(shown.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    photo = np.asarray(cv2.resize(shown, size, interpolation=method), np.uint8)
    # A homography that few points or a bent thing gave is off by some hundredths.
    photo = _misplaced(rng, photo, abs(rng.normal(0, 0.015)) + 0.003)
    if rng.random() < 0.6:
        photo = crumple(rng, photo)
    if rng.random() < 0.35:
        photo = show_other_face(rng, photo, [other])
    if rng.random() < 0.4:
        photo = relight(rng, photo)
    photo = _indoors(rng, photo)
    if rng.random() < 0.4:
        draw_hand(photo, rng, (0, 0, *size), float(rng.uniform(0.1, 0.5)))
    if rng.random() < 0.2:
        photo = _behind(rng, photo, other)
    camera = float(rng.uniform(0.1, POOREST_CAMERA))
    photo = np.asarray(camera_effects(photo, rng, camera), np.uint8)
    square = to_square(photo, side_px)
    inside = np.ones((side_px, side_px), np.uint8)
    if rng.random() < 0.3:
        inside = (_side_of_line(rng, side_px, -0.05) < 0).astype(np.uint8)
    return square * inside[..., None], inside


def lay_sibling(rng: np.random.Generator, sibling: U8, side_px: int) -> tuple[U8, U8]:
    """Lay a clean picture over a view, nearly in its place; sometimes it shows a part of it only.

    Returns what `lay_photo` does.
    """
    off = abs(rng.normal(0, 0.004)) + 0.001
    square = to_square(camera_effects(_misplaced(rng, sibling, off), rng, 0.08), side_px)
    inside = np.ones((side_px, side_px), np.uint8)
    if rng.random() < 0.2:
        inside = (_side_of_line(rng, side_px, 0.05) < 0).astype(np.uint8)
    return square * inside[..., None], inside


def _indoors(rng: np.random.Generator, photo: U8) -> U8:
    """A photo in a shop is darker and paler than a pack shot."""
    share = photo.astype(np.float32) / 255 * np.float32(rng.uniform(0.7, 1.1))
    share -= np.float32(rng.uniform(0, 0.2))
    grey = share.mean(axis=2, keepdims=True)
    pale = grey + (share - grey) * np.float32(rng.uniform(0.6, 1.05))
    cast = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    return np.asarray(np.clip(pale * cast, 0, 1) * 255, np.uint8)


def _misplaced(rng: np.random.Generator, photo: U8, off: float) -> U8:
    """The photo with its corners off their places by that share of its sides, more or less."""
    height, width = photo.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + (rng.normal(0, off, (4, 2)) * (width, height)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    border = cv2.BORDER_REPLICATE
    return np.asarray(
        cv2.warpPerspective(photo, matrix, (width, height), borderMode=border), np.uint8
    )


def _behind(rng: np.random.Generator, photo: U8, other: U8) -> U8:
    """The photo with something in front of one side of it."""
    height, width = photo.shape[:2]
    side = max(height, width)
    beyond = cv2.resize(_side_of_line(rng, side, 0.12), (width, height)) > 0
    filling = cv2.resize(other, (width, height))
    if rng.random() < 0.4:
        filling = np.full_like(photo, rng.integers(0, 256, 3))
    return np.where(beyond[..., None], filling, photo).astype(np.uint8)


def _side_of_line(rng: np.random.Generator, side_px: int, least: float) -> F32:
    """(side, side) float32: > 0 beyond a line across the square, `least` to 0.45 from its middle"""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(least, 0.45)
    rows, columns = np.mgrid[:side_px, :side_px].astype(np.float32) / side_px - 0.5
    return np.asarray(columns * np.cos(angle) + rows * np.sin(angle) - distance, np.float32)


def to_square(picture: np.ndarray, side_px: int) -> U8:
    shrinks = min(picture.shape[:2]) >= side_px
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=method), np.uint8)
