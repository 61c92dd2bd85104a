"""What is forgotten is gone from everything, and stays away; all else stays what it was."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from filters.classifier.artifact import read_card
from filters.classifier.folds import hash_videos
from pipeline.build import books_of, build, curate, discover, publish
from pipeline.engine.child import OneChild
from pipeline.forget import forget, look
from pipeline.known_videos import find_videos
from pipeline.status import read_status
from shards.catalog import CLIPS, CURATED, VIDEOS
from shards.checks.forgotten import check_forgotten
from shards.errors import UserError
from shards.manifest import list_versions, read_version
from shards.mentions import Mentions
from shards.names import every_object, is_ours
from shards.purge import clean_table
from shards.receipt import hash_object
from shards.runs import announce
from shards.store import Store
from shards.verify import verify
from tests.pipeline.forget.conftest import LABELS, Dataset
from tests.quiet import Quiet
from tests.stores import client
from trainer_bridge import Stream, open_stream


def mentions(root: Path, video_id: str) -> set[str]:
    """Told without the code that is tested: names, and bytes that are not compressed."""
    found = set()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and (video_id in name or video_id.encode() in path.read_bytes()):
            found.add(name)
    return found


def test_a_video_is_gone_from_every_object_and_the_next_build_leaves_it_so(dataset: Dataset) -> None:
    store, video_id = dataset.store, dataset.ids[0]
    before = read_version(store)
    assert [name for name in every_object(store) if not is_ours(name)] == []
    hashes = {entry.name: entry.sha256 for entry in before.shards}
    concerned = look(store, [video_id], LABELS)
    assert concerned.versions == (1, 2)
    assert len(concerned.clips) == 2
    assert set(concerned.objects) >= mentions(store.root, video_id) - {"config.json"}
    (receipt,) = forget(store, [video_id], LABELS, Quiet())
    assert check_forgotten(store) == []
    assert mentions(store.root, video_id) == {receipt.name, f"tombstones/{video_id}.json"}
    assert list_versions(store) == [3]
    after = read_version(store)
    assert (after.parent, after.recipe, receipt.successor) == (2, before.recipe, 3)
    kept = {entry.name for entry in after.shards} & set(hashes)
    assert kept == set(hashes) - set(concerned.shards)
    assert {hashlib.sha256(store.read(name)).hexdigest() for name in kept} == {hashes[name] for name in kept}
    assert verify(store, after).faults == ()
    for touched in receipt.objects:
        assert touched.after == hash_object(store, touched.name)
        assert touched.before or touched.after
    assert {touched.name for touched in receipt.objects} >= set(concerned.objects)
    assert {touched.name for touched in receipt.objects} >= {
        name for entry in after.shards if entry.name not in hashes for name in (entry.name, after.name)
    }
    built = build(dataset.config, OneChild(), Quiet())
    assert built.version == after
    assert check_forgotten(store) == []
    assert books_of(dataset.config).counts()["rejected:forgotten"] == 1
    assert read_status(store).balanced
    assert forget(store, [video_id], LABELS, Quiet()) == ()


def test_a_classifier_that_learned_from_it_is_the_same_and_a_card_that_names_it_goes(
    dataset: Dataset,
) -> None:
    store, video_id = dataset.store, dataset.ids[0]
    (folder,) = (name for name in store.folders("classifiers") if store.list(name))
    card = store.read(f"{folder}/card.json")
    old = "classifiers/c00000000000/card.json"
    store.put(old, json.dumps({"version": 1, "train": list(dataset.ids)}).encode())
    forget(store, [video_id], LABELS, Quiet())
    assert store.read(f"{folder}/card.json") == card
    assert hash_videos([video_id])[0] in read_card(store.where(folder)).train
    assert not store.exists(old)
    assert check_forgotten(store) == []


def test_a_pack_of_a_unit_that_is_not_named_after_its_videos_goes_with_its_commit(dataset: Dataset) -> None:
    """As of one file that holds many episodes."""
    store, video_id = dataset.store, dataset.ids[0]
    packs = [name for name in store.list("packs") if video_id in name and "0badcafe" not in name]
    for name in packs:
        store.put(name.replace(video_id, "file-unit"), store.read(name))
        store.remove(name)
    (tar,) = (name.replace(video_id, "file-unit") for name in packs if name.endswith(".tar"))
    (commit,) = (name for name in store.list("commits") if video_id in name)
    text = store.read(commit).decode().replace(f'"video_id": "{video_id}"', '"video_id": "file-unit"')
    text = text.replace(f"packs/{video_id}", "packs/file-unit")
    store.put("commits/file-unit-0123456789ab.json", text.encode())
    score = f"scores/motion-1/{tar[6:-4]}.parquet"
    store.put_table(score, pa.table({"motion": [1.0]}))
    concerned = look(store, [video_id], LABELS)
    assert tar in concerned.packs
    assert len(concerned.clips) == 2
    forget(store, [video_id], LABELS, Quiet())
    left = [name for name in every_object(store) if "file-unit" in name]
    assert left == []
    assert check_forgotten(store) == []


def test_training_goes_on_without_what_was_forgotten_and_does_not_take_it_for_the_same(
    dataset: Dataset,
) -> None:
    root = str(dataset.store.root)

    def keys_of_an_epoch(stream: Stream) -> set[str]:
        windows = sum(entry.samples for entry in read_version(dataset.store).shards) * 10
        return {key for batch in islice(stream, windows) for key in batch.keys}

    stream = open_stream(root, split="val", batch_size=1)
    seen = keys_of_an_epoch(stream)
    video_id = min(seen).rpartition("_")[0]
    state = stream.state_dict()
    forget(dataset.store, [video_id], LABELS, Quiet())
    stream = open_stream(root, split="val", batch_size=1)
    assert keys_of_an_epoch(stream) == {key for key in seen if not key.startswith(video_id)} != set()
    with pytest.raises(UserError, match="had version 2, this one has 3"):
        stream.load_state_dict(state)
    with pytest.raises(UserError, match="no version 2; there are"):
        open_stream(root, split="val", batch_size=1, version=2)


def test_all_videos_of_a_channel_or_at_an_address_are_meant(dataset: Dataset) -> None:
    store = dataset.store
    channel = store.read_table(CURATED[VIDEOS])["channel"].drop_null().to_pylist()[0]
    assert find_videos(store, [], channels=[channel.upper()]) == (dataset.ids[1],)
    assert find_videos(store, [], urls=["*/2.mp4"]) == (dataset.ids[2],)
    assert find_videos(store, [dataset.ids[0]], urls=["*/2.mp4"]) == tuple(sorted(dataset.ids[::2]))
    with pytest.raises(UserError, match=f"did you mean {dataset.ids[0]}"):
        find_videos(store, [dataset.ids[0][:-1]])
    with pytest.raises(UserError, match=r"--channel nobody: no video"):
        find_videos(store, [], channels=["nobody"])
    with pytest.raises(UserError, match=r"--url 2\.mp4: is no address"):
        find_videos(store, [], urls=["2.mp4"])
    for everything in ("*", "/*"):
        with pytest.raises(UserError, match=r"would mean every video"):
            find_videos(store, [], urls=[everything])
    with pytest.raises(UserError, match=r"there is none; `genieset build CONFIG` makes one"):
        find_videos(Store(store.root / "nowhere"), ["x"])


def test_where_nothing_is_left_nothing_follows_and_no_number_is_given_again(dataset: Dataset) -> None:
    store = dataset.store
    (receipt,) = forget(store, dataset.ids, LABELS, Quiet())
    assert (receipt.withdrawn, receipt.successor) == ((1, 2), None)
    assert list_versions(store) == []
    assert check_forgotten(store) == []
    assert not store.list("shards")
    loose = dataset.config.model_copy(
        update={"curate": dataset.config.curate.model_copy(update={"rules": {}})}
    )
    assert build(loose, OneChild(), Quiet()).version.number == 3


def test_a_build_and_a_forgetting_do_not_go_together(dataset: Dataset) -> None:
    store = dataset.store
    with announce(store, "build"), pytest.raises(UserError, match="a build is at work there"):
        forget(store, dataset.ids, LABELS, Quiet())
    with announce(store, "forget"):
        with pytest.raises(UserError, match="genieset forget is at work there"):
            forget(store, dataset.ids, LABELS, Quiet())
        with pytest.raises(UserError, match="genieset forget is at work there"):
            discover(dataset.config, Quiet())
    selection = curate(dataset.config)
    forget(store, dataset.ids[:1], LABELS, Quiet())
    with pytest.raises(UserError, match="was forgotten since"):
        publish(dataset.config, selection, OneChild(), Quiet())


def test_what_others_were_compared_with_goes_and_they_stay(dataset: Dataset) -> None:
    """A key in another clip's `duplicate_of`: the row stays, and what it says of the video goes."""
    ours, theirs = dataset.ids[:2]
    key = f"{ours}_00000000"
    clips = dataset.store.read_table(CURATED[CLIPS])
    places = pc.equal(clips["video_id"], theirs)
    of = pc.if_else(places, pa.scalar(key), clips["duplicate_of"])
    clips = clips.set_column(clips.schema.get_field_index("duplicate_of"), "duplicate_of", of)
    cleaned = clean_table(clips, Mentions([ours]))
    assert cleaned.schema.equals(clips.schema)
    assert cleaned.schema.metadata == clips.schema.metadata
    expected = clips.filter(pc.not_equal(clips["video_id"], ours))
    assert cleaned.drop_columns(["duplicate_of"]).equals(expected.drop_columns(["duplicate_of"]))
    assert cleaned["duplicate_of"].null_count == len(cleaned)


