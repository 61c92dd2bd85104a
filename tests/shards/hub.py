"""As much of Hugging Face's hub as an upload needs, over HTTP on loopback.

https://huggingface.co/docs/hub/api and git-lfs' batch API. Whatever ends in `.tar` or `.parquet` goes
through LFS as there; everything is refused without the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_test"


class Hub(ThreadingHTTPServer):
    """Use as a context manager.

    Attributes:
        repositories: name -> path -> content.
        visibility: name -> as it was asked for.
        uploads: SHA-256 of every LFS object that was sent, in order.
        commits: the summaries of all commits, in order.
        refuse_commit: number of the commit that is refused, from 0.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.visibility: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.commits: list[str] = []
        self.refuse_commit = -1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Hub:
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def commit(self, repository: str, lines: list[dict[str, Any]]) -> bool:
        """All of it or nothing."""
        if len(self.commits) == self.refuse_commit:
            return False
        files = dict(self.repositories[repository])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    summary = value["summary"]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        self.repositories[repository] = files
        self.commits.append(summary)
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: object, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self) -> None:
        data = self._body()
        oid = self.path.removeprefix("/upload/")
        if hashlib.sha256(data).hexdigest() != oid:
            return self._answer(400, {"error": "other bytes than were announced"})
        self.server.objects[oid] = data
        self.server.uploads.append(oid)
        return self._answer(200, {})

    def do_GET(self) -> None:
        found = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/main\?.*", self.path)
        if not self._admitted():
            return None
        if not found:
            return self._not_there()
        files = self.server.repositories[found[1]]
        return self._answer(200, [_entry(path, data) for path, data in sorted(files.items())])

    def do_POST(self) -> None:
        data = self._body()
        if not self._admitted():
            return None
        if self.path == "/api/repos/create":
            return self._create(json.loads(data))
        if self.path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/preupload/main", self.path):
            files = json.loads(data)["files"]
            return self._answer(
                200,
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if file["path"].endswith((".tar", ".parquet")) else "regular",
                            "shouldIgnore": False,
                        }
                        for file in files
                    ]
                },
            )
        if re.fullmatch(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.path):
            return self._answer(
                200, {"objects": [self._batch(entry) for entry in json.loads(data)["objects"]]}
            )
        if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/commit/main", self.path):
            if not self.server.commit(found[1], [json.loads(line) for line in data.splitlines()]):
                return self._answer(403, {"error": "no more today"}, X_Error_Message="no more today")
            url = f"{self.server.url}/datasets/{found[1]}/commit/{len(self.server.commits):040x}"
            return self._answer(200, {"commitUrl": url, "commitOid": f"{len(self.server.commits):040x}"})
        return self._not_there()

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        body = {"url": f"{self.server.url}/datasets/{name}", "id": name}
        if name in self.server.repositories:
            return self._answer(409, body | {"error": "You already created this dataset repo"})
        self.server.repositories[name] = {".gitattributes": b"*.tar filter=lfs\n"}
        self.server.visibility[name] = asked.get("visibility", "")
        return self._answer(200, body)

    def _batch(self, entry: dict[str, Any]) -> dict[str, Any]:
        if entry["oid"] in self.server.objects:
            return entry
        return entry | {"actions": {"upload": {"href": f"{self.server.url}/upload/{entry['oid']}"}}}

    def _admitted(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._answer(401, {"error": "Invalid username or password."})
        return False

    def _not_there(self) -> None:
        self._answer(404, {"error": f"{self.path}: not in this hub"})


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file",
        "path": path,
        "size": len(data),
        "oid": hashlib.sha1(data).hexdigest(),
    }
    if path.endswith((".tar", ".parquet")):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry
