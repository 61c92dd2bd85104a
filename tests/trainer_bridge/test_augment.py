import pytest
import torch

from shards.errors import UserError
from trainer_bridge.augment import Augment

DRAWS = [3, 2**63 + 5, 11, 12]


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    return torch.rand((4, 3, 3, 6, 8), generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2


def test_nothing_is_changed_unless_asked(video: torch.Tensor) -> None:
    assert torch.equal(Augment()(video, DRAWS), video)


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation", "flip"])
def test_a_window_is_changed_by_its_draw_alone(video: torch.Tensor, kind: str) -> None:
    augment = Augment(**{kind: 0.5})
    kept = video.clone()
    changed = augment(video, DRAWS)
    assert torch.equal(video, kept)
    assert changed.shape == video.shape
    assert changed.dtype == video.dtype
    assert not torch.equal(changed, video)
    for at in range(4):
        torch.testing.assert_close(augment(video[at : at + 1], DRAWS[at : at + 1]), changed[at : at + 1])
    again = augment(video.flip(0), DRAWS[::-1]).flip(0)
    torch.testing.assert_close(again, changed)


def test_all_frames_of_a_window_are_changed_alike() -> None:
    still = torch.rand((4, 1, 3, 6, 8), generator=torch.Generator().manual_seed(1)).expand(-1, 5, -1, -1, -1)
    changed = Augment(0.5, 0.5, 0.5, 0.5)(still, DRAWS)
    assert torch.equal(changed, changed[:, :1].expand_as(changed))
    assert 0 <= changed.min() <= changed.max() <= 1


def test_each_kind_changes_what_it_says(video: torch.Tensor) -> None:
    factor = Augment(brightness=0.1)(video, DRAWS) / video
    torch.testing.assert_close(factor, factor[:, :1, :1, :1, :1].expand_as(factor))
    grey = video.mean(dim=2, keepdim=True).expand_as(video)
    torch.testing.assert_close(Augment(saturation=1.0)(grey, DRAWS), grey)
    flipped = Augment(flip=1.0)(video, DRAWS)
    assert torch.equal(flipped, video.flip(-1))
    share = Augment(flip=0.5)(video[:1].expand(400, -1, -1, -1, -1), list(range(400)))
    assert 150 < sum(torch.equal(one, video[0].flip(-1)) for one in share) < 250


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_what_is_no_share(wrong: float) -> None:
    with pytest.raises(UserError, match=r"augment: contrast .* is not from 0 to 1"):
        Augment(contrast=wrong)
