from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field, ValidationError, field_validator

from shards.errors import UserError
from shards.settings import Block, load_settings


class Source(Block):
    kind: str
    max_videos: int = 100


class Curate(Block):
    seed: int = 0
    rules: dict[str, str] = Field(default_factory=dict)

    @field_validator("rules")
    @classmethod
    def _no_empty_rule(cls, rules: dict[str, str]) -> dict[str, str]:
        if "" in rules.values():
            raise ValueError("a rule is empty; write a condition, as in motion >= 0.004")
        return rules


class Config(Block):
    dataset: str
    rate: float = 1.0
    sources: list[Source] = Field(default_factory=list)
    curate: Curate = Curate()
    limit: int | str | None = None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        "dataset: here\nrate: 3e-4\nsources:\n  - {kind: files}\n  - {kind: web, max_videos: 5}\n"
    )
    return path


def error_of(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_settings(Config, path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, settings: Any) -> Path:
    path.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings))
    return path


def test_file_becomes_a_frozen_block(path: Path) -> None:
    config = load_settings(Config, path)
    assert config.sources == [Source(kind="files"), Source(kind="web", max_videos=5)]
    assert config.rate == 3e-4
    with pytest.raises(ValidationError):
        config.dataset = "there"  # type: ignore[misc]


def test_overrides_reach_blocks_lists_and_defaults(path: Path) -> None:
    config = load_settings(
        Config,
        path,
        ["sources.0.max_videos=3", "curate.seed=7", "curate.rules={static: 'motion >= 1'}", "rate=2"],
    )
    assert config.sources[0].max_videos == 3
    assert config.sources[1].max_videos == 5
    assert config.curate == Curate(seed=7, rules={"static": "motion >= 1"})
    assert config.rate == 2


def test_value_of_an_override_may_hold_an_equals_sign(path: Path) -> None:
    assert load_settings(Config, path, ["dataset=a=b"]).dataset == "a=b"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "x", "ratee": 1}, "ratee: no such key; did you mean rate?"),
        ({"dataset": "x", "zzz": 1}, "zzz: no such key; known are dataset, rate, sources, curate, limit"),
        ({"dataset": "x", "curate": {"sed": 1}}, "curate.sed: no such key; did you mean seed?"),
        (
            {"dataset": "x", "sources": [{"kind": "a"}, {"kind": "b", "max_video": 1}]},
            "sources.1.max_video: no such key; did you mean max_videos?",
        ),
        ({"rate": 1}, "dataset: missing; this key is required"),
        ({"dataset": "x", "sources": [{}]}, "sources.0.kind: missing; this key is required"),
        (
            {"dataset": "x", "curate": {"seed": "one"}},
            "curate.seed: is 'one'; should be a valid integer, unable to parse string as an integer",
        ),
        (
            {"dataset": "x", "curate": [1]},
            "curate: is a list; should be a valid dictionary or instance of Curate",
        ),
        ({"dataset": None}, "dataset: is empty; should be a valid string"),
        ({"dataset": "x", "limit": [1]}, "limit: is a list; should be a valid integer"),
        (
            {"dataset": "x", "curate": {"rules": {"static": ""}}},
            "curate.rules: a rule is empty; write a condition, as in motion >= 0.004",
        ),
        ("", "is empty; a mapping of `key: value` lines is needed"),
        ("- 1\n", "is a list; a mapping of `key: value` lines is needed"),
        ("a: [1\nb: 2\n", "not YAML at line 2 "),
        ("a: 2024-13-45\n", "not YAML (unreadable)"),
        ("a: !!python/name:os.system\n", "not YAML at line 1 "),
    ],
)
def test_every_error_is_one_line_with_file_and_key(path: Path, settings: Any, message: str) -> None:
    assert error_of(write(path, settings)).startswith(f"{path}: {message}")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert error_of(tmp_path / "no.yaml") == f"{tmp_path}/no.yaml: no such file; give the path of a YAML file"
    assert "cannot be read (Is a directory)" in error_of(tmp_path)


def test_bytes_are_not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    assert error_of(path) == f"{path}: not text; a YAML file in UTF-8 is needed"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rate", "not an override; write --set key=value, or a.b=value"),
        ("=3", "not an override; write --set key=value, or a.b=value"),
        ("a..b=3", "not an override; write --set key=value, or a.b=value"),
        ("rate=[1", "'[1' is not YAML; quote it, as in rate='\"text\"'"),
        ("rate=2024-13-45", "'2024-13-45' is not YAML; quote it, as in rate='\"text\"'"),
        ("sources.2.kind=x", "sources is a list of 2; give an item's number from 0"),
        ("sources.first=x", "sources is a list of 2; give an item's number from 0"),
        ("dataset.name=x", "dataset is 'here'; it has no keys of its own"),
        ("rat=3", "rat: no such key; did you mean rate?"),
        (
            "curate.seed=x",
            "curate.seed: is 'x'; should be a valid integer, unable to parse string as an integer",
        ),
    ],
)
def test_an_override_is_named_when_it_is_to_blame(path: Path, override: str, message: str) -> None:
    assert error_of(path, override) == f"--set {override}: {message}"


def test_file_is_named_when_an_override_is_innocent(path: Path) -> None:
    write(path, {"dataset": "x", "curate": {"seed": "one"}})
    assert error_of(path, "curate.rules={}").startswith(f"{path}: curate.seed: ")


def test_unknown_key_is_named_in_python_too() -> None:
    with pytest.raises(ValidationError, match=r"max_vidos: no such key; did you mean max_videos\?"):
        Source(kind="web", max_vidos=3)  # type: ignore[call-arg]
