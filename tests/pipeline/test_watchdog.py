"""Whoever waits is told what for."""

from __future__ import annotations

from queue import Queue

from pipeline.watchdog import Watchdog


def test_it_names_what_has_been_at_work_longest() -> None:
    notes: Queue[str] = Queue()
    with Watchdog(notes.put, quiet_s=0.05) as watchdog:
        watchdog.begins("first")
        watchdog.begins("second")
        said = notes.get(timeout=30)
        assert said.startswith("nothing has ended for 0 s; longest at work: first (for ")
        assert ", second (for " in said
        watchdog.ends("first")
        while "first" in said:
            said = notes.get(timeout=30)
        assert "longest at work: second (for " in said
