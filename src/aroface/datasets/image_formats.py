"""Formats of image files, recognised by their first bytes: names are not reliable."""

from __future__ import annotations

from pathlib import Path

from aroface.datasets.retrying_reads import retrying

HEAD = 64
"""Bytes from which a format is recognised."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".bmp", ".tif", ".tiff", ".webp"})
"""Endings of the usual formats."""

MORE_SUFFIXES = SUFFIXES | {".jfif", ".jpe", ".mpo", ".gif", ".avif", ".jp2", ".pnm", ".heic", ".heif", ".jxl"}
"""Suffixes of image files: a file with one whose bytes are of no known format is a damaged image."""

UNREADABLE = {
    "HEIC": "convert it to JPEG, for example by heif-convert",
    "JPEG XL": "convert it to JPEG, for example by djxl",
    "Photoshop": "export it as JPEG or PNG",
    "camera raw": "export it as JPEG or PNG",
    "icon": "convert it to PNG",
}
"""Formats that neither libjpeg-turbo nor OpenCV decodes, and what can be done about a file of each."""

_STARTS = {
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
_RAW_SUFFIXES = frozenset({".dng", ".nef", ".arw", ".cr2", ".pef", ".srw"})  # TIFF by their bytes
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def format_of(head: bytes) -> str | None:
    """The format of an image by the first `HEAD` bytes of its file; None if these belong to no known format."""
    for start, name in _STARTS.items():
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


def format_of_file(path: Path) -> str | None:
    """The format of a file, see `format_of`.

    Raises:
        InputError: The file cannot be read.
    """

    def head() -> bytes:
        with open(path, "rb", buffering=0) as file:
            return file.read(HEAD)

    found = format_of(retrying(head, path))
    return "camera raw" if found == "TIFF" and path.suffix.lower() in _RAW_SUFFIXES else found


def _isobmff(head: bytes) -> str | None:
    """AVIF, HEIC or a raw file, by the brands in the first box; None for a film."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, size - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if b"crx " in brands:
        return "camera raw"
    return "HEIC" if brands & _HEIF_BRANDS else None
