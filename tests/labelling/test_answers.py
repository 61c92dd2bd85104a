"""Answers last, count once, and go to whoever is to see the clip."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelling.answers import LABELS_FILE, PAUSE_S, Answer, Answers, clips_an_hour, export, export_labels
from labelling.clips import read_catalog
from labelling.database import DATABASE, Database
from labelling.elsewhere import import_labels
from labelling.queue import DEALT_FOR_S, Queue, decisions_hash, open_queue
from shards.errors import UserError
from shards.store import Store

ROOT = Path(__file__).parents[2]
CLIPS = pa.table({"key": [f"v_{number:08d}" for number in range(40)], "decision": ["kept"] * 40})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "set")


@pytest.fixture
def database(store: Store) -> Iterator[Database]:
    with Database(store) as database:
        yield database


def opened(database: Database, store: Store, overlap: float = 0.0, clips: pa.Table = CLIPS) -> Queue:
    return open_queue(database, store, clips, "random", 20, 0, overlap)


def answer(number: int, key: str, labeller: str = "ada", label: int | None = 3, note: str = "") -> Answer:
    return Answer(f"id-{number:013d}", key, labeller, label, note)


def exported(store: Store) -> list[dict[str, object]]:
    return [json.loads(line) for line in store.read(LABELS_FILE).splitlines()]


def test_what_is_exported_is_what_each_labeller_said_last(database: Database, store: Store) -> None:
    queue, answers = opened(database, store), Answers(database)
    one, two, three, *_ = sorted(queue.keys())
    for given_ in (
        answer(0, two, label=1),
        answer(1, two, label=5, note='a "note"\n\u2028'),
        answer(2, two, "bob", 4),
        answer(3, one, "bob", 2),
        answer(4, three, label=None),
        answer(5, one, label=3),
    ):
        answers.give(queue.plan, given_)
    assert answers.undo("id-0000000000005", "ada") == one
    assert export(store, answers) == 3
    lines = exported(store)
    assert all(datetime.fromisoformat(str(line.pop("at"))).utcoffset() is not None for line in lines)
    assert lines == [
        {"key": one, "label": 2, "labeller": "bob"},
        {"key": two, "label": 5, "labeller": "ada", "note": 'a "note"\n\u2028'},
        {"key": two, "label": 4, "labeller": "bob"},
    ]
    # What was said before is true again once the later word is undone.
    answers.undo("id-0000000000001", "ada")
    export(store, answers)
    assert [line["label"] for line in exported(store) if line["labeller"] == "ada"] == [1]


def test_an_answer_or_undo_that_comes_twice_is_one(database: Database, store: Store) -> None:
    queue, answers = opened(database, store), Answers(database)
    key = min(queue.keys())
    for _ in range(3):
        answers.give(queue.plan, answer(0, key))
    assert len(answers.last(queue.plan, "ada", 10)) == 1
    assert answers.undo("id-0000000000000", "bob") is None, "another's answer is not theirs to undo"
    for _ in range(2):
        assert answers.undo("id-0000000000000", "ada") == key
    answers.give(queue.plan, answer(0, key))  # a belated copy does not bring it back
    assert answers.last(queue.plan, "ada", 10) == []
    with pytest.raises(KeyError):
        answers.give(queue.plan, answer(1, "w_00000000"))


def test_an_answer_with_the_id_of_another_is_refused_and_not_lost_in_silence(
    database: Database, store: Store
) -> None:
    queue, answers = opened(database, store), Answers(database)
    one, other = sorted(queue.keys())[:2]
    answers.give(queue.plan, answer(0, one))
    for second in (answer(0, other), answer(0, one, labeller="bob"), answer(0, one, label=2)):
        with pytest.raises(ValueError, match="id-0000000000000"):
            answers.give(queue.plan, second)
    assert [said.key for said in answers.last(queue.plan, "ada", 10)] == [one]


OPS = st.lists(st.tuples(st.sampled_from(["ada", "bob"]), st.sampled_from("12345su")), max_size=40)


@given(ops=OPS, overlap=st.sampled_from([0.0, 0.5, 1.0]))
def test_labellers_in_any_order(
    ops: list[tuple[str, str]], overlap: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against a plain account of who said what: no clip is dealt to two unless it is for all."""
    store = Store(tmp_path_factory.mktemp("set"))
    with Database(store) as database:
        queue, answers = opened(database, store, overlap), Answers(database)
        said: dict[str, list[tuple[str, str, int | None]]] = {"ada": [], "bob": []}
        holding: dict[str, set[str]] = {"ada": set(), "bob": set()}
        for number, (who, what) in enumerate(ops):
            if what == "u":
                last = answers.last(queue.plan, who, 1)
                assert [one.id for one in last] == [one[0] for one in said[who][-1:]]
                if last:
                    answers.undo(last[0].id, who)
                    queue.take_back(last[0].key, who)
                    said[who].pop()
                continue
            dealt = queue.deal(who, 3)
            holding[who] |= set(dealt)
            assert not set(dealt) & {key for _, key, _ in said[who]}
            if overlap == 0:
                assert not holding["ada"] & holding["bob"]
            if dealt:
                label = None if what == "s" else int(what)
                answers.give(queue.plan, answer(number, dealt[0], who, label))
                said[who].append((f"id-{number:013d}", dealt[0], label))
        for who, own in said.items():
            progress = queue.progress(who)
            labels = [label for _, _, label in own]
            assert progress.by_label == tuple(labels.count(label) for label in range(1, 6))
            assert progress.skipped == labels.count(None)
            assert progress.clips == 20
            assert progress.done >= len(own)


