"""Functions of one unit that end in every way there is; a child process imports them by name."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn


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
