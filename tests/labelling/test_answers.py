from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from labelling.answers import LABELS_FILE, Answer, Answers, clips_an_hour, export, export_labels
from labelling.clips import read_catalog
from labelling.database import Database
from labelling.queue import Queue, open_queue
from shards.errors import UserError
from shards.store import Store


def at_work(database: Database, store: Store) -> tuple[Queue, Answers]:
    queue = open_queue(database, store, read_catalog(store), "random", 100, 0, overlap=1.0)
    return queue, Answers(database)


def give_all(dataset: str, labeller: str) -> None:
    store = Store(dataset)
    with Database(store) as database:
        queue, answers = at_work(database, store)
        for key in sorted(queue.keys()):
            answers.give(queue.plan, Answer(f"{labeller}-{key}".ljust(16, "-")[-64:], key, labeller, 3))


def test_two_processes_at_once_lose_nothing(fresh: Path) -> None:
    store = Store(str(fresh))
    with Database(store) as database:
        keys = at_work(database, store)[0].keys()
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=give_all, args=(str(fresh), name)) for name in ("ann", "bob")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert export_labels(store) == 2 * len(keys)


def test_the_last_word_counts_and_what_is_sent_twice_is_said_once(fresh: Path) -> None:
    store = Store(str(fresh))
    with Database(store) as database:
        queue, answers = at_work(database, store)
        one, other = sorted(queue.keys())[:2]
        for _ in range(2):
            answers.give(queue.plan, Answer("first-answer-0001", one, "ann", 1))
        answers.give(queue.plan, Answer("second-answer-002", one, "ann", 5, "changed my mind"))
        answers.give(queue.plan, Answer("third-answer-0003", other, "ann", 2))
        assert answers.undo("third-answer-0003", "bob") is None
        assert answers.undo("third-answer-0003", "ann") == other
        assert answers.undo("third-answer-0003", "ann") == other
        assert export(store, answers) == 1
    (row,) = (fresh / LABELS_FILE).read_text().splitlines()
    told = json.loads(row)
    assert told.pop("at").endswith("Z")
    assert told == {"key": one, "label": 5, "labeller": "ann", "note": "changed my mind"}


def test_a_clip_that_is_skipped_last_has_no_label(fresh: Path) -> None:
    store = Store(str(fresh))
    with Database(store) as database:
        queue, answers = at_work(database, store)
        key = min(queue.keys())
        answers.give(queue.plan, Answer("first-answer-0001", key, "ann", 4))
        answers.give(queue.plan, Answer("second-answer-002", key, "ann", None))
        assert answers.labels() == []


def test_an_unknown_clip_is_refused(fresh: Path) -> None:
    store = Store(str(fresh))
    with Database(store) as database:
        queue, answers = at_work(database, store)
        with pytest.raises(KeyError):
            answers.give(queue.plan, Answer("first-answer-0001", "nobody_00000000", "ann", 4))


def test_a_dataset_without_labels_says_so(fresh: Path) -> None:
    with pytest.raises(UserError, match="genieset label"):
        export_labels(Store(str(fresh)))


def test_pauses_are_not_counted_in_the_pace() -> None:
    assert clips_an_hour([0, 3, 6, 5000, 5003]) == pytest.approx(1200)
    assert clips_an_hour([0]) is None


def test_what_was_dealt_to_someone_who_went_away_is_dealt_again(fresh: Path) -> None:
    store = Store(str(fresh))
    with Database(store) as database:
        queue = open_queue(database, store, read_catalog(store), "random", 100, 0, overlap=0.0)
        everything = queue.deal("ann", 100, now_s=1000.0)
        assert set(everything) == queue.keys()
        assert queue.deal("bob", 100, now_s=1001.0) == []
        assert queue.progress("bob", now_s=1001.0).elsewhere == len(everything)
        assert queue.deal("bob", 100, now_s=9999.0) == everything
