"""The engine always answers, whatever a unit does to its process."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine import Died, Done, Expired, Outcome, Part, Raised
from pipeline.engine.child import OneChild
from tests.faults.processes import wait_for_end, wait_until
from tests.pipeline import units


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the engine keeps its logs; none of them may stay."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def run(function: Callable[[Any], Any], *given: Any, deadline_s: float = 60.0) -> list[Outcome[Any]]:
    return [outcome for _, outcome in OneChild().run(function, given, lambda _: Part(deadline_s))]


def calls(*pairs: tuple[Callable[[Any], Any], Any], deadline_s: float = 60.0) -> list[Outcome[Any]]:
    """Several functions in one run of the engine."""
    return run(call, *pairs, deadline_s=deadline_s)


def call(pair: tuple[Callable[[Any], Any], Any]) -> Any:
    function, unit = pair
    return function(unit)


def test_results_come_with_their_units_in_order_from_one_process() -> None:
    assert list(OneChild().run(units.double, [3, 1, 2], lambda _: Part(60.0))) == [
        (3, Done(6)),
        (1, Done(2)),
        (2, Done(4)),
    ]
    first, second = run(units.own_pid, None, None)
    assert first == second != Done(os.getpid())


def test_without_units_there_is_nothing_to_tell() -> None:
    assert run(units.double) == []


def test_an_exception_is_told_with_its_trace_and_the_process_goes_on() -> None:
    before, raised, after = calls((units.own_pid, None), (units.fail, 7), (units.own_pid, None))
    assert isinstance(raised, Raised)
    assert raised.error == "ValueError: no 7 here"
    assert "in fail" in raised.trace
    assert before == after


def test_a_killed_process_leaves_its_last_words_and_a_successor() -> None:
    before, died, after = calls(
        (units.own_pid, None), (units.kill_itself, "these are my last words"), (units.own_pid, None)
    )
    assert died == Died(-signal.SIGKILL, "these are my last words")
    assert isinstance(before, Done)
    assert isinstance(after, Done)
    assert before != after


def test_the_last_words_are_those_of_the_unit_that_died() -> None:
    _, died = calls((units.chatter, 1), (units.kill_itself, "mine"))
    assert died == Died(-signal.SIGKILL, "mine")


@pytest.mark.parametrize("function", [units.leave, units.exit_politely])
@pytest.mark.parametrize("exit_code", [0, 3])
def test_a_process_that_leaves_has_died(function: Callable[[int], None], exit_code: int) -> None:
    assert calls((function, exit_code), (units.double, 1)) == [Died(exit_code, ""), Done(2)]


def test_a_death_is_seen_though_a_fork_holds_the_pipe(tmp_path: Path) -> None:
    note = tmp_path / "fork"
    died, after = calls((units.kill_itself_leaving_a_fork, str(note)), (units.double, 1), deadline_s=1e9)
    assert died == Died(-signal.SIGKILL, "")
    assert after == Done(2)
    wait_for_end(int(note.read_text()))


def test_a_death_in_the_middle_of_the_answer() -> None:
    assert calls((units.die_in_the_middle_of_the_answer, None), (units.double, 1)) == [
        Died(-signal.SIGKILL, ""),
        Done(2),
    ]


def test_a_process_that_can_never_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engine.child._LAST_BREATH_S", 0.1)
    assert calls((units.close_everything_and_hang, None), (units.double, 1), deadline_s=1e9) == [
        Died(None, ""),
        Done(2),
    ]


def test_a_unit_past_its_deadline_dies_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "grandchild"

    def soon(pair: Any) -> Part:
        # The process needs a while to start; then the deadline is that of a unit that hangs.
        return Part(3.0 if pair[0] is units.hang_with_a_grandchild else 60.0)

    given = [(units.own_pid, None), (units.hang_with_a_grandchild, str(note)), (units.own_pid, None)]
    before, expired, after = (outcome for _, outcome in OneChild().run(call, given, soon))
    assert expired == Expired(3.0)
    assert before != after
    wait_for_end(int(note.read_text()))


def test_a_deadline_may_be_longer_than_any_clock() -> None:
    assert run(units.double, 1, deadline_s=6e9) == [Done(2)]


def test_a_run_that_is_left_early_kills_its_process(scratch: Path) -> None:
    results: Iterator[tuple[None, Outcome[int]]] = OneChild().run(
        units.own_pid, [None, None], lambda _: Part(60.0)
    )
    _, first = next(results)
    assert isinstance(first, Done)
    results.close()  # type: ignore[attr-defined]
    wait_for_end(first.result)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("function", "unit", "error"),
    [
        (units.something_that_cannot_be_pickled, None, "pickle"),
        (units.something_that_cannot_be_read, None, "ValueError"),
        (units.double, units.Unreadable(), "ValueError"),
        (lambda number: number, 1, "pickle"),
    ],
)
def test_what_cannot_be_pickled_is_a_bug_and_no_death(
    function: Callable[[Any], Any], unit: Any, error: str
) -> None:
    (outcome,) = run(function, unit)
    assert isinstance(outcome, Raised)
    assert error in outcome.error
    assert outcome.trace


def test_a_huge_result_comes_through() -> None:
    (outcome,) = run(units.many_bytes, 100_000_000)
    assert isinstance(outcome, Done)
    assert len(outcome.result) == 100_000_000


def test_what_units_print_goes_to_their_log_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(units.chatter, 1, 2) == [Done(1), Done(2)]
    assert capfd.readouterr() == ("", "")


def test_no_log_is_left(scratch: Path) -> None:
    calls((units.double, 1), (units.kill_itself, "x"), (units.double, 1))
    wait_until(lambda: not list(scratch.iterdir()), "the engine's logs to go")
