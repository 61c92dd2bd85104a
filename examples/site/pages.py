"""What a visitor and a downloader read: the index, the feed, and a page a video."""

from __future__ import annotations

import html
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import format_datetime

from examples.site.videos import Video

SITE_NAME = "Sample videos"
ITUNES = "http://www.itunes.com/dtds/podcast-1.0.dtd"

# A script builds the player, as on most sites: where the source of a page holds a video tag,
# yt-dlp reads that tag and never gets to the JSON-LD, which says far more.
PLAYER_SCRIPT = """
const player = document.getElementById("player");
const video = player.appendChild(document.createElement("video"));
Object.assign(video, {controls: true, src: player.dataset.media});
for (const [language, url] of Object.entries(JSON.parse(player.dataset.captions))) {
  const track = video.appendChild(document.createElement("track"));
  Object.assign(track, {kind: "captions", srclang: language, src: url});
}
"""


@dataclass(frozen=True)
class WatchPage:
    """A video and the addresses it got."""

    video: Video
    url: str
    media_url: str
    media_type: str
    captions: dict[str, str]


@dataclass(frozen=True)
class Listed:
    """A video and the address of its page."""

    video: Video
    url: str


def index_page(feed_url: str, videos: Sequence[Listed]) -> bytes:
    """Give a visitor something to click, and readers the address of the feed."""
    links = ((listed.url, html.escape(listed.video.title)) for listed in videos)
    rows = "\n".join(f'<li><a href="{url}">{title}</a></li>' for url, title in links)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{SITE_NAME}</title>
<link rel="alternate" type="application/rss+xml" href="{feed_url}">
</head>
<body>
<h1>{SITE_NAME}</h1>
<ul>
{rows}
</ul>
</body>
</html>
""".encode()


def watch_page(page: WatchPage) -> bytes:
    """Tell machines (JSON-LD, Open Graph) all that people are told, and people all of it too."""
    video = page.video
    graph = {
        "og:type": "video.other",
        "og:site_name": SITE_NAME,
        "og:title": video.title,
        "og:description": video.description,
        "og:url": page.url,
        "og:video": page.media_url,
        "og:video:type": page.media_type,
    }
    metas = "\n".join(
        f'<meta property="{name}" content="{html.escape(content)}">'
        for name, content in graph.items()
        if content
    )
    facts = " · ".join(filter(None, (video.channel, video.licence)))
    linked = json.dumps(linked_data(page), indent=1)
    for character in "<>&":
        linked = linked.replace(character, f"\\u{ord(character):04x}")
    captions = html.escape(json.dumps(page.captions))
    title = html.escape(video.title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
{metas}
<script type="application/ld+json">
{linked}
</script>
</head>
<body>
<h1>{title}</h1>
<div id="player" data-media="{html.escape(page.media_url)}" data-captions="{captions}"></div>
<p>{html.escape(facts)}</p>
<p>{html.escape(video.description)}</p>
<script>{PLAYER_SCRIPT}</script>
</body>
</html>
""".encode()


def linked_data(page: WatchPage) -> dict[str, object]:
    """Describe the video as schema.org's VideoObject, leaving out what is not known."""
    video = page.video
    known = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": video.title,
        "description": video.description,
        "url": page.url,
        "contentUrl": page.media_url,
        "encodingFormat": page.media_type,
        "duration": f"PT{video.duration_s}S" if video.duration_s else None,
        "uploadDate": video.uploaded_at.isoformat() if video.uploaded_at else None,
        "author": {"@type": "Organization", "name": video.channel} if video.channel else None,
        "license": video.licence,
        "keywords": ",".join(video.tags),
        "width": video.width,
        "height": video.height,
    }
    return {name: value for name, value in known.items() if value}


def feed(site_url: str, videos: Sequence[Listed]) -> bytes:
    """List the videos as a podcast does, with links to pages and none to the files."""
    ET.register_namespace("itunes", ITUNES)
    rss = ET.Element("rss", version="2.0")
    channel = ET.SubElement(rss, "channel")
    for name, text in {"title": SITE_NAME, "link": site_url, "description": SITE_NAME}.items():
        ET.SubElement(channel, name).text = text
    for listed in videos:
        video = listed.video
        known = {
            "title": video.title,
            "link": listed.url,
            "description": video.description,
            "pubDate": format_datetime(video.uploaded_at) if video.uploaded_at else None,
            f"{{{ITUNES}}}duration": str(round(video.duration_s)) if video.duration_s else None,
        }
        item = ET.SubElement(channel, "item")
        for name, value in known.items():
            if value:
                ET.SubElement(item, name).text = value
    document: bytes = ET.tostring(rss, encoding="utf-8", xml_declaration=True)
    return document
