"""The spatio-temporal transformer of Genie (section 2 and figure 4 of the paper).

A block attends within each frame (1 x H x W), then along time at each place (T x 1 x 1, causal), and
then has one feed-forward layer; the usual one after the spatial attention is left out, which the
paper found to help. The cost grows with T, not with its square as in full attention.

Where the paper is silent: RMS norms before each layer, RMS norms of queries and keys ("QK norm",
which it names for the dynamics model only), a feed-forward layer four times as wide with GELU, and
learned positions: one vector a patch and one a frame, added once at the entrance.
"""

# ruff: noqa: N803, N806, N812  axes are capitals at the end of a name; F is torch's functional everywhere

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class STShape:
    """The shape of a stack.

    Attributes:
        layers: attention layers; two make a block. So read, the paper's tables give the sizes it
            reports (0.93 to 0.99 of them, row by row); a whole block a layer gives twice as much.
        width: D.
        heads: attention heads.
        head_dim: width of a head's queries, keys and values; `heads * head_dim` may differ from D.
    """

    layers: int
    width: int
    heads: int
    head_dim: int = 64


class STTransformer(nn.Module):
    """A stack of blocks over `[B, T, N, D]`: positions added, blocks, a last norm.

    Args:
        num_patches: N.
        frames: the largest T.
    """

    def __init__(self, shape: STShape, num_patches: int, frames: int) -> None:
        super().__init__()
        self.patch_position_ND = nn.Parameter(torch.randn(num_patches, shape.width) * 0.02)
        self.frame_position_TD = nn.Parameter(torch.randn(frames, shape.width) * 0.02)
        self.blocks = nn.ModuleList(STBlock(shape) for _ in range(shape.layers // 2))
        self.norm = nn.RMSNorm(shape.width)

    def forward(self, x_BTND: Tensor) -> Tensor:
        """Same shape out; frame t depends on frames 0 to t only."""
        frames = x_BTND.shape[1]
        x_BTND = x_BTND + self.patch_position_ND + self.frame_position_TD[:frames, None]
        for block in self.blocks:
            x_BTND = block(x_BTND)
        out_BTND: Tensor = self.norm(x_BTND)
        return out_BTND


class STBlock(nn.Module):
    """Spatial attention, causal temporal attention, feed-forward; each with a residual."""

    def __init__(self, shape: STShape) -> None:
        super().__init__()
        self.space = Attention(shape, causal=False)
        self.time = Attention(shape, causal=True)
        self.feed_forward = nn.Sequential(
            nn.RMSNorm(shape.width),
            nn.Linear(shape.width, 4 * shape.width),
            nn.GELU(),
            nn.Linear(4 * shape.width, shape.width),
        )

    def forward(self, x_BTND: Tensor) -> Tensor:
        """Same shape out."""
        x_BTND = x_BTND + self.space(x_BTND)
        x_BTND = x_BTND + self.time(x_BTND.transpose(1, 2)).transpose(1, 2)
        out_BTND: Tensor = x_BTND + self.feed_forward(x_BTND)
        return out_BTND


class Attention(nn.Module):
    """Multi-head self-attention along the last axis but one, with a norm before it."""

    def __init__(self, shape: STShape, *, causal: bool) -> None:
        super().__init__()
        inner = shape.heads * shape.head_dim
        self.heads = shape.heads
        self.causal = causal
        self.norm = nn.RMSNorm(shape.width)
        self.qkv = nn.Linear(shape.width, 3 * inner, bias=False)
        self.query_norm = nn.RMSNorm(shape.head_dim)
        self.key_norm = nn.RMSNorm(shape.head_dim)
        self.out = nn.Linear(inner, shape.width, bias=False)

    def forward(self, x_ABSD: Tensor) -> Tensor:
        """`[A, B, S, D]` -> the same; positions S attend to each other, those of A and B never."""
        batch, rows, length, _ = x_ABSD.shape
        qkv: Tensor = self.qkv(self.norm(x_ABSD))
        q, k, v = qkv.reshape(batch * rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(self.query_norm(q), self.key_norm(k), v, is_causal=self.causal)
        out_ABSD: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, rows, length, -1))
        return out_ABSD
