from pathlib import Path

import pytest

from shards.errors import UserError
from shards.settings import load_settings
from trainer_bridge.config import TrainConfig
from trainer_bridge.schedule import learning_rate

TINY = Path("configs/train/tokenizer-tiny.yaml")


def config(**changes: object) -> TrainConfig:
    base = {"dataset": "d", "run": "r", "model": "tiny-tokenizer", "batch_size": 4, "steps": 100}
    return TrainConfig.model_validate(base | changes)


def test_the_shipped_configuration_is_valid() -> None:
    loaded = load_settings(TrainConfig, Path(__file__).parents[2] / TINY, ["steps=7"])
    assert (loaded.model, loaded.steps, loaded.run) == ("tiny-tokenizer", 7, Path("runs/tokenizer-tiny"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batchsize=4", "batchsize: no such key; did you mean batch_size?"),
        ("batch_size=0", "batch_size: is 0; should be greater than 0"),
        ("window=1.5", "window: is 1.5; should be a valid integer"),
        ("learning_rate=fast", "learning_rate: is 'fast'; should be a valid number"),
        ("model=tiny", "model: there is no model 'tiny'; known are tiny-tokenizer, tokenizer-200m"),
        ("min_learning_rate=1", "min_learning_rate 1.0 is above learning_rate 0.002; give at most that"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(TrainConfig, Path(__file__).parents[2] / TINY, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_warm_up_then_half_a_cosine() -> None:
    settings = config(learning_rate=1.0, min_learning_rate=0.1, warmup_steps=10)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[99] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("warmup", [0, 5, 99, 100, 1000])
def test_without_a_lowest_rate_there_is_no_descent(warmup: int) -> None:
    settings = config(learning_rate=1.0, warmup_steps=warmup)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert all(rate == 1.0 for rate in rates[warmup:])
    assert all(0 < rate <= 1.0 for rate in rates)
