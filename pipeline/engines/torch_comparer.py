"""The comparer: whether a view and a crop laid over it show the same print."""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

ARCHITECTURE = "local-evidence"

# Windows, in cells of 2 px, over which pictures are correlated.
CROP_WINDOWS, TWIN_WINDOWS, SEARCH_WINDOW = (3, 9), (5, 11), 5
N_EVIDENCE = 3 * (len(CROP_WINDOWS) + 1 + 2 + 1 + 1 + 2 * len(TWIN_WINDOWS)) + 2
N_WORST = 6  # cells that count by themselves
FLAT_VARIANCE = (4.6e-4, 3e-4, 3e-4)  # below it a window counts as flat: it agrees with anything
# RGB to lightness and two colour axes.
OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (1.0, -1.0, 0.0), (-0.5, -0.5, 1.0))


@dataclass(frozen=True, slots=True)
class ComparerSpec:
    """Numbers that build the network.

    side_px: of the square that the pictures are stretched to in use; any multiple of 8 does.
    heads: how many judge the evidence. width: channels of a head's stages.
    """

    side_px: int = 160
    heads: int = 4
    width: tuple[int, int, int] = (32, 40, 48)


class Comparer(nn.Module):
    """What measured local evidence says of each place, as several heads judge it.

    The evidence is measured, not learnt: how view, crop and near-twin correlate in windows of
    lightness and colour, as the structural similarity of Wang et al., "Image Quality Assessment"
    (TIP 2004), does. It is the same for made-up packs and for real ones, so that what is learnt
    on the first holds for the second, more than what an encoder of pixels learns (measured in
    weights/magpie-comparer.md). Heads that learnt apart err apart: their mean is better than one
    of them (Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles", NeurIPS 2017), and the evidence, most of the cost, is measured once.
    """

    opponent: Tensor
    flat: Tensor

    def __init__(self, spec: ComparerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.heads = nn.ModuleList(_Head(spec.width) for _ in range(spec.heads))
        self.register_buffer("opponent", torch.tensor(OPPONENT)[..., None, None], persistent=False)
        flat = torch.tensor(FLAT_VARIANCE).view(1, 3, 1, 1)
        self.register_buffer("flat", flat, persistent=False)

    def forward(
        self, views: Tensor, crops: Tensor, inside: Tensor, twins: Tensor, twin_inside: Tensor
    ) -> Tensor:
        """Return log-odds (B,) float32 that view and crop of a pair show the same.

        views, crops, twins: (B, 3, side, side) float32 RGB 0..1, aligned; a twin is the picture
        of another item that is most like the view. inside, twin_inside: (B, 1, side, side)
        float32, 1 where the crop or the twin is, 0 elsewhere: everywhere without a twin.
        """
        return self.judge(views, crops, inside, twins, twin_inside).mean(0)

    def judge(
        self, views: Tensor, crops: Tensor, inside: Tensor, twins: Tensor, twin_inside: Tensor
    ) -> Tensor:
        """Return what each head says: (heads, B) float32; the arguments are forward's."""
        # Variances are small differences of large numbers: never in bf16.
        with torch.no_grad(), torch.autocast(views.device.type, enabled=False):
            seen = functional.avg_pool2d(inside, 2)
            evidence, own = self._evidence(views, crops, inside, twins, twin_inside)
            own = functional.avg_pool2d(own * seen, 4).flatten(2) + 1e-3
            is_seen = (seen > 0.1).to(seen.dtype)
        return torch.stack([head(evidence, is_seen, own) for head in self.heads])

    def _evidence(
        self, views: Tensor, crops: Tensor, inside: Tensor, twins: Tensor, twin_inside: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, N_EVIDENCE, side / 2, side / 2), and what each place counts as the view's own print:
        (B, 1, side / 2, side / 2), 1 where the near-twin has nothing of it.
        """
        views, crops, twins = (
            functional.conv2d(pictures, self.opponent) for pictures in (views, crops, twins)
        )
        both = inside * twin_inside
        seen, has_twin, has_both = (
            functional.avg_pool2d(mask, 2) for mask in (inside, twin_inside, both)
        )
        of_crop = _moments(views, crops, inside)
        of_twin, twin_of_crop = _moments(views, twins, twin_inside), _moments(twins, crops, both)
        deviations = [8 * part.sqrt() for part in _averaged(of_crop, CROP_WINDOWS[0]).variances]
        light = _evened(views, inside) - _evened(crops, inside)
        found = [self._correlation(of_crop, window) for window in CROP_WINDOWS]
        shared = [self._correlation(of_twin, window) * has_twin for window in TWIN_WINDOWS]
        own = 1 - shared[-1].amin(1, keepdim=True).clamp(0, 1)
        evidence = torch.cat(
            [
                *found,
                found[-1] * own,
                *deviations,
                self._found_nearby(views * inside, crops * inside, seen),
                functional.avg_pool2d(light, 4, 2, 1).clamp(-3, 3),
                *(self._correlation(twin_of_crop, w) * has_both for w in TWIN_WINDOWS),
                *shared,
                seen,
                has_twin,
            ],
            1,
        )
        return evidence, own**2

    def _correlation(self, moments: Tensor, window: int) -> Tensor:
        means = _averaged(moments, window)
        first, second = means.variances
        return self._ratio(means.covariance, first, second)

    def _ratio(self, covariance: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return (covariance + self.flat) / ((first * second + 1e-12).sqrt() + self.flat)

    def _found_nearby(self, views: Tensor, crops: Tensor, seen: Tensor) -> Tensor:
        """The best correlation of each cell with the crop moved by a cell in any direction."""
        views, crops = functional.avg_pool2d(views, 2), functional.avg_pool2d(crops, 2)
        weight = _box(seen, SEARCH_WINDOW).clamp(min=1e-3)
        squares = (
            _box(torch.cat([views, crops, views * views, crops * crops], 1), SEARCH_WINDOW) / weight
        )
        view_mean, crop_mean, view_square, crop_square = squares.chunk(4, 1)
        variance = (view_square - view_mean * view_mean).clamp(min=0)
        crop_variance = (crop_square - crop_mean * crop_mean).clamp(min=0)
        moved = _moved(torch.cat([crops, crop_mean, crop_variance], 1))
        crop, mean, variances = moved[:, :, :3], moved[:, :, 3:6], moved[:, :, 6:]
        products = (views[:, None] * crop).flatten(1, 2)
        found = (_box(products, SEARCH_WINDOW) / weight).reshape(mean.shape)
        covariance = found - view_mean[:, None] * mean
        return self._ratio(covariance, variance[:, None], variances).amax(1)


class _Head(nn.Module):
    """A verdict in which, beside the mean over the cells, the worst ones count by themselves, and
    the mean over the view's own print: what its near-twin does not share.
    """

    def __init__(self, width: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = width
        self.join = _stage(N_EVIDENCE, first, 1, 1)
        self.cells = nn.Sequential(
            _stage(first, second, 2),
            _stage(second, third, 1),
            _stage(third, third, 2),
            _stage(third, third, 1),
        )
        self.verdict = nn.Sequential(nn.Linear(4 * third, third), nn.ReLU(), nn.Linear(third, 1))

    def forward(self, evidence: Tensor, is_seen: Tensor, own: Tensor) -> Tensor:
        """Return log-odds (B,); own: (B, 1, cells), what each counts as the view's own print."""
        cells = self.cells(self.join(evidence) * is_seen).flatten(2)
        worst = cells.topk(N_WORST, dim=2).values
        of_own = (cells * own).sum(2) / own.sum(2)
        pooled = torch.cat([cells.mean(2), worst[:, :, 0], worst.mean(2), of_own], 1)
        verdict: Tensor = self.verdict(pooled)
        return verdict[:, 0]


@dataclass(frozen=True, slots=True)
class _Means:
    """Of two pictures within windows: (B, 3, h, w) each."""

    variances: tuple[Tensor, Tensor]
    covariance: Tensor


def _moments(first: Tensor, second: Tensor, inside: Tensor) -> Tensor:
    """(B, 16, h / 2, w / 2): sums whose quotients are means, squares and products of pictures."""
    first, second = first * inside, second * inside
    parts = [inside, first, second, first * first, second * second, first * second]
    return functional.avg_pool2d(torch.cat(parts, 1), 2)


def _averaged(moments: Tensor, window: int) -> _Means:
    boxed = _box(moments, window)
    means = boxed[:, 1:] / boxed[:, :1].clamp(min=1e-3)
    first, second, first_square, second_square, product = means.chunk(5, 1)
    variances = (
        (first_square - first * first).clamp(min=0),
        (second_square - second * second).clamp(min=0),
    )
    return _Means(variances, product - first * second)


def _box(pictures: Tensor, window: int) -> Tensor:
    """The mean over a window round each place, 0 beyond the border.

    As convolutions of single columns and rows: torch's own pooling takes five times as long.
    """
    n = pictures.shape[1]
    ones = torch.full((n, 1, window, 1), 1 / window, dtype=pictures.dtype, device=pictures.device)
    down = functional.conv2d(pictures, ones, padding=(window // 2, 0), groups=n)
    return functional.conv2d(down, ones.transpose(2, 3), padding=(0, window // 2), groups=n)


def _moved(pictures: Tensor) -> Tensor:
    """(B, 9, C, h, w): the pictures moved by up to one cell in every direction, 0 from outside.

    All at once: a step of the search by itself costs an engine more in calls than in numbers.
    """
    height, width = pictures.shape[2:]
    padded = functional.pad(pictures, (1, 1, 1, 1))
    return torch.stack(
        [
            padded[:, :, down : down + height, right : right + width]
            for down in range(3)
            for right in range(3)
        ],
        1,
    )


def _evened(pictures: Tensor, inside: Tensor) -> Tensor:
    """The pictures without their own light and contrast, by channel, 0 outside."""
    count = inside.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (pictures * inside).sum((2, 3), keepdim=True) / count
    variance = ((pictures - mean) ** 2 * inside).sum((2, 3), keepdim=True) / count
    return (pictures - mean) / (variance.sqrt() + 0.03) * inside


def build_comparer(spec: ComparerSpec) -> Comparer:
    """Build the network with fresh weights."""
    return Comparer(spec)


def _stage(n_in: int, n_out: int, stride: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )
