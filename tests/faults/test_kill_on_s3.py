"""What is killed at any of its requests to a bucket leaves whole versions, and is gone on with.

Where a disk has its operations, a bucket has the requests that change it. Work is killed at a sample of
them, unless `--every-kill` asks for each; see `tests.faults.points`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shards.checks.forgotten import check_forgotten
from shards.keys import file_video_id
from shards.manifest import list_versions
from shards.store import Store
from tests.faults.bucket_killer import BucketKiller, Undisturbed, Work
from tests.faults.killer import Killer
from tests.faults.points import kill_points
from tests.faults.prefix import Prefix
from tests.proxy import proxy_to
from tests.stores import aws, client

WriteBuild = Callable[..., Path]

URL = "s3://killed/set"


@dataclass(frozen=True)
class Case:
    """Work that is to be killed.

    Attributes:
        before: the numbers of the versions that there are before.
        after: and afterwards.
    """

    work: Work
    undisturbed: Undisturbed
    before: list[int]
    after: list[int]


@pytest.fixture(scope="module")
def site(s3_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketKiller]:
    """A bucket, which the environment names past the proxy."""
    folder = tmp_path_factory.mktemp("site")
    client(s3_port).create_bucket(Bucket="killed")
    with (
        pytest.MonkeyPatch.context() as patch,
        proxy_to(s3_port) as proxy,
        Killer(folder / "scratch", aws(proxy.url)) as killer,
    ):
        for name, value in aws(s3_port).items():
            patch.setenv(name, value)
        yield BucketKiller(URL, killer, proxy, Prefix(s3_port, "killed", "set/", folder / "copy"))


@pytest.fixture(scope="module")
def pair(videos: dict[str, Path]) -> str:
    """A folder of two videos of one clip each; the id of the first."""
    folder = videos["first"].parent / "pair"
    folder.mkdir()
    videos["pair"] = folder
    one = Path(shutil.copy(videos["first"] / "one.mp4", folder))
    shutil.copy(videos["later"] / "three.mp4", folder)
    return file_video_id(hashlib.sha256(one.read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def cases(site: BucketKiller, write_build: WriteBuild, pair: str) -> dict[str, Case]:
    """`new` publishes what was ingested, `grown` what was ingested since, and `forget` takes out a video."""
    first, both, two = (write_build(URL, *folders) for folders in (["first"], ["first", "later"], ["pair"]))

    def case(work: Work, before: list[int], after: list[int]) -> Case:
        assert list_versions(site.store) == before
        found = Case(work, site.undisturbed(work), before, after)
        assert list_versions(site.store) == after
        return found

    site.run(lambda killer: killer.ingest(first))
    new = case(lambda killer: killer.publish(first), [], [1])
    site.run(lambda killer: killer.ingest(both))
    grown = case(lambda killer: killer.publish(both), [1], [1, 2])
    site.prefix.restore({})
    site.run(lambda killer: killer.build(two))
    forget = case(lambda killer: killer.forget(two, [pair]), [1], [2])
    assert check_forgotten(site.store) == []
    return {"new": new, "grown": grown, "forget": forget}


def test_the_publishes_have_a_bit_of_everything(site: BucketKiller, cases: dict[str, Case]) -> None:
    folder = site.prefix.copy(cases["grown"].undisturbed.end)
    one, two = (
        {shard["name"] for shard in json.loads((folder / f"versions/00000{n}.json").read_bytes())["shards"]}
        for n in (1, 2)
    )
    assert len(one) == 3
    assert {name.split("-")[0] for name in one} == {"shards/train", "shards/val"}
    assert one < two
    shards = {f"PUT {name}" for name in two - one}
    assert shards <= set(cases["grown"].undisturbed.operations)


@pytest.mark.parametrize("name", ["new", "grown", "forget"])
def test_killed_at_any_request_and_run_again(
    name: str, site: BucketKiller, cases: dict[str, Case], every_kill: bool
) -> None:
    case = cases[name]
    points = kill_points(case.undisturbed.operations, every_kill)

    def between() -> Iterator[str]:
        # Versions are withdrawn when their successor is there.
        numbers = list_versions(site.store)
        if numbers not in (case.before, case.after, sorted({*case.before, *case.after})):
            yield f"the versions are {numbers}"

    def end() -> Iterator[str]:
        if name == "forget":
            # The copy has the bucket's bytes, and is read faster.
            yield from map(str, check_forgotten(Store(site.prefix.copy(site.prefix.state()))))

    faults = site.kill_at(points, case.work, case.undisturbed, between, end)
    assert not faults, "\n".join(faults)
    print(f"killed at {len(points)} of {len(case.undisturbed.operations)} requests")


@pytest.mark.parametrize("name", ["new", "forget"])
def test_one_request_more_there_is_not(name: str, site: BucketKiller, cases: dict[str, Case]) -> None:
    """The count is right: a kill at the request after the last one never comes."""
    undisturbed = cases[name].undisturbed
    site.prefix.restore(undisturbed.base)
    run, operations = site.run(cases[name].work, kill_at=len(undisturbed.operations) + 1)
    assert (run.signal, run.exit_code, operations) == (None, 0, undisturbed.operations)
    assert list(site.faults(site.prefix.state())) == []
