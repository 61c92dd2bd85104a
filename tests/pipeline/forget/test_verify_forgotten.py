"""The proof on an engine: what takes a process down or is damaged is a fault, and the rest is looked at."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

from pipeline.engine.child import OneChild
from pipeline.forget import forget
from pipeline.verify_forgotten import Objects, look, verify_forgotten
from shards.checks.faults import Fault
from shards.checks.forgotten import check_forgotten
from shards.lookup import look_up
from shards.names import every_object, may_name_forgotten
from shards.query import keys_where, read_views
from shards.store import Store
from tests.pipeline.forget.conftest import LABELS, Dataset
from tests.quiet import Quiet

DEADLY = "reports/gc-000666.json"


def look_and_die(task: Objects) -> dict[str, list[Fault]]:
    """As `look`, with a parser that a certain object brings down."""
    if DEADLY in task.names:
        os.kill(os.getpid(), signal.SIGSEGV)
    return look(task)


class Frail:
    """An engine on which that happens."""

    def run(self, function: Any, *rest: Any, **options: Any) -> Iterator[Any]:
        return OneChild().run(look_and_die if function is look else function, *rest, **options)


def test_whatever_lies_there_it_comes_to_its_end(dataset: Dataset) -> None:
    store, video_id = dataset.store, dataset.ids[0]
    views = read_views(store)
    (clip,) = look_up(store, views, keys_where(views, f"video_id = '{video_id}'")[:1])
    mp4 = clip.read(store).mp4
    forget(store, [video_id], LABELS, Quiet())
    damage(store)
    store.put("notes/mine.txt", mp4)
    store.put("reports/gc-000007.json", video_id.encode())
    store.put(DEADLY, b"{}")
    found = verify_forgotten(store, Frail(), Quiet())
    by_object = {fault.object: fault.what for fault in found.faults}
    assert by_object.pop(DEADLY).startswith("took the process down that looked at it (exit code -11)")
    store.remove(DEADLY)
    assert by_object == {fault.object: fault.what for fault in check_forgotten(store)}
    assert by_object.pop("reports/gc-000007.json") == "names a forgotten video"
    assert by_object.pop("notes/mine.txt").startswith("an mp4 begins there with")
    assert all("cannot be" in what for what in by_object.values())
    assert set(by_object) == {"catalog/clips/curated.parquet", "candidates/0.parquet", damaged_tar(store)}
    names = [name for name in every_object(store) if not may_name_forgotten(name)]
    assert (found.videos, found.objects) == (1, len(names) + 1)


def damaged_tar(store: Store) -> str:
    return next(name for name in store.list("shards") if name.endswith(".tar"))


def damage(store: Store) -> None:
    tar = damaged_tar(store)
    store.put(tar, store.read(tar)[:5000])
    store.put("catalog/clips/curated.parquet", b"PAR1 and no more PAR1")
    store.put("candidates/0.parquet", b"")
