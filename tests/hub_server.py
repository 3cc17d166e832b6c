"""A small Hugging Face hub on loopback: repositories, branches, commits, large files, tokens, and failures."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest

TOKENS = {"hf_writer": True, "hf_reader": False}  # token -> whether it may write
LARGE = (".safetensors", ".bin")
Files = dict[str, bytes]


@dataclass
class Repository:
    """One repository.

    Attributes:
        private: Whether reading needs a token.
        commits: Commit -> its files.
        branches: Branch -> its newest commit.
    """

    private: bool
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: Files, message: str) -> str:
        """Add a commit to a branch and return its hash."""
        text = json.dumps([message, len(self.commits), sorted(files), self.branches.get(branch)])
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        return oid

    def resolve(self, revision: str) -> str | None:
        """Return the commit of a branch or a hash."""
        return self.branches.get(revision, revision if revision in self.commits else None)


@dataclass
class Hub:
    """All that the server holds.

    Attributes:
        repositories: Hub id -> repository.
        large: SHA-256 -> content, as uploaded.
        requests: Method and path of every request.
        fails: Returns the status with which a request fails, or ``None``.
        url: The endpoint.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    large: Files = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fails: Callable[[str], int | None] = lambda request: None
    url: str = ""

    def add(self, name: str, files: Mapping[str, bytes]) -> str:
        """Add a repository, or a commit to it, without the network; return the commit."""
        repository = self.repositories.setdefault(name, Repository(private=False))
        return repository.commit("main", dict(files), "added")

    def files(self, name: str, revision: str = "main") -> Files:
        """Return the files of a revision."""
        repository = self.repositories[name]
        return repository.commits[repository.branches.get(revision, revision)]

    def downloaded(self) -> set[str]:
        """Return the files whose content was sent."""
        found = (re.fullmatch(r"GET /.+?/resolve/\w+/(.+)", request) for request in self.requests)
        return {match[1] for match in found if match}


