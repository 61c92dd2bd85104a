"""HTTP: resources by address, in byte ranges where asked, and a log of what was answered."""

from __future__ import annotations

import io
import re
import socket
import struct
import sys
import threading
import zlib
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

from examples.site.faults import Answer, Cut, Faults, Stall

CHUNK_BYTES = 1 << 18


class Request(NamedTuple):
    """One answered request, for tests that ask how politely a client behaved."""

    method: str
    path: str
    range: str | None
    status: int


@dataclass(frozen=True)
class Resource:
    """What one address serves. All there is to serve is listed: no path can lead elsewhere."""

    content_type: str
    body: bytes | Path

    def open(self) -> BinaryIO:
        """Give pages and files one face, so that both are served by the same lines."""
        return io.BytesIO(self.body) if isinstance(self.body, bytes) else self.body.open("rb")

    @property
    def tag(self) -> str:
        """Name this state of the body, so that a download never resumes into another."""
        body = self.body
        version = zlib.crc32(body) if isinstance(body, bytes) else body.stat().st_mtime_ns
        return f'"{version:x}"'


class Server(ThreadingHTTPServer):
    """Holds what all connections share: the published resources and the log of answers."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.resources: dict[str, Resource] = {}
        self.faults = Faults()
        self._answered: list[Request] = []
        self._lock = threading.Lock()

    def answered(self) -> tuple[Request, ...]:
        """Copy the log, which other threads go on writing."""
        with self._lock:
            return tuple(self._answered)

    def log(self, request: Request) -> None:
        """Record an answer before its first byte leaves, so that no client can be ahead of it."""
        with self._lock:
            self._answered.append(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about clients that hang up: downloaders do so once they know enough."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Serves resources by address, in byte ranges where asked."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with headers and body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers that GET would send."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        address = unquote(urlsplit(self.path).path)
        resource = self.server.resources.get(address)
        fault = self.server.faults.next(address)
        if isinstance(fault, Answer):
            self._refuse(fault)
            return
        if resource is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with resource.open() as stream:
            size = stream.seek(0, io.SEEK_END)
            resumable = with_body and self.headers["If-Range"] in (None, resource.tag)
            status, span = parse_range(self.headers["Range"] if resumable else None, size)
            self.send_response(status)
            if status == HTTPStatus.PARTIAL_CONTENT:
                self.send_header("Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}")
            elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", resource.content_type)
            self.send_header("Content-Length", str(len(span)))
            self.send_header("ETag", resource.tag)
            self.send_header("Connection", "close")
            self.end_headers()
            if with_body:
                self._send(stream, span, fault)

    def _refuse(self, fault: Answer) -> None:
        self.send_response(fault.status)
        if fault.retry_after is not None:
            self.send_header("Retry-After", fault.retry_after)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, stream: BinaryIO, span: range, fault: Cut | Stall | None) -> None:
        stream.seek(span.start)
        sent = span[: fault.after_bytes] if fault else span
        for start in sent[::CHUNK_BYTES]:
            self.wfile.write(stream.read(min(CHUNK_BYTES, sent.stop - start)))
        if isinstance(fault, Stall):
            self.wfile.flush()
            self.server.faults.go_on.wait()
            self._send(stream, span[fault.after_bytes :], None)
        elif fault and fault.reset:
            # Closed with a linger of nothing, a connection is reset and what is on its way is lost.
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
        """Keep requests for tests to read, instead of printing them."""
        wanted = getattr(self, "headers", {}).get("Range")
        path = getattr(self, "path", "")
        self.server.log(Request(self.command or "", path, wanted, int(code)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: an error is in the log with its status."""


def parse_range(header: str | None, size: int) -> tuple[HTTPStatus, range]:
    """Choose the bytes to send; what is not one plain range is ignored, as RFC 9110 allows."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    first, last = match.groups() if match else ("", "")
    backwards = bool(first and last) and int(last) < int(first)
    if backwards or not (first or last):
        return HTTPStatus.OK, range(size)
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, range(0)
    return HTTPStatus.PARTIAL_CONTENT, range(start, stop)
