"""Views of many things at once, drawn where the network learns: on the GPU, or by torch on a CPU.

What a camera sees of a thing: turned, tilted and bent, framed loosely or tightly, over clutter,
beside and behind other things, held in a hand, in poor light, blurred, coarse, noisy and
compressed. The same draws as `views.camera_view`, for a whole batch; a GPU draws thousands a
second, a core some hundred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional

from catalog_tools.synthesize.device_camera import camera_effects, smooth_noise
from pipeline import fit

PAPER = fit.PAPER / 255
_SKIN_RGB = ((225, 175, 140), (205, 150, 110), (175, 120, 85), (140, 90, 60), (100, 65, 45))


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures on the device.

    rgba: (N, 4, S, S) uint8, each picture in the middle of its square, alpha 0 around it and
    around cut-outs. soft: the same, without what half of that size could not show: what small
    outlines are filled from, else print would alias. extent: (N, 2) float32, the picture's width
    and height as shares of S.
    """

    rgba: torch.Tensor
    soft: torch.Tensor
    extent: torch.Tensor

    @classmethod
    def of(cls, pictures: list[np.ndarray], side_px: int, device: torch.device) -> Gallery:
        """Put (h, w, 3) BGR or (h, w, 4) BGRA uint8 pictures on the device."""
        squares = np.zeros((len(pictures), side_px, side_px, 4), np.uint8)
        extent = np.empty((len(pictures), 2), np.float32)
        for square, size, picture in zip(squares, extent, pictures, strict=True):
            height, width = picture.shape[:2]
            scale = side_px / max(height, width)
            w, h = max(2, round(width * scale)), max(2, round(height * scale))
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            resized = cv2.resize(picture, (w, h), interpolation=how)
            x, y = (side_px - w) // 2, (side_px - h) // 2
            square[y : y + h, x : x + w, 3] = 255
            square[y : y + h, x : x + w, : resized.shape[2]] = resized
            size[:] = w / side_px, h / side_px
        rgba = (
            torch.from_numpy(squares).to(device).permute(0, 3, 1, 2)[:, [2, 1, 0, 3]].contiguous()
        )
        soft = torch.cat([_softened(piece) for piece in rgba.split(512)])
        return cls(rgba, soft, torch.from_numpy(extent).to(device))

    def __len__(self) -> int:
        return len(self.rgba)


