"""A proxy on loopback that does to requests what networks do, and counts what passes through it."""

from __future__ import annotations

import http.client
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Fault:
    """What is done to the next `times` requests whose first line matches.

    Attributes:
        kind: `answer`: `status` is answered and the server not asked. `hang`: nothing is ever answered.
            `hold`: likewise, and what was asked is kept in `Proxy.held`. `cut`: half of the body is taken,
            and the connection reset. `lose`: the server is asked, and its answer is kept back. `half`: half
            of the answer is given.
        skip: so many that match are let pass before.
        strike: is called with each that the fault is done to, before anything of it reaches the server.
    """

    request: str
    kind: str
    times: int = 1
    status: int = 500
    skip: int = 0
    strike: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Request:
    """A request that was made: what it asked, and how many bytes of body went there and back."""

    line: str
    range: str | None
    sent: int
    got: int


@dataclass(frozen=True)
class Held:
    """A request that has come as far as the proxy."""

    line: str
    headers: http.client.HTTPMessage
    body: bytes


class Proxy:
    """Passes requests on to a server at a port of loopback."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.held: Held | None = None
        self.lock = threading.Lock()
        self.met = threading.Semaphore(0)
        self.url = ""

    def add(self, request: str, kind: str, times: int = 1, status: int = 500) -> None:
        self.faults.append(Fault(request, kind, times, status))

    def take(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and re.search(fault.request, line):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def deliver(self, *, half: bool = False) -> int:
        """Let a request that is held reach the server, or only half of its body; the answer's status."""
        assert self.held
        body = self.held.body
        upstream = _asked(self.upstream, self.held, body[: len(body) // 2] if half else body)
        with closing(upstream):
            if half:
                upstream.sock.shutdown(socket.SHUT_WR)
            answer = upstream.getresponse()
            answer.read()
            return answer.status

    def lines(self, pattern: str) -> list[Request]:
        return [request for request in self.requests if re.search(pattern, request.line)]


class _Handler(socketserver.StreamRequestHandler):
    # An answer goes out at once, and does not wait for an acknowledgement of its head.
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except (ConnectionError, http.client.HTTPException):
            pass

    def _one(self) -> bool:
        line = self.rfile.readline().decode("latin-1").strip()
        if not line:
            return False
        headers = http.client.parse_headers(self.rfile)
        length = int(headers.get("Content-Length") or 0)
        proxy = self.server.proxy
        fault = proxy.take(line)
        kind = fault.kind if fault else "pass"
        if headers.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            del headers["Expect"]
        if kind == "cut":
            self.rfile.read(length // 2)
            return self._reset()
        body = self.rfile.read(length)
        if len(body) < length:
            return False
        asked = Held(line, headers, body)
        if kind == "hold":
            proxy.held = asked
        if fault and kind in ("answer", "hang", "hold"):
            proxy.requests.append(Request(line, headers.get("Range"), length, 0))
            proxy.met.release()
            fault.strike()
            if kind != "answer":
                self.rfile.read(1)  # until the client goes
                return False
            self.wfile.write(
                b"HTTP/1.1 %d Injected\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n" % fault.status
            )
            return True
        method = line.split(" ")[0]
        with closing(_asked(proxy.upstream, asked, body)) as upstream:
            answer = upstream.getresponse()
            data = answer.read()
        proxy.requests.append(Request(line, headers.get("Range"), length, len(data)))
        proxy.met.release()
        if kind == "lose":
            return self._reset()
        told = [
            (n, v) for n, v in answer.getheaders() if n.lower() not in ("connection", "transfer-encoding")
        ]
        if method != "HEAD" and not answer.getheader("Content-Length"):
            told.append(("Content-Length", str(len(data))))
        head = "".join(f"{name}: {value}\r\n" for name, value in told)
        self.wfile.write(f"HTTP/1.1 {answer.status} {answer.reason}\r\n{head}\r\n".encode("latin-1"))
        if kind == "half":
            self.wfile.write(data[: len(data) // 2])
            return self._reset()
        self.wfile.write(data)
        return True

    def _reset(self) -> bool:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.shutdown_request = self.server.close_request  # type: ignore[method-assign]
        return False


def _asked(port: int, asked: Held, body: bytes) -> http.client.HTTPConnection:
    """A connection over which a request was sent, with this of its body."""
    method, path, _ = asked.line.split(" ")
    upstream = http.client.HTTPConnection("127.0.0.1", port)
    upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in asked.headers.items():
        upstream.putheader(name, value)
    upstream.endheaders(body)
    return upstream


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    proxy: Proxy


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.proxy = proxy
        address: Any = server.server_address
        proxy.url = f"http://127.0.0.1:{address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield proxy
        server.shutdown()
