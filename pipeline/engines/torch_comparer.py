"""The comparer: whether a view and a crop laid over it show the same print."""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

ARCHITECTURE = "siamese-correlation"


@dataclass(frozen=True, slots=True)
class ComparerSpec:
    """Numbers that build the network.

    side_px: of the square that both pictures are stretched to. width: channels of its stages.
    reach: cells (of 4 px) that the print may be off its place.
    """

    side_px: int = 96
    width: tuple[int, int, int] = (24, 48, 64)
    reach: int = 2


class Comparer(nn.Module):
    """Both pictures through one encoder; how well each place finds itself again nearby; a verdict.

    The local correlation is that of Dosovitskiy et al., "FlowNet" (ICCV 2015). Where many places
    are alike and one is not, the worst places must count: beside the mean, the largest answers of
    all cells are kept.
    """

    def __init__(self, spec: ComparerSpec) -> None:
        super().__init__()
        self.spec = spec
        first, second, third = spec.width
        self.encoder = nn.Sequential(
            _stage(3, first, 2),
            _stage(first, first, 1),
            _stage(first, second, 2),
            nn.Conv2d(second, second, 3, 1, 1),
        )
        n_shifts = (2 * spec.reach + 1) ** 2
        self.head = nn.Sequential(
            _stage(n_shifts + 3 * second + 1, third, 1, 1),
            _stage(third, third, 2),
            _stage(third, third, 1),
            _stage(third, third, 1),
        )
        self.verdict = nn.Sequential(nn.Linear(3 * third, third), nn.ReLU(), nn.Linear(third, 1))

    def forward(self, views: Tensor, crops: Tensor, inside: Tensor) -> Tensor:
        """Return log-odds (B,) float32 that the pictures of a pair show the same.

        views, crops: (B, 3, side, side) float32 RGB 0..1, aligned. inside: (B, 1, side, side)
        float32, 1 where the crop was, 0 beyond its border.
        """
        n_pairs = views.shape[0]
        pictures = torch.cat([_evened(views, inside), _evened(crops, inside)])
        found = self.encoder(pictures)
        view, crop = found[:n_pairs], found[n_pairs:]
        seen = functional.avg_pool2d(inside, 4)
        cells = torch.cat(
            [self._correlations(view, crop), (view - crop).abs() * seen, view, crop, seen], 1
        )
        cells = self.head(cells).flatten(2)
        worst = cells.topk(6, dim=2).values
        pooled = torch.cat([cells.mean(2), worst[:, :, 0], worst.mean(2)], 1)
        verdict: Tensor = self.verdict(pooled)
        return verdict[:, 0]

    def _correlations(self, view: Tensor, crop: Tensor) -> Tensor:
        """(B, shifts, h, w): cosine of each cell of the view with the crop's cells around it."""
        reach = self.spec.reach
        height, width = view.shape[2:]
        view = functional.normalize(view, dim=1)
        crop = functional.pad(functional.normalize(crop, dim=1), (reach, reach, reach, reach))
        shifts = range(2 * reach + 1)
        return torch.stack(
            [
                (view * crop[:, :, dy : dy + height, dx : dx + width]).sum(1)
                for dy in shifts
                for dx in shifts
            ],
            1,
        )


def build_comparer(spec: ComparerSpec) -> Comparer:
    """Build the network with fresh weights."""
    return Comparer(spec)


def _stage(n_in: int, n_out: int, stride: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


def _evened(pictures: Tensor, inside: Tensor) -> Tensor:
    """The pictures without their own light and contrast, 0 outside."""
    count = inside.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (pictures * inside).sum((2, 3), keepdim=True) / count
    squared = ((pictures - mean) ** 2 * inside).sum((1, 2, 3), keepdim=True) / (3 * count)
    return (pictures - mean) / (squared.sqrt() + 0.05) * inside
