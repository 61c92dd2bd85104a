"""The main job on sample videos: `make demo`.

A web site on loopback serves `examples/`; `genieset` finds its videos, downloads, cuts, measures,
curates, publishes and verifies them, and trains a tiny video tokenizer on their frames. Run it
again and it goes on where it was.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from examples.site import VideoSite

ROOT = Path(__file__).parents[1]
PORT = 8787
STEPS = 60
GENIESET = (sys.executable, "-P", "-m", "genieset")


def main() -> int:
    """Run the demo; returns its exit code."""
    os.chdir(ROOT)
    port = free_port()
    # Another port is another site with other video ids: it gets a dataset of its own.
    place = "demo" if port == PORT else f"demo-{port}"
    dataset = f"data/{place}"
    with VideoSite(ROOT / "examples", port=port, hls=["jumper_bunny"]) as site:
        print(f"{site.url} serves the videos of examples/\n", flush=True)
        feeds = json.dumps([site.feed_url])
        built = genieset(
            "build", "configs/demo.yaml", "--set", f"dataset={dataset}", "--set", f"sources.0.feeds={feeds}"
        )
        verified = genieset("verify", dataset)
    # A run goes on over the version that it began with.
    run = f"runs/{place}-v{built['version']}"
    trained = genieset(
        *("train", "tokenizer", "configs/train/tokenizer-tiny.yaml"),
        *("--set", f"dataset={dataset}", "--set", f"run={run}", "--set", f"steps={STEPS}"),
    )
    report(built, verified, trained)
    print(f"Look around:\n  .venv/bin/genieset status {dataset}\n  .venv/bin/genieset --help")
    return 0


def genieset(*arguments: str) -> dict[str, Any]:
    """Run a sub-command as a user would; returns its result."""
    print(f"$ genieset {shlex.join(arguments)}", file=sys.stderr, flush=True)
    # A proxy that a company sets for the web must not be asked for this machine.
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        [*GENIESET, *arguments, "--json"], stdout=subprocess.PIPE, env=environment, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def report(built: dict[str, Any], verified: dict[str, Any], trained: dict[str, Any]) -> None:
    """The funnel, and the loss at the start and at the end."""
    print("\n" + " → ".join(f"{name.replace('_', '-')} {count}" for name, count in built["funnel"].items()))
    for state, count in built["videos"].items():
        print(f"  {count:3} videos {state}")
    print(f"verified: {verified['samples']} clips decoded, {len(verified['faults'])} faults")
    loss = f"{trained['first_loss']:.4f} → {trained['last_loss']:.4f}"
    print(f"tokenizer: loss {loss} in {trained['steps']} steps\n")


def free_port() -> int:
    """The demo's own port, or any other if that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
