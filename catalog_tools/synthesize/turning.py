"""Boxes that turn before a camera: six printed faces, seen from any side.

What a clip of an item for enrolment shows, and what it looks like from an angle that no single
picture has. Everything comes from seeds and angles: the same ones draw the same picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from catalog_tools.synthesize.packs import natural_size_wh, render_pack
from catalog_tools.synthesize.scenes import make_background, paste_pack

_DISTANCE = 3.2  # of the camera from the middle, in longest sides of the box
# Each face's corners in the box, (4, 3) shares of half its sides: top-left first, clockwise as it
# is looked at. x to the right, y down, z away from the camera.
_FACES = {
    "front": ((-1, -1, -1), (1, -1, -1), (1, 1, -1), (-1, 1, -1)),
    "right": ((1, -1, -1), (1, -1, 1), (1, 1, 1), (1, 1, -1)),
    "back": ((1, -1, 1), (-1, -1, 1), (-1, 1, 1), (1, 1, 1)),
    "left": ((-1, -1, 1), (-1, -1, -1), (-1, 1, -1), (-1, 1, 1)),
    "top": ((-1, -1, 1), (1, -1, 1), (1, -1, -1), (-1, -1, -1)),
    "bottom": ((-1, 1, -1), (1, 1, -1), (1, 1, 1), (-1, 1, 1)),
}


@dataclass(frozen=True, slots=True)
class TurningBox:
    """faces: (h, w, 3) uint8 BGR each, by the names above. sides_xyz: width, height, depth."""

    faces: dict[str, np.ndarray]
    sides_xyz: tuple[float, float, float]

    @classmethod
    def of_seed(cls, seed: int, side_px: int = 400) -> TurningBox:
        """Draw one whose faces are all different prints; the longest side is `side_px`."""
        width, height = natural_size_wh(seed, side_px)
        depth = round(min(width, height) * float(np.random.default_rng(seed).uniform(0.4, 0.9)))
        size_wh = {
            **dict.fromkeys(("front", "back"), (width, height)),
            **dict.fromkeys(("left", "right"), (depth, height)),
            **dict.fromkeys(("top", "bottom"), (width, depth)),
        }
        faces = {
            name: render_pack(seed if name == "front" else 1000 * seed + number, size)
            for number, (name, size) in enumerate(size_wh.items())
        }
        return cls(faces, (width, height, depth))

    def draw(
        self,
        scene: np.ndarray,
        turn_deg: tuple[float, float, float],
        center_xy: tuple[float, float],
        side_px: float,
    ) -> np.ndarray:
        """Draw it into the scene in place; return the box around it, (4,) float32 xyxy px.

        turn_deg: about the upright axis, then how far it is tipped to the camera, then in the
        picture's plane. side_px: its longest side in the scene, at the distance of its middle.
        """
        upright, tipped, plane = np.deg2rad(turn_deg)
        rotation = (
            cv2.Rodrigues(np.array([0, 0, plane]))[0]
            @ cv2.Rodrigues(np.array([-tipped, 0, 0]))[0]
            @ cv2.Rodrigues(np.array([0, upright, 0]))[0]
        )
        sides = np.array(self.sides_xyz) / max(self.sides_xyz)
        seen = np.zeros((0, 2), np.float32)
        for name, corners in _FACES.items():
            placed = (np.array(corners) * sides / 2) @ rotation.T
            outward = np.cross(placed[1] - placed[0], placed[3] - placed[0])
            outward /= np.linalg.norm(outward)
            to_camera = np.array([0, 0, -_DISTANCE]) - placed.mean(0)
            if outward @ to_camera >= 0:  # y points down, so that a face that is seen turns left
                continue
            near = _DISTANCE / (_DISTANCE + placed[:, 2:])
            quad = (placed[:, :2] * near * side_px + center_xy).astype(np.float32)
            light = 0.7 + 0.35 * abs(float(outward[2]))  # what faces the camera is lit best
            paste_pack(scene, self.faces[name], quad, light)
            seen = np.concatenate([seen, quad])
        return np.concatenate([seen.min(0), seen.max(0)])


def turning_clip(
    item: TurningBox,
    seed: int,
    *,
    size_wh: tuple[int, int] = (640, 480),
    n_frames: int = 150,
    turn_deg: float = 360.0,
    fill: float = 0.6,
) -> Iterator[np.ndarray]:
    """Give the frames of a clip in which the item turns once before a background that stands.

    Each (h, w, 3) uint8 BGR. turn_deg: how far it turns in all, beginning at its front, and nods
    while it does. fill: its longest side, as a share of the frame's shorter one.
    """
    rng = np.random.default_rng([seed, 0x7C])
    background = make_background(rng, size_wh)
    for number in range(n_frames):
        share = number / max(1, n_frames - 1)
        tipped = 18 * np.sin(share * 4 * np.pi) if turn_deg else 0.0
        away = np.sin(share * 6 * np.pi + np.array([0.0, 1.3])) * 0.03 if turn_deg else np.zeros(2)
        center = np.array(size_wh) * (0.5 + away)
        frame = background.copy()
        turn = (turn_deg * share, float(tipped), 0.0)
        item.draw(frame, turn, (float(center[0]), float(center[1])), fill * min(size_wh))
        noise = rng.normal(0, 3, frame.shape)
        yield np.clip(frame + noise, 0, 255).astype(np.uint8)
