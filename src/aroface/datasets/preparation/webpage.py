"""Web pages that servers send in place of a file: a confirmation is followed, refusals are explained."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode, urljoin, urlsplit

import requests

from aroface.datasets.preparation.connection import PassingError, read_blocks
from aroface.errors import printable

_PAGE_BYTES = 1 << 17
_KINDS = ("text/html", "application/xhtml+xml")
_FIELDS = ("id", "export", "confirm", "uuid", "at", "resourcekey", "authuser")
_REASONS = (  # the wording of Google Drive's pages, and what it means
    (
        r"quota exceeded|exceeded (?:its|the) (?:download |sharing )?quota"
        r"|too many users have viewed or downloaded this file",
        "its download quota is exceeded: too many people fetched it within a day",
    ),
    (
        r"access denied|you need (?:access|permission)|request access"
        r"|do(?:n't| not) have (?:permission|access)|insufficient permission",
        "access denied: it is not shared with everybody",
    ),
    (r"infected with a virus|download infected", "it takes the file for infected with a virus"),
    (r"not found|does not exist|has been deleted|owner's trash|error 404", "there is no such file any more"),
    (r"sign[ -]?in|log ?in\b", "it asks to sign in: the file is not shared with everybody"),
)


class WebPageError(Exception):
    """The server gave out a web page; ``what`` is how an error line calls that."""

    def __init__(self, page: WebPage, what: str = "the server gives out a web page instead of the file") -> None:
        super().__init__(what)
        self.page = page
        self.what = what


@dataclass
class WebPage:
    """A web page, reduced to what a download needs of it.

    Attributes:
        url: Address of the page.
        title: Title of the page.
        text: Text of the page.
        action: Address of its form ``download-form``; None without such a form.
        fields: Values of that form by name.
        files: Name and id of each file where it lists a folder of Google Drive.
    """

    url: str
    title: str = ""
    text: str = ""
    action: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, str]] = field(default_factory=list)

    def confirmed(self) -> str | None:
        """The address that its confirmation leads to; None if it asks for none, or leads to another site."""
        if self.action is None or "id" not in self.fields:
            return None
        target = urljoin(self.url, self.action)
        here, there = urlsplit(self.url), urlsplit(target)
        same = (there.scheme, there.netloc) == (here.scheme, here.netloc)
        if not (same or (there.scheme == "https" and _is_googles(there.hostname) and _is_googles(here.hostname))):
            return None
        return there._replace(query=urlencode(self.fields), fragment="").geturl()

    def known_reason(self) -> str | None:
        """Reason why the page was sent instead of the file, where it tells one as Google's pages do; else None."""
        if urlsplit(self.url).hostname == "accounts.google.com":
            return "it asks to sign in: the file is not shared with everybody"
        page_text = " ".join(f"{self.title} {self.text}".lower().replace("’", "'").split())
        return next((reason for pattern, reason in _REASONS if re.search(pattern, page_text)), None)

    def reason(self) -> str:
        """Reason why the page was sent instead of the file, or else its title."""
        title = printable(self.title, 80)
        return self.known_reason() or (f'it is titled "{title}"' if title else "it has no title")


def is_page(answer: requests.Response) -> bool:
    """Tell whether an answer is a web page, by its ``Content-Type`` in any case."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() in _KINDS


def read_page(answer: requests.Response) -> WebPage:
    """The page that an answer holds, of its first 128 KiB at most."""
    content = b""
    try:
        for block in read_blocks(answer):
            content += block
            if len(content) > _PAGE_BYTES:
                break
    except PassingError:  # what has come may say enough
        pass
    return _parsed(answer.url, content[:_PAGE_BYTES].decode("utf-8", "replace"))


def _parsed(url: str, content: str) -> WebPage:
    """A page by patterns that take linear time, unlike the standard library's parser, whatever they are given."""
    title = re.search(r"<title\b[^<>]*>([^<]*)", content, re.I)
    page = WebPage(url, html.unescape(title[1]) if title else "", _text(content), files=_listed(content))
    for form in re.finditer(r"<form\b[^<>]*", content, re.I):
        attributes = _attributes(form[0])
        if attributes.get("id") != "download-form":
            continue
        page.action = attributes.get("action", "")
        inside = re.split("</form", content[form.end() :], maxsplit=1, flags=re.I)[0]
        fields = [_attributes(each[0]) for each in re.finditer(r"<input\b[^<>]*", inside, re.I)]
        page.fields = {each["name"]: each.get("value", "") for each in fields if each.get("name") in _FIELDS}
        break
    return page


def _listed(content: str) -> list[tuple[str, str]]:
    """Name and id of each file in the list of a folder, as Google Drive's page for embedding has it."""
    files = []
    for entry in content.split('id="entry-')[1:]:
        name = re.search(r'"flip-entry-title"[^<>]*>([^<]*)<', entry)
        link = re.search(r"/file/d/([\w-]{10,100})[/\"?]", entry)
        if name and link:
            files.append((html.unescape(name[1]).strip(), link[1]))
    return files


def _attributes(tag: str) -> dict[str, str]:
    matches = re.findall(r"""\s([\w-]{1,40})=(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", tag)
    return {name.lower(): html.unescape("".join(values)) for name, *values in matches}


def _text(content: str) -> str:
    """Text of a page without tags, scripts and styles."""
    first, *others = re.split(r"<(?:script|style)\b", content, flags=re.I)
    shown = [first, *(script.partition("</")[2] for script in others)]
    return html.unescape(" ".join(re.sub(r"<[^<>]*>?", " ", " ".join(shown)).split()))


def _is_googles(host: str | None) -> bool:
    return host is not None and host.endswith((".google.com", ".googleusercontent.com"))
