import subprocess
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_exe

from shards.errors import UserError
from trainer_bridge.colour import CLIP_COLOUR, Colour
from trainer_bridge.device import planes_to_rgb

COLOURS = [Colour("bt601", False), Colour("bt709", False), Colour("bt601", True), Colour("bt709", True)]


def picture(height: int = 90, width: int = 160) -> np.ndarray:
    """A picture, not noise: noise has colours that no RGB has. RGB `[H, W, 3]` uint8."""
    rows, columns = np.indices((height, width))
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 250], axis=-1).astype(
        np.uint8
    )


def ffmpeg(data: bytes, size: tuple[int, int], formats: tuple[str, str], scale: str) -> bytes:
    """Pictures from one pixel format to another, by ffmpeg itself."""
    height, width = size
    source, target = formats
    command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", source]
    command += ["-s", f"{width}x{height}", "-i", "pipe:0", "-vf", f"scale={scale},format={target}"]
    command += ["-f", "rawvideo", "pipe:1"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def by_ffmpeg(planes: np.ndarray, colour: Colour, scaler: str) -> np.ndarray:
    """Planes `[T, H * 3 // 2, W]` as RGB `[T, 3, H, W]`, as exactly as ffmpeg can."""
    frames, rows, width = planes.shape
    height = rows * 2 // 3
    scale = f"in_color_matrix={colour.matrix}:in_range={'full' if colour.full_range else 'limited'}"
    scale += f":out_range=full:flags={scaler}+accurate_rnd+full_chroma_int"
    raw = ffmpeg(planes.tobytes(), (height, width), ("yuv420p", "gbrp"), scale)
    return np.frombuffer(raw, np.uint8).reshape(frames, 3, height, width)[:, [2, 0, 1]]


def planes_of(rgb: np.ndarray, colour: Colour) -> np.ndarray:
    scale = f"out_color_matrix={colour.matrix}:out_range={'full' if colour.full_range else 'limited'}"
    scale += ":flags=bicubic+accurate_rnd+full_chroma_int"
    height, width, _ = rgb.shape
    raw = ffmpeg(rgb.tobytes(), (height, width), ("rgb24", "yuv420p"), scale)
    return np.frombuffer(raw, np.uint8).reshape(1, height * 3 // 2, width)


def every_chroma(lumas: Sequence[int], first: int = 0, last: int = 255) -> np.ndarray:
    """All pairs of Cb and Cr in a range, a picture of 2x2 blocks of one colour for each luma."""
    count = last + 1 - first
    cb, cr = (np.indices((count, count)) + first).astype(np.uint8)
    chroma = np.concatenate([cb.ravel(), cr.ravel()]).reshape(count, 2 * count)
    size = (2 * count, 2 * count)
    return np.stack([np.concatenate([np.full(size, luma, np.uint8), chroma]) for luma in lumas])


def exact(planes: np.ndarray, colour: Colour) -> np.ndarray:
    """The textbook in double precision, in steps of 0 to 255."""
    frames, rows, width = planes.shape
    height = rows * 2 // 3
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[colour.matrix]
    zero, luma_steps, chroma_steps = (0, 255, 255) if colour.full_range else (16, 219, 224)
    y = (planes[:, :height].astype(np.float64) - zero) / luma_steps
    chroma = (planes[:, height:].reshape(frames, 2, height // 2, width // 2) - 128.0) / chroma_steps
    cb, cr = chroma.repeat(2, axis=-2).repeat(2, axis=-1).transpose(1, 0, 2, 3)
    r, b = y + (2 - 2 * red) * cr, y + (2 - 2 * blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.stack([r, g, b], axis=1).clip(0, 1) * 255


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_is_what_ffmpeg_makes_of_it(colour: Colour) -> None:
    # Beyond the range that a standard allows, swscale's integers run over, and white becomes black.
    allowed = [(16, 77, 138, 199, 235), 16, 240] if not colour.full_range else [(0, 63, 128, 190, 255)]
    planes = every_chroma(*allowed)
    ours = planes_to_rgb(torch.from_numpy(planes), torch.uint8, colour).numpy()
    error = np.abs(ours.astype(np.int16) - by_ffmpeg(planes, colour, "neighbor"))
    assert error.max() <= 1
    assert error.mean() < 0.02


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_is_what_the_standard_says(colour: Colour) -> None:
    planes = every_chroma((0, 16, 101, 235, 255))
    expected = exact(planes, colour)
    tensor = torch.from_numpy(planes)
    assert np.abs(planes_to_rgb(tensor, torch.float32, colour).numpy() * 255 - expected).max() < 3e-4
    assert np.abs(planes_to_rgb(tensor, torch.uint8, colour).numpy() - expected).max() < 0.54
    half = planes_to_rgb(tensor, torch.bfloat16, colour)
    assert torch.equal(half, planes_to_rgb(tensor, torch.float32, colour).to(torch.bfloat16))


@pytest.mark.parametrize("colour", COLOURS)
def test_a_picture_is_near_what_finer_scalers_make_of_its_chroma(colour: Colour) -> None:
    planes = planes_of(picture(), colour)
    ours = planes_to_rgb(torch.from_numpy(planes.copy()), torch.uint8, colour).numpy().astype(np.int16)
    near = np.abs(ours - by_ffmpeg(planes, colour, "neighbor"))
    fine = np.abs(ours - by_ffmpeg(planes, colour, "bicubic"))
    assert near.max() <= 1
    assert fine.mean() < 0.7


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("shape", [(0, 135, 160), (3, 2, 6, 10), (2, 40, 135, 160), (6, 6)])
def test_blocks_and_shapes_change_nothing(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    planes = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    rgb = planes_to_rgb(planes, dtype)
    assert rgb.shape == (*shape[:-2], 3, shape[-2] * 2 // 3, shape[-1])
    assert rgb.dtype == dtype
    singles = planes.reshape(-1, *shape[-2:])
    for whole, single in zip(rgb.view(-1, *rgb.shape[-3:]) if len(singles) else (), singles, strict=True):
        assert torch.equal(whole, planes_to_rgb(single, dtype))


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.sampled_from(COLOURS))
def test_steps_are_floats_rounded(y: int, u: int, v: int, colour: Colour) -> None:
    planes = torch.tensor([y] * 4 + [u, v], dtype=torch.uint8).view(3, 2)
    steps = planes_to_rgb(planes, torch.uint8, colour).float()
    assert (steps - planes_to_rgb(planes, torch.float32, colour) * 255).abs().max() < 0.54


def test_planes_that_are_a_view_are_converted_too() -> None:
    planes = torch.randint(0, 256, (2, 4, 12, 8), dtype=torch.uint8)
    view = planes[:, ::2]
    assert not view.is_contiguous()
    assert torch.equal(planes_to_rgb(view), planes_to_rgb(view.contiguous()))


def test_another_type_is_refused() -> None:
    with pytest.raises(UserError, match="float32, bfloat16 or uint8"):
        planes_to_rgb(torch.zeros(3, 2, dtype=torch.uint8), torch.float64)


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
    colours = planes_to_rgb(planes.view(3, 4))
    assert colours.shape == (3, 2, 4)
    assert torch.equal(colours, planes_to_rgb(planes.view(3, 4), torch.float32, CLIP_COLOUR))
    torch.testing.assert_close(
        colours, torch.tensor(rgb, dtype=torch.float32).view(3, 1, 1).expand(3, 2, 4), atol=0.01, rtol=0
    )
