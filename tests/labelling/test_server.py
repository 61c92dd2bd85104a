"""Who may ask the labelling server for what."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.labelling.conftest import Server

Serve = Callable[..., AbstractContextManager[Server]]
ID = "0123456789abcdef0123456789abcdef"


def ask(server: Server, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request as it is written, with no client's help in between."""
    host = urlsplit(server.address)
    assert host.hostname
    connection = http.client.HTTPConnection(host.hostname, host.port, timeout=30)
    sent = {"Content-Type": "application/json"} if body is not None else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    connection.request("GET" if body is None else "POST", path, data, sent)
    answer = connection.getresponse()
    told = {name.lower(): value for name, value in answer.getheaders()}
    content = answer.read()
    connection.close()
    return answer.status, told, content


def begun(server: Server) -> dict[str, str]:
    plan = json.loads(ask(server, "/api/begin")[2])["plan"]
    return {"plan": plan, "labeller": "ann"}


def test_a_clip_is_what_is_stored_and_is_kept_by_the_browser(serve: Serve) -> None:
    with serve() as server:
        key = json.loads(ask(server, "/api/next", begun(server))[2])["next"][0]
        status, headers, mp4 = ask(server, f"/clip/{key}.mp4")
        assert (status, headers["content-type"], mp4[4:8]) == (200, "video/mp4", b"ftyp")
        assert ask(server, f"/clip/{key}.mp4", If_None_Match=headers["etag"])[0] == 304


@pytest.mark.parametrize(
    "path",
    [
        "/clip/nobody_00000000.mp4",
        "/clip/../labels/labels.sqlite3",
        "/clip/..%2f..%2f..%2fetc%2fpasswd.mp4",
        "/labels/labels.sqlite3",
        "/page/page.html",
        "/../server.py",
    ],
)
def test_nothing_else_of_the_disk_can_be_had(serve: Serve, path: str) -> None:
    with serve() as server:
        assert ask(server, path)[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example:8160"},
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
def test_another_site_may_not_ask(serve: Serve, headers: dict[str, str]) -> None:
    with serve() as server:
        body = begun(server)
        assert ask(server, "/api/next", body, **headers)[0] == 403


def test_a_form_cannot_answer(serve: Serve) -> None:
    with serve() as server:
        body = json.dumps(begun(server)).encode()
        assert ask(server, "/api/next", body, Content_Type="text/plain")[0] == 415


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"label": 7}, 422),
        ({"label": "5"}, 422),
        ({"label": True}, 422),
        ({"key": "nobody_00000000"}, 404),
        ({"id": "x"}, 422),
        ({"labeller": " "}, 422),
        ({"labeller": "a\nb"}, 422),
        ({"note": "x" * 3000}, 422),
        ({"plan": "another"}, 409),
        ({"more": 1}, 422),
    ],
)
def test_what_is_no_answer_is_refused(serve: Serve, change: dict[str, object], status: int) -> None:
    with serve() as server:
        who = begun(server)
        key = json.loads(ask(server, "/api/next", who)[2])["next"][0]
        answer = {**who, "id": ID, "key": key, "label": 5, "note": ""}
        assert ask(server, "/api/answer", answer | change)[0] == status
        assert ask(server, "/api/answer", answer)[0] == 200
        assert "1 labels" in server.end()


def test_a_body_without_end_is_refused(serve: Serve) -> None:
    with serve() as server:
        assert ask(server, "/api/answer", b"x" * 1_000_000)[0] == 413


def test_elsewhere_than_on_loopback_a_token_is_asked_for(serve: Serve) -> None:
    with serve("--host", "0.0.0.0") as server:
        token = server.address.split("?token=")[1]
        assert len(token) == 32
        assert ask(server, "/")[0] == 403
        assert ask(server, "/api/begin")[0] == 403
        assert ask(server, "/?token=wrong")[0] == 403
        assert ask(server, f"/?token={token}")[0] == 200
        assert ask(server, "/api/begin", Authorization=f"Bearer {token}")[0] == 200


def test_an_answer_is_on_the_disk_when_it_is_answered(serve: Serve, fresh: Path) -> None:
    with serve() as server:
        who = begun(server)
        key = json.loads(ask(server, "/api/next", who)[2])["next"][0]
        assert ask(server, "/api/answer", {**who, "id": ID, "key": key, "label": 5, "note": ""})[0] == 200
        server.kill()
    with serve() as server:
        assert "1 labels" in server.end()
    assert json.loads((fresh / "labels" / "labels.jsonl").read_text())["key"] == key
