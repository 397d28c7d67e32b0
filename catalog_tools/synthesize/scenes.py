"""Scenes with packs in them, as a camera would see them, with the truth beside each.

Everything is drawn by numpy and OpenCV from a random generator: the same generator state gives the
same scene. Outlines are (4, 2) float32 px: the pack's top-left, top-right, bottom-right and bottom-
left corner in the scene; the centre of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_SKIN_BGR = np.array(
    [(140, 175, 225), (110, 150, 205), (85, 120, 175), (60, 90, 140), (45, 65, 100)], np.float32
)


def make_background(
    rng: np.random.Generator, size_wh: tuple[int, int], pictures: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Draw a background: (h, w, 3) uint8 BGR, procedural, or a random cut of one of `pictures`
    (BGR) when given.
    """
    width, height = size_wh
    if len(pictures) and rng.random() < 0.65:
        return _cut_picture(rng, pictures[int(rng.integers(len(pictures)))], size_wh)
    style = int(rng.integers(5))
    base, other = rng.uniform(20, 235, (2, 3)).astype(np.float32)
    if rng.random() < 0.5:  # Rooms are greyer than a uniform draw of colours.
        base, other = (
            color.mean() * np.float32(0.75) + color * np.float32(0.25) for color in (base, other)
        )
    share = _smooth_noise(rng, size_wh, int(rng.integers(2, 6)))
    if style == 1:  # wood or brushed metal: noise stretched along one side
        grain = _smooth_noise(rng, size_wh, (int(rng.integers(2, 5)), int(rng.integers(24, 90))))
        share = 0.35 * share + 0.65 * (
            grain if rng.random() < 0.5 else np.ascontiguousarray(_fit(grain.T, size_wh))
        )
    elif style == 2:  # tiles or shelves
        step_x, step_y = rng.uniform(0.06, 0.4, 2)
        xs, ys = np.arange(width) / (step_x * width) % 1, np.arange(height) / (step_y * height) % 1
        joints = (xs[None] < 0.05) | (ys[:, None] < 0.07)
        share = np.where(joints, 1 - share, share * 0.6).astype(np.float32)
    elif style == 3:  # clutter
        share = np.clip(share + 0.4 * _smooth_noise(rng, size_wh, 24) - 0.2, 0, 1)
    share = share.astype(np.float32)[..., None]
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(
        rng.uniform(0, 8)
    )
    image = np.clip(base * (1 - share) + other * share + grain, 0, 255).astype(np.uint8)
    if style >= 3:
        _draw_clutter(image, rng, int(rng.integers(4, 30)))
    return image


def _fit(image: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    return cv2.resize(
        image,
        size_wh,
        interpolation=cv2.INTER_AREA if image.shape[1] > size_wh[0] else cv2.INTER_LINEAR,
    )


def _cut_picture(
    rng: np.random.Generator, picture: np.ndarray, size_wh: tuple[int, int]
) -> np.ndarray:
    height, width = picture.shape[:2]
    share = rng.uniform(0.45, 1.0)
    aspect = size_wh[0] / size_wh[1]
    cut_w = max(2, int(min(width, height * aspect) * share))
    cut_h = max(2, min(height, int(cut_w / aspect)))
    x, y = int(rng.integers(width - cut_w + 1)), int(rng.integers(height - cut_h + 1))
    cut = _fit(picture[y : y + cut_h, x : x + cut_w, :3], size_wh)
    return np.ascontiguousarray(cut[:, ::-1] if rng.random() < 0.5 else cut)


def _smooth_noise(
    rng: np.random.Generator, size_wh: tuple[int, int], cells: int | tuple[int, int]
) -> np.ndarray:
    """Give (h, w) float32 noise in 0..1 whose bumps are 1/cells of the picture."""
    columns, rows = (cells, cells) if isinstance(cells, int) else cells
    coarse = rng.random((rows + 1, columns + 1), dtype=np.float32)
    return np.clip(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC), 0, 1)


def _draw_clutter(image: np.ndarray, rng: np.random.Generator, count: int) -> None:
    """Draw lines, discs and slabs that are not items: plain and soft, unlike print."""
    height, width = image.shape[:2]
    for _ in range(count):
        color = tuple(int(channel) for channel in rng.uniform(10, 240, 3))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        kind, size = int(rng.integers(3)), float(rng.uniform(0.02, 0.2)) * min(width, height)
        if kind == 0:
            end = (int(x + rng.normal(0, width / 3)), int(y + rng.normal(0, height / 3)))
            cv2.line(image, (x, y), end, color, max(1, int(size / 8)), cv2.LINE_AA)
        elif kind == 1:
            axes = (int(size) + 1, int(size * rng.uniform(0.3, 1)) + 1)
            cv2.ellipse(
                image, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA
            )
        else:
            points = np.array([x, y]) + rng.normal(0, size, (int(rng.integers(3, 6)), 2))
            cv2.fillPoly(image, [cv2.convexHull(points.astype(np.int32))], color, cv2.LINE_AA)


