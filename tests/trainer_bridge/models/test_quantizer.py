import math

import pytest
import torch
from torch.nn.functional import normalize

from trainer_bridge.models.quantizer import DEAD_AFTER_STEPS, VectorQuantizer


def quantizer(num_codes: int = 8, seed: int = 0) -> VectorQuantizer:
    torch.manual_seed(1)
    return VectorQuantizer(num_codes, code_dim=4, seed=seed)


def latents(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 4, generator=torch.Generator().manual_seed(2))


def all_valid(z: torch.Tensor) -> torch.Tensor:
    return torch.ones(z.shape[:-1], dtype=torch.bool)


def test_the_nearest_code_is_chosen_whatever_its_length() -> None:
    vq = quantizer().eval()
    with torch.no_grad():
        vq.codebook_KC.mul_(torch.arange(1, 9)[:, None])
    z = latents(5, 3)
    out = vq(z, all_valid(z))
    distances = torch.cdist(normalize(z, dim=-1).flatten(0, 1), normalize(vq.codebook_KC, dim=-1))
    assert torch.equal(out.code_idx.flatten(), distances.argmin(dim=-1))
    torch.testing.assert_close(out.codes, vq.lookup(out.code_idx))
    torch.testing.assert_close(out.codes.norm(dim=-1), torch.ones(5, 3))


def test_the_gradient_goes_straight_through() -> None:
    vq = quantizer().eval()
    z = normalize(latents(6), dim=-1).requires_grad_()
    pull = torch.randn(6, 4)
    vq(z, all_valid(z)).codes.backward(pull)
    # Through the normalisation of a unit vector only what is at right angles to it passes.
    across = pull - (pull * z).sum(-1, keepdim=True) * z
    torch.testing.assert_close(z.grad, across.detach(), atol=1e-6, rtol=1e-5)
    assert vq.codebook_KC.grad is None


def test_each_loss_draws_one_side_only() -> None:
    vq = quantizer().eval()
    z = latents(6).requires_grad_()
    out = vq(z, all_valid(z))
    out.codebook_loss.backward(retain_graph=True)
    assert z.grad is None
    assert vq.codebook_KC.grad is not None
    vq.codebook_KC.grad = None
    out.commitment_loss.backward()
    assert z.grad is not None
    assert vq.codebook_KC.grad is None


def test_what_is_not_valid_leaves_no_trace() -> None:
    z, valid = latents(6), torch.tensor([True, True, False, True, False, True])
    left_out, masked = quantizer(), quantizer()
    one, other = left_out(z[valid], all_valid(z[valid])), masked(z, valid)
    for name in ("codebook_loss", "commitment_loss", "usage", "perplexity"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))
    assert torch.equal(left_out.codebook_KC, masked.codebook_KC)
    assert torch.equal(left_out.unused_steps, masked.unused_steps)


def test_usage_and_perplexity_count_codes() -> None:
    vq = quantizer().eval()
    z = vq.codebook_KC.detach()[[0, 1, 1, 1]]
    out = vq(z, all_valid(z))
    assert out.usage == 2 / 8
    assert out.perplexity.item() == pytest.approx(math.exp(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75))))


def test_the_first_training_step_makes_codes_of_latents() -> None:
    vq, z = quantizer(), latents(200)
    vq(z, all_valid(z))
    nearest = (normalize(vq.codebook_KC, dim=-1) @ normalize(z, dim=-1).T).amax(dim=-1)
    torch.testing.assert_close(nearest, torch.ones(8))


def test_a_code_is_replaced_once_it_is_dead_and_not_before() -> None:
    vq, z = quantizer(), latents(200)
    vq(z, all_valid(z))
    with torch.no_grad():
        vq.codebook_KC[1:].copy_(-vq.codebook_KC[0])  # codes 2 to 7 equal code 1, which is found first
    for _ in range(DEAD_AFTER_STEPS):
        unmoved = vq.codebook_KC.clone()
        vq(z, all_valid(z))
        assert torch.equal(vq.codebook_KC, unmoved)
    vq(z, all_valid(z))
    assert torch.equal(vq.codebook_KC[:2], unmoved[:2])
    assert (vq.codebook_KC[2:] != unmoved[2:]).any(dim=-1).all()


def test_replacement_depends_on_seed_and_step_alone() -> None:
    z = latents(200)
    first, again, other = quantizer(seed=3), quantizer(seed=3), quantizer(seed=4)
    first(z, all_valid(z))
    torch.rand(7)
    again(z, all_valid(z))
    other(z, all_valid(z))
    assert torch.equal(first.codebook_KC, again.codebook_KC)
    assert not torch.equal(first.codebook_KC, other.codebook_KC)


def test_evaluation_changes_nothing() -> None:
    vq, z = quantizer().eval(), latents(5)
    state = {name: tensor.clone() for name, tensor in vq.state_dict().items()}
    vq(z, all_valid(z))
    assert all(torch.equal(tensor, state[name]) for name, tensor in vq.state_dict().items())
