"""What a cheap camera does to a batch of pictures, on the device: light, colour, blur, noise,
compression."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

# JPEG's tables for brightness and colour at quality 50 (ITU T.81, annex K), which each quality
# scales.
_BRIGHT_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def camera_effects(images: torch.Tensor, rng: torch.Generator, hard: float) -> torch.Tensor:
    """Give the pictures (B, 3, S, S) float32 0..1 as a poor indoor camera would; hard: 0 to 1."""
    count, side, device = len(images), images.shape[-1], images.device

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        drawn = torch.rand((count, *(shape or (1, 1, 1))), device=device, generator=rng)
        return drawn * (high - low) + low

    def normal(scale: float, channels: int = 1) -> torch.Tensor:
        return torch.randn((count, channels, 1, 1), device=device, generator=rng) * scale

    strength = uniform(0.3, 1.0) * hard
    light = (smooth_noise(rng, (count, 1), side, 2) + 0.5).clamp(0, 1) * uniform(0, 0.6) * strength
    light = light + 1 - strength * 0.15
    gain = 1 + strength * (normal(0.2) + normal(0.07, 3))
    out = (images + strength * normal(12 / 255)) * light * gain
    contrast = torch.where(uniform(0, 1) < 0.5, 1 + strength * uniform(-0.35, 0.25), 1.0)
    out = ((out - 0.5) * contrast + 0.5).clamp(1e-4, 1)
    gamma = torch.where(uniform(0, 1) < 0.3, torch.exp(strength * normal(0.3)), 1.0)
    out = out**gamma
    grey = uniform(0, 1) < 0.04  # a night camera
    out = torch.where(grey, out.mean(1, keepdim=True), out)
    out = _blurred(out, rng, strength)
    noise = torch.randn(out.shape, device=device, generator=rng) * strength * uniform(0, 10 / 255)
    out = torch.where(uniform(0, 1) < 0.7, out + noise, out).clamp(0, 1)
    quality = (95 - strength * uniform(0, 65)).clamp(10, 95)
    return torch.where(uniform(0, 1) < 0.7, compressed(out, quality), out).clamp(0, 1)


def smooth_noise(
    rng: torch.Generator, shape: tuple[int, int], side: int, cells: int
) -> torch.Tensor:
    """(B, C, side, side) about -0.5..0.5, its bumps 1/cells of the picture."""
    coarse = torch.rand((*shape, cells + 1, cells + 1), device=rng.device, generator=rng) - 0.5
    return functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)


def _blurred(images: torch.Tensor, rng: torch.Generator, strength: torch.Tensor) -> torch.Tensor:
    """Out of focus, moved, or coarser than they are large: each of these in some of the views."""
    count, side, device = len(images), images.shape[-1], images.device
    kind = torch.rand(count, device=device, generator=rng)
    amount = strength.flatten() * torch.rand(count, device=device, generator=rng) * side / 128
    offsets = torch.arange(-4, 5, device=device).float()
    # Out of focus: a Gaussian in all directions. Moved: a long one along a line, almost none
    # across.
    moved = kind > 0.65
    angle = torch.rand(count, device=device, generator=rng) * math.pi
    wide = torch.where(moved, 0.4 + amount * 1.4, 0.3 + amount * 0.9).clamp(max=3.0)
    narrow = torch.where(moved, torch.full_like(wide, 0.3), wide)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    exponent = (along / wide[:, None, None]) ** 2 + (across / narrow[:, None, None]) ** 2
    kernels = torch.exp(-exponent / 2)
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    chosen = ((kind < 0.3) | (kind > 0.85)).nonzero().squeeze(1)
    out = images.clone()
    if len(chosen):
        weights = kernels[chosen].repeat_interleave(3, 0)[:, None]
        padded = functional.pad(images[chosen], (4, 4, 4, 4), mode="replicate")
        flat = padded.reshape(1, -1, side + 8, side + 8)
        out[chosen] = functional.conv2d(flat, weights, groups=len(weights)).view(-1, 3, side, side)
    for factor, low in ((0.72, 0.3), (0.5, 0.4), (0.36, 0.48)):
        coarse = ((kind >= low) & (kind < low + 0.08)).nonzero().squeeze(1)
        if len(coarse):
            small = functional.interpolate(images[coarse], scale_factor=factor, mode="area")
            out[coarse] = functional.interpolate(small, (side, side), mode="bilinear")
    return out


def compressed(images: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Round the pictures as JPEG does, without its chroma subsampling: (B, 3, S, S), S a multiple
    of 8.

    quality: (B, 1, 1, 1), 1 to 100.
    """
    count, _, side, _ = images.shape
    device, blocks = images.device, side // 8
    to_ycc = torch.tensor(_TO_YCC, device=device)
    place = torch.arange(8, device=device).float()
    dct = torch.cos((2 * place[None] + 1) * place[:, None] * math.pi / 16) / 2
    dct[0] /= math.sqrt(2)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    table = (torch.tensor(_BRIGHT_TABLE, device=device).float() * scale.view(-1, 1, 1)).clamp(
        1, 255
    )
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, images * 255) - torch.tensor(
        (128.0, 0, 0), device=device
    ).view(1, 3, 1, 1)
    tiles = ycc.view(count, 3, blocks, 8, blocks, 8)
    spectrum = torch.einsum("ui,bchiwj,vj->bchuwv", dct, tiles, dct)
    steps = table[:, None, None, :, None, :]
    rounded = torch.round(spectrum / steps) * steps
    tiles = torch.einsum("ui,bchuwv,vj->bchiwj", dct, rounded, dct)
    ycc = tiles.reshape(count, 3, side, side) + torch.tensor((128.0, 0, 0), device=device).view(
        1, 3, 1, 1
    )
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_ycc), ycc) / 255
