"""Placeholders of a file that was to be downloaded: a web page, a Git LFS pointer, an empty file."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

from aroface.errors import InputError

_HEAD = 1024
_PAGE = re.compile(rb"^(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body|\?xml)\b", re.I | re.S)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.I | re.S)
_POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_placeholder(path: str | PathLike[str], expected: str | None = None) -> None:
    """Refuse what is no file, and what a server or Git has put in place of one.

    Args:
        path: File that somebody was to download.
        expected: Expected content, for the error line.

    Raises:
        InputError: No such file, a folder, an empty file, a web page, or a Git LFS pointer.
    """
    place = Path(path)
    if place.is_dir():
        raise InputError("a folder", file=path, expected=expected or "a file")
    try:
        with place.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    if not head:
        raise InputError("an empty file", file=path, expected=expected, remedy="get it again")
    if head.startswith(_POINTER):
        remedy = "run git lfs pull in its repository, or download the file itself"
        raise InputError("a Git LFS pointer, not the file", file=path, expected=expected, remedy=remedy)
    if _PAGE.match(head):
        title = _TITLE.search(head)
        words = " ".join(title[1].decode("utf-8", "replace").split())[:80] if title else ""
        called = f" ({words})" if words.isprintable() and words else ""
        remedy = "download it again: the server answered with a page, perhaps a form or a quota"
        raise InputError(f"a web page{called}, not the file", file=path, expected=expected, remedy=remedy)