def test_what_was_dealt_to_someone_who_left_is_free_again(database: Database, store: Store) -> None:
    queue = opened(database, store)
    first = queue.deal("ada", 20, now_s=0)
    assert len(first) == 20
    assert queue.deal("bob", 20, now_s=DEALT_FOR_S - 1) == []
    assert queue.progress("bob", now_s=DEALT_FOR_S - 1).elsewhere == 20
    assert queue.deal("ada", 5, now_s=DEALT_FOR_S - 1) == first[:5], "who is there keeps theirs"
    assert queue.deal("bob", 20, now_s=DEALT_FOR_S) == first[5:]
    # Who comes back late is heard all the same.
    Answers(database).give(queue.plan, answer(0, first[9]))
    assert first[9] not in queue.deal("bob", 20, now_s=DEALT_FOR_S)


def test_everybody_is_shown_what_is_for_all(database: Database, store: Store) -> None:
    queue = opened(database, store, overlap=1.0)
    assert queue.deal("ada", 20) == queue.deal("bob", 20)
    Answers(database).give(queue.plan, answer(0, queue.deal("ada", 1)[0]))
    assert len(queue.deal("bob", 20)) == 20


def test_a_plan_goes_on_as_it_was_drawn(database: Database, store: Store) -> None:
    queue, answers = opened(database, store), Answers(database)
    dealt = queue.deal("ada", 20)
    answers.give(queue.plan, answer(0, dealt[0]))
    gone = dealt[1]
    later = CLIPS.filter(pa.compute.not_equal(CLIPS["key"], gone))
    later = pa.concat_tables([later, pa.table({"key": ["w_00000000"], "decision": ["kept"]})])
    again = opened(database, store, clips=later)
    assert (again.uid, again.plan) == (queue.uid, queue.plan)
    assert again.deal("ada", 20) == dealt[2:], "what the dataset has lost is not shown"
    assert again.progress("ada").clips == 19
    other = open_queue(database, store, CLIPS, "random", 20, 1, 0.0)
    assert other.uid != queue.uid
    assert dealt[0] not in other.deal("ada", 20), (
        "what was answered in one plan is not asked again in another"
    )


def test_a_label_of_a_clip_that_is_gone_stays_and_is_counted_nowhere(
    database: Database, store: Store
) -> None:
    queue, answers = opened(database, store), Answers(database)
    gone, left, skipped, *_ = queue.deal("ada", 20)
    for number, (key, label) in enumerate(((gone, 5), (left, 5), (skipped, None))):
        answers.give(queue.plan, answer(number, key, label=label))
    later = CLIPS.filter(pa.compute.is_in(CLIPS["key"], value_set=pa.array([left])))
    queue = opened(database, store, clips=later)
    progress = queue.progress("ada")
    assert (progress.clips, progress.done, progress.by_label, progress.skipped) == (1, 1, (0, 0, 0, 0, 1), 0)
    assert [one.key for one in answers.last(queue.plan, "ada", 10)] == [left], "what cannot be shown again"
    assert queue.deal("ada", 20) == []
    assert export(store, answers) == 2, "and whoever reads them sets aside what is gone"
    assert import_labels(store, database) == 0
    assert opened(database, store).progress("ada").by_label == (0, 0, 0, 0, 2), "it may come back"


