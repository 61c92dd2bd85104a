"""What becomes of versions: of one that cannot be read, of its shares, and of what was exported of it."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.build import build
from pipeline.config import MaxShare
from pipeline.engine.child import OneChild
from pipeline.forget import Concerned, forget, look
from shards.catalog import CLIPS, curated_version, read_catalog
from shards.checks.forgotten import check_forgotten
from shards.errors import UserError
from shards.export.write import export_version, exports_of
from shards.manifest import list_versions, read_version, version_name
from shards.receipt import hash_object
from shards.store import Store
from shards.verify import verify
from tests.pipeline.forget.conftest import LABELS, Dataset
from tests.quiet import Quiet


def with_shares(dataset: Dataset, share: float) -> Dataset:
    """Seven clips in a shard a split, of three videos two each and one of the fourth, held to a share."""
    curate = dataset.config.curate.model_copy(update={"rules": {}, "max_share": MaxShare(video=share)})
    shards = dataset.config.shards.model_copy(update={"max_bytes": 1_000_000})
    config = dataset.config.model_copy(update={"curate": curate, "shards": shards})
    assert sum(build(config, OneChild(), Quiet()).version.splits.values()) == 7
    return Dataset(config, dataset.ids)


def clips_of_videos(store: Store) -> list[int]:
    clips = read_catalog(store, read_version(store))[CLIPS][1]
    kept = clips.filter(pc.equal(clips["decision"], "kept"))
    return sorted(entry["counts"] for entry in pc.value_counts(kept["video_id"]).to_pylist())


def test_what_follows_holds_to_the_shares_and_is_what_the_next_build_would_publish(dataset: Dataset) -> None:
    dataset = with_shares(dataset, 0.34)
    store = dataset.store
    assert clips_of_videos(store) == [1, 2, 2, 2]
    before = {entry.name for entry in read_version(store).shards}
    heard = Quiet()
    (receipt,) = forget(store, [dataset.ids[0]], LABELS, heard)
    after = read_version(store)
    assert clips_of_videos(store) == [1, 1, 1]
    assert curated_version(store) == after
    assert verify(store, after).faults == ()
    assert check_forgotten(store) == []
    assert (heard.notes, receipt.successor) == ([], after.number)
    told = {touched.name: touched.after for touched in receipt.objects}
    new = {entry.name for entry in after.shards} - before
    assert {name: told[name] for name in new} == {name: hash_object(store, name) for name in new} != {}
    assert build(dataset.config, OneChild(), Quiet()).version == after


def test_shares_that_cannot_be_held_any_more_do_not_hold_up_a_forgetting(dataset: Dataset) -> None:
    dataset = with_shares(dataset, 0.3)
    heard = Quiet()
    forget(dataset.store, [dataset.ids[0]], LABELS, heard)
    assert clips_of_videos(dataset.store) == [1, 2, 2]
    (note,) = heard.notes
    assert "takes kept clips of at least 4 videos, and there are 3" in note
    assert note.endswith("until then the version that follows is over its shares")


@pytest.mark.parametrize("number", [1, 2])
def test_a_version_that_cannot_be_read_is_withdrawn_and_that_is_said(dataset: Dataset, number: int) -> None:
    store, video_id = dataset.store, dataset.ids[0]
    body = store.read(version_name(number))
    store.put(version_name(number), body.replace(b"train", b"trian", 1))
    concerned = look(store, [video_id], LABELS)
    assert (concerned.versions, concerned.damaged) == ((1, 2), (number,))
    heard = Quiet()
    (receipt,) = forget(store, [video_id], LABELS, heard)
    assert (receipt.withdrawn, receipt.successor, list_versions(store)) == ((1, 2), 3, [3])
    assert read_version(store).parent == 3 - number
    assert heard.notes == [f"{store.where(version_name(number))}: is damaged, and is withdrawn, too"]
    assert verify(store, read_version(store)).faults == ()
    assert check_forgotten(store) == []


def test_a_version_of_a_later_release_is_no_damaged_one(dataset: Dataset) -> None:
    store = dataset.store
    body = json.loads(store.read(version_name(2))) | {"schema": 99}
    store.put(version_name(2), json.dumps(body).encode())
    with pytest.raises(UserError, match="schema 99; this release reads 2"):
        forget(store, [dataset.ids[0]], LABELS, Quiet())


def test_exports_of_a_version_whose_catalog_is_another_now_go(dataset: Dataset) -> None:
    """The catalog tells of clips that were dropped, too; this video has no other."""
    store = dataset.store
    version = read_version(store)
    clips = read_catalog(store, version)[CLIPS][1]
    (video_id,) = set(clips["video_id"].to_pylist()) - set(
        clips.filter(pc.equal(clips["decision"], "kept"))["video_id"].to_pylist()
    )
    exported = exports_of(store, 2)
    assert any(b"catalog/clips/000002-" in store.read(name) for name in exported)
    concerned: Concerned = look(store, [video_id], LABELS)
    assert concerned.versions == ()
    assert set(exported) <= set(concerned.objects)
    forget(store, [video_id], LABELS, Quiet())
    assert (list_versions(store), exports_of(store, 1), exports_of(store, 2)) == ([1, 2], [], [])
    export_version(store, version, "croissant")
    assert isinstance(read_catalog(store, version)[CLIPS][1], pa.Table)
