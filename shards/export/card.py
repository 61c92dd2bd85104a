"""The card of a dataset, in Markdown, from its version and catalog: what is in it, whose, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shards.export.markdown import Safe, table, text
from shards.export.summary import UNKNOWN, Group, Summary
from shards.export.view import View
from shards.manifest import recipe_hash

_SHOWN_GROUPS = 20

_MEMBERS = (
    ("`mp4`", "the clip: H.264, yuv420p, a closed GOP of 16 frames, no B-frames, no sound"),
    (
        "`json`",
        "`key`, `video_id`, `start_s`, `n_frames`, `unique_frames`, `fps`, `content_box` "
        "(x, y, width, height of the picture within the padding)",
    ),
)

_SEES = {
    "faces": "people's faces",
    "text_area": "text in the picture",
    "fingerprint": "near-duplicates",
    "quality": "what people call good gameplay",
}
"""What only these scorers see."""


def card(view: View, told: Summary) -> str:
    """The whole card, beneath its header."""
    parts = (
        _what(view, told),
        _splits(view, told),
        _use(view),
        _origin(told),
        _licences(told),
        _made(view),
        _left_out(view, told),
        _limits(view, told),
    )
    return "\n".join(line for part in parts for line in part)


def _what(view: View, told: Summary) -> Iterator[str]:
    lengths: dict[int, int] = {}
    for shard in view.version.shards:
        for frames, clips in shard.clips_by_frames.items():
            lengths[frames] = lengths.get(frames, 0) + clips
    told_lengths = ", ".join(f"{clips:,} of {frames} frames" for frames, clips in sorted(lengths.items()))
    yield from (
        f"# {text(view.name)}",
        "",
        f"{told.total.clips:,} video clips ({told.total.hours:.2f} hours; {told_lengths}) of "
        f"{told.total.videos:,} source videos, for training world models.",
        "",
        *table(("fact", "value"), (
            ("version", view.version.number),
            ("parent version", view.version.parent or "none"),
            ("SHA-256 of the version", view.version.hash),
            ("SHA-256 of the recipe", recipe_hash(view.version.recipe)),
        )),
    )  # fmt: skip


def _splits(view: View, told: Summary) -> Iterator[str]:
    shards = {
        split: [shard for shard in view.version.shards if shard.split == split]
        for split in view.version.splits
    }
    rows = (
        (
            *_numbers(group),
            len(shards.get(group.name, ())),
            f"{sum(shard.bytes for shard in shards.get(group.name, ())):,}",
        )
        for group in told.splits
    )
    yield from ("## Splits", "", *table(("split", "clips", "videos", "hours", "shards", "bytes"), rows))
    yield from ("The split of a clip is that of its video, by a hash of the video's id.", "")


def _use(view: View) -> Iterator[str]:
    first = view.url(view.version.shards[0].name)
    yield from (
        "## Use",
        "",
        "The shards are tars in the form of WebDataset. From the folder of this card:",
        "",
        "```python",
        "from datasets import Video, load_dataset",
        "",
        f'clips = load_dataset(".", split="{view.version.shards[0].split}", streaming=True)',
        'clips = clips.cast_column("mp4", Video(decode=False))',
        "```",
        "",
        f"or `webdataset.WebDataset({first!r})`. A sample is",
        "",
        *table(("member", "what"), ((Safe(name), Safe(what)) for name, what in _MEMBERS)),
    )


def _origin(told: Summary) -> Iterator[str]:
    heads = ("clips", "videos", "hours")
    yield from ("## Sources", "", *_grouped(("site", *heads), told.origins))
    yield from ("## Channels", "", *_grouped(("channel", *heads), told.channels))


def _licences(told: Summary) -> Iterator[str]:
    unknown = sum(group.clips for group in told.licences if group.name == UNKNOWN)
    yield from (
        "## Licences",
        "",
        "A clip has the licence of its source video, as the site stated it; nobody has checked that. "
        f"It is {UNKNOWN} for {unknown:,} of {told.total.clips:,} clips. The catalog names the address and "
        "the channel of each video.",
        "",
        *_grouped(("licence", "clips", "videos", "hours"), told.licences),
    )


def _made(view: View) -> Iterator[str]:
    recipe = view.version.recipe
    settings: dict[str, Any] = {
        name: recipe[name]
        for name in ("frame", "scorers", "classifier", "titles", "shards")
        if name in recipe
    }
    curate = recipe.get("curate", {})
    settings |= {name: curate[name] for name in ("seed", "splits", "prefer") if name in curate}
    yield from (
        "## How it was made",
        "",
        "Genieset found the videos, cut each one into clips of exact length, measured every clip and decided "
        "by the rules below. The same recipe and videos give the same bytes. The version holds the whole "
        "recipe; these are its settings:",
        "",
        *table(("setting", "value"), ((name, _told(value)) for name, value in settings.items())),
    )


def _left_out(view: View, told: Summary) -> Iterator[str]:
    rules = dict(view.version.recipe.get("curate", {}).get("rules", ()))
    measured = sum(told.decisions.values())
    rows = [(name, rule, f"{told.decisions.get(f'dropped:{name}', 0):,}") for name, rule in rules.items()]
    yield from (
        "## What was left out",
        "",
        f"Of {measured:,} clips that were measured, {told.decisions.get('kept', 0):,} are kept. A clip is "
        "dropped by the first rule that it does not fulfil:",
        "",
        *(table(("rule", "a kept clip has", "dropped"), rows) if rows else ("There are no rules.", "")),
        "How every video that was found ended:",
        "",
        *table(("state", "videos"), ((state, f"{count:,}") for state, count in told.states.items())),
    )


def _limits(view: View, told: Summary) -> Iterator[str]:
    recipe = view.version.recipe
    used = {*recipe.get("scorers", ()), *(("quality",) if recipe.get("classifier") else ())}
    unseen = [what for scorer, what in _SEES.items() if scorer not in used]
    yield from ("## Known limits", "")
    if unseen:
        yield f"* Nothing looked for {', '.join(unseen)}."
    yield (
        f"* {told.repeats:,} clips have fewer unique frames than frames, where the source stood still or was "
        "slower; `unique_frames` tells."
    )
    yield "* The rules are thresholds on what was measured; that a clip is kept is nobody's judgement of it."
    yield "* No video is in two splits, but a channel or a game may be."
    yield "* Titles, channels and licences are as the sites gave them."
    yield "* Whoever is in a video, or made it, can have it taken out: ask who publishes this dataset."
    yield ""


def _grouped(heads: tuple[str, ...], groups: tuple[Group, ...]) -> Iterator[str]:
    yield from table(heads, (_numbers(group) for group in groups[:_SHOWN_GROUPS]))
    rest = groups[_SHOWN_GROUPS:]
    if rest:
        yield from (f"and {len(rest):,} more, with {sum(group.clips for group in rest):,} clips.", "")


def _numbers(group: Group) -> tuple[str, str, str, str]:
    return group.name, f"{group.clips:,}", f"{group.videos:,}", Safe(f"{group.hours:.2f}")


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_told(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(_told(item) for item in value)
    return "none" if value is None else str(value)
