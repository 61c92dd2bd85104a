"""What a cluster's config must hold beyond Ray's schema: each check yields what is wrong, in words."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
Config = dict[str, Any]

# What Ray's AWS provider reads (ray/autoscaler/_private/aws/); any other key would be passed over.
PROVIDER_KEYS = {
    "type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips", "security_group",
    "key_pair", "cloudwatch", "aws_credentials",
}  # fmt: skip

# What the engine asks for a unit: while it waits for the network, while it cuts, and for a model.
REQUESTS: tuple[dict[str, float], ...] = ({"CPU": 0.25}, {"CPU": 1}, {"CPU": 1, "GPU": 1})

SECRET = re.compile(r"AKIA[0-9A-Z]{16}|PRIVATE KEY|aws_secret|RAY_AUTH_TOKEN=|auth_token: [0-9a-f]{16}")


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def workers(config: Config) -> dict[str, Config]:
    return {k: v for k, v in config["available_node_types"].items() if k != config["head_node_type"]}


def limits(config: Config) -> Iterator[str]:
    types = config["available_node_types"]
    for name, kind in types.items():
        if not {"min_workers", "max_workers"} <= kind.keys():
            yield f"{name}: no limits of its own"
        elif not 0 <= kind["min_workers"] <= kind["max_workers"] <= config["max_workers"]:
            yield f"{name}: limits that contradict each other"
    if any(kind.get("min_workers") for kind in types.values()):
        yield "machines that cost while there is no work"


def provider(config: Config) -> Iterator[str]:
    if unknown := config["provider"].keys() - PROVIDER_KEYS:
        yield f"provider: Ray does not know {sorted(unknown)}"
    if config["provider"].get("cache_stopped_nodes") is not False:
        yield "provider: ended machines would be kept, with their disks"


@functools.cache
def run_instances() -> Any:
    model = ServiceModel(Loader().load_service_model("ec2", "service-2"))
    return model.operation_model("RunInstances").input_shape


def requests_to_aws(config: Config) -> Iterator[str]:
    """Ray hands `node_config` to EC2's RunInstances, but for `SubnetIds`, of which it picks one."""
    for name, kind in config["available_node_types"].items():
        request = {**kind["node_config"], "MinCount": 1, "MaxCount": 1}
        for subnet in request.pop("SubnetIds", []):
            request["SubnetId"] = subnet
        report = ParamValidator().validate(request, run_instances())
        if report.has_errors():
            yield f"{name}: {report.generate_report()}"
        if "SubnetId" not in request:
            yield f"{name}: Ray would choose a subnet"
        if request.get("MetadataOptions", {}).get("HttpTokens") != "required":
            yield f"{name}: a URL could ask for the machine's credentials"
        for disk in request.get("BlockDeviceMappings", []):
            if not disk["Ebs"].get("DeleteOnTermination"):
                yield f"{name}: a disk that outlives its machine"


def head(config: Config) -> Iterator[str]:
    kind = config["available_node_types"][config["head_node_type"]]
    if kind["resources"] != {"CPU": 0}:
        yield "the head takes work"
    if "InstanceMarketOptions" in kind["node_config"]:
        yield "the head may be taken away"
    if kind.get("max_workers") != 0:
        yield "workers of the head's type"


def workers_are_spot(config: Config) -> Iterator[str]:
    for name, kind in workers(config).items():
        if kind["node_config"].get("InstanceMarketOptions") != {"MarketType": "spot"}:
            yield f"{name}: not spot"
        if "IamInstanceProfile" in kind["node_config"]:
            yield f"{name}: credentials where strangers' bytes are decoded"


def requests_fit(config: Config) -> Iterator[str]:
    types = workers(config).values()
    for request in REQUESTS:
        if not any(all(kind["resources"].get(k, 0) >= n for k, n in request.items()) for kind in types):
            yield f"no machine for {request}"


def machines_have_what_is_offered(config: Config) -> Iterator[str]:
    for name, kind in config["available_node_types"].items():
        size = re.fullmatch(r"[a-z0-9-]+\.(\d*)xlarge", kind["node_config"].get("InstanceType", ""))
        if not size or kind["resources"].get("CPU", 0) > 4 * int(size[1] or 1):
            yield f"{name}: offers more cores than it has"


def starts(config: Config) -> Iterator[str]:
    for kind in ("head", "worker"):
        commands = [line for line in config[f"{kind}_start_ray_commands"] if "ray start" in line]
        if len(commands) != 1:
            yield f"{kind}: Ray is not started once"
        for command in commands:
            if "RAY_AUTH_MODE=token " not in command:
                yield f"{kind}: whether a token is asked for is left to Ray's release"
            if "--disable-usage-stats" not in command or "--metrics-export-port=" not in command:
                yield f"{kind}: usage statistics, or no metrics"
            if kind == "head" and "--dashboard-host=127.0.0.1 " not in command:
                yield "head: a dashboard for everyone"
            if kind == "head" and "--autoscaling-config=~/ray_bootstrap_config.yaml" not in command:
                yield "head: no worker would ever be started"


def only_our_commands(config: Config) -> Iterator[str]:
    """Ray puts commands of its own where a key is not written."""
    for name in ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands"):
        if name not in config:
            yield f"{name}: left to Ray"


def installation(config: Config) -> Iterator[str]:
    mounted = {path.removeprefix("~/genieset/"): source for path, source in config["file_mounts"].items()}
    for source in mounted.values():
        if source in {".", "./"} or not (source.startswith("~/.ray/") or (ROOT / source).exists()):
            yield f"not to be copied: {source}"
    project, tools = PROJECT["project"], PROJECT["tool"]["setuptools"]
    needed = {"pyproject.toml", "configs", project["readme"], *project["license-files"]}
    needed |= {f"{module}.py" for module in tools["py-modules"]}
    needed |= {package.rstrip("*") for package in tools["packages"]["find"]["include"]}
    setup = " ".join(config.get("setup_commands", []))
    needed |= set(re.findall(r"--constraints (\S+)", setup))
    if missing := sorted(needed - mounted.keys()):
        yield f"not copied: {missing}"
    if set(re.findall(r"\S*constraints\S*\.txt", setup)) != {"constraints.txt", "constraints-cluster.txt"}:
        yield "versions that no test has seen"
    python = re.search(r"--python (\d+\.\d+) ", setup)
    if not python or not project["requires-python"].startswith(f">={python[1]},"):
        yield "another Python than the project's"
    extra = re.search(r"\.\[(.*)\]", setup)
    if not extra or not set(extra[1].split(",")) <= project["optional-dependencies"].keys():
        yield "an extra that there is not"


def secrets(config: Config) -> Iterator[str]:
    if "aws_credentials" in config["provider"] or SECRET.search(yaml.safe_dump(config)):
        yield "a secret"


CHECKS = (
    limits, provider, requests_to_aws, head, workers_are_spot, requests_fit, machines_have_what_is_offered,
    starts, only_our_commands, installation, secrets,
)  # fmt: skip


def problems_in(config: Config) -> list[str]:
    return [problem for check in CHECKS for problem in check(config)]