def test_an_audit_leaves_what_an_estimate_needs(database: Database, store: Store) -> None:
    clips = CLIPS.set_column(1, "decision", pa.array(["kept"] * 30 + ["dropped:static"] * 10))
    queue = open_queue(database, store, clips, "audit", 8, 3, 0.0)
    decisions = decisions_hash(clips)
    audit = json.loads(store.read(f"labels/audit-3-8-{decisions[:8]}.json"))
    assert (audit["seed"], audit["decisions"], audit["version"]) == (3, decisions, None)
    assert audit["strata"] == {"kept": 30, "dropped:static": 10}
    assert {row["key"] for row in audit["clips"]} == queue.keys()
    assert {(row["stratum"], row["probability"]) for row in audit["clips"]} == {
        ("kept", 4 / 30),
        ("dropped:static", 4 / 10),
    }


def test_another_curation_is_another_audit(database: Database, store: Store) -> None:
    before = CLIPS.set_column(1, "decision", pa.array(["kept"] * 30 + ["dropped:static"] * 10))
    after = CLIPS.set_column(1, "decision", pa.array(["kept"] * 10 + ["dropped:static"] * 30))
    first = open_queue(database, store, before, "audit", 8, 3, 0.0)
    second = open_queue(database, store, after, "audit", 8, 3, 0.0)
    assert second.uid != first.uid
    told = [json.loads(store.read(name)) for name in store.list("labels") if "/audit-" in name]
    assert {audit["decisions"]: audit["strata"]["kept"] for audit in told} == {
        decisions_hash(before): 30,
        decisions_hash(after): 10,
    }
    again = open_queue(database, store, before.take(list(range(len(before)))[::-1]), "audit", 8, 3, 0.0)
    assert again.uid == first.uid, "the same decisions are the same audit"


def test_an_audit_tells_of_which_version_it_is(dataset: Path) -> None:
    store = Store(str(dataset))
    with Database(store) as database:
        open_queue(database, store, read_catalog(store), "audit", 4, 0, 0.0)
    (name,) = (name for name in store.list("labels") if "/audit-" in name)
    assert json.loads(store.read(name))["version"] == 1


WRITER = """
import sys
from labelling.answers import Answer, Answers
from labelling.clips import read_catalog
from labelling.database import Database
from labelling.elsewhere import import_labels
from labelling.queue import open_queue
from shards.store import Store
from tests.labelling.test_answers import CLIPS
store, who = Store(sys.argv[1]), sys.argv[2]
with Database(store) as database:
    queue = open_queue(database, store, CLIPS, "random", 40, 0, 0.0)
    print(queue.uid, flush=True)
    sys.stdin.readline()
    given = 0
    while dealt := queue.deal(who, 1):
        Answers(database).give(queue.plan, Answer(f"{who}-{given:016d}", dealt[0], who, 4))
        given += 1
    print(given)
"""


