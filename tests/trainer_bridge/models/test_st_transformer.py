import torch

from trainer_bridge.models.st_transformer import Attention, STBlock, STShape, STTransformer

SHAPE = STShape(layers=4, width=24, heads=3, head_dim=5)


def test_shape_is_kept_and_shorter_windows_are_taken() -> None:
    stack = STTransformer(SHAPE, num_patches=6, frames=8)
    assert len(stack.blocks) == 2
    for frames in (1, 5, 8):
        x = torch.randn(2, frames, 6, 24)
        assert stack(x).shape == x.shape


def test_no_frame_depends_on_a_later_one() -> None:
    torch.manual_seed(0)
    stack = STTransformer(SHAPE, num_patches=6, frames=8)
    x = torch.randn(2, 8, 6, 24)
    before = stack(x)
    for frame in range(8):
        changed = x.clone()
        changed[:, frame] += 1
        after = stack(changed)
        torch.testing.assert_close(after[:, :frame], before[:, :frame], rtol=0, atol=1e-6)
        assert (after[:, frame:] - before[:, frame:]).abs().amax(dim=(2, 3)).min() > 1e-4


def test_every_patch_of_a_frame_reaches_every_other() -> None:
    torch.manual_seed(0)
    stack = STTransformer(SHAPE, num_patches=6, frames=2)
    x = torch.randn(1, 2, 6, 24, requires_grad=True)
    stack(x)[0, 1, 5].square().sum().backward()
    assert (x.grad.abs().amax(dim=-1) > 0).all()


def test_attention_keeps_the_leading_axes_apart() -> None:
    torch.manual_seed(0)
    attention = Attention(SHAPE, causal=False)
    x = torch.randn(2, 3, 6, 24)
    alone = torch.stack(
        [torch.cat([attention(x[a : a + 1, b : b + 1])[0] for b in range(3)]) for a in range(2)]
    )
    torch.testing.assert_close(attention(x), alone)


def test_a_block_has_two_attentions_and_one_feed_forward() -> None:
    # 2 x (q, k, v, out) of 24 x 15, and 24 x 96 twice with biases; norms beside them.
    matrices = 2 * 4 * 24 * 15 + 2 * 24 * 96 + 96 + 24
    norms = 2 * (24 + 5 + 5) + 24
    assert sum(p.numel() for p in STBlock(SHAPE).parameters()) == matrices + norms
