"""`ray_cluster.yaml` by Ray's own schema, and by what that schema does not see."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
Config = dict[str, Any]

# What Ray's AWS provider reads (ray/autoscaler/_private/aws, ray/autoscaler/ray-schema.json).
PROVIDER_KEYS = {
    "type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips", "security_group",
    "cloudwatch", "aws_credentials",
}  # fmt: skip

# Of boto3's EC2.ServiceResource.create_instances, which Ray hands `node_config` to.
NODE_KEYS = {
    "InstanceType", "ImageId", "InstanceMarketOptions", "BlockDeviceMappings", "KeyName", "SubnetIds",
    "SecurityGroupIds", "IamInstanceProfile", "TagSpecifications", "Placement", "NetworkInterfaces",
    "MetadataOptions", "UserData",
}  # fmt: skip

# What the engine asks for a unit: on the network side, on the CPU side, and for a model.
REQUESTS: tuple[dict[str, float], ...] = ({"CPU": 0.25}, {"CPU": 1}, {"CPU": 1, "GPU": 1})


def problems_in(config: Config) -> Iterator[str]:
    """What is wrong with a cluster's config, beyond what Ray's schema sees."""
    types: Config = config["available_node_types"]
    head = types[config["head_node_type"]]
    workers = {name: kind for name, kind in types.items() if kind is not head}
    if unknown := config["provider"].keys() - PROVIDER_KEYS:
        yield f"provider: {unknown}"
    if head["resources"].get("CPU") != 0 or "--num-cpus=0" not in " ".join(config["head_start_ray_commands"]):
        yield "the head takes work"
    if "InstanceMarketOptions" in head["node_config"]:
        yield "the head is spot"
    for name, kind in types.items():
        if not {"min_workers", "max_workers"} <= kind.keys():
            yield f"{name}: no limit of its own"
        if unknown := kind["node_config"].keys() - NODE_KEYS:
            yield f"{name}: {unknown}"
    for name, kind in workers.items():
        if kind["node_config"].get("InstanceMarketOptions") != {"MarketType": "spot"}:
            yield f"{name}: not spot"
    if sum(kind.get("max_workers", 0) for kind in workers.values()) > config["max_workers"]:
        yield "the types may have more workers than the cluster"
    for request in REQUESTS:
        if not any(
            all(kind["resources"].get(n, 0) >= x for n, x in request.items()) for kind in workers.values()
        ):
            yield f"nothing fits {request}"
    for command in [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]:
        if "ray start" in command and "RAY_AUTH_MODE=token" not in command:
            yield "a ray without a token"
    images = [config["docker"]["image"]]
    images += [kind["docker"]["worker_image"] for kind in types.values() if "docker" in kind]
    for image in images:
        if not image.startswith(f"rayproject/ray:{pinned('ray')}-py311-"):
            yield f"image {image}"
    for source in config["file_mounts"].values():
        if not source.startswith("~") and not (ROOT / source).exists():
            yield f"no {source} to copy"


def pinned(package: str) -> str:
    match = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert match
    return match[1]


@pytest.fixture
def config() -> Config:
    loaded: Config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    return loaded


def test_ray_takes_it(config: Config) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


def test_nothing_is_wrong_that_ray_does_not_see(config: Config) -> None:
    assert list(problems_in(config)) == []


def _set(*path: str, value: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    return change


TYPES = "available_node_types"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_set("provider", "regoin", value="x"), "provider: {'regoin'}"),
        (_set(TYPES, "head", "resources", value={}), "the head takes work"),
        (_set("head_start_ray_commands", value=["RAY_AUTH_MODE=token ray start"]), "the head takes work"),
        (_set(TYPES, "head", "node_config", "InstanceMarketOptions", value={}), "the head is spot"),
        (lambda config: config[TYPES]["cutter"].pop("max_workers"), "cutter: no limit of its own"),
        (_set(TYPES, "cutter", "node_config", "InstanceTyp", value="x"), "cutter: {'InstanceTyp'}"),
        (_set(TYPES, "scorer", "node_config", value={}), "scorer: not spot"),
        (_set("max_workers", value=3), "the types may have more workers than the cluster"),
        (lambda config: config[TYPES]["scorer"]["resources"].pop("GPU"), "nothing fits {'CPU': 1, 'GPU': 1}"),
        (_set("worker_start_ray_commands", value=["ray start"]), "a ray without a token"),
        (_set("docker", "image", value="ray:2.0.0-py311-cpu"), "image ray:2.0.0-py311-cpu"),
        (_set("file_mounts", value={"/x": "nowhere"}), "no nowhere to copy"),
    ],
)
def test_each_of_these_would_be_seen(config: Config, change: Callable[[Config], None], problem: str) -> None:
    changed = copy.deepcopy(config)
    change(changed)
    assert problem in list(problems_in(changed))


def test_what_is_to_be_filled_in_is_marked_and_nothing_else_is(config: Config) -> None:
    marked = sorted(
        set(re.findall(r"CHANGE-ME[A-Z-]*", (ROOT / "ray_cluster.yaml").read_text())) - {"CHANGE-ME"}
    )
    assert marked == [f"CHANGE-ME-{name}" for name in ("FILE-SYSTEM", "GPU-IMAGE", "IMAGE", "REGION", "ZONE")]


def test_the_python_of_the_image_is_the_project_s() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=3.11,<3.12"


def test_the_job_for_kubernetes_is_of_the_same_kind() -> None:
    job = yaml.safe_load((ROOT / "docs" / "kuberay-rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec.keys() == {
        "entrypoint", "submissionMode", "backoffLimit", "activeDeadlineSeconds", "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished", "rayClusterSpec",
    }  # fmt: skip
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert 0 <= workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            names = {variable["name"] for variable in container["env"]}
            assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "TMPDIR"} <= names
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    cores = float(workers["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    assert all(request["CPU"] <= cores for request in REQUESTS)


def test_the_page_shows_commands_that_there_are() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    from genieset import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"genieset ([a-z]+) /datasets", page)) <= known
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / "docs" / link).exists()
