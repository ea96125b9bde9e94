"""Servers that answer as they should not: each ends in one line, within bounds."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from aroface.datasets.preparation import download as module
from aroface.datasets.preparation.connection import Limits
from aroface.datasets.preparation.download import download
from aroface.errors import InputError

QUICK = Limits(max_wait_s=0.02, min_rate=1000, window_s=0.1, max_bytes=100_000)
CONTENT = bytes(range(256)) * 8
Script = Callable[[socket.socket], None]


class Server:
    """Gives the answers of `scripts` one after the other, the last one again and again, whatever it is asked."""

    def __init__(self, *scripts: Script | bytes, tls: ssl.SSLContext | None = None) -> None:
        self.scripts, self.tls, self.asked = scripts, tls, list[str]()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.socket.getsockname()[1]}/faces.bin"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        try:
            with self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as wire:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += wire.recv(65536)
                script = self.scripts[min(len(self.asked), len(self.scripts) - 1)]
                self.asked.append(request.decode().splitlines()[0])
                if isinstance(script, bytes):
                    wire.sendall(script)
                else:
                    script(wire)
        except OSError:
            return


@pytest.fixture(autouse=True)
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 2)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*scripts: Script | bytes, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(*scripts, tls=tls))
        return servers[-1]

    yield start
    for server in servers:
        server.socket.close()


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]).encode("latin-1")


def whole(content: bytes = CONTENT, *lines: str, status: str = "200 OK") -> bytes:
    return head(*lines, f"Content-Length: {len(content)}", status=status) + content


def endless(start: bytes, block: bytes) -> Script:
    def script(wire: socket.socket) -> None:
        wire.sendall(start)
        while True:
            wire.sendall(block)

    return script


def drip(start: bytes, block: bytes) -> Script:
    def script(wire: socket.socket) -> None:
        wire.sendall(start)
        while True:
            wire.sendall(block)
            time.sleep(0.02)

    return script


CHUNKED = head("Transfer-Encoding: chunked")
PART = head("Content-Length: 1", "Content-Range: bytes 0-0/2048", status="206 Partial Content") + b"x"
BAD_ANSWERS: dict[str, tuple[tuple[Script | bytes, ...], str]] = {
    "endless, no length": ((endless(head(), b"x" * 65536),), "answer goes on after 100 kB; allow more by --max-size"),
    "endless chunks": ((endless(CHUNKED, b"ffff\r\n" + b"x" * 65535 + b"\r\n"),), "answer goes on after 100 kB"),
    "endless chunk size": ((endless(CHUNKED, b"0" * 65536),), "2 times"),
    "endless trailers": ((endless(CHUNKED + b"0\r\n", b"a: b\r\n" * 9999),), "does not end, 2 times"),
    "endless status": ((endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999),), "headers do not end, 2 times"),
    "endless header": ((endless(b"HTTP/1.1 200 OK\r\n", b"a" * 65536),), "2 times"),
    "too large": ((head("Content-Length: 1000001"),), "the server has 1.00 MB; expected at most 100 kB"),
    "absurdly large": ((head("Content-Range: bytes 0-0/999999999999999999", status="206 Part"),), "the server has"),
    "slow": ((drip(head("Content-Length: 2048"), b"x"),), "is below the lowest rate, 1 kB/s, 2 times"),
    "slow chunks": ((drip(CHUNKED, b"1\r\nx\r\n"),), "is below the lowest rate, 1 kB/s, 2 times"),
    "slow chunk size": ((drip(CHUNKED, b"0"),), "is below the lowest rate, 1 kB/s, 2 times"),
    "slow part": ((PART, drip(head("Content-Range: bytes 0-2047/2048", status="206 Part"), b"x")), "lowest rate"),
    "other part": ((PART, head("Content-Range: bytes 7-2047/2048", status="206 Part")), "gives out parts no longer"),
    "page, capitals": ((whole(b"<p>", "Content-Type: TEXT/HTML"),), "a web page instead of the file"),
    "page, parameters": ((whole(b"<p>", "Content-Type: text/html;charset=utf-8"),), "a web page instead"),
    "page, xhtml": ((whole(b"<p>", "Content-Type: application/xhtml+xml"),), "a web page instead of the file"),
    "page between": ((PART, whole(b"<title>no</title>", "Content-Type: Text/Html")), 'it is titled "no"'),
    "terminal codes": ((whole(b"", status="403 \x1b[2Jgone\x9b1m\x07"),), r"403 \\x1b\[2Jgone\\x9b1m\\x07"),
    "terminal codes, title": (
        (whole(b"<title>\x1b]0;x\x07</title>", "Content-Type: text/html"),),
        r'titled "\\x1b\]0;x\\x07"',
    ),
    "long reason": ((whole(b"", status=f"403 {'x' * 9000}"),), "403 x{99}…$"),
    "no content": ((head(status="204 No Content"),), "answers 204"),
    "not modified": ((head(status="304 Not Modified"),), "answers 304"),
    "circle": ((head("Location: /faces.bin", status="302 Found"),), "more than 10 redirections"),
    "to a file": ((head("Location: file:///etc/passwd", status="302 Found"),), "leads to file:///etc/passwd"),
    "to bytes": ((head("Location: http://\xff\xfe", status="302 Found"),), "redirects to what is no address"),
    "to brackets": ((head("Location: http://[::1", status="302 Found"),), "redirects to what is no address"),
    "endless redirection": (
        (endless(head("Location: /faces.bin", status="302 Found"), b"x" * 65536),),
        "more than 10 redirections",
    ),
    "no HTTP": ((b"SSH-2.0-OpenSSH_9.2\r\n",), "2 times"),
    **{
        f"chunk of {length}": ((CHUNKED + f"{length}\r\nabc\r\n0\r\n\r\n".encode(),), "2 times; start again later")
        for length in ("-5", "-1", "zz", "", "f" * 16, "f" * 300)
    },
    "two lengths": ((head("Content-Length: 1, 2") + b"ab",), "2 times"),
    "cut": ((head("Content-Length: 2048") + b"x",), "2 times"),
    "silent": ((b"",), "2 times"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_end_in_one_line(name: str, serve: Callable[..., Server], tmp_path: Path) -> None:
    scripts, message = BAD_ANSWERS[name]
    with pytest.raises(InputError, match=message) as caught:
        download(serve(*scripts).url, tmp_path / "faces.bin", pause_s=0.001, limits=QUICK)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert not (tmp_path / "faces.bin").exists()


GOOD_ANSWERS: dict[str, bytes] = {
    "superscript length": head("Content-Length: ²") + CONTENT,
    "superscript range": whole(CONTENT, "Content-Range: bytes 0-0/²"),
    "long length": head(f"Content-Length: {'9' * 5000}") + CONTENT,
    "superscript wait": whole(CONTENT, "Retry-After: ²"),
    "said to be compressed": whole(CONTENT, "Content-Encoding: gzip"),
    "chunks": CHUNKED + b"800\r\n" + CONTENT + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", GOOD_ANSWERS)
def test_odd_headers_do_not_matter(name: str, serve: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "faces.bin"
    download(serve(GOOD_ANSWERS[name]).url, path, pause_s=0.001, limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["faces.bin"]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("86400", "(the server asks for 86,400 s, --max-wait is 0.02 s)"),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(days=1)), "--max-wait is 0.02 s", id="a date"),
        ("9" * 400, "attempt 2 of 2 in 0 s"),
        ("²", "attempt 2 of 2 in 0 s"),
        ("-5", "attempt 2 of 2 in 0 s"),
        ("Mon, 99 Foo 2026", "attempt 2 of 2 in 0 s"),
        ("", "the server answers 503 busy"),
    ],
)
def test_waits_are_told_and_capped(
    header: str, told: str, serve: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(head(f"Retry-After: {header}", "Content-Length: 0", status="503 busy"), whole())
    download(server.url, tmp_path / "faces.bin", pause_s=0.001, limits=QUICK)
    assert told in capsys.readouterr().err
    assert (tmp_path / "faces.bin").read_bytes() == CONTENT


def test_size_of_the_registry(serve: Callable[..., Server], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the server has 2,048 bytes; expected 7"):
        download(serve(whole()).url, tmp_path / "faces.bin", size=7, limits=QUICK)
    download(serve(whole()).url, tmp_path / "faces.bin", size=2048, limits=QUICK)


@pytest.mark.parametrize("answer", [whole(), PART, endless(head(), b"x" * 65536)])
def test_free_space(
    answer: Script | bytes, serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda _: 1000)
    with pytest.raises(InputError, match="free some space and start again"):
        download(serve(answer).url, tmp_path / "faces.bin", pause_s=0.001, limits=QUICK)


STATES = ["", "null", "7", "[]", "{}", "[[[", '{"done": 3}', '{"done": ["0", null, 1e9, -1, true, 5]}', "\x00\xff"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("same", [True, False])
def test_a_state_of_other_types_starts_anew(
    state: str, same: bool, serve: Callable[..., Server], tmp_path: Path
) -> None:
    path = tmp_path / "faces.bin"
    path.with_name("faces.bin.part").write_bytes(b"y" * 2048)
    if same and state.startswith('{"'):
        begin = f'{{"schema": 1, "version": "", "size": 2048, "part_bytes": {module.PART_BYTES}, '
        state = state.replace("{", begin)
    path.with_name("faces.bin.part.json").write_text(state, encoding="latin-1")
    part = head("Content-Length: 2048", "Content-Range: bytes 0-2047/2048", status="206 Part") + CONTENT
    download(serve(PART, part).url, path, pause_s=0.001, limits=QUICK)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_a_link_is_not_written_through(serve: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    part = tmp_path / "data/faces.bin.part"
    part.parent.mkdir()
    part.symlink_to(tmp_path / "precious")
    for answer in (whole(), PART):
        with pytest.raises(InputError, match=r"faces\.bin\.part: no regular file; remove it"):
            download(serve(answer).url, tmp_path / "data/faces.bin", pause_s=0.001, limits=QUICK)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssl.SSLContext]:
    """A server's side of HTTPS on 127.0.0.1, which requests trusts meanwhile."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    words += " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(folder / "certificate.pem"))
        yield context


