"""Functions of one unit that end in every way there is; a child process imports them by name."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, NoReturn

from pipeline.engine import Part
from shards.errors import UserError
from tests.faults.processes import wait_until


def double(number: int) -> int:
    return number * 2


def own_pid(_: object) -> int:
    return os.getpid()


def fail(number: int) -> NoReturn:
    raise ValueError(f"no {number} here")


def kill_itself(last_words: str) -> NoReturn:
    sys.stderr.write(f"{last_words}\n")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def leave(exit_code: int) -> NoReturn:
    os._exit(exit_code)


def exit_politely(exit_code: int) -> NoReturn:
    sys.exit(exit_code)


def kill_itself_leaving_a_fork(note: str) -> NoReturn:
    """The fork holds all that the process had open, and stays."""
    child = os.fork()
    if not child:
        signal.pause()
    Path(note).write_text(str(child))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def close_everything_and_hang(_: object) -> None:
    os.closerange(3, 256)
    signal.pause()


def die_in_the_middle_of_the_answer(_: object) -> bytes:
    """Half of a large result goes into the pipe, then the process is gone."""

    def send_half(self: Any, data: Any) -> None:
        os.write(self.fileno(), bytes(memoryview(data)[: len(data) // 2]))
        os.kill(os.getpid(), signal.SIGKILL)

    multiprocessing.connection.Connection._send = send_half  # type: ignore[attr-defined]
    return bytes(1000)


def hang_with_a_grandchild(note: str) -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        Path(note).write_text(str(child.pid))


def many_bytes(size: int) -> bytes:
    return bytes(size)


def something_that_cannot_be_pickled(_: object) -> Any:
    return lambda: None


class Unreadable:
    """Is pickled well and never comes back."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def something_that_cannot_be_read(_: object) -> Any:
    return Unreadable()


def chatter(number: int) -> int:
    """Talks on every channel, in the words of the protocol even."""
    print("to standard output", flush=True)
    sys.stderr.write("to standard error\n")
    os.write(1, b"\x00\x00\x00\x04junk")
    os.write(2, b"\xff\xfe not text")
    subprocess.run(["echo", "a child to standard output"], check=True)
    return number


def call(pair: tuple[Any, Any]) -> Any:
    function, unit = pair
    return function(unit)


def refuse(message: str) -> NoReturn:
    raise UserError(message)


def in_two_parts(place: str) -> Generator[Part, None, tuple[int, int]]:
    """How many were in the first part with this one, and how many in the second.

    Eight wait for each other in the first; in the second each leaves its mark while it is there.
    """
    folder = Path(place).parent
    Path(f"{place}.network").touch()
    wait_until(lambda: len(list(folder.glob("*.network"))) == 8, "the others")
    yield Part(60.0)
    Path(f"{place}.cpu").touch()
    together = len(list(folder.glob("*.cpu")))
    Path(f"{place}.cpu").unlink()
    return 8, together


def hang_in_its_second_part(deadline_s: float) -> Generator[Part, None, None]:
    yield Part(deadline_s)
    signal.pause()


def count_together(place: str) -> int:
    Path(place).touch()
    together = len(list(Path(place).parent.iterdir()))
    Path(place).unlink()
    return together


def tell_pids_and_hang(note: str) -> None:
    Path(note).write_text(f"{os.getpid()}\n{os.getppid()}\n")
    signal.pause()


def python(script: str, tmp: str) -> subprocess.CompletedProcess[str]:
    """A script in a Python of its own."""
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": tmp},
    )


def wait_for_another_and_tell_devices(place: str) -> str:
    Path(place).touch()
    wait_until(lambda: all((Path(place).parent / name).exists() for name in "ab"), "the other")
    return os.environ["CUDA_VISIBLE_DEVICES"]


def square_in_parts(number: int) -> Generator[Part, None, int]:
    yield Part(60)
    return number**2
