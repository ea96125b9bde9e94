"""Formats of image files: usual suffixes, those that cannot be read, and the one that a file has."""

from __future__ import annotations

from pathlib import Path

from aroface.datasets.retrying_reads import retrying
from aroface.file_content import IMAGE_HEAD, format_of

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

_RAW_SUFFIXES = frozenset({".dng", ".nef", ".arw", ".cr2", ".pef", ".srw"})  # TIFF by their bytes


def format_of_file(path: Path) -> str | None:
    """The format of a file, see `aroface.file_content.format_of`.

    Raises:
        InputError: The file cannot be read.
    """

    def head() -> bytes:
        with open(path, "rb", buffering=0) as file:
            return file.read(IMAGE_HEAD)

    name = format_of(retrying(head, path))
    return "camera raw" if name == "TIFF" and path.suffix.lower() in _RAW_SUFFIXES else name
