"""The engine on Ray keeps the promise that the one child keeps, and some of its own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine import Died, Done, Engine, Expired, Lost, NotYet, Outcome, Part, Raised, Refused
from pipeline.engine.choose import open_engine
from shards.errors import UserError
from tests.faults.processes import wait_for_end, wait_until
from tests.pipeline import units

# Ray leaves sockets and files of its own to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine(jobs=2) as running:
        yield running


def run(
    engine: Engine, function: Callable[[Any], Any], *given: Any, part: Part | None = None, alone: bool = False
) -> dict[Any, Outcome[Any]]:
    return dict(engine.run(function, given, lambda _: part or Part(60.0), alone=alone))


def test_every_unit_has_its_outcome(engine: Engine) -> None:
    numbers = range(50)
    assert run(engine, units.double, *numbers) == {number: Done(2 * number) for number in numbers}
    assert run(engine, units.double) == {}


def test_the_outcomes_are_those_of_one_child(engine: Engine) -> None:
    raised = run(engine, units.fail, 7)[7]
    assert isinstance(raised, Raised)
    assert raised.error == "ValueError: no 7 here"
    assert run(engine, units.kill_itself, "my last words") == {
        "my last words": Died(-signal.SIGKILL, "my last words")
    }
    assert run(engine, units.leave, 3) == {3: Died(3, "")}
    assert run(engine, units.refuse, "mend it") == {"mend it": Refused("mend it")}
    assert isinstance(run(engine, units.something_that_cannot_be_pickled, 0)[0], Raised)


def test_a_unit_past_its_deadline_dies_with_all_it_started(engine: Engine, tmp_path: Path) -> None:
    note = str(tmp_path / "grandchild")
    assert run(engine, units.hang_with_a_grandchild, note, part=Part(3.0)) == {note: Expired(3.0)}
    wait_for_end(int(Path(note).read_text()))


def test_a_part_begins_when_the_engine_says_so(engine: Engine, tmp_path: Path) -> None:
    """Eight units share two cores: all eight are on the network at once, no more than two on the CPU."""
    places = [str(tmp_path / str(number)) for number in range(8)]
    outcomes = run(engine, units.in_two_parts, *places, part=Part(60.0, "network"))
    together = {place: outcome.result for place, outcome in outcomes.items() if isinstance(outcome, Done)}
    assert len(together) == 8
    assert max(network for network, _ in together.values()) == 8
    assert max(cpu for _, cpu in together.values()) <= 2


def test_the_clock_of_a_part_is_its_own(engine: Engine) -> None:
    assert run(engine, units.hang_in_its_second_part, 1.0, part=Part(1e9, "network")) == {1.0: Expired(1.0)}


def test_a_watcher_that_is_killed_is_no_death_of_its_unit(engine: Engine, tmp_path: Path) -> None:
    note = str(tmp_path / "pids")
    outcomes: dict[Any, Outcome[Any]] = {}
    thread = threading.Thread(target=lambda: outcomes.update(run(engine, units.tell_pids_and_hang, note)))
    thread.start()
    wait_until(lambda: Path(note).exists() and Path(note).read_text().count("\n") == 2, "the unit to begin")
    child, watcher = map(int, Path(note).read_text().split())
    os.kill(watcher, signal.SIGKILL)
    thread.join()
    assert isinstance(outcomes[note], Lost)
    wait_for_end(child)


def test_alone_is_one_at_a_time_on_a_node(engine: Engine, tmp_path: Path) -> None:
    places = [str(tmp_path / str(number)) for number in range(3)]
    outcomes = run(engine, units.count_together, *places, alone=True)
    assert list(outcomes.values()) == [Done(1)] * 3


def test_nothing_begins_before_its_time_and_what_runs_goes_on(engine: Engine) -> None:
    given = [1, NotYet(0.3), 2, NotYet(0.1)]
    assert dict(engine.run(units.double, given, lambda _: Part(60.0))) == {1: Done(2), 2: Done(4)}


def test_a_run_that_is_left_early_ends_its_units(engine: Engine, tmp_path: Path) -> None:
    note = str(tmp_path / "pids")
    given = iter([(units.double, 1), (units.tell_pids_and_hang, note)])
    results = engine.run(units.call, given, lambda _: Part(1e6))
    next(results)
    wait_until(lambda: Path(note).exists() and Path(note).read_text().count("\n") == 2, "the unit to begin")
    results.close()  # type: ignore[attr-defined]
    wait_for_end(int(Path(note).read_text().split()[0]))


def test_nobody_at_the_address_is_one_line_at_once() -> None:
    with (
        pytest.raises(UserError, match=r"^--ray-address 127\.0\.0\.1:1: no cluster answers there \("),
        open_engine(1, "127.0.0.1:1"),
    ):
        raise AssertionError("there is none")


def test_no_cluster_is_one_line() -> None:
    with (
        pytest.raises(UserError, match=r"^--ray-address ray://x:1: .*--ray-address auto$"),
        open_engine(1, "ray://x:1"),
    ):
        raise AssertionError("there is none")


def test_nothing_is_left_of_it() -> None:
    folder = tempfile.mkdtemp(dir="/tmp", prefix="g")
    script = (
        "from pipeline.engine import Part\n"
        "from pipeline.engine.choose import open_engine\n"
        "from tests.pipeline.units import double\n"
        "with open_engine(2) as engine:\n"
        "    print(len(list(engine.run(double, range(4), lambda _: Part(60.0)))))\n"
    )
    done = units.python(script, tmp=folder)
    assert done.stdout == "4\n", done.stderr
    assert done.stderr == ""
    assert list(Path(folder).iterdir()) == []
    Path(folder).rmdir()


def test_a_part_on_the_gpu_side_has_a_gpu_of_its_own() -> None:
    """Of a Ray that is told of two GPUs; there need be none."""
    folder = tempfile.mkdtemp(dir="/tmp", prefix="g")
    script = (
        "import ray\n"
        "from pipeline.engine import Part\n"
        "from pipeline.engine.on_ray import RayEngine\n"
        "from tests.pipeline.units import wait_for_another_and_tell_devices\n"
        "ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False,\n"
        f"         _temp_dir={folder!r})\n"
        f"places = [{folder!r} + '/' + name for name in 'ab']\n"
        "told = RayEngine().run(wait_for_another_and_tell_devices, places, lambda _: Part(60.0, 'gpu'))\n"
        "print(sorted(outcome.result for _, outcome in told))\n"
        "ray.shutdown()\n"
    )
    done = units.python(script, tmp=folder)
    assert done.stdout == "['0', '1']\n", done.stderr
    shutil.rmtree(folder)
