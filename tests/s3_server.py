"""A server of S3 on loopback: moto's, with what is missing for being faithful. Run as a program.

It prints its port, and ends when its standard input does. Added are two promises of S3: a condition
holds at the instant of the put, also between two requests that come at once; and of a body that breaks
off nothing is kept. With `ignore` as its argument it overlooks conditions, as old servers do; with
`ignore-in-parts` those of objects that come in parts.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

Answer = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Handler(MotoRequestHandler):
    # Connections stay open, and a client that asks whether to go on is answered.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, *args: Any) -> None:
        pass


class Dispatcher(DomainDispatcherApplication):
    """One that looks once for whose a host is, and not through a folder at each request."""

    @lru_cache  # noqa: B019 - there is one, and it lives as long as the process
    def get_backend_for_host(self, host: str | None) -> Any:
        return super().get_backend_for_host(host)


def faithful(app: Answer, ignored: Sequence[str]) -> Answer:
    one_at_a_time = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        told = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(told)
        if len(body) < told:
            start_response("400 Bad Request", [("Content-Length", "0"), ("Connection", "close")])
            return [b""]
        environ["wsgi.input"] = io.BytesIO(body)
        in_parts = "uploadId" in environ["QUERY_STRING"]
        if "ignore" in ignored or ("ignore-in-parts" in ignored and in_parts):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        with one_at_a_time:
            return list(app(environ, start_response))

    return answer


def main() -> None:
    app = faithful(Dispatcher(create_backend_app), sys.argv[1:])
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