def test_two_processes_at_once_share_a_plan_and_no_clip(store: Store) -> None:
    command = [sys.executable, "-c", WRITER, str(store.root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with (
        subprocess.Popen([*command, "ada"], **pipes) as ada,  # type: ignore[call-overload]
        subprocess.Popen([*command, "bob"], **pipes) as bob,  # type: ignore[call-overload]
    ):
        # Both make the database and draw the plan at once, and begin together.
        assert ada.stdout.readline() == bob.stdout.readline()
        for process in (ada, bob):
            process.stdin.write("\n")
            process.stdin.flush()
        given_ = [int(process.communicate(timeout=60)[0]) for process in (ada, bob)]
    assert sum(given_) == 40
    assert export_labels(store) == 40
    assert len({line["key"] for line in exported(store)}) == 40


@pytest.mark.parametrize(
    ("times_s", "pace"),
    [
        ([], None),
        ([5], None),
        ([0, 0], None),
        ([0, 3.6], 1000),
        ([0, 4, 4 + 2 * PAUSE_S, 8 + 2 * PAUSE_S], 900),
    ],
)
def test_the_pace(times_s: list[float], pace: float | None) -> None:
    assert clips_an_hour(times_s) == (None if pace is None else pytest.approx(pace))


def test_without_answers_there_is_no_file(database: Database, store: Store) -> None:
    assert export(store, Answers(database)) == 0
    assert not store.exists(LABELS_FILE)


def elsewhere(key: str, label: int = 5, labeller: str = "eve", **more: object) -> dict[str, object]:
    return {"key": key, "label": label, "labeller": labeller, "at": "2026-01-31T12:00:00.000Z"} | more


def write_elsewhere(store: Store, *rows: dict[str, object]) -> None:
    store.put(LABELS_FILE, "".join(json.dumps(row) + "\n" for row in rows).encode())


def test_labels_made_elsewhere_stay(database: Database, store: Store) -> None:
    queue, answers = opened(database, store), Answers(database)
    one, two, three, *_ = sorted(queue.keys())
    rows = [
        elsewhere(one, note="seen on paper"),
        elsewhere(two, 1, "ada"),
        elsewhere("gone_00000000", 2),
        {"video_id": "v", "label": 4, "labeller": "eve", "at": "2026-01-31T12:00:00.000123Z"},
    ]
    write_elsewhere(store, *rows)
    assert import_labels(store, database) == 4
    answers.give(queue.plan, answer(0, three, label=3))
    answers.undo("id-0000000000000", "ada")
    for _ in range(2):
        assert export(store, answers) == 4
        assert sorted(exported(store), key=str) == sorted(rows, key=str)
        assert import_labels(store, database) == 0, "what it wrote itself is nothing new"
    answers.give(queue.plan, answer(1, two, label=5))
    export(store, answers)
    assert [line["label"] for line in exported(store) if line.get("key") == two] == [5], "the later word"


def test_an_answer_that_was_exported_and_undone_does_not_come_back(database: Database, store: Store) -> None:
    queue, answers = opened(database, store), Answers(database)
    answers.give(queue.plan, answer(0, min(queue.keys())))
    assert export(store, answers) == 1
    answers.undo("id-0000000000000", "ada")
    assert import_labels(store, database) == 0
    assert export(store, answers) == 0
    assert exported(store) == []


def test_an_answer_that_was_changed_in_the_file_counts_as_it_stands_there(
    database: Database, store: Store
) -> None:
    queue, answers = opened(database, store), Answers(database)
    key = min(queue.keys())
    answers.give(queue.plan, answer(0, key, label=4))
    export(store, answers)
    write_elsewhere(store, exported(store)[0] | {"label": 2})
    export(store, answers)
    assert [line["label"] for line in exported(store)] == [2]


def test_what_was_labelled_elsewhere_is_not_asked_again(database: Database, store: Store) -> None:
    queue = opened(database, store)
    key = min(queue.keys())
    write_elsewhere(store, elsewhere(key))
    import_labels(store, database)
    assert key not in queue.deal("ada", 20)
    shared = opened(database, store, overlap=1.0)
    assert key not in shared.deal("eve", 20)
    assert key in shared.deal("ada", 20)
    assert shared.progress("eve").done == 1


@pytest.mark.parametrize(
    "content",
    [b"made elsewhere", b'{"key": "v_00000000", "label": 7, "labeller": "eve", "at": "2026-01-31"}\n',
     b'{"key": "v_00000000", "label": 1, "labeller": "\\ud800", "at": "2026-01-31"}\n', b"PAR1"],
)  # fmt: skip
def test_a_file_that_holds_no_labels_is_never_written_over(
    content: bytes, database: Database, store: Store
) -> None:
    queue, answers = opened(database, store), Answers(database)
    answers.give(queue.plan, answer(0, min(queue.keys())))
    store.put(LABELS_FILE, content)
    for attempt in (lambda: export(store, answers), lambda: import_labels(store, database)):
        with pytest.raises(UserError, match=r"^[^\n]*labels.jsonl: [^\n]*it is not written over$"):
            attempt()
    assert store.read(LABELS_FILE) == content


def test_a_database_of_before_is_gone_on_with(store: Store) -> None:
    with Database(store) as database, database.transaction() as connection:
        connection.execute("DROP TABLE imported")
        connection.execute("PRAGMA user_version = 1")
    with Database(store) as database:
        write_elsewhere(store, elsewhere("v_00000000"))
        assert import_labels(store, database) == 1


def test_a_damaged_database_is_a_line(store: Store) -> None:
    store.put(DATABASE, b"not SQLite " * 1000)
    with pytest.raises(UserError, match=r"labels.sqlite3: cannot be used \(file is not a database\)"):
        Database(store)


def test_a_page_on_which_nobody_answered_left_no_labels(dataset: Path) -> None:
    store = Store(str(dataset))
    with Database(store):
        pass
    with pytest.raises(UserError, match="has no labels yet"):
        export_labels(store)


def test_a_folder_that_is_no_dataset_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is none; `genieset build CONFIG` makes one"):
        read_catalog(Store(str(tmp_path / "none")))


def test_a_bucket_holds_no_database() -> None:
    line = (
        r"^dataset s3://bucket/set: labels are written to a database, which needs a local folder; copy the "
    )
    with pytest.raises(UserError, match=line):
        Database(Store("s3://bucket/set"))
