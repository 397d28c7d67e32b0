"""Keypoints by a network: ALIKED and XFeat from kornia, with a fixed count of rows.

kornia's own forward passes give lists of different lengths, picture by picture; these are the same
blocks and parameter names with batched arithmetic of fixed shape, so that they can be exported.
Methods: Zhao et al., "ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable
Transformation" (2023); Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching"
(CVPR 2024).
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch)

# isort: split
from dataclasses import dataclass

import torch
from kornia.feature import ALIKED
from kornia.feature.aliked.aliked import DeformableConv2d
from kornia.feature.xfeat import XFeatModel
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import deform_conv2d

NMS_RADIUS_PX = 2  # both methods: a keypoint is the best of its 5 x 5 px
# Upstream takes peaks above 0.2, some 100 a picture of 320 px; weaker ones still serve dim and
# blurred crops, and below 0.02 lie those of a blank sheet.
ALIKED_MIN_SCORE = 0.02
PEAK_TEMPERATURE = 0.1  # ALIKED's soft-argmax, which places a peak between pixels
XFEAT_MIN_SCORE = 0.05  # of XFeat's own detection


@dataclass(frozen=True, slots=True)
class KeypointsSpec:
    """The numbers that the architecture is built from.

    architecture: "xfeat", or a name of kornia's ALIKED ("aliked-n16", …).
    count: rows a picture, found or not.
    """

    architecture: str = "aliked-n16"
    descriptor_dim: int = 128
    count: int = 512


class AlikedKeypoints(nn.Module):
    """Pictures to keypoints, by ALIKED."""

    def __init__(self, spec: KeypointsSpec) -> None:
        super().__init__()
        self.spec = spec
        self.net = ALIKED(spec.architecture)
        for block in (self.net.block3, self.net.block4):
            block.conv1, block.conv2 = _Deformable(block.conv1), _Deformable(block.conv2)
        radius = NMS_RADIUS_PX
        steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
        grid_y, grid_x = torch.meshgrid(steps, steps, indexing="ij")
        window_xy = torch.stack([grid_x.flatten(), grid_y.flatten()], -1)  # (25, 2) px
        self.register_buffer("window_xy", window_xy, persistent=False)

    window_xy: Tensor

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give `count` keypoints a picture, the strongest first.

        images: (B, 3, H, W) float32 RGB 0..1, H and W multiples of 32.
        sizes: (B, 2) float32, width and height px of the part that shows something.
        Returns positions (B, count, 2) px, scores (B, count), 0 where there are no more, and
        descriptors (B, count, D) of unit length.
        """
        features, score_map = self.net.extract_dense_map(images)
        ranking = score_map * (score_map > ALIKED_MIN_SCORE)
        scores, index = strongest_peaks(score_map, ranking, sizes, self.spec.count)
        width = images.shape[-1]
        at_xy = pixel_xy(index, width)
        peak = at_xy + self._within_pixel(score_map, index, width)
        return peak + 0.5, scores, self._describe(features, peak)

    def _within_pixel(self, score_map: Tensor, index: Tensor, width: int) -> Tensor:
        """(B, count, 2) px: the centre of gravity of each peak's 5 x 5 px."""
        steps = (self.window_xy[:, 1] * width + self.window_xy[:, 0]).long()
        flat = score_map.flatten(1)
        around = (index[..., None] + steps).clamp(min=0).minimum(_last(flat)).flatten(1)
        window = flat.gather(1, around).reshape(*index.shape, len(steps))
        window = window - window.amax(-1, keepdim=True)
        return functional.softmax(window / PEAK_TEMPERATURE, -1) @ self.window_xy

    def _describe(self, features: Tensor, at_xy: Tensor) -> Tensor:
        """(B, count, D): ALIKED's deformable descriptors; at_xy counts pixel centres from 0."""
        head = self.net.desc_head
        channels, _, width = features.shape[1:]
        batch, count = at_xy.shape[:2]
        size = size_of(features)
        corner = (at_xy.floor() - 1).clamp(min=0).minimum(size - 1 - head.kernel_size).long()
        side = torch.arange(head.kernel_size, device=at_xy.device)
        rows = corner[..., 1, None, None] + side[:, None]
        columns = corner[..., 0, None, None] + side[None, :]
        around = (rows * width + columns).reshape(batch, 1, -1).expand(-1, channels, -1)
        patches = features.flatten(2).gather(2, around)
        patches = patches.reshape(batch, channels, count, head.kernel_size, head.kernel_size)
        patches = patches.transpose(1, 2).flatten(0, 1)
        offsets = head.offset_conv(patches).reshape(batch, count, 2, head.n_pos)
        most = size.amax() / 4
        offsets = offsets.maximum(-most).minimum(most).transpose(2, 3)
        grid = 2 * (at_xy[:, :, None] + offsets) / (size - 1) - 1
        sampled = functional.grid_sample(features, grid, mode="bilinear", align_corners=True)
        sampled = sampled.transpose(1, 2).flatten(0, 1)[..., None]  # (B * count, C, positions, 1)
        sampled = functional.selu(head.sf_conv(sampled)).squeeze(-1)
        joined = torch.einsum("ncp,pcd->nd", sampled, head.agg_weights)
        return functional.normalize(joined, dim=-1).reshape(batch, count, -1)