def tilted_quad(
    rng: np.random.Generator,
    center_xy: Sequence[float],
    size_wh: Sequence[float],
    tilt: float,
    angle_deg: float,
) -> np.ndarray:
    """Give the outline (4, 2) of a flat pack of this size, turned in the plane and tilted out of
    it.

    tilt: 0 is straight on; 1 turns it up to about 60° away from the camera, around a random axis.
    """
    width, height = size_wh
    corners = (
        np.array(
            [(-width, -height, 0), (width, -height, 0), (width, height, 0), (-width, height, 0)]
        )
        / 2
    )
    axis_angle, turn = rng.uniform(0, 2 * np.pi), tilt * rng.uniform(0.2, 1.0) * np.deg2rad(60)
    rotation, _ = cv2.Rodrigues(np.array([np.cos(axis_angle), np.sin(axis_angle), 0]) * turn)
    spin, _ = cv2.Rodrigues(np.array([0, 0, np.deg2rad(angle_deg)]))
    points = corners @ (rotation @ spin).T
    distance = max(width, height) * rng.uniform(1.6, 4.0)
    return (points[:, :2] * (distance / (distance + points[:, 2:])) + center_xy).astype(np.float32)


def paste_pack(
    scene: np.ndarray, pack: np.ndarray, quad: np.ndarray, light: float = 1.0
) -> np.ndarray:
    """Draw the pack into the scene within its outline, in place; give its coverage (H, W) uint8
    0..255.

    pack: (h, w, 3) uint8 BGR or (h, w, 4) BGRA; quad: (4, 2) float32 px, may reach out of the
    scene.
    """
    height, width = scene.shape[:2]
    coverage = np.zeros((height, width), np.uint8)
    x0, y0 = np.maximum(np.floor(quad.min(0)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(quad.max(0)).astype(int) + 1, (width, height))
    if x1 <= x0 or y1 <= y0:
        return coverage
    pack = _shrunk_for(pack, quad)
    if pack.shape[2] == 3:
        pack = cv2.cvtColor(pack, cv2.COLOR_BGR2BGRA)
    pack_h, pack_w = pack.shape[:2]
    # OpenCV counts from the first pixel's centre: half a pixel is taken off on both sides.
    source = np.array([(0, 0), (pack_w, 0), (pack_w, pack_h), (0, pack_h)], np.float32) - 0.5
    homography = cv2.getPerspectiveTransform(source, (quad - (x0, y0) - 0.5).astype(np.float32))
    # A transparent rim makes the edge of the print smooth.
    warped = cv2.warpPerspective(
        pack, homography, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR
    )
    alpha = warped[..., 3]
    area = scene[y0:y1, x0:x1]
    share = (alpha.astype(np.float32) / 255)[..., None]
    print_bgr = np.minimum(warped[..., :3].astype(np.float32) * light, 255)
    area[:] = (area * (1 - share) + print_bgr * share + 0.5).astype(np.uint8)
    coverage[y0:y1, x0:x1] = alpha
    return coverage


def _shrunk_for(pack: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """Scale the pack down to about the size that it has in the scene, else bilinear warping would
    alias.
    """
    wide = max(np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[2] - quad[3]), 2)
    high = max(np.linalg.norm(quad[3] - quad[0]), np.linalg.norm(quad[2] - quad[1]), 2)
    height, width = pack.shape[:2]
    if width <= wide * 1.3 and height <= high * 1.3:
        return pack
    size = (max(2, min(width, round(wide * 1.15))), max(2, min(height, round(high * 1.15))))
    return cv2.resize(pack, size, interpolation=cv2.INTER_AREA)


def draw_shadow(scene: np.ndarray, quad: np.ndarray, rng: np.random.Generator) -> None:
    """Darken the scene softly beside where a pack will be pasted, in place."""
    side = float(np.linalg.norm(quad[2] - quad[0]))
    shifted = quad + rng.uniform(-0.08, 0.08, 2) * side
    x0, y0 = np.maximum((shifted.min(0) - side * 0.1).astype(int), 0)
    x1, y1 = np.minimum((shifted.max(0) + side * 0.1).astype(int), (scene.shape[1], scene.shape[0]))
    if x1 <= x0 or y1 <= y0:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.float32)
    cv2.fillConvexPoly(mask, (shifted - (x0, y0)).astype(np.int32), float(rng.uniform(0.2, 0.6)))
    size = int(side * 0.06) * 2 + 1
    mask = cv2.blur(mask, (size, size))
    scene[y0:y1, x0:x1] = (scene[y0:y1, x0:x1] * (1 - mask[..., None])).astype(np.uint8)


