import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from shards.errors import UserError
from shards.index import read_index
from shards.manifest import ShardEntry, Version, create_version, read_version
from shards.records import Placed
from shards.store import Store
from trainer_bridge import Batch, batch_digests, open_stream
from trainer_bridge.augment import Augment

MakeDataset = Callable[..., Path]


def take(count: int, dataset: Path, **options: Any) -> list[Batch]:
    return list(islice(open_stream(dataset, batch_size=4, **options), count))


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.step, one.keys, one.starts) == (other.step, other.keys, other.starts)
        assert torch.equal(one.video, other.video)
        assert torch.equal(one.valid, other.valid)


def test_batches_are_what_their_fields_say(dataset: Path) -> None:
    batches = take(5, dataset)
    assert [batch.step for batch in batches] == list(range(5))
    for batch in batches:
        assert batch.video.shape == (4, 16, 3, 48, 64)
        assert batch.video.dtype == torch.float32
        assert 0 <= batch.video.min() < 0.3
        assert 0.7 < batch.video.max() <= 1
        assert batch.valid.shape == (4, 16)
        assert batch.valid.all()
        assert batch.read_s > 0
        assert batch.decode_s > 0
    # Ten windows an epoch: five batches of four are two epochs.
    windows = [pair for batch in batches for pair in zip(batch.keys, batch.starts, strict=True)]
    assert sorted(windows[:10]) != windows[:10]
    assert len(set(windows)) == 10
    assert all(windows.count(window) == 2 for window in windows)


def test_a_stream_begins_at_any_step(dataset: Path) -> None:
    batches = take(7, dataset, seed=3)
    for step in range(7):
        assert_same(take(7 - step, dataset, seed=3, step=step), batches[step:])


def test_a_stream_goes_on_from_the_state_of_another(dataset: Path) -> None:
    batches = take(6, dataset)
    for step in range(6):
        stream = open_stream(dataset, batch_size=4)
        assert_same(list(islice(stream, step)), batches[:step])
        state = stream.state_dict()
        assert {type(value) for name, value in state.items() if name != "order"} == {int}
        other = open_stream(dataset, batch_size=4)
        next(other)
        other.load_state_dict(state)
        assert_same(list(islice(other, 6 - step)), batches[step:])


def test_workers_change_nothing(dataset: Path) -> None:
    stream = open_stream(dataset, batch_size=4, workers=2)
    assert_same(list(islice(stream, 4)), take(4, dataset))
    stream.load_state_dict(stream.state_dict() | {"step": 1})
    assert_same(list(islice(stream, 2)), take(2, dataset, step=1))


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_any_number_of_ranks_sees_the_same_batches(dataset: Path, world_size: int) -> None:
    whole = take(3, dataset)
    ranks = [take(3, dataset, rank=rank, world_size=world_size) for rank in range(world_size)]
    for step, batch in enumerate(whole):
        shares = [rank[step] for rank in ranks]
        assert sum((share.keys for share in shares), ()) == batch.keys
        assert sum((share.starts for share in shares), ()) == batch.starts
        assert torch.equal(torch.cat([share.video for share in shares]), batch.video)
    digests = batch_digests(dataset, batch_size=4, world_size=world_size, steps=3)
    assert list(digests) == [batch.digest() for batch in whole]


def test_digests_begin_at_any_step(dataset: Path) -> None:
    whole = list(batch_digests(dataset, batch_size=2, steps=9, seed=5))
    assert list(batch_digests(dataset, batch_size=2, steps=4, from_step=5, world_size=2, seed=5)) == whole[5:]
    assert len(set(whole)) > 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "seed: the stream to be resumed had seed 0, this one has 1; set it back"),
        ({"window": 8}, "window: the stream to be resumed had window 16, this one has 8"),
        ({"batch_size": 2}, "batch_size: the stream to be resumed had batch_size 4, this one has 2"),
        ({"split": "val", "batch_size": 2}, "batch_size: "),
    ],
)
def test_the_state_of_another_order_is_refused(dataset: Path, options: dict[str, Any], message: str) -> None:
    state = open_stream(dataset, batch_size=4).state_dict()
    with pytest.raises(UserError, match=message):
        open_stream(dataset, **{"batch_size": 4} | options).load_state_dict(state)


def test_the_state_of_another_split_is_refused(dataset: Path) -> None:
    state = open_stream(dataset, batch_size=2).state_dict()
    with pytest.raises(
        UserError, match="split: the stream to be resumed had another split than this one: val; "
    ):
        open_stream(dataset, split="val", batch_size=2).load_state_dict(state)


