"""Trains and dies at a given point; a script, run by `test_train.py` in a process of its own.

    python kill_driver.py CONFIG.json POINT

line:K      SIGKILL when line K of the metrics is written
write       the kernel's end in the middle of writing a checkpoint: the file may not grow beyond 1 MB
rename:K    SIGKILL when the checkpoint of step K is written and synced, but has no name yet
remove      SIGKILL when a checkpoint has its name, before the oldest is removed
none        lives
"""

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from trainer_bridge.config import TrainConfig
from trainer_bridge.metrics import Metrics
from trainer_bridge.train import train


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(config: Path, point: str) -> None:
    kind, _, number = point.partition(":")

    def on_step(metrics: Metrics) -> None:
        if kind == "line" and metrics["step"] == int(number):
            die()

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        if kind == "rename" and event == "os.rename" and f"-{int(number):08d}." in str(arguments[1]):
            die()
        if kind == "remove" and event == "os.remove" and "checkpoint-" in str(arguments[0]):
            die()

    if kind == "write":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    sys.addaudithook(on_event)
    train(TrainConfig.model_validate_json(config.read_text()), on_step)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
