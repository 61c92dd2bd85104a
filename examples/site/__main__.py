"""Show the examples to a browser, or to any downloader, until interrupted."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from examples.site.faults import read_faults
from examples.site.video_site import VideoSite


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.site", description="Serve a folder of videos as a small site."
    )
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--port", type=int, default=8787)
    parser.add_argument("--hls", action="append", default=[], metavar="STEM", help="offer it as a stream")
    parser.add_argument("--faults", type=Path, help="JSON: what goes wrong, by address")
    args = parser.parse_args()
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    faults = read_faults(args.faults) if args.faults else {}
    with VideoSite(args.folder, args.port, args.hls, faults) as site:
        print(f"{site.url} (feed: {site.feed_url}); Ctrl-C stops it", flush=True)
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
