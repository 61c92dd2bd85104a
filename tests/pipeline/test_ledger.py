"""The books: which state a video is in, whatever is known of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters.titles import TitleRules
from pipeline.attempts import AttemptLog, deaths_alone
from pipeline.ledger import Books, read_books
from pipeline.opt_out import OptOut
from shards.commits import Commit, create_commit, pack_name
from shards.records import CANDIDATE_SCHEMA, VIDEO_SCHEMA, Video
from shards.store import Store

SETTINGS = "5e771265"
NOBODY = OptOut()


def video(number: int, title: str = "a title") -> Video:
    return Video(f"x-{number}", "files", f"/{number}.mp4", title=title, found_at=(f"/{number}.mp4",))


def books(store: Store, *videos: Video, titles: TitleRules | None = None, opt_out: OptOut = NOBODY) -> Books:
    rows = pa.Table.from_pylist([found.as_row() for found in videos], schema=CANDIDATE_SCHEMA)
    return read_books(store, rows, titles, SETTINGS, opt_out)


def commit(
    store: Store, found: Video, state: str = "ingested", clips: int = 3, hashed: str = SETTINGS
) -> None:
    pack = pack_name(found.video_id, hashed, "c0ffee00") if clips else None
    create_commit(store, Commit(found, hashed, state, None, pack, clips))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_nothing_is_known(store: Store) -> None:
    assert books(store).counts() == {}
    assert books(store, video(1)).counts() == {"pending": 1}


def test_a_commit_speaks_before_an_attempt_and_a_title_before_both(store: Store) -> None:
    one, two, three = video(1), video(2), video(3, "unboxing")
    with AttemptLog(store, SETTINGS) as log:
        for found in (one, two, three):
            log.begin([found.video_id], alone=False)
            log.end(found.video_id, "failed:unavailable", "gone", passing=False, log=None)
    commit(store, one)
    commit(store, three)
    found = books(store, one, two, three, titles=TitleRules(negations=("unboxing",)))
    assert found.counts() == {"failed:unavailable": 1, "ingested": 1, "rejected:title_negation": 1}
    assert [entry.video_id for entry in found.ingested()] == ["x-1"]
    assert found.catalog().schema == VIDEO_SCHEMA


def test_who_opted_out_is_rejected_before_all_else_and_by_what_the_download_taught(store: Store) -> None:
    listed, unwanted, mine = video(1), video(2, "unboxing"), replace(video(3), channel="Mine")
    commit(store, replace(listed, channel="Somebody"))
    commit(store, unwanted)
    commit(store, mine)
    titles = TitleRules(negations=("unboxing",))
    out = OptOut(("channel: somebody", "x-2"))
    found = books(store, listed, unwanted, mine, titles=titles, opt_out=out)
    assert found.state("x-1") == ("rejected:opt_out", "channel: somebody")
    assert found.state("x-2") == ("rejected:opt_out", "x-2")
    assert [entry.video_id for entry in found.ingested()] == ["x-3"]
    assert books(store, listed, mine, opt_out=OptOut()).counts() == {"ingested": 2}
    assert books(store, opt_out=out).counts() == {}


def test_what_the_download_taught_is_known_and_other_settings_are_other_books(store: Store) -> None:
    taught = Video(
        "x-1", "files", "/1.mp4", title="a title", duration_s=20.0, codec="h264", found_at=("/1.mp4",)
    )
    commit(store, taught)
    commit(store, video(2), hashed="07he5")
    found = books(store, video(1), video(2))
    assert found.video("x-1") == taught
    assert found.counts() == {"ingested": 1, "pending": 1}
    with pytest.raises(KeyError):
        found.video("x-3")


def test_who_waits(store: Store) -> None:
    with AttemptLog(store, SETTINGS) as log:
        log.end("x-1", "failed:unavailable", "a connection broke", passing=True, log=None)
        log.end("x-2", "failed:unavailable", "404", passing=False, log=None)
        log.died("x-3", "pending", "died", alone=False, log="")
        log.died("x-4", "failed:crashed", "died", alone=True, log="")
    found = books(store, *map(video, range(1, 6)))
    assert found.waiting().video_ids == ["x-1", "x-3", "x-5"]
    assert found.waiting(["crashed"]).video_ids == ["x-1", "x-3", "x-4", "x-5"]
    assert found.waiting(["unavailable"], only=["x-2", "x-4"]).video_ids == ["x-2"]
    assert [waiting.url for waiting in found.waiting()] == ["/1.mp4", "/3.mp4", "/5.mp4"]
    assert found.waiting()[1] == video(3)


def test_the_last_attempt_is_the_one_that_counts_over_runs(store: Store) -> None:
    for state in ("failed:timeout", "failed:bug", "failed:throttled"):
        with AttemptLog(store, SETTINGS) as log:
            log.begin(["x-1"], alone=False)
            log.end("x-1", state, "so it went", passing=False, log=None)
    assert books(store, video(1)).state("x-1") == ("failed:throttled", "so it went")


def test_deaths_are_counted_alone_and_over_runs(store: Store) -> None:
    for alone in (False, True, True):
        with AttemptLog(store, SETTINGS) as log:
            log.died("x-1", "pending", "died", alone=alone, log="")
    assert deaths_alone(store, SETTINGS) == {"x-1": 2}
    with AttemptLog(store, SETTINGS) as log:
        log.died("x-1", "failed:crashed", "died", alone=True, log="")
    assert deaths_alone(store, SETTINGS) == {}, "what is tried again after it was kept apart begins anew"
    assert deaths_alone(store, "other") == {}


EVENTS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["commit", "reject", "fail", "die", "begin"])), max_size=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(events=EVENTS)
def test_every_video_is_in_one_state_and_the_sums_are_right(
    events: list[tuple[int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(str(tmp_path_factory.mktemp("books")))
    expected = {f"x-{number}": "pending" for number in range(5)}
    committed: set[str] = set()
    with AttemptLog(store, SETTINGS) as log:
        for number, event in events:
            found = video(number)
            name = found.video_id
            match event:
                case "begin":
                    log.begin([name], alone=False)
                case "commit" | "reject":
                    state = "ingested" if event == "commit" else "rejected:too_short"
                    commit(store, found, state, clips=3 if event == "commit" else 0)
                    if name not in committed:
                        expected[name] = state
                        committed.add(name)
                case "fail" | "die":
                    if event == "fail":
                        log.end(name, "failed:timeout", "", passing=True, log=None)
                    else:
                        log.died(name, "pending", "", alone=True, log="")
                    if name not in committed:
                        expected[name] = "failed:timeout" if event == "fail" else "pending"
    found = books(store, *map(video, range(5)))
    assert {name: found.state(name).state for name in expected} == expected
    assert sum(found.counts().values()) == 5
    assert sum(entry.clips for entry in found.ingested()) == 3 * found.counts().get("ingested", 0)
