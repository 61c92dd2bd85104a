import pytest
import torch

from trainer_bridge.models.presets import PRESETS, build_model, describe
from trainer_bridge.models.st_transformer import STShape
from trainer_bridge.models.tokenizer import TokenizerShape, VideoTokenizer

SMALL = TokenizerShape(
    encoder=STShape(layers=4, width=32, heads=2, head_dim=16),
    decoder=STShape(layers=4, width=32, heads=2, head_dim=16),
    patch_px=4,
    num_codes=32,
    code_dim=8,
)


def small(height: int = 14, width: int = 18, frames: int = 5) -> VideoTokenizer:
    torch.manual_seed(0)
    return VideoTokenizer(SMALL, frames=frames, height=height, width=width, seed=0)


def moving(batch: int, frames: int, height: int, width: int) -> torch.Tensor:
    """Videos of a bar that moves over a shade, `[B, T, 3, H, W]`."""
    video = torch.linspace(0.2, 0.8, width).expand(batch, frames, 3, height, width).clone()
    for clip in range(batch):
        for frame in range(frames):
            video[clip, frame, clip % 3, :, (clip * 5 + frame * 2) % width] = 1
    return video


def test_there_and_back_again() -> None:
    model = small().eval()
    code_idx = model.encode(moving(2, 5, 14, 18))
    assert code_idx.shape == (2, 5, 4 * 5)
    assert code_idx.dtype == torch.int64
    assert 0 <= code_idx.min() <= code_idx.max() < 32
    video = model.decode(code_idx)
    assert video.shape == (2, 5, 3, 14, 18)
    assert 0 <= video.min() <= video.max() <= 1


def test_90_rows_in_patches_of_4_are_920_codes() -> None:
    model = small(height=90, width=160, frames=1)
    video = torch.rand(1, 1, 3, 90, 160)
    assert model.encode(video).shape == (1, 1, 920)
    assert model.decode(model.encode(video)).shape == video.shape


def test_patches_lie_row_by_row_and_the_edge_is_repeated() -> None:
    model = small()
    video = torch.rand(1, 2, 3, 14, 18)
    patches = model._patches(video)
    assert patches.shape == (1, 2, 20, 3 * 16)
    second = video[0, 1, :, 0:4, 4:8] - 0.5
    assert torch.equal(patches[0, 1, 1], second.flatten())
    corner = patches[0, 0, 19].view(3, 4, 4)  # rows 12 to 15 and columns 16 to 19 of a 14 x 18 picture
    assert torch.equal(corner[:, :2, :2], video[0, 0, :, 12:, 16:] - 0.5)
    assert torch.equal(corner[:, 3, 3], video[0, 0, :, 13, 17] - 0.5)


def test_pixels_are_the_inverse_of_patches() -> None:
    model = small()
    video = torch.rand(2, 3, 3, 14, 18)
    for name in ("from_code", "decoder", "to_pixels"):
        setattr(model, name, torch.nn.Identity())
    torch.testing.assert_close(model._pixels(model._patches(video)), video)


def test_no_frame_depends_on_a_later_one() -> None:
    model = small().eval()
    video = moving(1, 5, 14, 18)
    changed = video.clone()
    changed[:, 3] = 1 - changed[:, 3]
    codes, changed_codes = model.encode(video), model.encode(changed)
    assert torch.equal(codes[:, :3], changed_codes[:, :3])
    assert not torch.equal(codes[:, 3], changed_codes[:, 3])
    other = codes.clone()
    other[:, 3] = (other[:, 3] + 1) % 32
    torch.testing.assert_close(model.decode(codes)[:, :3], model.decode(other)[:, :3], rtol=0, atol=1e-6)


def test_the_gradient_reaches_every_parameter() -> None:
    model = small()
    model.loss(moving(2, 5, 14, 18), torch.ones(2, 5, dtype=torch.bool)).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_frames_that_are_not_valid_leave_no_trace() -> None:
    video = moving(2, 5, 14, 18)
    valid = torch.ones(2, 5, dtype=torch.bool)
    valid[:, 3:] = False
    noise = video.clone()
    noise[:, 3:] = torch.rand(2, 2, 3, 14, 18)
    whole = small().loss(video[:, :3], valid[:, :3])
    torch.testing.assert_close(small().loss(video, valid).total, whole.total)
    torch.testing.assert_close(small().loss(noise, valid).total, whole.total)


def test_a_few_clips_are_learnt_with_many_codes() -> None:
    model = small(height=16, width=16, frames=4)
    video = moving(4, 4, 16, 16)
    valid = torch.ones(4, 4, dtype=torch.bool)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.9))
    history = []
    for _ in range(150):
        losses = model.loss(video, valid)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        history.append(losses.parts)
    assert history[-1]["reconstruction"] < 0.15 * history[0]["reconstruction"]
    assert history[-1]["reconstruction"] < 0.5 * (video - video.mean()).square().mean()
    assert history[-1]["perplexity"] > 6


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_have_the_size_they_say(name: str) -> None:
    sizes = describe(name)
    assert sizes["parameters"]
    if sizes["paper"]:
        assert sizes["parameters"] == pytest.approx(sizes["paper"], rel=0.05)


def test_building_is_a_function_of_its_arguments() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (
        build_model("tiny-tokenizer", frames=2, height=20, width=20, seed=seed).to_pixels.weight
        for seed in (5, 5, 6)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)
