from __future__ import annotations

from bench.publish import measure


def test_a_small_run_tells_what_a_large_one_would() -> None:
    said: list[str] = []
    cost = measure(1600, 1, said.append)
    assert said[0] == "writing 1,600 clips in 100 packs"
    assert (cost.clips, cost.more_clips) == (1600, 16)
    assert 0.8 * cost.clips < cost.first.clips < cost.clips
    assert cost.first.kept_shards == 0
    assert cost.second.kept_shards == cost.first.shards
    assert cost.second.shards > cost.first.shards
    assert cost.curate.peak_bytes > 50e6
    assert cost.first.step.child_peak_bytes > 50e6