def test_in_a_bucket_too(dataset: Dataset, s3_bucket: str, s3_port: int) -> None:
    store, video_id = Store(f"s3://{s3_bucket}/set"), dataset.ids[0]
    for name in every_object(dataset.store):
        store.put(name, dataset.store.read(name))
    s3 = client(s3_port)
    begun = [
        "set/shards/train-000007-0badcafe.tar",
        "set/theirs.bin",
        "another/shards/train-000007-0badcafe.tar",
    ]
    for key in begun:
        s3.create_multipart_upload(Bucket=s3_bucket, Key=key)
    concerned = look(store, [video_id], LABELS)
    assert concerned.objects == look(dataset.store, [video_id], LABELS).objects
    (there,) = forget(store, [video_id], LABELS, Quiet())
    (here,) = forget(dataset.store, [video_id], LABELS, Quiet())
    assert check_forgotten(store) == []
    left = {upload["Key"] for upload in s3.list_multipart_uploads(Bucket=s3_bucket)["Uploads"]}
    assert left == set(begun[1:])
    assert [upload.name for upload in store.uploads()] == ["theirs.bin"]
    assert read_version(store) == read_version(dataset.store)
    hashes = [
        {touched.name: (touched.before, touched.after) for touched in receipt.objects}
        for receipt in (there, here)
    ]
    # SQLite's own file counts its changes.
    for one in hashes:
        one.pop("labels/labels.sqlite3")
    assert hashes[0] == hashes[1]
    build(dataset.config.model_copy(update={"dataset": store.url}), OneChild(), Quiet())
    assert list_versions(store) == [3]