class ViewDrawer:
    """Draws views of a gallery's things: (B, 3, side, side) float32 RGB 0..1.

    generator: of the device; the same state draws the same views on the same device.
    """

    def __init__(self, gallery: Gallery, side_px: int, generator: torch.Generator) -> None:
        self.gallery, self.side_px, self._rng = gallery, side_px, generator
        self._device = gallery.rgba.device
        line = (torch.arange(side_px, device=self._device) + 0.5) / side_px
        self._grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)  # (S, S, 2) shares

    def clean(self, numbers: torch.Tensor, hue: torch.Tensor) -> torch.Tensor:
        """As a catalog shows them: on paper, trimmed or framed by a hair.

        numbers: (B,) int64 into the gallery. hue: (B,) float32, how far to turn the colours, rad.
        """
        count = len(numbers)
        quad = self._flat_quad(numbers)
        low, high = self._frame(quad, self._uniform(count, 4, low=-0.05, high=0.0))
        paper = self._uniform(count, 1, 1, 1, low=200 / 255, high=1.0).expand(-1, 3, 1, 1)
        quad, inside = self._into_view(quad, low, high)
        color, alpha = self._warp(numbers, quad, hue)
        view = color + paper * (1 - alpha)
        return torch.where(inside, view, PAPER)

    def camera(
        self, numbers: torch.Tensor, hue: torch.Tensor, hard: float = 1.0, turns: bool = False
    ) -> torch.Tensor:
        """As a detector cuts them out of a camera's frame; arguments as in `clean`.

        turns: by any angle, in place of mostly about upright.
        """
        count = len(numbers)
        quad = self._tilted_quad(numbers, hard, turns)
        loose = self._chance(count, 0.2)[:, None]
        pad = torch.where(
            loose,
            self._uniform(count, 4, low=-0.15, high=0.7),
            self._uniform(count, 4, low=-0.06, high=0.2),
        )
        quad, inside = self._into_view(quad, *self._frame(quad, pad))
        view = self._background(count)
        size = quad.amax(1) - quad.amin(1)
        beside = self._signs(count, 2) * torch.stack([size[:, 0] * 1.05, size[:, 1] * 0], 1)
        view = self._paste_another(view, quad + beside[:, None], 0.4)
        color, alpha = self._warp(numbers, quad, hue, bend=0.02 * hard)
        view = view * (1 - alpha) + color * self._uniform(count, 1, 1, 1, low=0.75, high=1.15)
        before = self._signs(count, 2) * self._uniform(count, 2, low=0.55, high=1.0) * size
        view = self._paste_another(view, quad + before[:, None], 0.12 * hard)
        view = self._hold(view, quad, 0.35 * hard)
        view = camera_effects(view.clamp(0, 1), self._rng, hard)
        return torch.where(inside, view, PAPER)

    def _flat_quad(self, numbers: torch.Tensor) -> torch.Tensor:
        """Corners (B, 4, 2) of the pictures about (0, 0), the longer side 1."""
        corners = torch.tensor([(-1.0, -1.0), (1, -1), (1, 1), (-1, 1)], device=self._device) / 2
        return corners * self.gallery.extent[numbers][:, None]

    def _tilted_quad(self, numbers: torch.Tensor, hard: float, turns: bool) -> torch.Tensor:
        """The corners turned in the plane and tilted out of it, by up to about 60°."""
        count = len(numbers)
        upright = self._chance(count, 0.0 if turns else 0.85)
        angle = torch.where(
            upright,
            self._normal(count) * math.radians(12) * hard,
            self._uniform(count) * 2 * math.pi,
        )
        tilt = (
            self._uniform(count)
            * 0.85
            * hard
            * self._uniform(count, low=0.2, high=1.0)
            * math.pi
            / 3
        )
        axis = self._uniform(count) * 2 * math.pi
        flat = self._flat_quad(numbers)
        cos, sin = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
        x, y = flat[..., 0] * cos - flat[..., 1] * sin, flat[..., 0] * sin + flat[..., 1] * cos
        # Rodrigues about the axis (cos a, sin a, 0): only what lies across the axis moves.
        ax, ay = torch.cos(axis)[:, None], torch.sin(axis)[:, None]
        along, across = x * ax + y * ay, y * ax - x * ay
        depth = across * torch.sin(tilt)[:, None]
        across = across * torch.cos(tilt)[:, None]
        distance = self._uniform(count, 1, low=1.6, high=4.0)
        scale = distance / (distance + depth)
        return (
            torch.stack([along * ax - across * ay, along * ay + across * ax], -1) * scale[..., None]
        )

    def _frame(self, quad: torch.Tensor, pad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The box that is cut out: (B, 2) low and high corner. pad: (B, 4) shares of the extent."""
        low, high = quad.amin(1), quad.amax(1)
        size = high - low
        return low - pad[:, :2] * size, high + pad[:, 2:] * size

    def _into_view(
        self, quad: torch.Tensor, low: torch.Tensor, high: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Letterbox the cut into the square view: the quad in shares of it, and where the cut lies
        (B, 1, S, S).
        """
        size = high - low
        longer = size.amax(1, keepdim=True)
        middle = (low + high) / 2
        half = (size / longer / 2)[:, None, None]
        inside = ((self._grid - 0.5).abs() <= half).all(-1)[:, None]
        return (quad - middle[:, None]) / longer[:, None] + 0.5, inside

    def _warp(
        self,
        numbers: torch.Tensor,
        quad: torch.Tensor,
        hue: torch.Tensor | None = None,
        bend: float = 0.0,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Things in their outlines: colour times alpha (B, 3, S, S) and alpha (B, 1, S, S).

        bend: how far points of the thing move, as on soft or round things.
        """
        matrix = _homographies(quad, self._flat_quad(numbers) + 0.5)
        ones = torch.ones_like(self._grid[..., :1])
        places = torch.einsum("bij,hwj->bhwi", matrix, torch.cat([self._grid, ones], -1))
        behind = places[..., 2:] < 1e-3
        places = torch.where(behind, -9.0, places[..., :2] / places[..., 2:].clamp(min=1e-3))
        if bend:
            amount = self._uniform(len(numbers), 1, 1, 1) * bend
            waves = smooth_noise(self._rng, (len(numbers), 2), self.side_px, 3)
            places = places + waves.permute(0, 2, 3, 1) * amount
        small = (quad.amax(1) - quad.amin(1)).amax(
            1
        ) * self.side_px < 0.7 * self.gallery.rgba.shape[-1]
        chosen = torch.where(
            small[:, None, None, None], self.gallery.soft[numbers], self.gallery.rgba[numbers]
        )
        pictures = chosen.float() / 255
        alpha = pictures[:, 3:]
        color = pictures[:, :3] if hue is None else turn_hue(pictures[:, :3], hue)
        sampled = functional.grid_sample(
            torch.cat([color * alpha, alpha], 1),
            places * 2 - 1,
            align_corners=False,
            padding_mode="zeros",
        )
        return sampled[:, :3], sampled[:, 3:]

    def _background(self, count: int) -> torch.Tensor:
        """A cut of another picture, or something smooth between two colours."""
        others = self._others(count)
        share = self._uniform(count, 1, low=0.3, high=0.9)
        corner = 0.5 + (self._uniform(count, 2) - 0.5) * (1 - share)
        flip = self._signs(count, 1).squeeze(1)
        extent = self.gallery.extent[others] * share
        grid = (self._grid - 0.5)[None] * extent[:, None, None]
        grid = (
            torch.stack([grid[..., 0] * flip[:, None, None], grid[..., 1]], -1)
            + ((corner - 0.5) * self.gallery.extent[others] + 0.5)[:, None, None]
        )
        pictures = self.gallery.rgba[others].float() / 255
        cut = functional.grid_sample(
            pictures, grid * 2 - 1, align_corners=False, padding_mode="border"
        )
        drawn = cut[:, :3] * cut[:, 3:] + (1 - cut[:, 3:])
        colors = self._uniform(2, count, 3, 1, 1, low=0.08, high=0.92)
        grey = colors.mean(2, keepdim=True)
        colors = torch.where(
            self._chance(count, 0.5)[None, :, None, None, None], grey * 0.75 + colors * 0.25, colors
        )
        bumps = smooth_noise(self._rng, (count, 1), self.side_px, self._cells())
        smooth = colors[0] * (bumps + 0.5).clamp(0, 1) + colors[1] * (0.5 - bumps).clamp(0, 1)
        return torch.where(self._chance(count, 0.6)[:, None, None, None], drawn, smooth)

    def _paste_another(self, view: torch.Tensor, quad: torch.Tensor, chance: float) -> torch.Tensor:
        """Lay another thing of the gallery into the outlines, in that share of the views."""
        chosen = self._chance(len(view), chance).nonzero().squeeze(1)
        if not len(chosen):
            return view
        color, alpha = self._warp(self._others(len(chosen)), quad[chosen])
        view = view.clone()
        view[chosen] = view[chosen] * (1 - alpha) + color
        return view

    def _hold(self, view: torch.Tensor, quad: torch.Tensor, chance: float) -> torch.Tensor:
        """Lay fingers over one side of the thing, in that share of the views."""
        chosen = self._chance(len(view), chance).nonzero().squeeze(1)
        if not len(chosen):
            return view
        view = view.clone()
        view[chosen] = self._gripped(view[chosen], quad[chosen])
        return view

    def _gripped(self, view: torch.Tensor, quad: torch.Tensor) -> torch.Tensor:
        count = len(view)
        low, high = quad.amin(1), quad.amax(1)
        side = (high - low).amin(1)
        turn = torch.randint(4, (count,), device=self._device, generator=self._rng) * math.pi / 2
        turn = turn + self._normal(count) * math.radians(15)
        toward = torch.stack([torch.cos(turn), torch.sin(turn)], 1)
        across = torch.stack([-toward[:, 1], toward[:, 0]], 1)
        border = (low + high) / 2 - toward * ((high - low) / 2 * toward.abs()).sum(1, keepdim=True)
        thick = side * self._uniform(count, low=0.09, high=0.17)
        skin = (
            torch.tensor(_SKIN_RGB, device=self._device)[
                torch.randint(len(_SKIN_RGB), (count,), device=self._device, generator=self._rng)
            ]
            / 255
            * self._uniform(count, 1, low=0.7, high=1.1)
        )
        offset, reach = self._normal(count) * 0.2 * side, self._uniform(count, low=0.1, high=0.55)
        for finger in range(4):
            there = self._chance(count, 0.7)
            place = (offset + (finger - 1.5) * thick * 1.1)[:, None] * across
            tip = (
                border
                + toward * (side * reach * self._uniform(count, low=0.5, high=1.2))[:, None]
                + place
            )
            root = border - toward * side[:, None] * 0.6 + place
            near = self._distance(root, tip) / (thick / 2)[:, None, None]
            shade = (1.0 - 0.3 * near.clamp(0, 1) ** 4)[:, None] * skin[:, :, None, None]
            mask = ((1.0 - near) * 8).clamp(0, 1)[:, None] * there[:, None, None, None]
            view = view * (1 - mask) + shade * mask
        return view

    def _distance(self, start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
        """(B, S, S): how far each pixel is from the line between two points (B, 2)."""
        way = (end - start)[:, None, None]
        gone = self._grid[None] - start[:, None, None]
        share = ((gone * way).sum(-1) / (way * way).sum(-1).clamp(min=1e-6)).clamp(0, 1)
        return (gone - share[..., None] * way).norm(dim=-1)

    def _others(self, count: int) -> torch.Tensor:
        return torch.randint(len(self.gallery), (count,), device=self._device, generator=self._rng)

    def _cells(self) -> int:
        drawn = torch.randint(2, 9, (1,), device=self._device, generator=self._rng)
        return int(drawn.item())

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        drawn = torch.rand(shape, device=self._device, generator=self._rng)
        return drawn * (high - low) + low

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=self._device, generator=self._rng)

    def _chance(self, count: int, chance: float) -> torch.Tensor:
        return self._uniform(count) < chance

    def _signs(self, *shape: int) -> torch.Tensor:
        return torch.where(self._uniform(*shape) < 0.5, -1.0, 1.0)


def _softened(rgba: torch.Tensor) -> torch.Tensor:
    """(N, 4, S, S) uint8 without the finest detail; colours of the empty around do not come in."""
    pictures = rgba.float() / 255
    alpha = pictures[:, 3:]
    half = functional.avg_pool2d(torch.cat([pictures[:, :3] * alpha, alpha], 1), 2)
    half = functional.interpolate(half, scale_factor=2, mode="bilinear")
    color = half[:, :3] / half[:, 3:].clamp(min=1e-3)
    return (torch.cat([color.clamp(0, 1), half[:, 3:]], 1) * 255).round().to(torch.uint8)


def turn_hue(rgb: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Turn colours (B, 3, H, W) about the grey axis by (B,) rad; brightness stays."""
    cos, sin = torch.cos(angle), torch.sin(angle) / math.sqrt(3)
    third = (1 - cos) / 3
    rows = [
        torch.stack([third + cos, third - sin, third + sin], -1),
        torch.stack([third + sin, third + cos, third - sin], -1),
        torch.stack([third - sin, third + sin, third + cos], -1),
    ]
    return torch.einsum("bij,bjhw->bihw", torch.stack(rows, 1), rgb).clamp(0, 1)


def _homographies(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3) that take four points to four points, (B, 4, 2) each."""
    x, y = source[..., 0], source[..., 1]
    u, v = target[..., 0], target[..., 1]
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    first = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    second = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    system = torch.cat([first, second], 1)
    solved = torch.linalg.solve(system, torch.cat([u, v], 1)[..., None]).squeeze(-1)
    return torch.cat([solved, torch.ones_like(solved[:, :1])], 1).view(-1, 3, 3)
