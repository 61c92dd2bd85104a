"""What networks and servers do to a store in a bucket, over HTTP, and what becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shards.bucket import Patience
from shards.errors import UserError
from shards.garbage import YOUNG_S, collect_garbage, find_garbage
from shards.s3_uploads import PART_BYTES
from shards.store import Store
from tests.proxy import Proxy
from tests.stores import ROOT, aws, client, serve_s3

LARGE = bytes(range(256)) * (2 * PART_BYTES // 256) + b"and a rest"
PATIENCE = Patience(connect_s=2.0, answer_s=2.0, attempts=4)


@pytest.fixture
def store(s3_bucket: str, s3_proxy: Proxy) -> Store:
    """A store behind the proxy, which has taken its first conditional put."""
    store = Store(f"s3://{s3_bucket}/a/set", patience=PATIENCE)
    assert store.create("known", b"1")
    s3_proxy.requests.clear()
    return store


@pytest.fixture
def left(s3_port: int, s3_bucket: str) -> Callable[[], tuple[set[str], int]]:
    """What lies in the bucket: the names, and how many uploads were begun and not ended."""

    def left() -> tuple[set[str], int]:
        s3 = client(s3_port)
        keys = {entry["Key"] for entry in s3.list_objects_v2(Bucket=s3_bucket).get("Contents", ())}
        uploads = s3.list_multipart_uploads(Bucket=s3_bucket).get("Uploads", ())
        return {key.removeprefix("a/set/") for key in keys} - {"known", ".tmp/created-if-absent"}, len(
            uploads
        )

    return left


def put_large(store: Store, name: str, data: bytes = LARGE, *, if_absent: bool = False) -> bool:
    with store.stage() as staged:
        staged.file.write(data)
        return staged.publish(name, if_absent=if_absent)


@pytest.mark.parametrize("kind", ["500", "503", "hang", "lose"])
def test_whatever_is_asked_is_asked_again(kind: str, store: Store, s3_proxy: Proxy) -> None:
    def fail_once(request: str) -> None:
        if kind.isdigit():
            s3_proxy.add(request, "answer", times=2, status=int(kind))
        else:
            s3_proxy.add(request, kind)

    fail_once("^PUT")
    store.put("a/b", b"bytes")
    fail_once("^HEAD")
    assert store.exists("a/b")
    fail_once("^GET .*/b ")
    assert store.read("a/b") == b"bytes"
    fail_once("^GET .*list-type=2")
    assert store.list("a") == ["a/b"]
    fail_once("^DELETE")
    store.remove("a/b")
    assert store.list("a") == []
    assert not any(fault.times for fault in s3_proxy.faults)


@pytest.mark.parametrize("kind", ["answer", "hang", "cut", "lose"])
@pytest.mark.parametrize("request_line", ["^POST .*uploads", "^PUT .*partNumber=2", "^POST .*uploadId"])
def test_an_upload_in_parts_bears_it_too(
    request_line: str, kind: str, store: Store, s3_proxy: Proxy, left: Callable[[], tuple[set[str], int]]
) -> None:
    s3_proxy.add(request_line, kind)
    assert put_large(store, "packs/p.tar", if_absent=True)
    assert store.read("packs/p.tar") == LARGE
    assert not any(fault.times for fault in s3_proxy.faults)
    # A beginning whose answer was lost has begun an upload that nobody knows of.
    assert left() == ({"packs/p.tar"}, int(kind == "lose" and request_line == "^POST .*uploads"))


def test_a_connection_cut_in_the_middle_of_a_body_leaves_nothing_of_it(
    store: Store, s3_proxy: Proxy, left: Callable[[], tuple[set[str], int]]
) -> None:
    s3_proxy.add("^PUT", "cut", times=2)
    store.put("a", LARGE[: PART_BYTES // 2])
    assert store.read("a") == LARGE[: PART_BYTES // 2]
    s3_proxy.add("^PUT", "cut", times=99)
    with pytest.raises(UserError, match=r"^bucket s3://.* does not answer \(.*goes on from here$"):
        store.put("b", LARGE[: PART_BYTES // 2])
    assert left() == ({"a"}, 0)


@pytest.mark.parametrize("large", [False, True])
def test_whose_object_it_is_when_the_answer_was_lost(large: bool, store: Store, s3_proxy: Proxy) -> None:
    """Exactly one writer believes that it won, whatever it was told."""
    data = LARGE if large else b"mine"
    last = "^POST .*uploadId" if large else "^PUT"
    s3_proxy.add(last, "lose")
    assert put_large(store, "versions/1", data, if_absent=True)
    s3_proxy.add(last, "lose")
    assert not put_large(store, "versions/1", data, if_absent=True)
    s3_proxy.add(last, "answer")
    assert not put_large(store, "versions/1", data, if_absent=True)
    assert store.read("versions/1") == data


def test_an_answer_that_breaks_off_is_asked_for_again(store: Store, s3_proxy: Proxy) -> None:
    store.put("a", LARGE[:1_000_000])
    s3_proxy.add("^GET", "half", times=2)
    assert store.read("a") == LARGE[:1_000_000]
    s3_proxy.add("^GET", "half")
    assert store.read_range("a", 1000, 5000) == LARGE[1000:6000]
    s3_proxy.add("^GET", "half", times=99)
    with pytest.raises(UserError, match="does not answer"):
        Store(store.url, patience=Patience(attempts=2)).read("a")


@pytest.mark.parametrize("request_line", ["^PUT .*partNumber=2", "^POST .*uploadId"])
@pytest.mark.parametrize("kind", ["answer", "hang"])
def test_an_upload_that_fails_for_good_is_taken_back(
    request_line: str, kind: str, store: Store, s3_proxy: Proxy, left: Callable[[], tuple[set[str], int]]
) -> None:
    store.put("packs/p.tar", b"what was there")
    s3_proxy.add(request_line, kind, times=99, status=503)
    with pytest.raises(UserError) as told:
        put_large(Store(store.url, patience=Patience(2.0, 0.5, attempts=2)), "packs/p.tar")
    assert "the same command goes on from here" in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert store.read("packs/p.tar") == b"what was there"
    assert left() == ({"packs/p.tar"}, 0)


UPLOAD = """
import sys
from shards.store import Store
store = Store(sys.argv[1])
with store.stage() as staged:
    staged.file.write(bytes(70_000_000))
    staged.publish("packs/p.tar")
