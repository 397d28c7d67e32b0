"""The correspondence network: LightGlue's blocks from kornia over keypoints of one kind.

kornia's own forward has no mask outside its compiled path, its masked attention gives NaN gradients
for padded rows, and engines spend a quarter of their time on how it turns queries and keys, so the
forward pass here is ours: the same blocks and parameter names, with padded keypoints left out
everywhere. Method: Lindenberger et al., "LightGlue: Local Feature
Matching at Light Speed" (ICCV 2023), without early stopping and pruning (fixed-size, exportable).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from kornia.feature import LightGlue
from torch import Tensor, nn
from torch.nn import functional

ARCHITECTURE = "lightglue-rootsift"
HIDDEN = -1e4  # added to the logits of padded keypoints; finite, so that an empty image is no NaN
ORIENTATION_COLUMN = 3
# log2(scale / half image side) of SIFT on pictures of 100-400 px lies in about -6.5..-1.5
LOG_SCALE_CENTRE = -4.0
LOG_SCALE_SPREAD = 2.0
UPSTREAM_SIDE_PX = 1024  # longer side of the pictures that the upstream SIFT weights were made on


@dataclass(frozen=True, slots=True)
class LightGlueSpec:
    """The architecture's numbers, as stored beside the weights.

    keypoints: what it was trained on: "rootsift", "aliked" or "xfeat".
    geometry: what it is told of a keypoint beside its position: "log_scale" and orientation (our
    own), "raw_scale" and orientation (upstream's SIFT), or "position" alone.
    """

    input_dim: int = 128
    descriptor_dim: int = 96
    n_layers: int = 4
    num_heads: int = 2
    keypoints: str = field(default="rootsift", metadata={"later": True})
    geometry: str = field(default="log_scale", metadata={"later": True})


class LightGlueMatcher(nn.Module):
    """Probabilities that keypoints of two pictures show the same point.

    keypoints0, keypoints1:     (B, N, 4) float32: x, y px, scale px (0: padding), angle radian.
    descriptors0, descriptors1: (B, N, input_dim) float32 unit vectors.
    sizes0, sizes1:             (B, 2) float32, the pictures' width and height px.
    Returns (B, N, N) float32, 0..1: rows keypoints0, columns keypoints1, padding 0.
    """

    def __init__(self, spec: LightGlueSpec) -> None:
        super().__init__()
        if spec.geometry not in ("log_scale", "raw_scale", "position"):
            raise ValueError(
                f"geometry must be log_scale, raw_scale or position, got '{spec.geometry}'"
            )
        self.spec = spec
        self.net = LightGlue(
            features=None,
            input_dim=spec.input_dim,
            descriptor_dim=spec.descriptor_dim,
            n_layers=spec.n_layers,
            num_heads=spec.num_heads,
            add_scale_ori=spec.geometry != "position",
            depth_confidence=-1,
            width_confidence=-1,
            flash=False,
        )

    def forward(
        self,
        keypoints0: Tensor,
        keypoints1: Tensor,
        descriptors0: Tensor,
        descriptors1: Tensor,
        sizes0: Tensor,
        sizes1: Tensor,
    ) -> Tensor:
        states, hidden = self._run(
            keypoints0, keypoints1, descriptors0, descriptors1, sizes0, sizes1
        )
        last = len(states) - 1
        pairs, _, _ = self._assign(last, states[last], hidden)
        return pairs.exp() * _visible_pairs(hidden)

    def layer_log_probabilities(self, *arrays: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """What training supervises, per layer; the arguments are those of `forward`.

        Returns (pairs, unmatched0, unmatched1): (B, N, N), (B, N), (B, N) log probabilities.
        """
        states, hidden = self._run(*arrays)
        return [self._assign(i, state, hidden) for i, state in enumerate(states)]

    def _run(
        self, kpts0: Tensor, kpts1: Tensor, desc0: Tensor, desc1: Tensor, wh0: Tensor, wh1: Tensor
    ) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]:
        """Descriptors of both pictures after each layer, and (B, N) logit terms of padding."""
        batch = kpts0.shape[0]
        # Both pictures pass self-attention as one batch: half the calls.
        kpts, sizes = torch.cat([kpts0, kpts1]), torch.cat([wh0, wh1])
        hidden = (kpts[..., 2] <= 0).to(kpts.dtype) * HIDDEN
        angles = self.net.posenc.Wr(normalise_geometry(kpts, sizes, self.spec.geometry))
        angles = angles.repeat_interleave(2, -1)[:, None]
        turn = angles.cos(), angles.sin()
        x = self.net.input_proj(torch.cat([desc0, desc1]))
        bias0, bias1 = hidden[:batch], hidden[batch:]
        states = []
        for layer in self.net.transformers:
            x = _self_attention(layer.self_attn, x, turn, hidden)
            x0, x1 = _cross_attention(layer.cross_attn, x[:batch], x[batch:], bias0, bias1)
            states.append((x0, x1))
            x = torch.cat([x0, x1])
        return states, (bias0, bias1)

    def _assign(
        self, layer: int, state: tuple[Tensor, Tensor], hidden: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log probabilities of pairs, and of each keypoint having no partner."""
        head = self.net.log_assignment[layer]
        x0, x1 = state
        similarity = head.final_proj(x0) @ head.final_proj(x1).transpose(1, 2) / head.dim**0.5
        z0, z1 = head.matchability(x0), head.matchability(x1)
        over1 = functional.log_softmax(similarity + hidden[1][:, None, :], 2)
        over0 = functional.log_softmax(similarity + hidden[0][:, :, None], 1)
        certainty = functional.logsigmoid(z0) + functional.logsigmoid(z1).transpose(1, 2)
        return (
            over1 + over0 + certainty,
            functional.logsigmoid(-z0.squeeze(-1)),
            functional.logsigmoid(-z1.squeeze(-1)),
        )


def build_lightglue(spec: LightGlueSpec) -> LightGlueMatcher:
    """The network with random weights, in evaluation mode."""
    return LightGlueMatcher(spec).eval()


def normalise_geometry(keypoints: Tensor, sizes: Tensor, geometry: str = "log_scale") -> Tensor:
    """(B, N, 4): x and y in -1..1 over the longer side, log scale about 0, angle radian.

    The scale is taken relative to the picture: SIFT's raw sizes (2 to 60 px) would make the
    positional encoding's cosines random. Upstream's weights were trained on the raw sizes
    ("raw_scale"), in pictures of 1024 px; "position" gives x and y alone: (B, N, 2).
    """
    half = sizes.amax(1)[:, None, None] / 2
    xy = (keypoints[..., :2] - sizes[:, None, :] / 2) / half
    if geometry == "position":
        return xy
    if geometry == "raw_scale":
        scale = keypoints[..., 2:3] * (UPSTREAM_SIDE_PX / 2) / half
        return torch.cat([xy, scale, keypoints[..., ORIENTATION_COLUMN:]], -1)
    relative = torch.log2(keypoints[..., 2:3].clamp(min=1e-3) / half)
    scale = (relative - LOG_SCALE_CENTRE) / LOG_SCALE_SPREAD
    return torch.cat([xy, scale, keypoints[..., ORIENTATION_COLUMN:]], -1)


def _visible_pairs(hidden: tuple[Tensor, Tensor]) -> Tensor:
    return (hidden[0] == 0).float()[:, :, None] * (hidden[1] == 0).float()[:, None, :]


def _self_attention(block: Any, x: Tensor, turn: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
    """kornia's SelfBlock with padded keypoints left out.

    turn: cosines and sines, (B, 1, N, head's numbers) each, that queries and keys are turned by in
    pairs (rotary encoding). The other number of each pair comes out of a projection of its own,
    whose weights are the first's in another order: to take pairs apart and join them again costs
    an engine more (256 keypoints: 28 ms a pair of pictures, so 21).
    """
    heads, dim = block.num_heads, block.embed_dim // block.num_heads

    def project(part: int, is_other: bool = False) -> Tensor:
        weight, offset = (
            values.reshape(heads, dim, 3, -1)[:, :, part]
            for values in (block.Wqkv.weight, block.Wqkv.bias)
        )
        if is_other:
            weight, offset = _other_of_pair(weight), _other_of_pair(offset)
        projected = functional.linear(x, weight.flatten(0, 1), offset.flatten())
        return projected.reshape(*x.shape[:2], heads, dim).transpose(1, 2)

    cosines, sines = turn
    query, key = (project(i) * cosines + project(i, is_other=True) * sines for i in (0, 1))
    logits = (query * dim**-0.5) @ key.transpose(-1, -2) + bias[:, None, None, :]
    message = functional.softmax(logits, -1) @ project(2)
    message = block.out_proj(message.transpose(1, 2).flatten(start_dim=-2))
    updated: Tensor = x + block.ffn(torch.cat([x, message], -1))
    return updated


def _other_of_pair(rows: Tensor) -> Tensor:
    """(heads, dim, n): of each pair of rows (a, b) the pair (-b, a), as a quarter turn makes it."""
    heads, dim, n = rows.shape
    first, second = rows.reshape(heads, dim // 2, 2, n).unbind(2)
    return torch.stack((-second, first), 2).reshape(heads, dim, n)


def _cross_attention(
    block: Any, x0: Tensor, x1: Tensor, bias0: Tensor, bias1: Tensor
) -> tuple[Tensor, Tensor]:
    """kornia's CrossBlock with padded keypoints left out of both directions."""

    def heads(t: Tensor) -> Tensor:
        batch, count, dim = t.shape
        return t.reshape(batch, count, block.heads, dim // block.heads).transpose(1, 2)

    qk0, qk1 = heads(block.to_qk(x0)), heads(block.to_qk(x1))
    v0, v1 = heads(block.to_v(x0)), heads(block.to_v(x1))
    logits = (qk0 * block.scale) @ qk1.transpose(-1, -2)
    m0 = functional.softmax(logits + bias1[:, None, None, :], -1) @ v1
    m1 = functional.softmax(logits.transpose(-1, -2) + bias0[:, None, None, :], -1) @ v0
    m0 = block.to_out(m0.transpose(1, 2).flatten(start_dim=-2))
    m1 = block.to_out(m1.transpose(1, 2).flatten(start_dim=-2))
    return x0 + block.ffn(torch.cat([x0, m0], -1)), x1 + block.ffn(torch.cat([x1, m1], -1))
