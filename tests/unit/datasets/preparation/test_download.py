"""Downloads against a server of their own: whole, in parts, killed, refused, changed."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from aroface.datasets.preparation import download as module
from aroface.datasets.preparation.download import download
from aroface.errors import InputError

CONTENT = np.random.default_rng(0).bytes(1_000_003)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content`; `troubles` are answers that it gives first, `ranges` what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.parts = True
        self.kind = "application/octet-stream"
        self.troubles: list[int | str] = []
        self.ranges: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/faces.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        with self.server.lock:
            probe = wanted == "bytes=0-0"
            trouble = self.server.troubles.pop(0) if self.server.troubles and not probe else None
            self.server.ranges.append(wanted)
        if isinstance(trouble, int):
            self.send_error(trouble)
            return
        content, status = self.server.content, 200
        total = len(content)
        if wanted and self.server.parts:
            begin, end = map(int, re.findall(r"\d+", wanted))
            content, status = content[begin : end + 1], 206
        self.send_response(status)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", self.server.etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{end}/{total}")
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if trouble == "cut" else content)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "PART_BYTES", 100_000)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server: Server, path: Path, **options: str | None) -> str:
    return download(server.url, path, pause_s=0.001, **options)


@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("troubles", [[], [503], ["cut"], [429, "cut", 500, "cut", 502]])
def test_what_arrives_is_what_was_sent(server: Server, tmp_path: Path, parts: bool, troubles: list[int | str]) -> None:
    server.parts, server.troubles = parts, list(troubles)
    assert get(server, tmp_path / "new/faces.zip", sha256=SHA256) == SHA256
    assert (tmp_path / "new/faces.zip").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["faces.zip"]
    assert len(server.ranges) >= (11 if parts else 1) + len(troubles)


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "faces.zip").write_bytes(CONTENT)
    assert get(server, tmp_path / "faces.zip", sha256=SHA256) == SHA256
    assert server.ranges == []
    with pytest.raises(InputError, match=f"faces.zip: the file has sha256 {SHA256}; expected 00"):
        get(server, tmp_path / "faces.zip", sha256="0" * 64)


def done(path: Path) -> list[int]:
    return list(json.loads(path.with_name(f"{path.name}.part.json").read_text())["done"])


def test_a_download_that_ended_early_goes_on(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    server.troubles = ["fine", "fine", "cut", "fine", 404]
    with pytest.raises(InputError, match="404"):
        download(server.url, path, pause_s=0.001, connections=1)
    assert not path.exists()
    before = done(path)
    assert {0, 1, 2} <= set(before)
    server.ranges.clear()
    assert get(server, path, sha256=SHA256) == SHA256
    assert len(server.ranges) == 1 + 11 - len(before)


def test_parts_of_another_file_are_thrown_away(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    server.troubles = ["fine", "fine", 404]
    with pytest.raises(InputError, match="404"):
        download(server.url, path, pause_s=0.001, connections=1)
    assert {0, 1} <= set(done(path))
    server.content, server.etag = CONTENT[::-1], '"two"'
    get(server, path)
    assert path.read_bytes() == CONTENT[::-1]


def test_another_hash_keeps_the_name_away(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"the file has sha256 {SHA256}; expected 00.*set aside as faces.zip.refused"):
        get(server, tmp_path / "faces.zip", sha256="0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.zip.refused"]
    assert get(server, tmp_path / "faces.zip", sha256=SHA256) == SHA256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "text/html; charset=utf-8"}, "a web page instead of the file"),
        ({"troubles": [503] * 100}, "503 Service Unavailable, 6 times; start again later"),
        ({"troubles": [403] * 100}, "the server answers 403"),
    ],
)
def test_a_server_that_does_not_give_it_out(
    server: Server, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(InputError, match=message):
        get(server, tmp_path / "faces.zip")
    assert not (tmp_path / "faces.zip").exists()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Connection refused, 6 times"):
        download("http://127.0.0.1:9/faces.zip", tmp_path / "faces.zip", pause_s=0.001)
