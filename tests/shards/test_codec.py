from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.codec import (
    X264,
    CodecError,
    Frames,
    PacketDecoder,
    decode_clip,
    encode_clip,
    probe_clip,
    split_packets,
)

EXAMPLES = Path(__file__).parents[2] / "examples"


def pictures(count: int, height: int = 90, width: int = 160, seed: int = 0) -> Frames:
    """A ball of noise that moves over a gradient."""
    frames = np.empty((count, height * 3 // 2, width), np.uint8)
    frames[:] = np.linspace(20, 230, width, dtype=np.uint8)
    noise = np.random.default_rng(seed).integers(16, 235, (8, 8), np.uint8)
    for number in range(count):
        place = 2 * number % (width - 8)
        frames[number, 4:12, place : place + 8] = noise
    return frames


def test_160_frames_in_160_frames_out() -> None:
    frames = pictures(160)
    encoded = encode_clip(frames)
    assert len(encoded.packet_sizes) == 160
    decoded = decode_clip(encoded.mp4)
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 3


@settings(max_examples=10, deadline=None)
@given(
    st.integers(1, 70),
    st.sampled_from([(90, 160), (36, 64), (2, 2), (64, 48)]),
    st.sampled_from([5.0, 10.0, 29.97]),
)
def test_any_count_size_and_rate_is_kept(count: int, size: tuple[int, int], fps: float) -> None:
    encoded = encode_clip(pictures(count, *max(size, (16, 16))), fps)
    with av.open(io.BytesIO(encoded.mp4)) as container:
        stream = container.streams.video[0]
        assert sum(1 for _ in container.decode(stream)) == count == len(encoded.packet_sizes)
        assert stream.average_rate is not None
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-3)


def test_the_same_frames_are_the_same_bytes() -> None:
    frames = pictures(48)
    assert encode_clip(frames).mp4 == encode_clip(iter(frames)).mp4


@pytest.mark.parametrize("instructions", ["sse4.2", "avx2"])
def test_the_bytes_do_not_depend_on_the_cpu(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against what this machine's CPU is given by itself, which is AVX-512 where it has that."""
    with av.open(str(EXAMPLES / "gameplay" / "caveflyer_60fps.mp4")) as container:
        played = (frame.reformat(160, 90, "yuv420p") for frame in container.decode(video=0))
        clip = np.stack([frame.to_ndarray() for frame in islice(played, 0, 160 * 3, 3)])
    usual = encode_clip(clip).mp4
    monkeypatch.setitem(X264, "x264-params", f"{X264['x264-params']}:asm={instructions}")
    assert encode_clip(clip).mp4 == usual


def test_the_file_is_what_the_design_says() -> None:
    encoded = encode_clip(pictures(160))
    assert encoded.mp4.index(b"moov") < encoded.mp4.index(b"mdat")
    with av.open(io.BytesIO(encoded.mp4)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.has_b_frames) == ("h264", "yuv420p", False)
        assert (context.colorspace, context.color_range) == (6, 1)
        assert stream.sample_aspect_ratio == 1
        keys = [
            n for n, packet in enumerate(p for p in container.demux(stream) if p.size) if packet.is_keyframe
        ]
    assert keys == list(range(0, 160, 16))


def test_every_group_of_16_decodes_alone_from_its_packets() -> None:
    encoded = encode_clip(pictures(160))
    packets = split_packets(encoded.mp4[-sum(encoded.packet_sizes) :], encoded.packet_sizes)
    whole = decode_clip(encoded.mp4)
    decoder = PacketDecoder(encoded.extradata)
    for start in (144, 0, 80):
        assert np.array_equal(decoder.decode(packets[start : start + 16]), whole[start : start + 16])


def test_damage_is_found_and_the_decoder_goes_on() -> None:
    encoded = encode_clip(pictures(32))
    packets = split_packets(encoded.mp4[-sum(encoded.packet_sizes) :], encoded.packet_sizes)
    decoder = PacketDecoder(encoded.extradata)
    with pytest.raises(CodecError):
        decoder.decode([b"\0\0\0\4junk", *packets[1:16]])
    assert len(decoder.decode(packets[16:32])) == 16


@pytest.mark.parametrize("data", [b"", b"not a video at all", encode_clip(pictures(16)).mp4[:-100]])
def test_what_is_not_a_clip_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_clip(data)


def test_bytes_behind_the_packets_are_a_fault() -> None:
    with pytest.raises(CodecError, match="packet at byte"):
        probe_clip(encode_clip(pictures(16)).mp4 + b"more")


def test_a_clip_of_no_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        encode_clip(pictures(0))


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="even height and width"):
        encode_clip(np.zeros((1, 135, 161), np.uint8))
