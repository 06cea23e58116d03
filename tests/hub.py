"""A stand-in for the Hugging Face hub: as much of its HTTP interface as repositories of models need, in memory."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "{:040x}"
TOKEN = "secret"


class Hub(ThreadingHTTPServer):
    """The repositories by name: their files by path, now and after each commit, and whether they are private."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    """The answers to requests."""

    server: Hub

    def log_message(self, format: str, *args: Any) -> None:
        self.server.requests.append(f"{self.command} {self.path}")

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def missing(self, code: str) -> None:
        self.answer({"error": code}, 404, {"X-Error-Code": code, "X-Error-Message": code})

    def commit_of(self, name: str, revision: str = "main") -> str:
        return COMMIT.format(len(self.server.commits[name])) if revision == "main" else revision

    def files_at(self, name: str, revision: str) -> dict[str, bytes]:
        """The files of a repository in a revision, main or the number of a commit."""
        return self.server.commits[name][int(self.commit_of(name, revision), 16) - 1]

    def do_POST(self) -> None:
        body = self.body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "no right"}, 401)
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            first = {".gitattributes": b"*.npy filter=lfs\n"}
            self.server.files.setdefault(name, first)
            self.server.commits.setdefault(name, [dict(first)])
            self.server.private.setdefault(name, asked.get("private") or asked.get("visibility") == "private")
            self.answer({"url": f"{self.server.address}/{name}", "name": name, "id": name})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", self.path):
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in files]
            self.answer({"files": modes})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/]+", self.path):
            name, files = match[1], self.server.files[match[1]]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            self.server.commits[name].append(dict(files))
            commit = self.commit_of(name)
            url = f"{self.server.address}/{name}/commit/{commit}"
            self.answer({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})
        else:
            self.answer({}, 200)  # e.g. validate-yaml

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            name, what, revision = match[1], match[2], match[3] or "main"
            if name not in self.server.files:
                self.missing("RepoNotFound")
                return
            sizes = {path: len(content) for path, content in self.files_at(name, revision).items()}
            if what == "tree":
                self.answer([{"type": "file", "path": path, "size": size, "oid": "0"} for path, size in sizes.items()])
            else:
                siblings = [{"rfilename": path} for path in sizes]
                sha = self.commit_of(name, revision)
                self.answer({"id": name, "sha": sha, "siblings": siblings, "private": self.server.private[name]})
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            name, revision, file = match.groups()
            if name not in self.server.files:
                self.missing("RepoNotFound")
            elif file not in (files := self.files_at(name, revision)):
                self.missing("EntryNotFound")
            else:
                etag = f'"{hashlib.sha1(files[file]).hexdigest()}"'
                self.answer(files[file], headers={"ETag": etag, "X-Repo-Commit": self.commit_of(name, revision)})
        else:
            self.answer({}, 200)

    do_HEAD = do_GET


@contextmanager
def stand_in() -> Iterator[Hub]:
    """A hub that answers at its `address` until the end of the context."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
