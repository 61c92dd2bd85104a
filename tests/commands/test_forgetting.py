"""`genieset forget` and `verify --forgotten`, as a person types them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from shards.receipt import read_receipts, write_receipt
from shards.store import Store
from tests.faults.books import contents

ROOT = Path(__file__).parents[2]


def genieset(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genieset", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_it_says_what_it_would_do_does_it_and_proves_it(hostile: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "set"
    shutil.copytree(hostile, dataset)
    before = contents(dataset)
    clips = Store(dataset).read_table("catalog/clips/curated.parquet")["video_id"].to_pylist()
    video_id = max(set(clips), key=clips.count)

    unknown = genieset("forget", dataset, video_id[:-1])
    assert unknown.returncode == 2
    assert unknown.stderr.endswith(f"there is no video '{video_id[:-1]}'; did you mean {video_id}?\n")
    assert genieset("verify", dataset, "--forgotten").returncode == 2
    useless = genieset("verify", dataset, "--forgotten", "--sample", "3", "--fresh")
    assert useless.returncode == 2
    assert useless.stderr.endswith("looks at every object whole; leave --sample, --fresh away\n")

    said = genieset("forget", dataset, video_id)
    assert said.returncode == 0
    assert "would be changed or removed: versions/000001.json\n" in said.stdout
    assert "1 videos with 2 clips; versions that would be withdrawn: 1; --yes forgets" in said.stdout
    told = json.loads(genieset("forget", dataset, video_id, "--json").stdout)
    assert (told["video_ids"], told["versions"], len(told["clips"])) == ([video_id], [1], 2)
    assert contents(dataset) == before

    done = genieset("forget", dataset, video_id, "--yes")
    assert done.returncode == 0, done.stderr
    assert "versions withdrawn: 1; version 2 follows; reports/forget-000001.json lists" in done.stdout
    proof = genieset("verify", dataset, "--forgotten")
    assert (proof.returncode, "nothing is left of them" in proof.stdout) == (0, True)
    assert "rejected:forgotten" in genieset("status", dataset, "--json").stdout

    Store(dataset).put("notes.txt", f"see {video_id}\n".encode())
    found = genieset("verify", dataset, "--forgotten")
    assert found.returncode == 1
    assert found.stdout.startswith("notes.txt, bytes 4-28: names a forgotten video; it is not of")


def test_one_that_was_killed_is_gone_on_with_though_nothing_knows_the_channel_any_more(
    hostile: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "set"
    shutil.copytree(hostile, dataset)
    store = Store(dataset)
    channel = store.read_table("catalog/videos/curated.parquet")["channel"].drop_null().to_pylist()[0]
    assert genieset("forget", dataset, "--channel", channel, "--yes").returncode == 0
    (receipt,) = read_receipts(store)
    write_receipt(store, replace(receipt, done=False))
    proof = genieset("verify", dataset, "--forgotten")
    assert (proof.returncode, "was begun and is not done" in proof.stdout) == (1, True)
    assert genieset("forget", dataset, "--channel", channel, "--yes").returncode == 0
    assert read_receipts(store) == [receipt]
    again = genieset("forget", dataset, "--channel", channel, "--yes")
    assert (again.returncode, "no video of dataset" in again.stderr) == (2, True)
    known = genieset("forget", dataset, *receipt.video_ids, "--yes")
    assert (known.returncode, "they were forgotten before" in known.stdout) == (0, True)
