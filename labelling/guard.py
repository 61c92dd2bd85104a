"""What stands before the labelling page: who may ask, and what a browser may do with the answer.

A page on loopback can be reached from any site that its user visits: by a name that the site's owner
points at 127.0.0.1 (DNS rebinding), or by a form that posts across origins. Both are refused. Elsewhere
a token is demanded.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# Style and script hold no secret, and a browser asks for them without the page's token.
_OPEN_TO_ALL = frozenset({"/page.css", "/page.js", "/outbox.js", "/reel.js", "/wide.js"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """An ASGI application around another one.

    Args:
        host: where the server listens.
        token: what whoever asks must show, as `?token=` of the page or as `Authorization: Bearer`; None
            asks for none.
    """

    def __init__(self, app: Asgi, host: str, token: str | None) -> None:
        self._app = app
        # Elsewhere the machine's names are not known, and a site that has no token learns nothing.
        self._names = _LOOPBACK_NAMES | {host} if is_loopback(host) else None
        self._token = token

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Refuse, or hand on."""
        assert scope["type"] == "http", scope["type"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        if refused is None:
            await self._app(scope, receive, send_guarded)
            return
        body = (refused + "\n").encode()
        plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        await send_guarded({"type": "http.response.start", "status": 403, "headers": plain})
        await send_guarded({"type": "http.response.body", "body": body})

    def _refusal(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> str | None:
        """Why a request is refused; None: it is not."""
        host = headers.get("host", "")
        if self._names is not None and _name(host) not in self._names:
            return "this server is asked by another name than its own; open the address that it told"
        if "origin" in headers and not _same(headers["origin"], host):
            return "another site may not ask this server"
        opens_page = scope["path"] == "/" and scope["method"] == "GET"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not opens_page:
            return "another site may not ask this server"
        if self._token is not None and scope["path"] not in _OPEN_TO_ALL:
            shown = headers.get("authorization", "").removeprefix("Bearer ")
            if opens_page:
                shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [shown])[0]
            if not secrets.compare_digest(shown.encode(), self._token.encode()):
                return "the token is missing or wrong; open the address that the server told"
        return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
