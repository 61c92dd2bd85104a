"""Every kind of damage that a dataset can meet: each plants one, and says which object has it, and where."""

from __future__ import annotations

from collections.abc import Iterator

from shards.wide import wide_name
from tests.pipeline.verify.planting import (
    OBJECTS,
    VERSION,
    Plant,
    bit_in,
    commit_of,
    copied,
    garbled,
    grown,
    halved,
    hostile_parquet,
    missing,
    pack_of,
    packs_of,
    scores_of,
    tar_of,
)
from tests.pipeline.verify.plants_in_tables import (
    CATALOG_CHANGES,
    INDEX_CHANGES,
    OF_COLUMNS,
    change_catalog,
    change_field,
    change_index,
    change_shard_field,
    commit_gone,
    commit_of_another_channel,
    commit_of_more,
    drop_shard,
    garbled_commit,
    index_of_another,
    nan_score,
    no_json,
    pack_row_less,
)
from tests.pipeline.verify.plants_in_tars import (
    append,
    bit_in_tar,
    cut_at,
    exchanged,
    huge_header,
    lying_checksums,
    lying_index,
    members_apart,
    other_mp4,
    other_split,
    republished,
    twice,
    two_bytes,
    two_splits,
    with_owner,
)


def all_plants() -> Iterator[tuple[str, Plant]]:
    """Name and plant of each."""
    for region in (
        "header of mp4",
        "head of mp4",
        "frames of mp4",
        "header of json",
        "json",
        "padding",
        "end",
    ):
        for seed in range(3):
            yield f"tar: bit in {region}, seed {seed}", bit_in_tar(region, seed, tar_of)
    for share in (0.0, 0.001, 0.5, 0.97, 1.0):
        yield f"tar: cut at {share:.1%}", cut_at(share)
    yield "tar: block appended", append
    yield "tar: two bytes of an mp4 changed", two_bytes
    yield "tar: header declares 8 GB", huge_header
    yield "tar: two shards exchanged", exchanged
    yield "tar: another clip's mp4 under this key", other_mp4
    yield "tar: members not adjacent", republished(members_apart)
    yield "tar: an owner and a time in the headers", republished(with_owner)
    yield "clip: its key is in two shards", republished(twice)
    yield "clip: its video is in two splits", republished(two_splits)
    yield "clip: its video is in the split that its hash does not say", republished(other_split)
    for name, change in INDEX_CHANGES.items():
        column = OF_COLUMNS.get(name.removesuffix(" changed"))
        yield f"index: {name}", change_index(change, f"column {column}" if column else "")
    yield "index: that of another shard", index_of_another
    yield "index: consistent with the version, not with the tar", republished(lying_index)
    yield "index: consistent with the version, but for the checksum of a group", republished(lying_checksums)
    for field in ("samples", "bytes", "sha256", "index_sha256", "clips_by_frames", "split", "name"):
        yield f"version: shards[0].{field}", change_shard_field(field)
    for field in ("parent", "number", "schema", "recipe", "recipe_hash", "splits", "shards"):
        yield f"version: {field}", change_field(field)
    yield "version: a shard less", drop_shard
    yield "version: no JSON", no_json
    yield "version: 1 GB of zeros", grown(lambda store: VERSION)
    for name, (kind, change) in CATALOG_CHANGES.items():
        yield f"catalog of {kind}: {name}", change_catalog(kind, change)
    for name, of in OBJECTS.items():
        yield f"{name}: missing", missing(of)
        if name not in ("tar", "pack", "version"):
            for seed in range(2):
                yield f"{name}: bit, seed {seed}", bit_in(of, seed)
            yield f"{name}: cut in half", halved(of)
        if name in ("index", "score", "pack index", "wide frames"):
            yield f"{name}: declares what it does not have", hostile_parquet(of)
    for region in ("header of mp4", "frames of mp4", "json", "padding", "end"):
        yield f"pack: bit in {region}", bit_in_tar(region, 0, pack_of)
    yield "pack index: a row less", pack_row_less
    yield (
        "score: that of another pack",
        copied(lambda store: scores_of(store)[0], lambda store: scores_of(store)[1]),
    )
    yield "score: not a number", nan_score
    yield (
        "wide frames: those of another pack",
        copied(lambda store: wide_name(pack_of(store)), lambda store: wide_name(packs_of(store)[1])),
    )
    yield "commit: another number of clips", commit_of_more
    yield "commit: another channel", commit_of_another_channel
    yield "commit: gone", commit_gone
    yield "commit: no JSON", garbled_commit
    yield "commit: 1 GB of zeros", grown(commit_of)
    yield "config: no JSON", garbled(lambda store: "config.json")
