"""Who may ask the server, for what, and that what it has answered is on the disk."""

from __future__ import annotations

import json
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labelling.answers import export_labels
from labelling.clips import read_catalog
from labelling.database import Database
from shards.store import Store
from shards.wide import WideReader
from tests.faults.commands import genieset
from tests.labelling.conftest import Served

Serve = Callable[..., Served]


def answer(plan: str, key: str, number: int = 0, **more: Any) -> dict[str, Any]:
    return {"plan": plan, "labeller": "ada", "id": f"id-{number:013d}", "key": key, "label": 4} | more


def test_who_may_ask_on_loopback(serve: Serve) -> None:
    served = serve()
    plan = served.plan()
    asked = {"plan": plan, "labeller": "ada"}
    port = served.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost:9", f"[::1]:{port}"):
        assert served.ask("GET", "/api/begin", Host=host).status == 200, host
    for host in (f"evil.example:{port}", "evil.example", "127.0.0.1.evil.example", "", "[", "localhost.evil"):
        for path in ("/", "/page.js", "/api/begin"):
            assert served.ask("GET", path, Host=host).status == 403, host
    own = f"http://127.0.0.1:{port}"
    assert served.ask("POST", "/api/next", asked, Origin=own).status == 200
    for origin in (
        "null",
        "http://evil.example",
        f"http://127.0.0.1:{port + 1}",
        f"http://localhost:{port}",
        "[",
    ):
        assert served.ask("POST", "/api/next", asked, Origin=origin).status == 403, origin
    for site in ("cross-site", "same-site"):
        assert served.ask("POST", "/api/next", asked, Sec_Fetch_Site=site).status == 403
        assert served.ask("GET", "/page.js", Sec_Fetch_Site=site).status == 403
    assert served.ask("GET", "/", Sec_Fetch_Site="cross-site").status == 200, "a link to it"
    assert served.ask("POST", "/api/next", asked, Content_Type="text/plain").status == 415


def test_a_clip_is_served_as_it_is_stored_and_nothing_else(serve: Serve, dataset: Path) -> None:
    served = serve("--clips", "5")
    keys = served.told("POST", "/api/next", {"plan": served.plan(), "labeller": "ada"})["next"]
    assert len(keys) == 5
    first = served.ask("GET", f"/clip/{keys[0]}.mp4")
    mp4 = first.body
    packs = b"".join(path.read_bytes() for path in (dataset / "packs").glob("*.tar"))
    assert mp4[4:8] == b"ftyp"
    assert mp4 in packs
    assert first.headers["Content-Type"] == "video/mp4"
    assert "immutable" in first.headers["Cache-Control"]
    assert served.ask("GET", f"/clip/{keys[0]}.mp4", If_None_Match=first.headers["ETag"]).status == 304
    other = next(key for key in read_catalog(Store(dataset))["key"].to_pylist() if key not in keys)
    for path in (
        f"/clip/{other}.mp4",
        f"/clip/{keys[0]}",
        "/clip/x_00000000.mp4",
        "/clip/../../etc/passwd.mp4",
        "/clip/..%2f..%2f..%2fetc%2fpasswd.mp4",
        "/clip/%2fetc%2fpasswd.mp4",
        "/clip/%00.mp4",
        "/../page.html",
        "/page/page.html",
        "/..%2fserver.py",
        "/labels/labels.sqlite3",
    ):
        assert served.ask("GET", path).status == 404, path


def test_wide_frames_are_served_as_they_are_stored_and_no_others(
    serve: Serve, built_wide: Path, tmp_path: Path
) -> None:
    dataset = Path(shutil.copytree(built_wide, tmp_path / "wide"))
    keys = read_catalog(Store(dataset))["key"].to_pylist()
    (pack,) = (path for path in (dataset / "packs").glob("*.tar"))
    with WideReader(Store(dataset), f"packs/{pack.name}") as reader:
        stored = {key: reader.frames(key) for key in keys}
    served = serve("--clips", str(len(keys) - 1), on=dataset)
    assert served.told("GET", "/api/begin")["wide"] is True
    asked = {"plan": served.plan(), "labeller": "ada"}
    dealt = served.told("POST", "/api/next", asked)["next"]
    key = dealt[0]
    assert len(stored[key]) == 4
    assert served.told("GET", f"/clip/{key}/wide.json") == {"frames": [wide.frame for wide in stored[key]]}
    for frame, jpeg in stored[key]:
        reply = served.ask("GET", f"/clip/{key}/wide/{frame}.jpg")
        assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, jpeg, "image/jpeg")
        unchanged = served.ask("GET", f"/clip/{key}/wide/{frame}.jpg", If_None_Match=reply.headers["ETag"])
        assert unchanged.status == 304
        assert served.ask("GET", f"/clip/{key}/wide/{frame}.jpg", Host="evil.example").status == 403
    with Database(Store(dataset)) as database, database.reading() as connection:
        plan = {row["key"] for row in connection.execute("SELECT key FROM planned")}
    (other,) = set(keys) - plan
    for path in (
        f"/clip/{other}/wide.json",
        f"/clip/{other}/wide/{stored[other][0].frame}.jpg",
        f"/clip/{key}/wide/{stored[key][-1].frame + 1}.jpg",
        f"/clip/{key}/wide/-1.jpg",
        f"/clip/{key}/wide/x.jpg",
        "/clip/..%2f..%2fetc/wide.json",
    ):
        assert served.ask("GET", path).status == 404, path


