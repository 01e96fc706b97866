"""A model hub on this machine: what fetching models needs of the Hugging Face hub's protocol, failing on demand."""

import hashlib
import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """What the hub serves under one id.

    Attributes:
        files: content by path.
        private: the token without which the repository does not exist; None for a public one.
        gated: whether everybody sees the list of files, but nobody gets them.
    """

    files: dict[str, bytes]
    private: str | None = None
    gated: bool = False

    @property
    def commit(self) -> str:
        """40 digits that change with any file."""
        digest = hashlib.sha1()
        for path, content in sorted(self.files.items()):
            digest.update(path.encode() + b"\0" + content)
        return digest.hexdigest()


@dataclass
class HubServer:
    """A hub at `url` and its CDN at `cdn_url`, for as long as the `with` block lasts.

    Attributes:
        repositories: by id; may be changed while the server runs.
        requests: what was asked for, in order: (method, path, `Range` header).
        cut: by name of a large file, how its next transfers end, and after how many bytes: the connection is closed,
            reset, or left open with nothing more coming.
        instead: by name of a large file, content that is sent in place of the announced one.
        announce: by name of a large file, the size to announce in place of the true one.
        large: how files end that are in large-file storage: served by the CDN, under their SHA-256.
        whole: whether the CDN sends files from their beginning, whatever it is asked for.
        broken: whether every answer of the hub is an internal error.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    cut: dict[str, list[tuple[Literal["close", "reset", "stall"], int]]] = field(default_factory=dict)
    instead: dict[str, bytes] = field(default_factory=dict)
    announce: dict[str, int] = field(default_factory=dict)
    large: tuple[str, ...] = (".safetensors", ".bin", ".gguf")
    whole: bool = False
    broken: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._servers = [_serve(self, _HubHandler), _serve(self, _CdnHandler)]
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for, in order, with repetitions; redirections do not count."""
        paths = [path for method, path, _ in self.requests if method == "GET" and "/api/" not in path]
        return [path.rsplit("/", 1)[1] for path in paths if not ("/resolve/" in path and path.endswith(self.large))]


def _serve(hub: HubServer, handler: "type[_Handler]") -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"served": hub}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.served.requests.append((self.command, self.path, self.headers.get("Range")))
        self.answer([unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")])

    def answer(self, parts: list[str]) -> None:
        raise NotImplementedError

    def head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()


class _HubHandler(_Handler):
    """`/api/models/{id}/revision/{revision}`, `/api/models/{id}/tree/{commit}` and `/{id}/resolve/{commit}/{file}`."""

    def answer(self, parts: list[str]) -> None:
        if self.served.broken:
            return self.fail(500)
        is_api = parts[:2] == ["api", "models"]
        owner, name, action, revision, *file = [*(parts[2:] if is_api else parts), "", "", "", ""]
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token == "expired":
            return self.fail(401, message="Invalid credentials in Authorization header")
        repository = self.served.repositories.get(f"{owner}/{name}")
        if repository is None or repository.private not in (None, token):
            # The real hub does not tell strangers whether a repository exists.
            return self.fail(404, "RepoNotFound") if token else self.fail(401)
        if revision not in ("main", repository.commit):
            return self.fail(404, "RevisionNotFound")
        if action == "revision":
            return self.send({"id": f"{owner}/{name}", "sha": repository.commit, "siblings": []})
        if action == "tree":
            large = self.served.large
            return self.send([_entry(path, content, large) for path, content in repository.files.items()])
        if repository.gated:
            return self.fail(403, "GatedRepo")
        return self.resolve(f"{owner}/{name}", repository, "/".join(file).strip("/"))

    def resolve(self, repository_id: str, repository: Repository, path: str) -> None:
        content = repository.files[path]
        commit = {"X-Repo-Commit": repository.commit}
        if not path.endswith(self.served.large):
            return self.send(content, {**commit, "ETag": f'"{_git_id(content)}"'})
        linked = {
            "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(self.served.announce.get(path, len(content))),
            "Location": f"{self.served.cdn_url}/{repository_id}/{path}",
        }
        return self.head(302, 0, {**commit, **linked})

    def send(self, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.head(200, len(body), headers or {})
        if self.command == "GET":
            self.wfile.write(body)

    def fail(self, status: int, code: str = "", message: str = "") -> None:
        self.head(status, 0, {"X-Error-Code": code, "X-Error-Message": message})


class _CdnHandler(_Handler):
    """`/{id}/{file}`: large files, whole or from the start of a `Range` on."""

    def answer(self, parts: list[str]) -> None:
        path = "/".join(parts[2:])
        content = self.served.instead.get(path, self.served.repositories["/".join(parts[:2])].files[path])
        if self.served.whole:
            del self.headers["Range"]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.head(206 if start else 200, len(content) - start, span)
        if not self.served.cut.get(path):
            self.wfile.write(content[start:])
            return
        manner, count = self.served.cut[path].pop(0)
        self.wfile.write(content[start : start + count])
        self.close_connection = True
        if manner == "stall":
            self.served.ended.wait()
        elif manner == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


def _entry(path: str, content: bytes, large: tuple[str, ...]) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(content), "oid": _git_id(content)}
    if not path.endswith(large):
        return entry
    return {**entry, "lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
