"""The page that is read at night shows what there is, and its job for Kubernetes is a sound one."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
import yaml

from tests.house.cluster_checks import PROJECT, REQUESTS, ROOT, pins

DOCS = ROOT / "docs"
PAGE = (DOCS / "operations.md").read_text()
Job = dict[str, Any]

# Fields of ray.io/v1 as of KubeRay 1.7.0 (ray-operator/config/crd/bases/ray.io_rayjobs.yaml), where it and
# Kubernetes would drop what they do not know, or refuse it only at the cluster.
FIELDS = {
    "spec": {
        "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy", "entrypoint",
        "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata",
        "preRunningDeadlineSeconds", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes",
        "submissionMode", "submitterConfig", "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished",
    },
    "rayClusterSpec": {
        "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions",
        "headGroupSpec", "headServiceAnnotations", "historyServerOptions", "managedBy", "networkPolicy",
        "rayVersion", "suspend", "tlsOptions", "upgradeStrategy", "workerGroupSpecs",
    },
    "autoscalerOptions": {
        "args", "command", "env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources",
        "securityContext", "upscalingMode", "version", "volumeMounts",
    },
    "group": {
        "enableIngress", "groupName", "headService", "idleTimeoutSeconds", "ingressOptions", "labels",
        "maxReplicas", "minReplicas", "numOfHosts", "priority", "rayStartParams", "replicas", "resources",
        "scaleStrategy", "serviceType", "suspend", "template",
    },
    "pod": {
        "affinity", "automountServiceAccountToken", "containers", "imagePullSecrets", "initContainers",
        "nodeSelector", "priorityClassName", "restartPolicy", "securityContext", "serviceAccountName",
        "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
    },
    "container": {
        "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name",
        "ports", "readinessProbe", "resources", "securityContext", "startupProbe", "volumeDevices",
        "volumeMounts", "workingDir",
    },
}  # fmt: skip
AMOUNT = re.compile(r"\d+(\.\d+)?(m|Ki|Mi|Gi|Ti)?")


def problems_in(job: Job) -> Iterator[str]:
    """What is wrong with a RayJob."""
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    groups = {"head": cluster["headGroupSpec"]}
    groups |= {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    yield from unknown("spec", spec)
    yield from unknown("rayClusterSpec", cluster)
    yield from unknown("autoscalerOptions", cluster["autoscalerOptions"])
    if cluster.get("authOptions") != {"mode": "token"}:
        yield "the operator would not know the token"
    if cluster["rayVersion"] != pins("constraints.txt")["ray"]:
        yield "another Ray than the pinned one"
    if not spec.get("shutdownAfterJobFinishes") or not spec.get("activeDeadlineSeconds"):
        yield "a cluster that costs for ever"
    if groups["head"]["rayStartParams"].get("num-cpus") != "0":
        yield "the head takes work"
    for name, group in groups.items():
        yield from (f"{name}: {problem}" for problem in problems_of_group(group))
    for name, group in list(groups.items())[1:]:
        if not 0 == group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"{name}: replicas"
        if group["template"]["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name}: a token of Kubernetes where strangers' bytes are decoded"
    for request in REQUESTS:
        if not any(fits(request, group) for group in cluster["workerGroupSpecs"]):
            yield f"no pod for {request}"


def unknown(what: str, fields: dict[str, Any]) -> Iterator[str]:
    if surplus := fields.keys() - FIELDS[what]:
        yield f"{what}: unknown {sorted(surplus)}"


def problems_of_group(group: dict[str, Any]) -> Iterator[str]:
    pod = group["template"]["spec"]
    yield from unknown("group", group)
    yield from unknown("pod", pod)
    if not all(isinstance(value, str) for value in group["rayStartParams"].values()):
        yield "rayStartParams are strings"
    if "nodeSelector" not in pod:
        yield "spot or on demand is left to chance"
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["containers"]:
        yield from unknown("container", container)
        if {mount["name"] for mount in container["volumeMounts"]} != volumes:
            yield "volumes that are not mounted, or mounts of none"
        where = {mount["mountPath"] for mount in container["volumeMounts"]}
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        if environment.get("TMPDIR") not in where:
            yield "scratch in the container's own layer"
        amounts = [*container["resources"]["requests"].values(), *container["resources"]["limits"].values()]
        if not all(isinstance(amount, str) and AMOUNT.fullmatch(amount) for amount in amounts):
            yield "amounts that do not parse"


def fits(request: dict[str, float], group: dict[str, Any]) -> bool:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    cores = group["rayStartParams"].get("num-cpus", limits["cpu"])
    offered = {"CPU": float(cores), "GPU": float(limits.get("nvidia.com/gpu", 0))}
    return all(offered[name] >= amount for name, amount in request.items())


@pytest.fixture
def job() -> Job:
    # Without aliases, so that a change here stays where it was made.
    loaded: Job = yaml.safe_load((DOCS / "kuberay-rayjob.yaml").read_text())
    return _alone(loaded)


def _alone(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _alone(inner) for key, inner in value.items()}
    return [_alone(inner) for inner in value] if isinstance(value, list) else copy.copy(value)


def test_the_job_is_one_that_kuberay_takes(job: Job) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert list(problems_in(job)) == []


HEAD, INGEST, GPU = ("headGroupSpec", None), ("workerGroupSpecs", 0), ("workerGroupSpecs", 1)


def group_of(job: Job, group: tuple[str, int | None]) -> Any:
    found = job["spec"]["rayClusterSpec"][group[0]]
    return found if group[1] is None else found[group[1]]


def pod_of(job: Job, group: tuple[str, int | None]) -> Any:
    return group_of(job, group)["template"]["spec"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda job: job["spec"].update(ttlSeconds=1), "spec: unknown ['ttlSeconds']"),
        (lambda job: pod_of(job, INGEST).update(toleration=[]), "ingest: pod: unknown ['toleration']"),
        (lambda job: job["spec"]["rayClusterSpec"].pop("authOptions"), "the operator would not know"),
        (lambda job: job["spec"]["rayClusterSpec"].update(rayVersion="2.9.0"), "another Ray"),
        (lambda job: job["spec"].pop("shutdownAfterJobFinishes"), "a cluster that costs"),
        (lambda job: group_of(job, HEAD)["rayStartParams"].pop("num-cpus"), "the head takes work"),
        (lambda job: group_of(job, HEAD)["rayStartParams"].update(block=True), "head: rayStartParams"),
        (lambda job: group_of(job, INGEST).update(minReplicas=2), "ingest: replicas"),
        (lambda job: pod_of(job, INGEST).pop("automountServiceAccountToken"), "ingest: a token of"),
        (lambda job: pod_of(job, INGEST).pop("nodeSelector"), "ingest: spot or on demand"),
        (lambda job: pod_of(job, GPU)["volumes"].pop(), "gpu: volumes"),
        (lambda job: pod_of(job, INGEST)["containers"][0].update(env=[]), "ingest: scratch"),
        (
            lambda job: pod_of(job, GPU)["containers"][0]["resources"]["limits"].pop("nvidia.com/gpu"),
            "no pod",
        ),
        (lambda job: pod_of(job, GPU)["containers"][0]["resources"]["limits"].update(cpu=8), "gpu: amounts"),
    ],
)
def test_each_of_these_would_be_seen(job: Job, change: Callable[[Job], None], problem: str) -> None:
    change(job)
    assert [said for said in problems_in(job) if said.startswith(problem)]


def test_the_image_holds_what_is_installed() -> None:
    text = (DOCS / "kuberay.Dockerfile").read_text()
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("COPY ")]
    copied = {name for *names, _ in lines for name in names}
    project, tools = PROJECT["project"], PROJECT["tool"]["setuptools"]
    needed = {"pyproject.toml", "constraints.txt", "constraints-cluster.txt", "configs", project["readme"]}
    needed |= {*project["license-files"], *(f"{module}.py" for module in tools["py-modules"])}
    assert copied == needed | {package.rstrip("*") for package in tools["packages"]["find"]["include"]}
    assert all((ROOT / name).exists() for name in copied)
    assert re.search(r"^FROM python:3\.11-", text, flags=re.MULTILINE)


def commands_shown(tool: str) -> list[str]:
    """All that the page runs of a tool, wherever it stands: what follows its name, to the end of its code."""
    code = re.findall(r"```\n(.*?)```|`([^`\n]+)`", PAGE, flags=re.DOTALL)
    lines = [line.split("#")[0] for pair in code for line in "".join(pair).splitlines()]
    return [shown.strip() for line in lines for shown in re.findall(rf"\b{tool} ([a-z][^'|&]*)", line)]


def unknown_in(shown: str, group: Any) -> str | None:
    """The first word of a command line that its tool, a group of click's or of typer's, does not have."""
    name, *words = shown.split()
    if name not in group.commands:
        return name
    command = group.commands[name]
    if hasattr(command, "commands"):
        return unknown_in(" ".join(words), command)
    options = {option for param in command.params for option in param.opts}
    own = words[: words.index("--")] if "--" in words else words
    return next((word for word in own if word.startswith("-") and word.split("=")[0] not in options), None)


@pytest.mark.parametrize("shown", commands_shown("genieset"))
def test_genieset_has(shown: str) -> None:
    from genieset import app

    assert unknown_in(shown, typer.main.get_command(app)) is None


@pytest.mark.parametrize("shown", commands_shown("ray"))
def test_ray_has(shown: str) -> None:
    from ray.scripts.scripts import cli

    # What follows the quote of an `exec` stands in the list for itself.
    assert unknown_in(shown, cli) is None


def test_the_page_shows_the_commands_that_matter_and_no_dead_link() -> None:
    assert {"build", "plan", "status", "verify"} <= {shown.split()[0] for shown in commands_shown("genieset")}
    assert {"up", "exec", "status", "down"} <= {shown.split()[0] for shown in commands_shown("ray")}
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (DOCS / link).exists()
    for failure in re.findall(r"`failed:(\w+)`|--retry (\w+)", PAGE):
        from pipeline.outcomes import TRANSIENT_FAILURES

        assert set(filter(None, failure)) <= TRANSIENT_FAILURES