def test_what_became_of_wide_frames(serve: Serve, built_wide: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(built_wide, tmp_path / "wide"))
    (wide,) = (dataset / "packs").glob("*.wide.parquet")
    wide.write_bytes(b"damaged")
    served = serve(on=dataset)
    key = served.told("POST", "/api/next", {"plan": served.plan(), "labeller": "ada"})["next"][0]
    assert served.ask("GET", f"/clip/{key}/wide.json").status == 410
    wide.unlink()
    assert served.told("GET", "/api/begin")["wide"] is False
    assert served.told("GET", f"/clip/{key}/wide.json") == {"frames": []}
    assert served.ask("GET", f"/clip/{key}/wide/0.jpg").status == 404


def test_what_makes_no_sense_is_refused(serve: Serve) -> None:
    served = serve()
    plan = served.plan()
    key = served.told("POST", "/api/next", {"plan": plan, "labeller": "ada"})["next"][0]
    refused: list[tuple[dict[str, Any], int]] = [
        (answer(plan, "x_00000000"), 404),
        (answer("another", key), 409),
        *((answer(plan, key, label=label), 422) for label in (0, 6, 2.5, "3", True, [1])),
        *((answer(plan, key, labeller=name), 422) for name in ("", "  ", "a" * 65, "a\x1b[31m", "a\nb", 7)),
        *((answer(plan, key, id=id_), 422) for id_ in ("short", "x" * 65, "a b" * 8)),
        (answer(plan, key, note="x" * 2001), 422),
        (answer(plan, key, surplus=1), 422),
        (answer(plan, key, note="x" * 40_000), 413),
    ]
    for body, status in refused:
        assert served.ask("POST", "/api/answer", body).status == status, body
    assert served.ask("POST", "/api/undo", {"plan": plan, "labeller": "ada", "id": "i" * 16}).status == 404
    assert served.told("POST", "/api/next", {"plan": plan, "labeller": "ada"})["given"] == []
    assert served.stop() == "no labels\n"


def test_the_page_is_told_nothing_that_would_sway(serve: Serve) -> None:
    served = serve("--plan", "dropped")
    asked = {"plan": served.plan(), "labeller": "ada"}
    told = json.dumps([served.told("GET", "/api/begin"), served.told("POST", "/api/next", asked)])
    assert not [word for word in ("dropped", "kept", "static", "motion", "title") if word in told]
    headers = served.ask("GET", "/").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_token_opens_the_page_and_what_it_asks_for(serve: Serve) -> None:
    served = serve("--token", "sesame")
    assert served.url.endswith("/?token=sesame")
    key = "/clip/x_00000000.mp4"
    for path in ("/", "/?token=wrong", "/?token=", "/api/begin", "/api/begin?token=sesame", key):
        assert served.ask("GET", path).status == 403, path
    assert served.ask("GET", "/?token=sesame").status == 200
    assert served.ask("GET", "/page.css").status == 200
    assert served.ask("GET", "/api/begin", Authorization="Bearer sesame").status == 200
    assert served.ask("GET", key, Authorization="Bearer sesame").status == 404
    assert served.ask("GET", "/api/begin", Authorization="Bearer sésame").status == 403


def test_who_listens_beyond_loopback_has_a_token(serve: Serve) -> None:
    one, other = serve("--host", "0.0.0.0"), serve("--host", "0.0.0.0")
    tokens = {served.url.partition("?token=")[2] for served in (one, other)}
    assert len(tokens) == 2
    assert min(map(len, tokens)) == 32
    assert one.ask("GET", "/").status == 403


def test_killed_right_after_it_answered_it_has_lost_nothing(serve: Serve, dataset: Path) -> None:
    said: dict[str, int] = {}
    for number in range(6):
        served = serve()
        plan = served.plan()
        key = served.told("POST", "/api/next", {"plan": plan, "labeller": "ada"})["next"][0]
        assert key not in said
        told = served.told("POST", "/api/answer", answer(plan, key, number, label=number % 5 + 1))
        served.kill()
        said[key] = number % 5 + 1
        assert told["progress"]["done"] == len(said)
    assert export_labels(Store(dataset)) == 6
    lines = (dataset / "labels" / "labels.jsonl").read_text().splitlines()
    assert {line["key"]: line["label"] for line in map(json.loads, lines)} == said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_a_summary_and_the_labels(serve: Serve, dataset: Path, number: signal.Signals) -> None:
    served = serve("--overlap", "1")
    plan = served.plan()
    keys = served.told("POST", "/api/next", {"plan": plan, "labeller": "ada"})["next"]
    for place, key in enumerate(keys[:3]):
        for who in ("ada", "bob"):
            number_ = 2 * place + (who == "bob")
            served.told("POST", "/api/answer", answer(plan, key, number_, labeller=who, label=place + 1))
    served.process.send_signal(number)
    out, _ = served.process.communicate(timeout=60)
    assert served.process.returncode == (0 if number == signal.SIGINT else 143)
    path = dataset / "labels" / "labels.jsonl"
    assert out == (
        f"6 labels in {path}; 3 clips of this plan labelled more than once, "
        "agreement (alpha) cannot be told\n"
    )
    assert len(path.read_text().splitlines()) == 6


