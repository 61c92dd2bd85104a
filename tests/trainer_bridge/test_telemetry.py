import logging
import struct
import threading
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event

from trainer_bridge.telemetry import REMEMBERED_STEPS, StepTimes, Telemetry
from trainer_bridge.watchdog import StallWatchdog


def times(**changed: float) -> StepTimes:
    base = {"wait_s": 0.0, "copy_s": 0.0, "step_s": 0.1, "read_s": 0.0, "decode_s": 0.0}
    return StepTimes(**base | changed, windows=4, read_bytes=4000)


@pytest.mark.parametrize(
    ("workers", "changed", "verdict"),
    [
        (0, {"wait_s": 0.001, "decode_s": 0.001}, "compute-bound: 1% of the time is waited for data"),
        (
            0,
            {"wait_s": 0.3, "decode_s": 0.25, "read_s": 0.05},
            "decode-bound: 75% of the time is waited for data; add 3 workers",
        ),
        (
            2,
            {"wait_s": 0.1, "decode_s": 0.05, "read_s": 0.25},
            "read-bound: 50% of the time is waited for data; use a cache, or add 1 worker",
        ),
        (
            8,
            {"wait_s": 0.1, "decode_s": 0.3},
            "decode-bound: 50% of the time is waited for data; all 8 cores decode already: use more of them",
        ),
        (
            0,
            {"wait_s": 1.0, "decode_s": 1.0, "step_s": 0.0},
            "decode-bound: 100% of the time is waited for data; add 8 workers",
        ),
        (
            2,
            {"wait_s": 0.1, "decode_s": 0.1, "copy_s": 0.3},
            "copy-bound: 20% of the time is waited for data; choose a smaller batch a device, or look at the "
            "link to it",
        ),
    ],
)
def test_the_verdict_says_what_would_help(workers: int, changed: dict[str, float], verdict: str) -> None:
    telemetry = Telemetry(0, workers, cores=8)
    assert telemetry.verdict() == "no step has ended yet"
    for _ in range(3):
        telemetry.add(times(**changed))
    assert telemetry.verdict() == verdict


def test_the_summary_is_of_the_last_steps() -> None:
    telemetry = Telemetry(1, 0)
    for _ in range(5):
        telemetry.add(times(step_s=100.0))
    for _ in range(REMEMBERED_STEPS):
        telemetry.add(times(wait_s=0.3))
    told = telemetry.summary()
    assert told["step_s"] == pytest.approx(0.1)
    assert told["waited_share"] == pytest.approx(0.75)
    assert told["windows_per_s"] == pytest.approx(10)
    assert told["bytes_per_window"] == 1000


def test_it_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry(3, 0, log_every_s=1e-9)
    with caplog.at_level(logging.INFO):
        telemetry.add(times())
    assert caplog.records[0].getMessage().startswith("rank 3: compute-bound: 0% of the time")


def test_tensorboard_reads_the_figures(tmp_path: Path) -> None:
    telemetry = Telemetry(2, 0)
    telemetry.add(times(wait_s=0.3))
    with SummaryWriter(str(tmp_path)) as writer:
        telemetry.write(writer, 7)
    (path,) = tmp_path.iterdir()
    found = {
        value.tag: (event.step, value.simple_value) for event in events(path) for value in event.summary.value
    }
    assert found["stream/rank2/wait_s"] == (7, pytest.approx(0.3))
    assert found.keys() == {f"stream/rank2/{name}" for name in telemetry.summary()}


def events(path: Path) -> list[Event]:
    """The events of a file: each after its length in 8 bytes and a checksum of 4, before another of 4."""
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        found.append(Event.FromString(data[place + 12 : place + 12 + length]))
        place += 16 + length
    return found


def test_a_wait_that_does_not_end_names_what_it_is_for(caplog: pytest.LogCaptureFixture) -> None:
    told, asked = threading.Semaphore(0), []

    def describe() -> str:
        asked.append(len(asked))
        told.release()
        return f"shard {len(asked)}"

    watchdog = StallWatchdog(0.01, describe)
    with watchdog:
        assert told.acquire(timeout=30)
        assert told.acquire(timeout=30)
    with watchdog:
        assert told.acquire(timeout=30)
    watchdog.close()
    watchdog._thread.join(30)
    assert not watchdog._thread.is_alive()
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("nothing for 0 s: waiting for shard 1")
    assert len(messages) >= 3