def test_the_state_of_another_version_is_refused_unless_told(make_dataset: MakeDataset) -> None:
    root = make_dataset([("train", [32]), ("train", [32])])
    state = open_stream(root, batch_size=2).state_dict()
    store = Store(root)
    first = read_version(store)
    assert create_version(store, Version(2, 1, {}, first.shards[:1]))
    with pytest.raises(UserError, match="version: the stream to be resumed had version 1, this one has 2"):
        open_stream(root, batch_size=2).load_state_dict(state)
    open_stream(root, batch_size=2, version=1).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "vall"}, "split: dataset .* has no split 'vall'; it has train, val"),
        ({"batch_size": 11}, "batch_size: 11 is too large: split train of .* has 10 windows of 16 frames"),
        ({"window": 64}, "window: split train of .* has no clip of 64 frames; the longest has"),
        ({"batch_size": 0}, "batch_size: 0 is too small; give at least 1"),
        ({"window": 0}, "window: 0 is too small; give at least 1"),
        ({"step": -1}, "step: -1 is too small; give at least 0"),
        ({"workers": -1}, "workers: -1 is too small; give at least 0"),
        ({"world_size": 3}, "world_size: 3 ranks cannot share a batch_size of 4 equally"),
        ({"world_size": 2, "rank": 2}, "rank: 2 is not one of 2 ranks"),
        ({"device": "gpu"}, "device: gpu cannot be used here"),
        ({"device": "cuda:99"}, "device: cuda:99 cannot be used here"),
        ({"version": 7}, "no version 7"),
        ({"seed": -1}, "seed: -1 is too small; give at least 0"),
        ({"seed": 2**64}, "seed: 18446744073709551616 is too large"),
        ({"batch_size": "4"}, "batch_size: '4' is no whole number"),
        ({"window": 16.0}, "window: 16.0 is no whole number"),
        ({"workers": None}, "workers: None is no whole number"),
        ({"world_size": 0}, "world_size: 0 is too small; give at least 1"),
        ({"rank": None}, "rank: None is no whole number"),
        ({"where": 5}, "where: 5 is no SQL predicate"),
        ({"where": ""}, "where: '': "),
        ({"cache": "cache"}, "cache: 'cache' is none"),
        ({"stall_s": "x"}, "stall_s: 'x' is no time to wait"),
        ({"starts": "any"}, "starts: there is no 'any'; choose aligned or anywhere"),
        ({"short": "cut"}, "short: there is no 'cut'; choose drop or pad"),
        ({"windows_per_visit": 0}, "windows_per_visit: 0 is too small; give at least 1"),
        ({"max_damaged": -1}, "max_damaged: -1 is too small; give at least 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(dataset: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_stream(dataset, **{"batch_size": 4} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [None, 5, b"set", {5: 1}, {"set": "1"}, {"set": None}, {}])
def test_what_is_no_dataset(wrong: Any) -> None:
    with pytest.raises(UserError, match=r"^(dataset|weights): "):
        open_stream(wrong, batch_size=1)


@pytest.mark.parametrize("wrong", [None, 5, [], {}, {"step": 1}])
def test_what_is_no_state(dataset: Path, wrong: Any) -> None:
    stream = open_stream(dataset, batch_size=4)
    with pytest.raises(UserError, match="no state of a stream"):
        stream.load_state_dict(wrong)
    with pytest.raises(UserError, match="order: the state to be resumed was changed"):
        stream.load_state_dict(stream.state_dict() | {"order": "zz"})


def test_threads_share_a_stream(dataset: Path) -> None:
    stream = open_stream(dataset, batch_size=4)
    with ThreadPoolExecutor(3) as pool:
        found = [future.result() for future in [pool.submit(next, stream) for _ in range(12)]]
    assert_same(sorted(found, key=lambda batch: batch.step), take(12, dataset))


def test_a_tar_cut_short_while_it_is_read(make_dataset: MakeDataset) -> None:
    root = make_dataset([("train", [160])])
    stream = open_stream(root, batch_size=2)
    next(stream)
    path = Store(root).path("shards/train-000000.tar")
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match=r"train-000000.tar: is damaged \(ends at byte"):
        list(islice(stream, 5))


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is published there"):
        open_stream(tmp_path, batch_size=1)


