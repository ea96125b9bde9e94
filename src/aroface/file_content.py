"""Content of files by their first bytes, where it differs from what a name or place promises."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

from aroface.errors import InputError
from aroface.files import refuse_special

IMAGE_HEAD = 64
"""Bytes from which the format of an image is recognised."""

_HEAD = 1024
_IMAGES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"8BPS": "Photoshop",
    b"\0\0\x01\0": "icon",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"IIRO": "camera raw",
    b"IIU\0": "camera raw",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_OTHERS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"(\xb5/\xfd": "a Zstandard archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file",
}
_PAGE = re.compile(rb"^(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body|\?xml)\b", re.I | re.S)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.I | re.S)
_POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_placeholder(path: str | PathLike[str], expected: str | None = None) -> None:
    """Refuse what is no file, and what a server or Git has put in place of one.

    Args:
        path: File that somebody was to download.
        expected: Expected content, for the error line.

    Raises:
        InputError: No such file, a folder, a pipe, socket or device, an empty file, a web page, or a Git LFS pointer.
    """
    refuse_special(path, expected)
    location = Path(path)
    if location.is_dir():
        raise InputError("a folder", file=path, expected=expected or "a file")
    try:
        with location.open("rb") as file:
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
        heading = " ".join(title[1].decode("utf-8", "replace").split())[:80] if title else ""
        called = f" ({heading})" if heading.isprintable() and heading else ""
        remedy = "download it again: the server answered with a page, perhaps a form or a quota"
        raise InputError(f"a web page{called}, not the file", file=path, expected=expected, remedy=remedy)


def format_of(head: bytes) -> str | None:
    """The format of an image by the first `IMAGE_HEAD` bytes of its file; None if these belong to no known format."""
    for start, name in _IMAGES.items():
        if head.startswith(start):
            return "camera raw" if name == "TIFF" and head[8:10] == b"CR" else name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _isobmff(head)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b" ", b"\t", b"\n", b"\r"):
        return "PNM"
    return None


def kind_of(head: bytes) -> str | None:
    """Kind of a file by its first bytes, such as ``an image (JPEG)``; None for one that is not known.

    A few bytes prove nothing: this explains why a file could not be read as what it should be. Zip archives, which
    PyTorch's files are as well, have no kind here.
    """
    image = format_of(head)
    if image is not None:
        return f"an image ({image})"
    other = next((kind for start, kind in _OTHERS.items() if head.startswith(start)), None)
    return other or ("a text file" if _is_text(head) else None)


def kind_of_file(path: str | PathLike[str]) -> str | None:
    """Kind of a file, see `kind_of`."""
    with open(path, "rb") as file:
        return kind_of(file.read(_HEAD))


def unreadable(what: str, path: str | PathLike[str], reason: str) -> str:
    """Words for a file that could not be read: what it is not, and what it seems to be, or else the reader's reason."""
    kind = kind_of_file(path)
    return f"{what}: it seems to be {kind}" if kind else f"{what} ({reason})"


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore")  # a character may be cut at the end
    return len(text.encode()) > len(head) - 4 and all(each.isprintable() or each.isspace() for each in text)


def _isobmff(head: bytes) -> str | None:
    """AVIF, HEIC or a raw file, by the brands in the first box; None for a film."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, size - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if b"crx " in brands:
        return "camera raw"
    return "HEIC" if brands & _HEIF_BRANDS else None
