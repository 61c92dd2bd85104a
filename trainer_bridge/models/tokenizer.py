"""The VideoTokenizer: video to discrete codes and back (ST-ViViT, section 2 of the paper).

    video -> patches -> encoder -> codebook -> decoder -> patches -> video

Both halves are causal in time, so a frame's codes depend on no later frame, and a video can be
decoded frame by frame as the dynamics model invents it. Rows and columns are padded to whole patches
by repeating the edge, and cropped again: 160x90 in patches of 4 is 40 x 23 = 920 a frame, the number
that the paper's token counts imply.
"""

# ruff: noqa: N803, N806, N812  axes are capitals at the end of a name; F is torch's functional everywhere

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from trainer_bridge.models.losses import Losses, masked_mean
from trainer_bridge.models.quantizer import COMMITMENT, VectorQuantizer
from trainer_bridge.models.st_transformer import STShape, STTransformer


@dataclass(frozen=True)
class TokenizerShape:
    """The shape of a tokenizer, whatever the size of the video."""

    encoder: STShape
    decoder: STShape
    patch_px: int
    num_codes: int
    code_dim: int


class VideoTokenizer(nn.Module):
    """A VQ-VAE of video.

    Args:
        frames: the largest T.
        height: H, in pixels.
        width: W, in pixels.
        seed: see `VectorQuantizer`.
    """

    def __init__(self, shape: TokenizerShape, *, frames: int, height: int, width: int, seed: int) -> None:
        super().__init__()
        self.patch_px = shape.patch_px
        self.height, self.width = height, width
        self.rows, self.columns = -(-height // shape.patch_px), -(-width // shape.patch_px)
        num_patches, patch_dim = self.rows * self.columns, 3 * shape.patch_px**2
        self.embed = nn.Linear(patch_dim, shape.encoder.width)
        self.encoder = STTransformer(shape.encoder, num_patches, frames)
        self.to_code = nn.Linear(shape.encoder.width, shape.code_dim)
        self.quantizer = VectorQuantizer(shape.num_codes, shape.code_dim, seed)
        self.from_code = nn.Linear(shape.code_dim, shape.decoder.width)
        self.decoder = STTransformer(shape.decoder, num_patches, frames)
        self.to_pixels = nn.Linear(shape.decoder.width, patch_dim)

    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """Video in [0, 1] -> `code_idx` `[B, T, N]`, int64 in [0, K)."""
        return self.quantizer.nearest(self._latents(video_BTCHW))

    def decode(self, code_idx_BTN: Tensor) -> Tensor:
        """`code_idx` -> video `[B, T, 3, H, W]` in [0, 1]."""
        return self._pixels(self.quantizer.lookup(code_idx_BTN)).clamp(0, 1)

    def loss(self, video_BTCHW: Tensor, valid_BT: Tensor) -> Losses:
        """Mean square error of the valid frames' pixels, and the quantizer's two losses."""
        latents_BTNC = self._latents(video_BTCHW)
        quantized = self.quantizer(latents_BTNC, valid_BT[..., None].expand(latents_BTNC.shape[:-1]))
        error_BT = (self._pixels(quantized.codes) - video_BTCHW).square().mean(dim=(2, 3, 4))
        reconstruction = masked_mean(error_BT, valid_BT)
        total = reconstruction + quantized.codebook_loss + COMMITMENT * quantized.commitment_loss
        parts = {
            "reconstruction": reconstruction,
            "codebook": quantized.codebook_loss,
            "commitment": quantized.commitment_loss,
            "usage": quantized.usage,
            "perplexity": quantized.perplexity,
        }
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def _latents(self, video_BTCHW: Tensor) -> Tensor:
        latents_BTNC: Tensor = self.to_code(self.encoder(self.embed(self._patches(video_BTCHW))))
        return latents_BTNC

    def _patches(self, video_BTCHW: Tensor) -> Tensor:
        """Pixels in [0, 1] to `[B, T, N, 3 * patch * patch]` in [-0.5, 0.5]; N counts row by row."""
        batch, frames = video_BTCHW.shape[:2]
        right, down = self.columns * self.patch_px - self.width, self.rows * self.patch_px - self.height
        pictures = F.pad(video_BTCHW.flatten(0, 1) - 0.5, (0, right, 0, down), mode="replicate")
        patches = F.pixel_unshuffle(pictures, self.patch_px)  # [B * T, 3 * patch * patch, rows, columns]
        return patches.flatten(2).transpose(1, 2).reshape(batch, frames, self.rows * self.columns, -1)

    def _pixels(self, codes_BTNC: Tensor) -> Tensor:
        """The inverse of `_patches` after the decoder; not yet confined to [0, 1]."""
        batch, frames = codes_BTNC.shape[:2]
        patches: Tensor = self.to_pixels(self.decoder(self.from_code(codes_BTNC)))
        patches = patches.flatten(0, 1).transpose(1, 2).reshape(batch * frames, -1, self.rows, self.columns)
        pictures = F.pixel_shuffle(patches, self.patch_px)[..., : self.height, : self.width] + 0.5
        return pictures.reshape(batch, frames, 3, self.height, self.width)
