"""Workers that do not outlive the process that they read for."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process


def end_with_parent(worker: int) -> None:  # noqa: ARG001 - what a DataLoader calls it with
    """Have this process end as soon as the one that started it has, however that ended.

    A `DataLoader`'s `worker_init_fn`. Its workers look for another parent's id themselves, but those of a
    fork server are children of the server, which lives as long as they do: after a SIGKILL of the
    trainer both would wait for each other for ever.
    """
    trainer = parent_process()
    assert trainer is not None, "this is no worker"

    def wait() -> None:
        trainer.join()
        os._exit(1)  # nobody is left to be told anything

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
