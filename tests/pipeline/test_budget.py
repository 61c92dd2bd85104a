"""Budgets over simulated time: one dataset, up to three runs."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.budget import Budgets, SiteSettings
from shards.errors import UserError

START_S = 1_700_000_000.0
SITE = "example.org"

limits = st.builds(
    SiteSettings,
    videos_per_hour=st.floats(1, 20_000),
    requests_per_hour=st.floats(100, 100_000),
    concurrency=st.integers(1, 5),
)


def budgets(folder: Path, **given_settings: float) -> Budgets:
    given_settings.setdefault("requests_per_hour", 1e6)
    return Budgets(str(folder), {SITE: SiteSettings.model_validate(given_settings)})


def end(
    run: Budgets,
    now_s: float,
    failure: str | None = None,
    retry_after_s: float | None = None,
    requests: int = 1,
) -> None:
    run.end(SITE, now_s, requests=requests, failure=failure, retry_after_s=retry_after_s)


def simulate(
    runs: list[Budgets], concurrency: int, steps: list[tuple[int, float]], requests: int
) -> list[float]:
    """Each run takes what it may, as often as it is told to ask again; returns when videos began."""
    now_s, began = START_S, []
    under_way: Counter[int] = Counter()
    ask_s = [START_S] * len(runs)
    for video, (who, lasts_s) in enumerate(steps):
        number = who % len(runs)
        while wait_s := runs[number].take(SITE, max(now_s, ask_s[number])):
            assert math.isfinite(wait_s)
            now_s = ask_s[number] = max(now_s, ask_s[number]) + wait_s
            if under_way[number] == concurrency:
                end(runs[number], now_s, requests=requests)
                under_way[number] -= 1
        now_s = max(now_s, ask_s[number])
        began.append(now_s)
        under_way[number] += 1
        assert under_way[number] <= concurrency
        if video % 2:
            now_s += lasts_s
    return began


@settings(max_examples=15, deadline=None)
@given(
    limits,
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 30)), min_size=1, max_size=25),
    st.floats(1, 4000),
)
def test_no_window_ever_holds_more_than_the_budget(
    site: SiteSettings, count: int, steps: list[tuple[int, float]], window_s: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = [Budgets(folder, {SITE: site}) for _ in range(count)]
        began = simulate(runs, site.concurrency, steps, requests=1)
        assert len(began) == len(steps), "every video has its turn"
        for first_s in began:
            inside = sum(first_s <= began_s < first_s + window_s for began_s in began)
            assert inside <= site.videos_per_hour * window_s / 3600 + 2 * site.slot_videos


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 3), st.integers(5, 40))
def test_videos_that_need_many_requests_are_fewer(count: int, requests: int) -> None:
    site = SiteSettings(videos_per_hour=360, requests_per_hour=1800, concurrency=1)
    with tempfile.TemporaryDirectory() as folder:
        runs = [Budgets(folder, {SITE: site}) for _ in range(count)]
        began = simulate(runs, 1, [(number, 0.0) for number in range(30)], requests)
    asked = requests * (len(began) - count)
    # What is under way is paid for when it has ended, by each run.
    allowance = count * (requests + 2 * site.requests_per_video)
    assert asked <= (began[-1] - began[0]) * site.requests_per_hour / 3600 + allowance


def test_a_slot_is_taken_by_one_run_alone(tmp_path: Path) -> None:
    one, other = budgets(tmp_path, videos_per_hour=300), budgets(tmp_path, videos_per_hour=300)
    assert one.take(SITE, START_S) == 0
    wait_s = other.take(SITE, START_S)
    assert 0 < wait_s <= 12
    assert other.take(SITE, START_S + wait_s) == 0
    assert one.take(SITE, START_S + wait_s) > 0


def test_concurrency_holds_and_a_place_comes_back(tmp_path: Path) -> None:
    run = budgets(tmp_path, videos_per_hour=36_000, concurrency=2)
    assert [run.take(SITE, START_S), run.take(SITE, START_S)] == [0, 0]
    assert run.take(SITE, START_S) > 0
    end(run, START_S)
    assert run.take(SITE, START_S) == 0


@given(st.floats(0.1, 4 * 3600), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_retry_after_is_obeyed_by_this_run_and_the_next(retry_after_s: float, under_way: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = budgets(Path(folder), videos_per_hour=36_000)
        assert [run.take(SITE, START_S) for _ in range(under_way)] == [0] * under_way
        for _ in range(under_way):
            end(run, START_S, "throttled", retry_after_s)
        for asked in (run, Budgets(folder, {})):
            assert asked.take(SITE, START_S) == pytest.approx(retry_after_s, abs=1e-5)
            assert asked.closed(START_S) == {SITE: pytest.approx(START_S + retry_after_s)}
            assert asked.take(SITE, START_S + retry_after_s * 0.99) > 0
        assert run.take(SITE, START_S + retry_after_s + 12) == 0
        assert not run.closed(START_S + retry_after_s + 1)


def test_too_many_requests_without_a_time_backs_off_and_gives_up(tmp_path: Path) -> None:
    run, now_s, waits_s = budgets(tmp_path, videos_per_hour=3600), START_S, []
    for _ in range(3):
        assert run.take(SITE, now_s) == 0
        end(run, now_s, "throttled", 0.0)
        if math.isfinite(wait_s := run.take(SITE, now_s)):
            waits_s.append(wait_s)
            now_s += wait_s
    assert waits_s == [60, 120]
    assert run.take(SITE, now_s + 1e6) == math.inf
    assert budgets(tmp_path).take(SITE, now_s) == pytest.approx(240), "the next run obeys, and then tries"
    assert budgets(tmp_path).take(SITE, now_s + 241) == 0


def test_three_refusals_in_a_row_close_the_site_and_a_success_between_them_does_not(tmp_path: Path) -> None:
    run, now_s = budgets(tmp_path, videos_per_hour=3600), START_S
    for failure in ("throttled", "throttled", None, "throttled", "unavailable", "throttled"):
        assert run.take(SITE, now_s) == 0
        end(run, now_s, failure)
        now_s += 1
    assert run.take(SITE, now_s) == 0
    end(run, now_s, "throttled")
    assert run.take(SITE, now_s) == 900


def test_a_success_makes_the_next_closing_short_again(tmp_path: Path) -> None:
    run, now_s = budgets(tmp_path, videos_per_hour=3600), START_S
    for _ in range(5):
        assert run.take(SITE, now_s) == 0
        end(run, now_s, "throttled", 0.0)
        assert run.take(SITE, now_s) == 60
        now_s += 61
        assert run.take(SITE, now_s) == 0
        end(run, now_s)
        now_s += 1


def test_what_asked_the_site_nothing_is_no_success(tmp_path: Path) -> None:
    run = budgets(tmp_path, videos_per_hour=3600)
    for second in range(6):
        assert run.take(SITE, START_S + second) == 0
        end(run, START_S + second, "throttled" if second % 2 else None, requests=second % 2)
    assert run.take(SITE, START_S + 6) > 800


def test_a_site_that_wants_days_of_peace_is_left_to_a_later_run(tmp_path: Path) -> None:
    run = budgets(tmp_path)
    assert run.take(SITE, START_S) == 0
    end(run, START_S, "throttled", 3 * 24 * 3600.0)
    assert run.take(SITE, START_S) == math.inf
    assert run.eta_s({SITE: 9}, START_S) == 0
    assert budgets(tmp_path).take(SITE, START_S + 3 * 24 * 3600 + 1) == 0


@settings(max_examples=8, deadline=None)
@given(st.floats(1, 1e7))
def test_a_clock_that_is_set_back_makes_nobody_wait_for_the_old_time(back_s: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Budgets(folder, {})
        assert run.take(SITE, START_S) == 0
        end(run, START_S, "throttled", 100.0)
        now_s, waited_s = START_S - back_s, 0.0
        while wait_s := run.take(SITE, now_s + waited_s):
            waited_s += wait_s
        assert waited_s <= 100 + 60 + 2 * 12


def test_old_slots_are_taken_away(tmp_path: Path) -> None:
    run = budgets(tmp_path, videos_per_hour=3600, concurrency=10_000)
    for second in range(0, 2000, 7):
        assert run.take(SITE, START_S + second) == 0
    assert len(list((tmp_path / "budgets" / SITE / "slots").iterdir())) < 1300 / 7


def test_unnamed_sites_have_the_default_and_names_are_safe(tmp_path: Path) -> None:
    many = SiteSettings(videos_per_hour=36_000)
    run = Budgets(str(tmp_path / "set"), {"default": many})
    names = ["../../up", "..", "a/b", "A/B", "\ud800", "x" * 300, "", "www.example.org"]
    for name in names:
        assert [run.take(name, START_S) for _ in range(4)] == [0] * 4
    made = [path for path in tmp_path.rglob("*.json") if path.is_file()]
    assert len(made) == len(names)
    assert all(path.parts[len(tmp_path.parts)] == "set" for path in made)


def test_the_estimate_knows_the_budget_and_the_requests_seen(tmp_path: Path) -> None:
    run = budgets(tmp_path, videos_per_hour=300, requests_per_hour=900)
    assert run.eta_s({}, START_S) == 0
    assert run.eta_s({SITE: 300}, START_S) == pytest.approx(3600)
    assert run.eta_s({SITE: 30, "other": 300}, START_S) == pytest.approx(3600)
    assert run.take(SITE, START_S) == 0
    end(run, START_S, requests=6)
    assert run.eta_s({SITE: 300}, START_S) == pytest.approx(7200 + 12)
    end(run, START_S, "throttled", 100.0, requests=6)
    assert run.eta_s({SITE: 300}, START_S) == pytest.approx(7200 + 24 + 100)


def test_a_damaged_closing_is_told_in_one_line(tmp_path: Path) -> None:
    run = budgets(tmp_path)
    folder = tmp_path / "budgets" / SITE
    folder.mkdir(parents=True)
    (folder / "closed.json").write_text("{}")
    with pytest.raises(UserError, match=r"closed\.json: is damaged"):
        run.take(SITE, START_S)