def spoil(root: Path, number: int, frame: int = 3) -> Placed:
    """Change one bit of a clip of the first shard."""
    store, name = Store(root), "shards/train-000000.tar"
    placed = read_index(store, name)[number]
    with store.path(name).open("r+b") as file:
        file.seek(placed.offset + placed.size - sum(placed.packet_sizes[frame:]) + 3)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    return placed


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_windows_are_replaced_and_told(
    make_dataset: MakeDataset, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_dataset([("train", [32, 16, 16, 48])])
    before = take(4, root)
    placed = spoil(root, 1)
    found = take(4, root, workers=workers)
    hit = [batch.step for batch in before if placed.clip.key in batch.keys]
    assert [batch.step for batch in found if batch.replaced] == hit
    for batch, old in zip(found, before, strict=True):
        assert placed.clip.key not in batch.keys
        for one in batch.replaced:
            assert (one.key, one.start) == (placed.clip.key, 0)
            hits = [at for at, key in enumerate(old.keys) if key == one.key]
            assert (one.by_key, one.by_start) in [(batch.keys[at], batch.starts[at]) for at in hits]
        if not batch.replaced:
            assert_same([batch], [old])
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert f"clip {placed.clip.key} at byte" in told[0]
    assert "stands in for it" in told[0]
    # The rule is the same for every number of ranks.
    shares = [take(4, root, rank=rank, world_size=2) for rank in range(2)]
    for step, batch in enumerate(found):
        assert shares[0][step].keys + shares[1][step].keys == batch.keys


def test_too_much_damage_ends_a_stream_at_its_step(make_dataset: MakeDataset) -> None:
    root = make_dataset([("train", [16] * 6)])
    for number in range(3):
        spoil(root, number)
    stream = open_stream(root, batch_size=6, max_damaged=2)
    for _ in range(2):  # asked again, it does not go on to the next step
        with pytest.raises(
            UserError,
            match=r"train-000000.tar: clip \S+ at byte \d+ is damaged \(crc32\); "
            r"with it 3 clips are, more than max_damaged=2",
        ) as caught:
            next(stream)
        assert "\n" not in str(caught.value)
        assert stream.step == 0
    assert len(next(open_stream(root, batch_size=6, max_damaged=3)).replaced) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_tar_cut_short_ends_the_stream(make_dataset: MakeDataset, workers: int) -> None:
    root = make_dataset([("train", [16, 16, 16])])
    with Store(root).path("shards/train-000000.tar").open("r+b") as file:
        file.truncate(5000)
    stream = open_stream(root, batch_size=3, workers=workers)
    for _ in range(2):
        with pytest.raises(UserError, match=r"train-000000.tar: is damaged \(has 5,000 bytes") as caught:
            next(stream)
        assert "\n" not in str(caught.value)
        assert stream.step == 0
        del caught  # its traceback holds the stream, and workers take 5 s to end in a garbage collection


def test_workers_that_die_are_started_anew(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = take(12, dataset)
    stream = open_stream(dataset, batch_size=4, workers=2)
    found = list(islice(stream, 2))
    for at_once in (1, 2):
        killed = [worker.pid for worker in stream._loader._loader._iterator._workers[:at_once]]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        found += islice(stream, 5)
    assert_same(found, expected)
    assert any("a worker died; all are started anew" in record.getMessage() for record in caplog.records)
    stream.close()


def test_a_closed_stream_is_not_asked_again(dataset: Path) -> None:
    stream = open_stream(dataset, batch_size=4, workers=1)
    next(stream)
    (worker,) = stream._loader._loader._iterator._workers
    stream.close()
    worker.join(30)
    assert not worker.is_alive()
    with pytest.raises(UserError, match="the stream was closed; open another one"):
        next(stream)


@pytest.mark.parametrize("step", [1.7, -1, None, "3", True])
def test_a_state_without_a_step_is_refused(dataset: Path, step: object) -> None:
    stream = open_stream(dataset, batch_size=4, step=2)
    with pytest.raises(UserError, match=r"step: the state to be resumed has .*; a whole number"):
        stream.load_state_dict(stream.state_dict() | {"step": step})
    assert stream.step == 2


def test_a_batch_that_is_on_its_way_changes_nothing(dataset: Path) -> None:
    # As on a GPU, where the next batch is copied while one is used.
    expected = take(5, dataset)
    stream = open_stream(dataset, batch_size=4)
    stream._feed.ahead = 1
    assert_same(list(islice(stream, 3)), expected[:3])
    assert stream.step == 3
    stream.load_state_dict(stream.state_dict() | {"step": 1})
    assert_same(list(islice(stream, 2)), expected[1:3])


def test_what_fails_on_its_way_is_told_at_its_step(make_dataset: MakeDataset) -> None:
    root = make_dataset([("train", [16]), ("train", [16])])
    expected = list(islice(open_stream(root, batch_size=1), 2))
    Store(root).path(f"shards/train-00000{int(expected[1].keys[0][5:9])}.tar").unlink()
    stream = open_stream(root, batch_size=1)
    stream._feed.ahead = 1
    assert_same([next(stream)], expected[:1])
    for _ in range(2):
        with pytest.raises(UserError, match="missing, though the dataset's version names it"):
            next(stream)
        assert stream.step == 1


def test_the_times_of_steps_are_told(dataset: Path) -> None:
    stream = open_stream(dataset, batch_size=4)
    list(islice(stream, 5))
    told = stream.telemetry.summary()
    assert told["wait_s"] >= told["decode_s"] > 0
    assert told["read_s"] > 0
    assert told["bytes_per_window"] > 0
    assert "-bound: " in stream.telemetry.verdict()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16])
