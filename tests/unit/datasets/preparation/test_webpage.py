"""Google Drive's pages in place of a file: the confirmation is followed once, refusals are told as what they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from aroface.datasets.preparation.download import download, find_in_folder
from aroface.datasets.preparation.webpage import WebPage
from aroface.datasets.registry import read_checkpoints
from aroface.errors import InputError

CONTENT = b"weights" * 1000
PAGE = "https://drive.google.com/file/d/FILE/view"
SIGN_IN = "<html><head><title>Google Drive: Sign-in</title></head><body>to continue to Google Drive</body></html>"


def refusal(title: str, caption: str, subcaption: str) -> str:
    """A refusal as Google Drive writes it."""
    return (
        f"<!DOCTYPE html><html><head><title>Google Drive - {title}</title><meta http-equiv='content-type' "
        "content='text/html; charset=utf-8'/><style nonce='x'>.goog { content: 'sign in' }</style>"
        "<script nonce='x'>if (a < b) { signIn() }</script></head><body><div class='uc-main'><div id='uc-text'>"
        f"<p class='uc-error-caption'>{caption}</p><p class='uc-error-subcaption'>{subcaption}</p>"
        "</div></div></body></html>"
    )


def confirmation(action: str, extra: str = "") -> str:
    """The page about viruses as Google Drive writes it."""
    return (
        "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
        "<p class='uc-warning-caption'>Google Drive can&#39;t scan this file for viruses.</p>"
        f'<form id="search" action="/elsewhere"></form><form id="download-form" action="{action}" method="get">'
        '<input type="submit" id="uc-download-link" class="goog-inline-block" value="Download anyway"/>'
        '<input type="hidden" name="id" value="FILE"><input type="hidden" name="export" value="download">'
        f'<input type="hidden" name="confirm" value="t&amp;1"><input type="hidden" name="uuid" value="u-1">{extra}'
        '</form><form><input name="id" value="other"></form></body></html>'
    )


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Drive)
        query = parse_qs(urlsplit(self.path).query)
        server.asked.append(query)
        confirmed = query.get("confirm") == ["t&1"] and query.get("uuid") == ["u-1"] and query.get("id") == ["FILE"]
        content, kind = (CONTENT, "application/octet-stream") if confirmed else (server.page.encode(), "text/html")
        self.send_response(200 if confirmed else server.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        return


class Drive(ThreadingHTTPServer):
    """Answers with `page` until it is asked as the form of `confirmation` asks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/download?id=FILE&export=download&confirm=t"
        self.page = ""
        self.status = 200
        self.asked: list[dict[str, list[str]]] = []


@pytest.fixture
def drive() -> Iterator[Drive]:
    with Drive() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("action", ["/download", "", "download?old=1#top"])
def test_the_confirmation_is_followed(action: str, drive: Drive, tmp_path: Path) -> None:
    drive.page = confirmation(action)
    download(drive.url, tmp_path / "model.pt", page=PAGE, pause_s=0.001)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT
    assert drive.asked[1] == {"id": ["FILE"], "export": ["download"], "confirm": ["t&1"], "uuid": ["u-1"]}


def test_the_confirmation_is_followed_once(drive: Drive, tmp_path: Path) -> None:
    drive.page = confirmation("/download").replace("u-1", "u-2")
    with pytest.raises(InputError, match=r"web page instead of the file; it is titled .Google Drive - Virus scan warn"):
        download(drive.url, tmp_path / "model.pt", page=PAGE, pause_s=0.001)
    assert len(drive.asked) == 2


REFUSALS = {
    "quota": (
        refusal(
            "Quota exceeded",
            "Sorry, you can&#39;t view or download this file at this time.",
            "Too many users have viewed or downloaded this file recently. Please try accessing the file again later.",
        ),
        "its download quota is exceeded",
    ),
    "access": (
        refusal("Access denied", "You need access", "Ask for access, or switch to an account with access."),
        "access denied: it is not shared with everybody",
    ),
    "permission": (
        refusal("Error", "We&rsquo;re sorry.", "You don&#39;t have permission to download this file."),
        "access denied",
    ),
    "sign in": (SIGN_IN, "it asks to sign in"),
    "infected": (
        refusal("Infected file", "Sorry, this file is infected with a virus.", "Only the owner may download it."),
        "infected with a virus",
    ),
    "gone": (
        refusal("Page not found", "Sorry, the file you have requested does not exist.", "Check the address."),
        "there is no such file any more",
    ),
    "other": ("<title>Hello &amp; \x1b[2J</title>", r'it is titled "Hello & \\x1b\[2J"'),
    "nothing": ("", "it has no title"),
}


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_told_with_the_way_by_hand(name: str, status: int, drive: Drive, tmp_path: Path) -> None:
    drive.page, message = REFUSALS[name]
    drive.status = status
    path = tmp_path / "model.pt"
    with pytest.raises(InputError, match=message) as caught:
        download(drive.url, path, page=PAGE, pause_s=0.001)
    assert f"open {PAGE} in a browser, download the file there and save it as {path}" in str(caught.value)
    assert ("answers 403" if status == 403 else "a web page instead of the file") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "action", "followed"),
    [
        ("https://drive.google.com/uc?id=a", "https://drive.usercontent.google.com/download", True),
        ("https://drive.usercontent.google.com/download", "/download", True),
        ("https://drive.google.com/uc?id=a", "http://drive.usercontent.google.com/download", False),
        ("https://drive.google.com/uc?id=a", "https://example.org/download", False),
        ("https://drive.google.com/uc?id=a", "https://evilgoogle.com/download", False),
        ("https://drive.google.com/uc?id=a", "file:///etc/passwd", False),
        ("https://example.org/a", "https://drive.google.com/uc", False),
        ("http://127.0.0.1:1/a", "http://127.0.0.1:2/a", False),
    ],
)
def test_the_confirmation_stays_on_its_site(url: str, action: str, followed: bool) -> None:
    confirmed = WebPage(url, action=action, fields={"id": "a b", "confirm": "t"}).confirmed()
    assert (confirmed is not None) == followed
    assert confirmed is None or confirmed.endswith("/download?id=a+b&confirm=t")


