"""A small video site on this machine, so that a demo and its tests need no real one.

It shows a folder of videos the way sites do (an index, a feed, one page a video, files that
resume, HLS streams), so that a downloader exercises the very paths it takes on the web:

    with VideoSite(Path("examples"), hls=["jumper_bunny"]) as site:
        print(site.feed_url, site.page_url("jumper_bunny"))

or, for a browser, `python -m examples.site`. The folder is read once, on entering: what is
published never changes under a running download. What goes wrong on real sites goes wrong here when
it is told to (`VideoSite.fail`).
"""

from examples.site.faults import Answer, Cut, Fault, Stall
from examples.site.serving import Request, Resource
from examples.site.video_site import VideoSite

__all__ = ["Answer", "Cut", "Fault", "Request", "Resource", "Stall", "VideoSite"]