def draw_hand(
    scene: np.ndarray, rng: np.random.Generator, xyxy: Sequence[float], reach: float = 0.35
) -> np.ndarray:
    """Draw fingers that grip the box from one side, in place; give their coverage (H, W) uint8
    0..255.

    reach: how far the fingertips come over the box, as a share of its size.
    """
    x0, y0, x1, y1 = xyxy
    side = min(x1 - x0, y1 - y0)
    toward = np.deg2rad(rng.integers(4) * 90 + rng.normal(0, 15))
    direction = np.array([np.cos(toward), np.sin(toward)])
    across = np.array([-direction[1], direction[0]])
    half = np.array([(x1 - x0) / 2, (y1 - y0) / 2])
    center = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    border = center - direction * float(np.abs(half @ np.abs(direction)))
    thick = side * rng.uniform(0.09, 0.17)
    skin = _SKIN_BGR[int(rng.integers(len(_SKIN_BGR)))] * rng.uniform(0.8, 1.1)
    coverage = np.zeros(scene.shape[:2], np.uint8)
    offset = rng.normal(0, 0.2) * side
    for finger in range(int(rng.integers(1, 5))):
        root = border - direction * side * 0.6 + across * (offset + (finger - 1.5) * thick * 1.1)
        tip = border + direction * side * reach * rng.uniform(0.5, 1.2)
        tip = tip + across * (offset + (finger - 1.5) * thick * rng.uniform(1.0, 1.3))
        mask = np.zeros(scene.shape[:2], np.uint8)
        cv2.line(mask, _point(root), _point(tip), 255, max(2, int(thick)), cv2.LINE_AA)
        bright = np.minimum(skin * rng.uniform(0.85, 1.1), 255)
        cv2.line(
            scene,
            _point(root),
            _point(tip),
            (bright * 0.7).tolist(),
            max(2, int(thick)),
            cv2.LINE_AA,
        )
        cv2.line(
            scene,
            _point(root),
            _point(tip),
            bright.tolist(),
            max(1, int(thick * 0.72)),
            cv2.LINE_AA,
        )
        nail = tip + direction * thick * 0.1
        cv2.circle(
            scene,
            _point(nail),
            max(1, int(thick * 0.22)),
            np.minimum(bright * 1.15, 255).tolist(),
            -1,
            cv2.LINE_AA,
        )
        coverage = np.maximum(coverage, mask)
    return coverage


def _point(xy: np.ndarray) -> tuple[int, int]:
    return int(np.clip(xy[0], -4000, 4000)), int(np.clip(xy[1], -4000, 4000))


def camera_effects(
    image: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> np.ndarray:
    """Give the picture as a cheap camera would: light, colour cast, blur, noise, low resolution,
    compression.

    image: (H, W, 3) uint8 BGR, not changed; strength: 0 leaves it alone, 1 is a poor indoor camera.
    """
    if strength <= 0:
        return image.copy()
    height, width = image.shape[:2]
    gain = 1 + strength * rng.normal(0, 0.2) + strength * rng.normal(0, 0.07, 3)
    light = _smooth_noise(rng, (width, height), 2) * np.float32(strength * rng.uniform(0, 0.6))
    light += np.float32(1 - strength * 0.15)
    offset = np.float32(strength * rng.normal(0, 12))
    out = (image.astype(np.float32) + offset) * (light[..., None] * gain.astype(np.float32))
    if rng.random() < 0.5:
        contrast = np.float32(1 + strength * rng.uniform(-0.35, 0.25))
        out = (out - 128) * contrast + 128
    out = np.clip(out, 0, 255)
    if rng.random() < 0.3:
        out = 255 * cv2.pow(out / 255, float(np.exp(strength * rng.normal(0, 0.3))))
    out = _blurred(out, rng, strength)
    if rng.random() < 0.7:
        noise = rng.standard_normal((height, width, 3), dtype=np.float32)
        out = out + noise * np.float32(strength * rng.uniform(0, 10))
    out = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        quality = int(np.clip(95 - strength * rng.uniform(0, 65), 10, 95))
        out = cv2.imdecode(
            cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
        )
    return out


def _blurred(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    height, width = image.shape[:2]
    kind, amount = rng.random(), strength * rng.random() * max(width, height) / 128
    if kind < 0.3:
        return cv2.GaussianBlur(image, (0, 0), 0.3 + amount * 0.9)
    if kind < 0.45:
        length = max(2, int(amount * 4))
        kernel = np.zeros((length * 2 + 1, length * 2 + 1), np.float32)
        angle = rng.uniform(0, np.pi)
        shift = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        cv2.line(kernel, _point(length - shift), _point(length + shift), 1.0, 1)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    if kind < 0.65:
        factor = 1 + strength * rng.uniform(0, 1.8)
        small = cv2.resize(
            image,
            (max(8, int(width / factor)), max(8, int(height / factor))),
            interpolation=cv2.INTER_AREA,
        )
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return image