def test_labels_made_elsewhere_outlive_an_answer_and_its_undoing(serve: Serve, dataset: Path) -> None:
    path = dataset / "labels" / "labels.jsonl"
    path.parent.mkdir()
    keys = read_catalog(Store(dataset))["key"].to_pylist()
    made = {"key": keys[0], "label": 5, "labeller": "eve", "at": "2026-01-31T12:00:00.000Z", "note": "x"}
    path.write_text(json.dumps(made) + "\n")
    served = serve("--overlap", "0")
    plan = served.plan()
    dealt = served.told("POST", "/api/next", {"plan": plan, "labeller": "ada"})["next"]
    served.told("POST", "/api/answer", answer(plan, dealt[0]))
    told = served.told("POST", "/api/undo", {"plan": plan, "labeller": "ada", "id": "id-0000000000000"})
    assert (told["progress"]["done"], told["progress"]["clips"]) == (1, 12)
    assert served.stop() == f"1 labels in {path}\n"
    assert [json.loads(line) for line in path.read_text().splitlines()] == [made]


def test_what_is_emptied_is_said(serve: Serve, dataset: Path) -> None:
    served = serve()
    plan = served.plan()
    key = served.told("POST", "/api/next", {"plan": plan, "labeller": "ada"})["next"][0]
    served.told("POST", "/api/answer", answer(plan, key))
    export_labels(Store(dataset))
    served.told("POST", "/api/undo", {"plan": plan, "labeller": "ada", "id": "id-0000000000000"})
    path = dataset / "labels" / "labels.jsonl"
    assert served.stop() == f"no labels: none that was given still stands, and {path} is empty\n"


def test_a_labels_file_that_is_none_is_refused_and_kept(dataset: Path, tmp_path: Path) -> None:
    path = dataset / "labels" / "labels.jsonl"
    path.parent.mkdir()
    path.write_text("mine, and no JSON\n")
    for options in (("--export",), ("--port", "0")):
        code, out, told = run(dataset, *options, scratch=tmp_path / "scratch")
        assert (code, out, len(told.splitlines())) == (2, "", 1), told
        assert f"{path}: line 1: is not JSON" in told
    assert path.read_text() == "mine, and no JSON\n"


def run(*arguments: str | Path, scratch: Path) -> tuple[int, str, str]:
    with genieset("label", *arguments, scratch=scratch) as process:
        out, told = process.communicate(timeout=60)
    return process.returncode, out, told


def test_mistakes_are_a_line(dataset: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ((tmp_path / "nothing",), "there is none; `genieset build CONFIG` makes one"),
        (("az://bucket/set",), "datasets lie in local folders, in s3://BUCKET/PREFIX or gs://"),
        ((dataset, "--export"), "has no labels yet"),
        ((dataset, "--plan", "stratum:chanel", "--port", "0"), "did you mean channel?"),
        ((dataset, "--labeller", "\x1b[31m"), "--labeller: "),
        ((dataset, "--token", "a&b"), "--token: give letters and digits"),
        ((dataset, "--host", "192.0.2.1", "--port", "0"), "cannot listen there"),
    ):
        code, out, told = run(*arguments, scratch=tmp_path / "scratch")
        assert (code, out) == (2, ""), told
        assert told.startswith("error: ")
        assert said in told
        assert len(told.splitlines()) == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, told = run(dataset, "--port", port, scratch=tmp_path / "scratch")
    assert (code, "--port 0 takes a free one" in told) == (2, True)


def test_every_plan_serves_its_clips(serve: Serve, dataset: Path) -> None:
    catalog = read_catalog(Store(dataset))
    decisions = dict(zip(catalog["key"].to_pylist(), catalog["decision"].to_pylist(), strict=True))
    assert len(set(decisions.values())) == 2
    for plan in ("random", "stratum:channel", "stratum:video_id", "near:motion=0.02", "dropped", "audit"):
        served = serve("--plan", plan, "--clips", "4")
        keys = served.told("POST", "/api/next", {"plan": served.plan(), "labeller": "ada"})["next"]
        assert 1 <= len(set(keys)) == len(keys) <= 4
        for key in keys:
            assert served.ask("GET", f"/clip/{key}.mp4").status == 200
        if plan == "dropped":
            assert all(decisions[key].startswith("dropped:") for key in keys)
        served.stop()
