"""Where the Ray of an engine comes from: one of its own on this machine, or a cluster that is there."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
import ray.exceptions

from pipeline.engine import guard
from pipeline.engine.on_ray import RayEngine
from shards.errors import UserError

# The smallest store that Ray accepts is 75 MiB; nothing large goes through it.
_LOCAL_OBJECT_STORE_BYTES = 100 * 2**20

# Of the 107 characters that a socket's name may have, Ray and the name of the folder take 85.
_MAX_FOLDER_CHARS = 20

_KNOCK_S = 10.0


@contextmanager
def local_engine(jobs: int) -> Iterator[RayEngine]:
    """An engine over a Ray of its own on this machine, which ends with it.

    Args:
        jobs: how many units may be cut at once, >= 1.
    """
    folder = tempfile.mkdtemp(prefix="genieset-ray-", dir=_short_temporary_folder())
    with _guarded(folder):
        at_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address="local",
                num_cpus=jobs,
                object_store_memory=_LOCAL_OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
                _node_ip_address="127.0.0.1",
            )
            # What this process starts besides is not Ray's.
            del os.environ[guard.MARK]
            if threading.current_thread() is threading.main_thread():
                # Ray's own way to end prints a crash report.
                signal.signal(signal.SIGTERM, at_sigterm)
            yield RayEngine(Path(folder))
        finally:
            ray.shutdown()


@contextmanager
def _guarded(folder: str) -> Iterator[None]:
    """Whatever is started inside of this and marked ends with it, also when this process is killed."""
    command = [sys.executable, "-I", "-S", guard.__file__, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0) as watching:
        os.environ[guard.MARK] = folder
        try:
            yield
        finally:
            os.environ.pop(guard.MARK, None)
            assert watching.stdin
            watching.stdin.close()


@contextmanager
def cluster_engine(address: str) -> Iterator[RayEngine]:
    """An engine over a Ray cluster that is running; it is left as it was.

    Args:
        address: `host:port` of the head, or `auto` on a node of the cluster.

    Raises:
        UserError: there is no cluster, or it does not let this process in.
    """
    if address.startswith("ray://"):
        raise UserError(
            f"--ray-address {address}: a Ray client would carry every unit through one process; run the "
            "command on a node of the cluster, with --ray-address auto"
        )
    _knock(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"--ray-address {address}: no cluster answers there ({reason}); "
            "start one with `ray up` or `ray start`"
        ) from None
    try:
        yield RayEngine()
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray would try for minutes what a connection shows at once."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--ray-address {address}: no cluster answers there ({error}); "
                "start one with `ray up` or `ray start`"
            ) from None


def _short_temporary_folder() -> str:
    """Ray puts sockets below it, whose names the kernel limits to 107 characters."""
    chosen = tempfile.gettempdir()
    return chosen if len(chosen) <= _MAX_FOLDER_CHARS else "/tmp"  # noqa: S108 - mkdtemp makes a private folder there
