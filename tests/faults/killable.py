"""Builds that are killed at a storage operation of one's choice. Run as a program, one job a line.

A job is `{"config": path, "kill_at": number or null, "work": "build", "ingest", "publish", "gc" or "forget",
"videos": [id, ...]}` on standard input; a garbage collection keeps one version and spares nothing for being
young. The work runs in a forked child of its own, in one process and with one thread of ours, and the child
sends itself SIGKILL at the operation of that number, counted from 1. The answers are `{"pid": number}` and
then `{"status": wait status, "operations": [...], "log": [...]}` on standard output.

What counts as an operation is what leaves the disk in another state: a staged file that is written
(the kill leaves half of it), the moment before it is given its name, the moment after, the removal
of a staged file, and the creation of a folder. A sync changes nothing that outlives a SIGKILL, so
it is not counted; the log holds it, for it does outlive a power cut. In a bucket nothing is counted here:
whoever stands between this process and the server does it, and knows by the pid whom to kill.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas  # noqa: F401 - pyarrow loads it when it first meets a list, and a child would each time

from labelling.purge import find_labels, purge_labels
from pipeline import build
from pipeline.config import BuildConfig, load_config
from pipeline.engine import Done, NotYet, Outcome, Part, Raised, Work, all_parts
from pipeline.forget import Labels, forget
from shards.garbage import collect_garbage
from shards.store import Store
from tests.quiet import Quiet

T = TypeVar("T")
R = TypeVar("R")


class Inline:
    """Runs units in this process: whatever they do to the disk is done by the process that is killed."""

    def run(
        self,
        function: Work[T, R],
        units: Iterable[T | NotYet],
        first: Callable[[T], Part],
        *,
        alone: bool = False,
    ) -> Iterator[tuple[T, Outcome[R]]]:
        for unit in units:
            assert not isinstance(unit, NotYet)
            try:
                result = function(unit)
                outcome: Outcome[R] = Done(
                    all_parts(cast("Generator[Part, None, R]", result))
                    if inspect.isgenerator(result)
                    else result
                )
            except Exception as error:
                outcome = Raised(repr(error), traceback.format_exc())
            yield unit, outcome


class Operations:
    """Counts what is done to the files of a folder, tells it, and kills this process on the way.

    It stands between this process and the calls of `os` that the store is made of.
    """

    def __init__(self, root: Path, kill_at: int | None, log_fd: int) -> None:
        self._root = root
        self._kill_at = kill_at
        self._log_fd = log_fd
        self._count = 0
        self._fsync = os.fsync
        os.fsync = self._synced  # type: ignore[assignment]
        os.replace = self._named(os.replace)
        os.link = self._named(os.link)
        os.mkdir = self._made(os.mkdir)
        os.unlink = self._removed(os.unlink)

    def _name(self, path: Any) -> str | None:
        """The place inside the folder; names that tell of time or chance are left out."""
        place = Path(os.path.abspath(path))  # noqa: PTH100 - lexically: links may not exist yet
        if not place.is_relative_to(self._root):
            return None
        name = place.relative_to(self._root).as_posix()
        folder = name.split("/")[0]
        return f"{folder}/*" if folder in {".tmp", "attempts", "runs"} and folder != name else name

    def _tell(self, event: str) -> None:
        os.write(self._log_fd, event.encode() + b"\n")

    def _reach(self, operation: str, torn_fd: int | None = None) -> None:
        self._count += 1
        self._tell(operation)
        if self._count == self._kill_at:
            if torn_fd is not None:
                os.ftruncate(torn_fd, os.fstat(torn_fd).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def _synced(self, fd: int) -> None:
        name = self._name(Path(f"/proc/self/fd/{fd}").readlink())
        folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        if name and not folder:
            self._reach(f"write {name}", torn_fd=fd)
        self._fsync(fd)
        if name:
            self._tell(f"{'sync-folder' if folder else 'sync'} {name}")

    def _named(self, call: Callable[..., None]) -> Callable[..., None]:
        def named(source: Any, target: Any, **options: Any) -> None:
            name = self._name(target)
            if name is None:
                return call(source, target, **options)
            self._reach(f"before-name {name}")
            call(source, target, **options)
            return self._reach(f"name {name}")

        return named

    def _made(self, call: Callable[..., None]) -> Callable[..., None]:
        def made(path: Any, *rest: Any, **options: Any) -> None:
            call(path, *rest, **options)
            if name := self._name(path):
                self._reach(f"folder {name}")

        return made

    def _removed(self, call: Callable[..., None]) -> Callable[..., None]:
        def removed(path: Any, **options: Any) -> None:
            call(path, **options)
            if name := self._name(path):
                self._reach(f"remove {name}")

        return removed


def _killable(config: BuildConfig, kill_at: int | None, work: str, videos: list[str], log_fd: int) -> None:
    """Never returns."""
    try:
        store = Store(config.dataset)
        if not store.is_remote:
            Operations(store.root, kill_at, log_fd)
        if work == "gc":
            collect_garbage(store, keep=1, young_s=0)
        elif work == "forget":
            forget(store, videos, Labels(find_labels, purge_labels), Quiet())
        elif work == "ingest":
            build.discover(config, Quiet())
            build.ingest(config, Inline(), Quiet())
        elif work == "publish":
            build.publish(config, build.curate(config), Inline(), Quiet())
        else:
            build.build(config, Inline(), Quiet())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _run(config: BuildConfig, kill_at: int | None, work: str, videos: list[str]) -> dict[str, Any]:
    assert len(os.listdir("/proc/self/task")) == 1, "a fork takes one thread along, and there are more"
    log, log_fd = os.pipe()
    child = os.fork()
    if not child:
        os.close(log)
        _killable(config, kill_at, work, videos, log_fd)
    os.close(log_fd)
    print(json.dumps({"pid": child}), flush=True)
    with os.fdopen(log) as lines:
        events = lines.read().splitlines()
    _, status = os.waitpid(child, 0)
    return {"status": status, "log": events, "operations": [e for e in events if not e.startswith("sync")]}


def _warm() -> None:
    """Have botocore parse what it knows of S3 once, and not in each child; nothing is asked by this."""
    import boto3

    session = boto3.Session()
    session.client("s3", region_name="us-east-1")
    boto3.Session = lambda: session  # type: ignore[assignment,misc]


def main() -> None:
    warm = False
    for line in sys.stdin:
        job = json.loads(line)
        config = load_config(Path(job["config"]))
        if Store(config.dataset).is_remote and not warm:
            _warm()
            warm = True
        print(json.dumps(_run(config, job["kill_at"], job["work"], job["videos"])), flush=True)


if __name__ == "__main__":
    main()