def test_a_page_of_the_accounts_asks_to_sign_in() -> None:
    assert "sign in" in (WebPage("https://accounts.google.com/v3/signin/identifier?x").known_reason() or "")


def listing(names: dict[str, str]) -> str:
    """A folder as Google Drive's page for embedding lists it; a name that ends in / is a folder's."""
    entries = ""
    for name, file_id in names.items():
        kind = "drive/folders" if name.endswith("/") else "file/d"
        link = f"https://drive.google.com/{kind}/{file_id}{'' if name.endswith('/') else '/view?usp=drive_web'}"
        entries += (
            f'<div class="flip-entry" id="entry-{file_id}" tabindex="0" role="link"><div class="flip-entry-info">'
            f'<a href="{link}" target="_blank"><div class="flip-entry-visual"><img src="https://lh3.google.com/x"/></div>'
            f'<div class="flip-entry-title">{name.rstrip("/")}</div></a></div></div>'
        )
    return f"<html><head><title>weights</title></head><body><div class='flip-list'>{entries}</div></body></html>"


WEIGHTS = "1q3ws_BQLmgXyiy2msvHummXq4pRqc1rx"
HELD = {"295672backbone.pth": WEIGHTS, "295672header.pth": "h" * 30, "log &amp; more.txt": "t" * 30}
FOLDERS: dict[str, tuple[str, str]] = {
    "several of this name": (
        listing({**HELD, "1backbone.pth": "b" * 30}),
        r"lists 295672backbone.pth, 295672header.pth, log & more.txt, 1backbone.pth; expected one file \*backbone.pth",
    ),
    "none of this name": (listing({"header.pth": "h" * 30}), r"lists header.pth; expected one file"),
    "a folder of this name": (listing({"backbone.pth/": WEIGHTS}), r"lists no file; it is titled .weights.; expected"),
    "nothing in it": (listing({}), "lists no file"),
    "not shared": (refusal("Access denied", "You need access", "Ask for access."), "lists no file; access denied"),
    "to sign in": (SIGN_IN, "lists no file; it asks to sign in"),
    "terminal codes": (listing({"\x1b[2J.pth": "e" * 30}), r"lists \\x1b\[2J.pth; expected"),
    "an id that is none": (listing({"backbone.pth": "../../x"}), "lists no file"),
}


def test_a_file_is_found_in_a_shared_folder(drive: Drive, tmp_path: Path) -> None:
    drive.page = listing({"more/": "m" * 30, **HELD})
    assert find_in_folder(drive.url, "*backbone.pth", tmp_path / "model.pth") == WEIGHTS
    assert find_in_folder(drive.url, "log & more.txt", tmp_path / "model.pth") == "t" * 30


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_without_the_file_is_told_with_the_way_by_hand(name: str, drive: Drive, tmp_path: Path) -> None:
    drive.page, message = FOLDERS[name]
    with pytest.raises(InputError, match=message) as caught:
        find_in_folder(
            drive.url, "*backbone.pth", tmp_path / "model.pth", page="https://drive.google.com/drive/folders/X"
        )
    assert str(caught.value).isprintable()
    assert "open https://drive.google.com/drive/folders/X in a browser, download the file there" in str(caught.value)


def test_a_server_that_is_busy_is_asked_again(drive: Drive, tmp_path: Path) -> None:
    drive.page, drive.status = listing(HELD), 503
    with pytest.raises(InputError, match=r"answers 503.*times; start again later"):
        find_in_folder(drive.url, "*backbone.pth", tmp_path / "model.pth", pause_s=0.001)
    assert len(drive.asked) > 1


def test_every_file_has_an_address_for_a_browser() -> None:
    for entry in read_checkpoints("workflow/registries/checkpoints.yaml").values():
        for item in entry.downloads:
            assert item.page is not None
            drive_place = (
                "https://drive.google.com/drive/folders/" if item.inside else "https://drive.google.com/file/d/"
            )
            place = "https://huggingface.co/minchul/" if entry.provider == "CVLface" else drive_place
            assert item.page.startswith(place)
            assert (item.inside is not None) == (entry.provider == "ElasticFace")
            assert item.max_bytes == 8_000_000_000