"""


@pytest.mark.parametrize("request_line", ["^PUT .*partNumber=1", "^PUT .*partNumber=4", "^POST .*uploadId"])
def test_a_process_that_is_killed_leaves_the_old_object(
    request_line: str, store: Store, s3_proxy: Proxy, left: Callable[[], tuple[set[str], int]]
) -> None:
    store.put("packs/p.tar", b"what was there")
    s3_proxy.add(request_line, "hang")
    command = [sys.executable, "-c", UPLOAD, store.url]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while s3_proxy.faults[0].times:
            assert s3_proxy.met.acquire(timeout=60)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert store.read("packs/p.tar") == b"what was there"
    assert left() == ({"packs/p.tar"}, 1)
    put_large(store, "packs/p.tar")
    assert store.read("packs/p.tar") == LARGE
    # What the dead one had sent is found and ended, when it has been silent for long enough.
    (upload,) = store.uploads()
    assert upload.name == "packs/p.tar"
    assert abs(time.time() - upload.heard_s) < YOUNG_S / 2 or not upload.size
    assert upload.size or "partNumber=1" in request_line
    assert Store(store.url.removesuffix("t")).uploads() == []
    assert not upload.size or find_garbage(store) == ()
    (garbage,) = (one for one in collect_garbage(store, young_s=0).objects if one.upload)
    assert (garbage.name, garbage.bytes, garbage.why) == ("packs/p.tar", upload.size, "unfinished")
    assert left()[1] == 0
    assert store.uploads() == []
    store.end_upload(upload)
    assert store.read("packs/p.tar") == LARGE


def test_who_may_not_list_uploads_may_collect_the_rest(store: Store, s3_proxy: Proxy) -> None:
    s3_proxy.add("^GET .*uploads", "answer", status=403)
    assert store.uploads() == []
    assert not s3_proxy.faults[0].times


def test_so_many_requests_and_no_more(store: Store, s3_proxy: Proxy) -> None:
    store.put("a", LARGE)
    s3_proxy.requests.clear()
    assert store.read_range("a", 1_000_000, 5_000) == LARGE[1_000_000:1_005_000]
    (request,) = s3_proxy.requests
    assert (request.range, request.got) == ("bytes=1000000-1004999", 5_000)
    s3_proxy.requests.clear()
    with store.open("a") as file:
        while file.read(100_000):
            pass
    reads = s3_proxy.lines("^GET")
    assert sum(request.got for request in reads) == len(LARGE)
    assert len(reads) < 15
    s3_proxy.requests.clear()
    with store.open("a") as file:
        file.seek(10_000_000)
        file.read(100)
    (request,) = s3_proxy.lines("^GET")
    assert request.got <= 70_000
    s3_proxy.requests.clear()
    assert not store.create("a", b"x")
    assert [request.line.split()[0] for request in s3_proxy.requests] == ["PUT"]


def test_an_object_that_is_written_over_while_it_is_read_is_not_mixed(store: Store) -> None:
    store.put("a", LARGE)
    with store.open("a") as file:
        file.read(10)
        store.put("a", LARGE[::-1])
        file.seek(20_000_000)
        with pytest.raises(OSError, match=r"a/set/a: was written over while it was read"):
            file.read(10)


def test_a_server_that_ignores_conditions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_s3("ignore") as port:
        for name, value in aws(port).items():
            monkeypatch.setenv(name, value)
        client(port).create_bucket(Bucket="bucket")
        store = Store("s3://bucket/set")
        store.put("a", b"1")
        for _ in range(2):
            with pytest.raises(
                UserError, match=r"^dataset s3://bucket/set: its server ignores conditional puts"
            ):
                store.create("versions/1", b"")
            with store.stage() as staged, pytest.raises(UserError, match="cannot be kept apart"):
                staged.publish("versions/1", if_absent=True)
        assert store.list("versions") == []


def test_one_that_ignores_those_of_objects_in_parts_is_refused_where_it_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serve_s3("ignore-in-parts") as port:
        for name, value in aws(port).items():
            monkeypatch.setenv(name, value)
        client(port).create_bucket(Bucket="bucket")
        store = Store("s3://bucket/set")
        assert store.create("versions/1", b"1")
        assert not store.create("versions/1", b"2")
        for _ in range(2):
            with pytest.raises(UserError, match="its server ignores conditional puts"):
                put_large(store, "shards/a.tar", if_absent=True)
        assert store.list("shards") == []
        put_large(store, "shards/a.tar")
        assert store.read("shards/a.tar") == LARGE


@pytest.fixture(scope="module")
def strict() -> Iterator[tuple[int, dict[str, str]]]:
    """A server that looks at keys, and an environment with those that it knows."""
    with serve_s3(INITIAL_NO_AUTH_ACTION_COUNT="4") as port:
        client(port).create_bucket(Bucket="bucket")
        iam = client(port, "iam")
        iam.create_user(UserName="one")
        allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        iam.put_user_policy(UserName="one", PolicyName="p", PolicyDocument=policy)
        key = iam.create_access_key(UserName="one")["AccessKey"]
        keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        yield port, aws(port) | keys


WRONG = {
    "key": ({"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}, "s3://bucket/set", "AWS_ACCESS_KEY_ID"),
    "secret": ({"AWS_SECRET_ACCESS_KEY": "no-secret"}, "s3://bucket/set", "AWS_SECRET_ACCESS_KEY"),
    "none": ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "s3://bucket/set", "no credentials"),
    "profile": ({"AWS_PROFILE": "nobody"}, "s3://bucket/set", "AWS_PROFILE"),
    "bucket": ({}, "s3://bucket-of-nobody/set", "there is none at http://127.0.0.1:"),
    "refused": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3://bucket/set", "AWS_ENDPOINT_URL says which"),
    "host": ({"AWS_ENDPOINT_URL": "http://x.invalid"}, "s3://bucket/set", "http://x.invalid does not answer"),
    "endpoint": ({"AWS_ENDPOINT_URL": "127.0.0.1:9000"}, "s3://bucket/set", "https://host:port"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_set_up_wrongly_is_one_line(
    wrong: str, strict: tuple[int, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, url, said = WRONG[wrong]
    for name, value in (strict[1] | changed).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not os.environ[name]:
            monkeypatch.delenv(name)
    store = Store(url, patience=Patience(1.0, 1.0, attempts=2))
    asks: list[Callable[[], object]] = [
        lambda: store.put("a", b"1"),
        lambda: store.create("a", b"1"),
        lambda: store.read("a"),
        lambda: store.list("a"),
        lambda: store.exists("a"),
        lambda: store.remove("a"),
    ]
    for ask in asks:
        with pytest.raises(UserError) as told:
            ask()
        line = str(told.value)
        assert line.startswith(("bucket s3://bucket: ", "bucket s3://bucket-of-nobody: "))
        # A HEAD has no body that could say more than that.
        assert said in line or ("denies access" in line and wrong in ("key", "secret") and ask is asks[4])
        assert len(line.splitlines()) == 1
        assert not [value for name, value in os.environ.items() if "KEY" in name and value and value in line]


def test_with_the_right_keys_it_works(
    strict: tuple[int, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in strict[1].items():
        monkeypatch.setenv(name, value)
    store = Store("s3://bucket/set")
    assert store.create("a", b"1")
    assert store.list("") == ["a"]


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///set",
        "s3://key:hush@bucket/set",
        "s3://bucket/set?X-Amz-Signature=hush",
        "s3://bucket/../hush",
        "gs://b/a//hush",
    ],
)
def test_a_url_that_is_no_place_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UserError, match=r"^dataset (s3|gs)://...: is no bucket and prefix; give ") as told:
        Store(url)
    assert "hush" not in str(told.value)


def test_a_process_that_used_a_store_ends_in_silence(s3_bucket: str, tmp_path: Path) -> None:
    script = (
        "import sys; from shards.store import Store; s = Store(sys.argv[1]); s.create('a', b'1'); s.open('a')"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script, f"s3://{s3_bucket}/set"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_fork_has_a_client_of_its_own(s3_bucket: str) -> None:
    store = Store(f"s3://{s3_bucket}/set")
    store.put("a", b"1")
    child = os.fork()
    if child == 0:
        os._exit(0 if [store.read("a") for _ in range(20)] == [b"1"] * 20 else 1)
    assert [store.read("a") for _ in range(20)] == [b"1"] * 20
    assert os.waitpid(child, 0)[1] == 0