class _FailureError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        return

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        try:
            status = self.hub.fails(request)
            if status is not None:
                raise _FailureError(status, message="the server fails")
            for method, pattern, answer in _ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in method:
                    answer(self, *match.groups())
                    return
            raise _FailureError(404, message=f"no route for {request}")
        except _FailureError as failure:
            headers = {"X-Error-Code": failure.code, "X-Error-Message": str(failure)}
            self._send(failure.status, json.dumps({"error": str(failure)}).encode(), headers)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _may_write(self) -> bool | None:
        """Return whether the token may write; ``None`` without a valid token."""
        return TOKENS.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))

    def _check_writes(self) -> None:
        if self._may_write() is None:
            raise _FailureError(401, message="Invalid credentials in Authorization header")
        if not self._may_write():
            raise _FailureError(403, message="You don't have the rights")

    def _repository(self, name: str) -> Repository:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self._may_write() is None):
            raise _FailureError(401 if self._may_write() is None else 404, "RepoNotFound", "Repository not found")
        return repository

    def _commit_at(self, name: str, revision: str) -> str:
        commit = self._repository(name).resolve(revision)
        if commit is None:
            raise _FailureError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _create(self) -> None:
        self._check_writes()
        payload = json.loads(self.body)
        name = f"{payload.get('organization') or 'writer'}/{payload['name']}"
        url = {"url": f"{self.hub.url}/{name}"}
        if name in self.hub.repositories:
            self._json({**url, "error": "You already created this model repo"}, 409)
            return
        repository = Repository(private=payload.get("visibility") == "private")
        repository.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.hub.repositories[name] = repository
        self._json(url)

    def _branch(self, name: str, branch: str) -> None:
        self._check_writes()
        repository = self._repository(name)
        if branch in repository.branches:
            raise _FailureError(409, message="Reference already exists")
        repository.branches[branch] = repository.branches["main"]
        self._json({})

    def _info(self, name: str, revision: str | None = None) -> None:
        commit = self._commit_at(name, revision or "main")
        repository = self._repository(name)
        files = [{"rfilename": file} for file in repository.commits[commit]]
        self._json({"id": name, "_id": "1", "sha": commit, "siblings": files, "private": repository.private})

    def _tree(self, name: str, revision: str) -> None:
        commit = self._commit_at(name, revision)
        self._json([_entry(path, content) for path, content in self._repository(name).commits[commit].items()])

    def _preupload(self, name: str, revision: str) -> None:
        self._check_writes()
        files = self._repository(name).commits[self._commit_at(name, revision)]
        asked = [file["path"] for file in json.loads(self.body)["files"]]
        modes = [
            {
                "path": path,
                "uploadMode": "lfs" if path.endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": _entry(path, files[path])["oid"] if path in files else None,
            }
            for path in asked
        ]
        self._json({"files": modes})

    def _batch(self, name: str) -> None:
        self._check_writes()
        objects = json.loads(self.body)["objects"]
        for item in objects:
            if item["oid"] not in self.hub.large:
                item["actions"] = {"upload": {"href": f"{self.hub.url}/large/{item['oid']}", "header": {}}}
        self._json({"transfer": "basic", "objects": objects})

    def _upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _FailureError(400, message="another checksum")
        self.hub.large[oid] = self.body
        self._send(200, b"")

    def _commit(self, name: str, branch: str) -> None:
        self._check_writes()
        repository = self._repository(name)
        newest = self._commit_at(name, branch)
        files = dict(repository.commits[newest])
        summary = ""
        for line in self.body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                summary = value["summary"]
                if value.get("parentCommit", newest) != newest:
                    raise _FailureError(412, message="A commit has happened since")
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            else:
                del files[value["path"]]
        oid = repository.commit(branch, files, summary)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid})

    def _file(self, name: str, revision: str, path: str) -> None:
        commit = self._commit_at(name, revision)
        files = self._repository(name).commits[commit]
        if path not in files:
            raise _FailureError(404, "EntryNotFound", "Entry not found")
        etag = hashlib.sha256(files[path]).hexdigest()
        self._send(200, files[path], {"ETag": f'"{etag}"', "X-Repo-Commit": commit})


def _entry(path: str, content: bytes) -> dict[str, Any]:
    """Return a file as the tree lists it: with git's hash, and that of a large file."""
    blob = hashlib.sha1(b"blob %d\x00" % len(content) + content).hexdigest()
    if not path.endswith(LARGE):
        return {"type": "file", "path": path, "size": len(content), "oid": blob}
    large = hashlib.sha256(content).hexdigest()
    lfs = {"oid": large, "size": len(content), "pointerSize": 134}
    return {"type": "file", "path": path, "size": len(content), "oid": large, "lfs": lfs}


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: list[tuple[tuple[str, ...], str, Callable[..., None]]] = [
    (("POST",), "/api/repos/create", _Handler._create),
    (("POST",), "/api/validate-yaml", lambda handler: handler._json({"errors": [], "warnings": []})),
    (("POST",), f"/api/models/{_NAME}/branch/(.+)", _Handler._branch),
    (("GET",), f"/api/models/{_NAME}/tree/(.+)", _Handler._tree),
    (("GET",), f"/api/models/{_NAME}/revision/(.+)", _Handler._info),
    (("GET",), f"/api/models/{_NAME}", _Handler._info),
    (("POST",), f"/api/models/{_NAME}/preupload/(.+)", _Handler._preupload),
    (("POST",), f"/api/models/{_NAME}/commit/(.+)", _Handler._commit),
    (("POST",), rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler._batch),
    (("PUT",), "/large/(.+)", _Handler._upload),
    (("GET", "HEAD"), f"/{_NAME}/resolve/([^/]+)/(.+)", _Handler._file),
]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run a hub on a free port."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``huggingface_hub`` in this process use a hub, an empty cache, and a token that may write."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    for name, value in {"ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