def test_pictures_of_other_types(dataset: Path, dtype: torch.dtype) -> None:
    (expected,), (found,) = take(1, dataset), take(1, dataset, dtype=dtype)
    assert found.video.dtype == dtype
    highest = 255 if dtype == torch.uint8 else 1
    torch.testing.assert_close(found.video.float() / highest, expected.video, atol=0.006, rtol=0)


def test_windows_are_changed_the_same_on_any_rank(dataset: Path) -> None:
    augment = Augment(brightness=0.4, flip=0.5)
    (plain,), (whole,) = take(1, dataset), take(1, dataset, augment=augment)
    shares = [take(1, dataset, augment=augment, rank=rank, world_size=2)[0] for rank in range(2)]
    assert torch.equal(torch.cat([share.video for share in shares]), whole.video)
    assert not torch.equal(plain.video, whole.video)
    (bytes_,) = take(1, dataset, augment=augment, dtype=torch.uint8)
    torch.testing.assert_close(bytes_.video / 255, whole.video, atol=0.003, rtol=0)


def test_a_selection_streams_only_what_it_holds_for(dataset: Path) -> None:
    whole = {key for batch in take(3, dataset) for key in batch.keys}
    batches = list(islice(open_stream(dataset, batch_size=2, where="motion between 0.15 and 0.45"), 9))
    keys = {key for batch in batches for key in batch.keys}
    assert keys == {"file-0002_00000000", "file-0004_00000000"} < whole
    state = open_stream(dataset, batch_size=2, where="motion < 0.35").state_dict()
    with pytest.raises(UserError, match="where: the stream to be resumed had another where than this one: m"):
        open_stream(dataset, batch_size=2, where="motion < 0.45").load_state_dict(state)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("motoin > 0", "'motoin > 0': .*motoin"),
        ("motion > 9", "where: 'motion > 9' holds for no clip of split train"),
        ("random() > 0.5", "selects other clips each time|holds for no clip|too large"),
        ("1; drop table clips", "'1; drop table clips': "),
    ],
)
def test_selections_that_cannot_be(make_dataset: MakeDataset, where: str, message: str) -> None:
    root = make_dataset([("train", [16] * 24)])
    with pytest.raises(UserError, match=message) as caught:
        open_stream(root, batch_size=1, where=where)
    assert "\n" not in str(caught.value)


def test_a_mixture_holds_to_its_weights(make_dataset: MakeDataset) -> None:
    one, other = make_dataset([("train", [64, 32])]), make_dataset([("train", [160])], number=2)
    stream = open_stream({one: 0.75, other: 0.25}, batch_size=4, seed=2)
    batches = list(islice(stream, 6))
    state = stream.state_dict()
    assert {type(value) for name, value in state.items() if name != "order"} == {int}
    again = open_stream({one: 3, other: 1}, batch_size=4, seed=2)
    again.load_state_dict(state | {"step": 2})
    assert_same(list(islice(again, 4)), batches[2:])
    with pytest.raises(UserError, match="weights: the stream to be resumed had another weights"):
        open_stream({one: 1, other: 1}, batch_size=4, seed=2).load_state_dict(state)
    digests = batch_digests({one: 3, other: 1}, batch_size=4, seed=2, steps=6, world_size=2)
    assert list(digests) == [batch.digest() for batch in batches]


def test_a_change_is_allowed_if_told(dataset: Path) -> None:
    state = open_stream(dataset, batch_size=4, step=3).state_dict()
    stream = open_stream(dataset, batch_size=2, seed=9)
    stream.load_state_dict(state, allow_change=True)
    assert_same([next(stream)], list(islice(open_stream(dataset, batch_size=2, seed=9, step=3), 1)))


def test_short_clips_are_padded_and_marked(make_dataset: MakeDataset) -> None:
    root = make_dataset([("train", [16, 9])])
    (batch,) = islice(open_stream(root, batch_size=2, short="pad"), 1)
    at = batch.keys.index("file-0001_00000000")
    assert batch.valid[at].tolist() == [True] * 9 + [False] * 7
    assert batch.valid[1 - at].all()
    assert torch.equal(batch.video[at, 9:], batch.video[at, 8:9].expand(7, -1, -1, -1))


def test_picture_size(dataset: Path) -> None:
    stream = open_stream(dataset, batch_size=4, step=5)
    assert stream.picture_size() == (48, 64)
    assert next(stream).step == 5


def test_a_huge_dataset_opens_without_its_shards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shards = tuple(
        ShardEntry(f"shards/{number}.tar", "train", 4000, 0, "", "", {160: 4000}) for number in range(1700)
    )
    assert create_version(store, Version(1, None, {}, shards))
    assert open_stream(tmp_path, batch_size=512, step=10**6).step == 10**6


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, trainer_bridge; trainer_bridge.batch_digests; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
