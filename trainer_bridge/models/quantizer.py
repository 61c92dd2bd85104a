"""Vector quantization (van den Oord et al. 2017, arXiv 1711.00937) with codes of unit length.

Latents and codes are compared by direction alone (Yu et al. 2022, arXiv 2110.04627, "ViT-VQGAN"),
which uses more of the codebook. The paper says "standard VQ-VAE" and gives no more; the commitment
weight is the one of 1711.00937. A code that no latent chose for `DEAD_AFTER_STEPS` steps becomes a
latent of the batch at hand, and so does, at the very first step, every code.
"""

# ruff: noqa: N806, N812  axes are capitals at the end of a name; F is torch's functional everywhere

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer_bridge.models.losses import masked_mean

COMMITMENT = 0.25
"""Weight of the commitment loss; the paper of VQ-VAE found 0.1 to 2.0 alike."""

DEAD_AFTER_STEPS = 10
"""A step has thousands of latents to choose a code; unchosen for this many, it will not be."""


@dataclass(frozen=True)
class Quantized:
    """What became of latents.

    Attributes:
        codes: the chosen codes `[..., C]`; their gradient goes to the latents unchanged.
        code_idx: their numbers `[...]`, int64 in [0, K).
        codebook_loss: mean square that draws the codes to the latents; a scalar.
        commitment_loss: mean square that draws the latents to the codes, not yet weighted; a scalar.
        usage: share of the codebook that this batch used, in (0, 1].
        perplexity: exp of the entropy of the codes' frequencies, in [1, K].
    """

    codes: Tensor
    code_idx: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    usage: Tensor
    perplexity: Tensor


class VectorQuantizer(nn.Module):
    """A codebook `[K, C]`.

    Args:
        seed: of the choice of latents that dead codes become: a pure function of it and of the
            number of training steps so far, which is part of the state.
    """

    unused_steps: Tensor
    steps: Tensor

    def __init__(self, num_codes: int, code_dim: int, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.codebook_KC = nn.Parameter(F.normalize(torch.randn(num_codes, code_dim), dim=-1))
        self.register_buffer("unused_steps", torch.full((num_codes,), DEAD_AFTER_STEPS))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, latents: Tensor, valid: Tensor) -> Quantized:
        """Quantize latents `[..., C]`; those not `valid` (bool `[...]`) leave no trace in the losses.

        While training, dead codes are replaced first.
        """
        latents = F.normalize(latents.float(), dim=-1)
        if self.training:
            self._replace_dead(latents[valid].detach())
        code_idx = self.nearest(latents)
        codes = self.lookup(code_idx)
        chosen_K = torch.bincount(code_idx[valid], minlength=len(self.codebook_KC))
        if self.training:
            self.unused_steps.add_(1).masked_fill_(chosen_K > 0, 0)
            self.steps.add_(1)
        share_K = chosen_K / chosen_K.sum()
        return Quantized(
            codes=latents + (codes - latents).detach(),
            code_idx=code_idx,
            codebook_loss=masked_mean((codes - latents.detach()).square().mean(dim=-1), valid),
            commitment_loss=masked_mean((latents - codes.detach()).square().mean(dim=-1), valid),
            usage=(chosen_K > 0).float().mean(),
            perplexity=torch.special.entr(share_K).sum().exp(),
        )

    def nearest(self, latents: Tensor) -> Tensor:
        """The number `[...]` of the code nearest to each latent `[..., C]`."""
        with torch.no_grad():
            return (latents.float() @ F.normalize(self.codebook_KC, dim=-1).T).argmax(dim=-1)

    def lookup(self, code_idx: Tensor) -> Tensor:
        """The codes `[..., C]`, of unit length, that numbers `[...]` stand for."""
        return F.embedding(code_idx, F.normalize(self.codebook_KC, dim=-1))

    @torch.no_grad()
    def _replace_dead(self, latents: Tensor) -> None:
        dead = (self.unused_steps >= DEAD_AFTER_STEPS).nonzero().squeeze(1)
        if not len(dead) or not len(latents):
            return
        # A generator heeds 32 bits of its seed: neighbouring seeds are kept a million steps apart.
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + int(self.steps)) % 2**32)
        chosen = torch.randint(len(latents), (len(dead),), generator=generator).to(latents.device)
        self.codebook_KC[dead] = latents[chosen]
        self.unused_steps[dead] = 0