class _Deformable(nn.Module):
    """kornia's deformable convolution, computed by torchvision: kornia's own exports the size of
    the traced picture into the network.
    """

    def __init__(self, block: DeformableConv2d) -> None:
        super().__init__()
        self.offset_conv, self.regular_conv = block.offset_conv, block.regular_conv

    def forward(self, x: Tensor) -> Tensor:
        most = size_of(x).amax() / 4
        offset = self.offset_conv(x).maximum(-most).minimum(most)
        weight, bias = self.regular_conv.weight, self.regular_conv.bias
        padding = self.regular_conv.padding
        result: Tensor = deform_conv2d(x, offset, weight, bias, padding=padding)
        return result


class XFeatKeypoints(nn.Module):
    """Pictures to keypoints, by XFeat; arguments and results are those of AlikedKeypoints."""

    def __init__(self, spec: KeypointsSpec) -> None:
        super().__init__()
        self.spec = spec
        self.net = XFeatModel()

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features, cells, reliability = self.net(images)
        heat = functional.pixel_shuffle(functional.softmax(cells, 1)[:, :64], 8)
        ranking = heat * functional.interpolate(
            reliability, scale_factor=8.0, mode="bilinear", align_corners=False
        )
        ranking = ranking * (heat > XFEAT_MIN_SCORE)
        scores, index = strongest_peaks(heat, ranking, sizes, self.spec.count)
        at_xy = pixel_xy(index, images.shape[-1])
        descriptors = sample_features(features, at_xy, size_of(images))
        return at_xy + 0.5, scores, descriptors


def sample_features(features: Tensor, at_xy: Tensor, size: Tensor) -> Tensor:
    """Give XFeat's descriptors of points: (B, N, D) of unit length.

    features: (B, D, h, w). at_xy: (B, N, 2) px, pixel centres from 0. size: (2,) width and height
    px of the pictures.
    """
    # The trained weights expect this grid: spread by the last pixel, read by the pixels' edges.
    grid = (2 * at_xy / (size - 1) - 1)[:, :, None]
    sampled = functional.grid_sample(
        functional.normalize(features, dim=1), grid, mode="bicubic", align_corners=False
    )
    return functional.normalize(sampled.squeeze(-1).transpose(1, 2), dim=-1)


def build_keypoints(spec: KeypointsSpec) -> AlikedKeypoints | XFeatKeypoints:
    """Give the network of this spec with fresh weights, in evaluation mode.

    ValueError for an architecture that is neither XFeat nor one of kornia's ALIKED.
    """
    network = XFeatKeypoints(spec) if spec.architecture == "xfeat" else AlikedKeypoints(spec)
    return network.eval()


def strongest_peaks(
    heat: Tensor, ranking: Tensor, sizes: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Give the `count` best local maxima of a map: (B, count) ranking, 0 where there are no more,
    and (B, count) int64 their pixels, row by row.

    heat: (B, 1, H, W), whose maxima count; ranking: (B, 1, H, W) above 0. sizes: as in forward;
    what lies outside of them, or nearer to their border than the radius, is left out.
    """
    radius = NMS_RADIUS_PX
    is_peak = heat == functional.max_pool2d(heat, 2 * radius + 1, stride=1, padding=radius)
    height, width = heat.shape[-2:]
    x = torch.arange(width, device=heat.device)
    y = torch.arange(height, device=heat.device)
    in_x = (x >= radius) & (x < sizes[:, :1] - radius)
    in_y = (y >= radius) & (y < sizes[:, 1:] - radius)
    inside = in_y[:, None, :, None] & in_x[:, None, None, :]
    values, index = torch.topk((ranking * (is_peak & inside)).flatten(1), count)
    return values, index


def pixel_xy(index: Tensor, width: int) -> Tensor:
    """(B, N, 2) float32: column and row of each pixel number."""
    row = torch.div(index, width, rounding_mode="floor")
    return torch.stack([index - row * width, row], -1).float()


def size_of(maps: Tensor) -> Tensor:
    """(2,) float32: width and height of (B, C, H, W); as a tensor, which an export keeps free."""
    height, width = maps.shape[-2:]
    return torch.stack([torch.as_tensor(width), torch.as_tensor(height)]).float().to(maps.device)


def _last(flat: Tensor) -> Tensor:
    return torch.as_tensor(flat.shape[1] - 1, device=flat.device)
