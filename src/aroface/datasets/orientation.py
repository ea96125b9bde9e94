"""EXIF orientation of an image file, and the image as a viewer shows it."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import numpy as np
import numpy.typing as npt

from aroface.datasets.retrying_reads import retrying
from aroface.file_content import IMAGE_HEAD, format_of

Pixels = npt.NDArray[np.uint8]

UPRIGHT = 1
"""The orientation of an image that is stored as it is shown; also of one without the tag."""

_TAG = 0x0112
_EXIF = b"Exif\0\0"
_LARGEST = 1 << 20  # bytes of EXIF data: a camera writes some ten thousand

Order = Literal["<", ">"]


def orientation_of(path: Path) -> int:
    """The EXIF orientation of a JPEG, PNG or WebP file, 1 … 8; `UPRIGHT` where it has none that can be read.

    OpenCV turns TIFF and AVIF images itself, whatever its flags are.

    Raises:
        InputError: The file cannot be read.
    """

    def read() -> int:
        with open(path, "rb") as file:
            return _orientation(file)

    return retrying(read, path)


def orientation_in(data: bytes) -> int:
    """The EXIF orientation in the bytes of an image file; see `orientation_of`."""
    return _orientation(io.BytesIO(data))


def read_upright(path: Path) -> Pixels:
    """The pixels of an image as a viewer, or ``cv2.imread``, shows them, uint8 (H, W, 3), RGB.

    Raises:
        InputError: The file is missing or is no whole image.
    """
    from aroface.datasets.images import read_image  # a plan, that asks for orientations alone, has no OpenCV

    return upright(read_image(path), orientation_of(path))


def upright(image: Pixels, orientation: int) -> Pixels:
    """An image turned and mirrored as its EXIF orientation demands. Source: Exif 2.32, table 6."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _orientation(file: IO[bytes]) -> int:
    find = _FINDERS.get(format_of(file.read(IMAGE_HEAD)) or "")
    try:
        exif = find(file) if find else b""
        orientation = _value(exif.removeprefix(_EXIF))
    except (struct.error, IndexError):  # cut short, which is reported when the image is decoded
        return UPRIGHT
    return orientation if 1 <= orientation <= 8 else UPRIGHT


def _in_jpeg(file: IO[bytes]) -> bytes:
    """The EXIF segment, which comes before the first scan."""
    file.seek(2)
    while True:
        mark, kind, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or kind == 0xDA or length < 2:
            return b""
        if kind == 0xE1 and (content := file.read(length - 2)).startswith(_EXIF):
            return content
        if kind != 0xE1:
            file.seek(length - 2, 1)


def _in_png(file: IO[bytes]) -> bytes:
    file.seek(8)
    return _chunk(_chunks(file, ">I4s", padding=4), b"eXIf", file)


def _in_webp(file: IO[bytes]) -> bytes:
    file.seek(12)
    return _chunk(_chunks(file, "<4sI"), b"EXIF", file)


def _chunk(chunks: Iterator[tuple[bytes, int]], wanted: bytes, file: IO[bytes]) -> bytes:
    return next((file.read(min(size, _LARGEST)) for name, size in chunks if name == wanted), b"")


def _chunks(file: IO[bytes], form: str, padding: int | None = None) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk, while the file stands at its content; it ends in ``padding`` bytes, or evenly."""
    while len(head := file.read(8)) == 8:
        first, second = struct.unpack(form, head)
        name, size = (second, first) if isinstance(first, int) else (first, second)
        begin = file.tell()
        yield name, size
        file.seek(begin + size + (size % 2 if padding is None else padding))


_FINDERS = {"JPEG": _in_jpeg, "PNG": _in_png, "WebP": _in_webp}


def _value(exif: bytes) -> int:
    """The orientation in the first directory of TIFF-like data; 0 where there is none."""
    order: Order = "<" if exif[:2] == b"II" else ">"
    (begin,) = struct.unpack_from(f"{order}I", exif, 4) if exif else (0,)
    (count,) = struct.unpack_from(f"{order}H", exif, begin) if exif else (0,)
    for entry in range(begin + 2, begin + 2 + 12 * count, 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if tag == _TAG and kind == 3:
            return int(value)
    return 0
