import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame

from trainer_bridge.device import planes_to_rgb


def test_as_pyav_converts() -> None:
    # The planes of a picture, not of noise: noise has colours that no RGB has.
    rows, columns = np.indices((90, 160))
    picture = np.stack([rows * 2, columns, (rows + columns) % 250], axis=-1).astype(np.uint8)
    frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU601"
    )
    planes = frame.to_ndarray()
    theirs = frame.reformat(format="rgb24", src_colorspace="ITU601", dst_colorspace="ITU601").to_ndarray()
    ours = planes_to_rgb(torch.from_numpy(planes)[None, None])
    assert ours.shape == (1, 1, 3, 90, 160)
    assert ours.dtype == torch.float32
    error = (ours[0, 0].permute(1, 2, 0) * 255 - torch.from_numpy(theirs).float()).abs()
    assert error.max() <= 3  # swscale computes in integers and truncates
    assert error.mean() < 1.5


@pytest.mark.parametrize(
    ("yuv", "rgb"),
    [
        ((16, 128, 128), (0, 0, 0)),
        ((235, 128, 128), (1, 1, 1)),
        ((0, 128, 128), (0, 0, 0)),
        ((255, 128, 128), (1, 1, 1)),
        # ITU-R BT.601 colour bars at full strength, rounded to whole steps.
        ((81, 90, 240), (1, 0, 0)),
        ((145, 54, 34), (0, 1, 0)),
        ((41, 240, 110), (0, 0, 1)),
    ],
)
def test_known_colours(yuv: tuple[int, int, int], rgb: tuple[float, float, float]) -> None:
    y, u, v = yuv
    planes = torch.cat([torch.full((8,), y), torch.full((2,), u), torch.full((2,), v)]).to(torch.uint8)
    picture = planes_to_rgb(planes.view(3, 4))
    assert picture.shape == (3, 2, 4)
    torch.testing.assert_close(
        picture, torch.tensor(rgb, dtype=torch.float32).view(3, 1, 1).expand(3, 2, 4), atol=0.01, rtol=0
    )
