"""`ray_cluster.yaml` against Ray's own schema, and against what that schema does not see.

Nothing here asks a cloud: what would cost an evening and a bill to find out is found out before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.house.cluster_checks import ROOT, Config, installation, pins, problems_in

OF_AN_ACCOUNT = re.compile(r"\b(ami|sg|subnet|fs|vpc)-[0-9a-f]{8}|arn:aws|\b\d{12}\b|\b[a-z]{2}-[a-z]+-\d\b")


@pytest.fixture
def config() -> Config:
    # Without aliases, so that a change here stays where it was made.
    loaded: Config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    plain: Config = yaml.safe_load(yaml.dump(loaded, Dumper=_NoAliases))
    return plain


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def by_ray(config: Config) -> Config:
    from ray.autoscaler._private.util import prepare_config, validate_config

    # In this order: Ray's schema wants keys that only its preparation fills in.
    prepared: Config = prepare_config(config)
    validate_config(prepared)
    return prepared


def test_ray_takes_it_and_adds_no_command_of_its_own(config: Config) -> None:
    prepared = by_ray(config)
    for kind in ("head", "worker"):
        assert prepared[f"{kind}_setup_commands"] == config["setup_commands"]
        assert prepared[f"{kind}_start_ray_commands"] == config[f"{kind}_start_ray_commands"]
    assert prepared["initialization_commands"] == config["initialization_commands"]


def test_nothing_is_wrong_that_ray_does_not_see(config: Config) -> None:
    assert problems_in(config) == []


def put(path: str, value: Any) -> Callable[[Config], None]:
    """A change that sets the value at a path of keys."""
    *folders, last = path.split("/")

    def change(config: Config) -> None:
        for key in folders:
            config = config[key]
        config[last] = value

    return change


def cut(path: str) -> Callable[[Config], None]:
    """A change that takes the key at a path away."""
    *folders, last = path.split("/")

    def change(config: Config) -> None:
        for key in folders:
            config = config[key]
        del config[last]

    return change


def replace(key: str, old: str, new: str) -> Callable[[Config], None]:
    """A change of the text of commands."""

    def change(config: Config) -> None:
        assert any(old in command for command in config[key])
        config[key] = [command.replace(old, new) for command in config[key]]

    return change


INGEST, GPU, HEAD = (f"available_node_types/{name}" for name in ("ingest", "gpu", "head"))


@pytest.mark.parametrize(
    "change",
    [
        put("max_wokers", 3),
        put("head_node_type", "haed"),
        put(f"{INGEST}/min_workers", 1000),
        put(f"{INGEST}/max_workers", "many"),
        put(f"{GPU}/spot", True),
        cut(f"{GPU}/node_config"),
    ],
)
def test_ray_s_schema_sees(config: Config, change: Callable[[Config], None]) -> None:
    from jsonschema import ValidationError

    change(config)
    with pytest.raises((ValidationError, ValueError)):
        by_ray(config)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (cut(f"{INGEST}/max_workers"), "ingest: no limits"),
        (put(f"{INGEST}/max_workers", 1000), "ingest: limits that contradict"),
        (put(f"{GPU}/min_workers", 1), "machines that cost"),
        (put("provider/regoin", "x"), "provider: Ray does not know ['regoin']"),
        (cut("provider/cache_stopped_nodes"), "provider: ended machines"),
        (put(f"{INGEST}/node_config/InstanceTyp", "x"), 'ingest: Unknown parameter in input: "InstanceTyp"'),
        (put(f"{GPU}/node_config/SecurityGroupIds", "sg-1"), "gpu: Invalid type for parameter SecurityGroup"),
        (
            put(f"{INGEST}/node_config/InstanceMarketOptions/MarktType", "x"),
            "ingest: Unknown parameter in Ins",
        ),
        (cut(f"{INGEST}/node_config/SubnetIds"), "ingest: Ray would choose"),
        (cut(f"{INGEST}/node_config/MetadataOptions"), "ingest: a URL could ask"),
        (
            put(f"{HEAD}/node_config/BlockDeviceMappings", [{"Ebs": {"VolumeSize": 9}}]),
            "head: a disk that out",
        ),
        (put(f"{HEAD}/resources", {}), "the head takes work"),
        (put(f"{HEAD}/node_config/InstanceMarketOptions", {"MarketType": "spot"}), "the head may be taken"),
        (put(f"{HEAD}/max_workers", 1), "workers of the head's type"),
        (cut(f"{GPU}/node_config/InstanceMarketOptions"), "gpu: not spot"),
        (put(f"{GPU}/node_config/IamInstanceProfile", {"Name": "x"}), "gpu: credentials where"),
        (cut(f"{GPU}/resources/GPU"), "no machine for {'CPU': 1, 'GPU': 1}"),
        (put(f"{INGEST}/resources/CPU", 32), "ingest: offers more cores"),
        (replace("worker_start_ray_commands", "RAY_AUTH_MODE=token ", ""), "worker: whether a token"),
        (replace("head_start_ray_commands", "--disable-usage-stats", ""), "head: usage statistics"),
        (replace("head_start_ray_commands", "127.0.0.1", "0.0.0.0"), "head: a dashboard"),
        (replace("head_start_ray_commands", "--autoscaling-config", "--x"), "head: no worker would"),
        (put("worker_start_ray_commands", []), "worker: Ray is not started"),
        (cut("head_setup_commands"), "head_setup_commands: left to Ray"),
        (replace("setup_commands", "--constraints constraints-cluster.txt", ""), "versions that no test"),
        (replace("setup_commands", "--python 3.11", "--python 3.12"), "another Python"),
        (replace("setup_commands", "[cluster,", "[clutser,"), "an extra that"),
        (put("provider/aws_credentials", {}), "a secret"),
        (put("metadata/token", "RAY_AUTH_TOKEN=1"), "a secret"),
    ],
)
def test_each_of_these_would_be_seen(config: Config, change: Callable[[Config], None], problem: str) -> None:
    change(config)
    assert [said for said in problems_in(config) if said.startswith(problem)]


def test_what_is_copied_is_what_there_is(config: Config) -> None:
    mounts = config["file_mounts"]
    mounts["~/genieset/x"] = "nowhere"
    mounts["~/genieset/all"] = "."
    del mounts["~/genieset/shards"]
    found = list(installation(config))
    assert found == ["not to be copied: nowhere", "not to be copied: .", "not copied: ['shards']"]


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield str(value)


def test_an_account_s_values_stand_in_one_block_and_all_of_them_are_used(config: Config) -> None:
    account = config.pop("metadata")["account"]
    assert all("CHANGE-ME" in value for value in leaves(account))
    rest = list(leaves(config))
    assert set(leaves(account)) == {value for value in rest if "CHANGE-ME" in value}
    assert not [value for value in rest if OF_AN_ACCOUNT.search(value)]


def test_the_packages_of_a_node_are_pinned_once() -> None:
    import ray

    everywhere, nodes = pins("constraints.txt"), pins("constraints-cluster.txt")
    assert not everywhere.keys() & nodes.keys()
    assert everywhere["ray"] == ray.__version__
    assert everywhere["boto3"] == everywhere["botocore"], "the tests know another AWS than the nodes"