def test_https_stays_https(serve: Callable[..., Server], tls: ssl.SSLContext, tmp_path: Path) -> None:
    secure = serve(whole(), tls=tls)
    plain = serve(whole())

    def redirect(url: str) -> bytes:
        return head(f"Location: {url}", "Content-Length: 0", status="302 Found")

    download(serve(redirect(secure.url), tls=tls).url, tmp_path / "secure", limits=QUICK)
    download(serve(redirect(secure.url)).url, tmp_path / "from plain", limits=QUICK)
    for target in (plain.url, plain.url.replace("http", "HTTP")):
        server = serve(redirect(target), tls=tls)
        with pytest.raises(InputError, match=r"(?i)leads from HTTPS to http:.*; expected HTTPS all the way"):
            download(server.url, tmp_path / "plain", pause_s=0.001, limits=QUICK)
    assert plain.asked == []


def test_a_page_of_half_the_size_is_read_quickly(serve: Callable[..., Server], tmp_path: Path) -> None:
    for hostile in (b"<!--", b"<![", b"<a ", b"</", b"&#", b"<title>", b"<script>"):
        with pytest.raises(InputError, match="a web page instead"):
            page = whole(hostile * 30_000, "Content-Type: text/html")
            download(serve(page).url, tmp_path / "faces.bin", pause_s=0.001, limits=QUICK)
