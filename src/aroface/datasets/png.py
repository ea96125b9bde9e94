"""PNG files for libpng, which prints a line of its own about each damage and each odd profile.

OpenCV leaves libpng its default handlers, so that the lines cannot be caught: they are avoided.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_START = 8
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PIXELS = frozenset({b"tRNS", b"bKGD", b"acTL", b"fcTL", b"fdAT"})  # of the ancillary ones, those that a decoder needs


def without_remarks(data: bytes) -> bytes | None:
    """A PNG without the chunks that say nothing about pixels: text, time, profiles, gamma, which OpenCV ignores.

    Damage behind whole checksums, which only a faulty encoder leaves, is left to the decoder.

    Args:
        data: Content of a PNG file.

    Returns:
        The same image; None if the file is cut or a checksum of its pixels is wrong.
    """
    kept = [data[:_START]]
    for name, chunk, whole in _chunks(data):
        critical = name.upper() in _CRITICAL or not name[:1].islower()
        if critical and not (whole and name in _CRITICAL):
            return None
        if critical or (whole and name in _PIXELS):
            kept.append(chunk)
        if name == b"IEND":
            return b"".join(kept)
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Name of each chunk, all of its bytes, and True if its checksum fits."""
    offset = _START
    while offset + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        chunk = data[offset : offset + 12 + length]
        offset += 12 + length
        whole = len(chunk) == 12 + length and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        yield chunk[4:8], chunk, whole
