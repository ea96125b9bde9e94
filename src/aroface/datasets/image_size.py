"""Width and height of an encoded image by its header alone, for every format that OpenCV decodes.

A header of a few bytes can claim gigabytes of pixels, which a decoder allocates before it looks for them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import simplejpeg

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SEARCHED = 1 << 16  # bytes in which the boxes and comments of a header have to end
_TIFF_SIZES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}  # codes of struct by TIFF's own
_TIFF_ACROSS, _TIFF_DOWN = (256, 322), (257, 323)  # of the image, of a tile


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height that an image claims, in pixels; those of a tile where they are larger.

    Raises:
        ValueError: The bytes are no image of a known format, or its header is cut or damaged.
    """
    if data.startswith(JPEG_START):
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
        return width, height
    measure = next((reader for starts, reader in _FORMATS if data.startswith(starts)), None)
    if measure is None and data[4:8] == b"ftyp":
        measure = _avif
    if measure is None:
        raise ValueError("the bytes are no image")
    try:
        width, height = measure(data)
    except (struct.error, IndexError):
        raise ValueError("the image's header is cut or damaged") from None
    if width < 1 or height < 1:
        raise ValueError(f"the image has {width}×{height} pixels")
    return width, height


def _png(data: bytes) -> tuple[int, int]:
    return _pair(">II", data, 16)


def _bmp(data: bytes) -> tuple[int, int]:
    if _unpacked("<I", data, 14)[0] == 12:  # of OS/2
        return _pair("<HH", data, 18)
    width, height = _pair("<ii", data, 18)
    return width, abs(height)


def _gif(data: bytes) -> tuple[int, int]:
    return _pair("<HH", data, 6)


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = _unpacked("<HBHB", data, 24)
        return 1 + (low_width | high_width << 16), 1 + (low_height | high_height << 16)
    if kind == b"VP8L":
        (bits,) = _unpacked("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = _pair("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data.startswith(b"II") else ">"
    big = 43 in data[2:4]
    (offset,) = _unpacked(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    (count,) = _unpacked(f"{order}{'Q' if big else 'H'}", data, offset)
    first, step, value = (8, 20, 12) if big else (2, 12, 8)
    if offset + first + count * step > len(data):
        raise IndexError
    across, down = [0], [0]
    for entry in range(offset + first, offset + first + count * step, step):
        tag, kind = _unpacked(f"{order}HH", data, entry)
        if tag in _TIFF_ACROSS + _TIFF_DOWN and kind in _TIFF_SIZES:
            (across if tag in _TIFF_ACROSS else down).append(
                _unpacked(f"{order}{_TIFF_SIZES[kind]}", data, entry + value)[0]
            )
    return max(across), max(down)


def _pnm(data: bytes) -> tuple[int, int]:
    if data.startswith(b"P7"):
        return _largest(rb"\bWIDTH\s+(\d{1,10})\s", data), _largest(rb"\bHEIGHT\s+(\d{1,10})\s", data)
    header = re.sub(rb"(?<=\s)#[^\r\n]*", b" ", data[2:_SEARCHED])
    match = re.match(rb"\s*(\d{1,10})\s+(\d{1,10})\s", header)
    if match is None:
        raise IndexError
    return int(match[1]), int(match[2])


def _sun(data: bytes) -> tuple[int, int]:
    return _pair(">II", data, 4)


def _radiance(data: bytes) -> tuple[int, int]:
    size = rb"-Y\s*(\d{1,10})\s*\+X\s*(\d{1,10})\s"
    return _largest(size, data, 2), _largest(size, data, 1)


def _jpeg2000(data: bytes) -> tuple[int, int]:
    start = data[:_SEARCHED].index(b"\xff\x4f\xff\x51") + 8
    right, bottom, left, top, across, down = _unpacked(">6I", data, start)
    return max(right - left, min(across, right)), max(bottom - top, min(down, bottom))


def _avif(data: bytes) -> tuple[int, int]:
    sizes = list(_extents(data[:_SEARCHED]))
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _extents(header: bytes) -> Iterator[tuple[int, int]]:
    """The sizes of all images in a file of ISO boxes: itself, its tiles, its thumbnails."""
    for match in re.finditer(b"ispe", header):
        yield _pair(">II", header, match.end() + 4)


def _largest(pattern: bytes, data: bytes, group: int = 1) -> int:
    """The largest number that a pattern finds in a header: which of several a decoder takes is its own affair."""
    return max((int(match[group]) for match in re.finditer(pattern, data[:_SEARCHED])), default=0)


def _unpacked(form: str, data: bytes, place: int) -> tuple[Any, ...]:
    if place > len(data):
        raise IndexError
    return struct.unpack_from(form, data, place)


def _pair(form: str, data: bytes, place: int) -> tuple[int, int]:
    first, second = _unpacked(form, data, place)
    return first, second


_FORMATS: tuple[tuple[tuple[bytes, ...], Callable[[bytes], tuple[int, int]]], ...] = (
    ((PNG_START,), _png),
    ((b"BM",), _bmp),
    ((b"GIF8",), _gif),
    ((b"RIFF",), _webp),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    ((*(b"P%d" % kind for kind in range(1, 8)), b"PF", b"Pf"), _pnm),
    ((b"\x59\xa6\x6a\x95",), _sun),
    ((b"#?RGBE", b"#?RADIANCE"), _radiance),
    ((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), _jpeg2000),
)
