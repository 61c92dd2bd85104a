from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import BuildConfig, load_config
from shards.errors import UserError
from shards.manifest import recipe_hash

ROOT = Path(__file__).parents[2]
FILES = [{"kind": "files", "path": "videos"}]

WriteConfig = Callable[..., Path]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_that_ships_is_valid(path: Path) -> None:
    load_config(path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scorer=[motion]", "scorer: no such key; did you mean scorers?"),
        ("curate.rule={}", "curate.rule: no such key; did you mean rules?"),
        ("sources.0.pth=x", "sources.0.pth: no such key; did you mean path?"),
        ("scorers=[motoin]", "scorers: there is no scorer 'motoin'; there are "),
        ("scorers=[motion, motion]", "scorers: a scorer is named twice"),
        ("curate.seed=many", "curate.seed: is 'many'; should be a valid integer"),
        ("curate.splits={train: 0.5}", "curate.splits: the shares sum to 0.5; they must sum to 1"),
        ("curate.splits={a/b: 1.0}", "curate.splits: 'a/b' cannot name a split"),
        (
            "curate.max_share={videos: 0.1}",
            "curate.max_share.videos: no such key; did you mean video?",
        ),
        ("curate.max_share={video: 0}", "curate.max_share.video: is 0; should be greater than 0"),
        (
            "curate.max_share={channel: 2}",
            "curate.max_share.channel: is 2; should be less than or equal to 1",
        ),
        (
            "curate.rules={max_share_video: 'true'}",
            "curate.rules: 'max_share_video' is for clips over a max_share; name it otherwise",
        ),
        ("frame.fit=padd", "frame.fit: is 'padd'; should be 'pad', 'crop' or 'stretch'"),
        ("shards.max_bytes=big", "shards.max_bytes: is 'big'"),
        ("shards.max_bytes=0", "shards.max_bytes: is 0; should be greater than 0"),
        ("sites={youtube: {videos_per_hour: 0}}", "sites.youtube.videos_per_hour: is 0; should be greater"),
        (
            "sites={youtube: {video_per_hour: 9}}",
            "sites.youtube.video_per_hour: no such key; did you mean videos_per_hour?",
        ),
        ("sites={YouTube: {}}", "sites: 'YouTube' is no site; give a name as youtube, or a host"),
        (
            "opt_out=no-such.txt",
            "opt_out: 'no-such.txt': no such file; give a text file",
        ),
        ("opt_out=['channel: ']", "opt_out: 'channel: ' names nothing; give an id, `channel: NAME` or a URL"),
        ("sources=[]", "sources: "),
        ("sources=[{kind: ftp}]", "sources.0"),
        ("sources=[{kind: web}]", "sources.0: gives nothing to look at"),
        (
            "sources=[{kind: web, urls: ['file:///etc/passwd']}]",
            "sources.0: 'file:///etc/passwd' is not a web address",
        ),
    ],
)
def test_what_is_wrong_is_one_line_that_helps(write_config: WriteConfig, override: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(write_config(FILES), [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_recipe_leaves_out_places_and_the_settings_hash_all_that_shapes_no_clip(
    write_config: WriteConfig,
) -> None:
    path = write_config(FILES)
    plain = load_config(path)
    moved = load_config(
        path,
        ["dataset=/elsewhere", "sources.0.path=/other", "sites={default: {concurrency: 1}}", "opt_out=[a]"],
    )
    assert (moved.recipe, moved.settings_hash) == (plain.recipe, plain.settings_hash)
    curated = load_config(path, ["curate.rules={static: motion > 1}", "scorers=[motion]"])
    assert curated.recipe != plain.recipe
    assert curated.settings_hash == plain.settings_hash
    assert load_config(path, ["frame.fit=crop"]).settings_hash != plain.settings_hash
    web = "sources=[{kind: web, urls: ['https://host/'], max_videos: 7%s}]"
    assert load_config(path, [web % ""]).settings_hash == plain.settings_hash
    assert load_config(path, [web % ", min_height_px: 720"]).settings_hash != plain.settings_hash


def test_the_recipe_keeps_the_order_of_rules_and_no_order_of_splits(write_config: WriteConfig) -> None:
    path = write_config(FILES)
    first = load_config(path, ["curate.rules={a: motion > 0, b: cuts < 1}"]).recipe
    second = load_config(path, ["curate.rules={b: cuts < 1, a: motion > 0}"]).recipe
    assert recipe_hash(first) != recipe_hash(second)
    one = load_config(path, ["curate.splits={train: 0.5, val: 0.5}"]).recipe
    other = load_config(path, ["curate.splits={val: 0.5, train: 0.5}"]).recipe
    assert recipe_hash(one) == recipe_hash(other)


def test_a_site_is_as_the_default_where_nothing_else_is_said(write_config: WriteConfig) -> None:
    sites = {"default": {"concurrency": 2, "videos_per_hour": 50}, "127.0.0.1": {"videos_per_hour": 9}}
    config = load_config(write_config(FILES, sites=sites))
    told = config.sites["127.0.0.1"]
    assert (told.videos_per_hour, told.concurrency, told.requests_per_hour) == (9, 2, 1000)
    assert BuildConfig.model_validate_json(config.model_dump_json()) == config


def test_a_share_is_part_of_the_recipe_and_none_is_as_before_there_were_any(
    write_config: WriteConfig,
) -> None:
    path = write_config(FILES)
    assert "max_share" not in load_config(path).recipe["curate"]
    recipe = load_config(path, ["curate.max_share.video=0.02"]).recipe
    assert recipe["curate"]["max_share"] == {"video": 0.02, "channel": None}
