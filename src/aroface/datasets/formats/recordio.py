"""MXNet RecordIO, the container of the InsightFace training sets, encoded and written without MXNet.

`indexed_records` reads files of records.

A record is ``u32 magic, u32 (cflag << 29 | length), payload``, little-endian and zero-padded to 4 bytes. A payload
that holds the magic at a multiple of 4 is stored in parts (cflag 1 first, 2 middle, 3 last; 0 whole), without those
magics. Source: dmlc-core ``recordio.h``, MXNet 1.9.1 ``recordio.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from aroface.files import atomic_open

MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_PART = struct.Struct("<II")
_LENGTH_BITS = 29
_IMAGE = struct.Struct("<IfQQ")
HEADER_SIZE = _IMAGE.size
SMALLEST = _PART.size + HEADER_SIZE
LENGTH_MASK = (1 << _LENGTH_BITS) - 1
EXACT = 1 << 24
"""Labels are float32, which holds every whole number below this and some of those above."""


class TruncatedError(ValueError):
    """A record does not end within the bytes that are there."""


def encode(payload: bytes) -> bytes:
    """One framed record, split at every 4-aligned magic of the payload.

    Raises:
        ValueError: The payload is 512 MiB or more, which MXNet does not write either.
    """
    if len(payload) > LENGTH_MASK:
        raise ValueError(f"a record holds at most {LENGTH_MASK} bytes, this one {len(payload)}")
    cuts: list[int] = []
    if _MAGIC_BYTES in payload:
        words = np.frombuffer(payload, "<u4", count=len(payload) // 4)
        cuts = (4 * np.flatnonzero(words == MAGIC)).tolist()
    begins, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)]
    framed = bytearray()
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        flag = (2 if number else 1) if number < len(cuts) else (3 if cuts else 0)
        framed += _PART.pack(MAGIC, flag << _LENGTH_BITS | end - begin) + payload[begin:end]
    return bytes(framed) + bytes(-len(framed) % 4)


def decode(framed: bytes) -> bytes:
    """The payload of the record at the start of ``framed``; what follows the record is ignored.

    Raises:
        TruncatedError: The record does not end within ``framed``.
        ValueError: No record starts there.
    """
    parts: list[bytes] = []
    position, flag = 0, None
    while flag not in (0, 3):
        if position + _PART.size > len(framed):
            raise TruncatedError("the record is truncated")
        magic, word = _PART.unpack_from(framed, position)
        flag, length = word >> _LENGTH_BITS, word & LENGTH_MASK
        if magic != MAGIC or flag > 3 or (flag > 1) != bool(parts):
            raise ValueError("no record starts here")
        position += _PART.size
        if position + length > len(framed):
            raise TruncatedError(f"the record is truncated, {position + length - len(framed)} bytes are missing")
        parts.append(framed[position : position + length])
        position += length + -length % 4
    return _MAGIC_BYTES.join(parts)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """Content of one record: its labels (a scalar label is one) and a JPEG or nothing."""

    labels: tuple[float, ...]
    content: bytes


def pack(labels: float | Sequence[float], content: bytes, key: int) -> bytes:
    """A payload: ``flag u32, label f32, id u64, id2 u64``, ``flag`` float32 labels if there are several, content."""
    if isinstance(labels, int | float):
        return _IMAGE.pack(0, labels, key, 0) + content
    return _IMAGE.pack(len(labels), 0.0, key, 0) + struct.pack(f"<{len(labels)}f", *labels) + content


def unpack(payload: bytes) -> ImageRecord:
    """The labels and the content of a payload.

    Raises:
        ValueError: The payload is shorter than its own header says.
    """
    if len(payload) < _IMAGE.size:
        raise ValueError(f"the record holds {len(payload)} bytes, its header alone takes {_IMAGE.size}")
    flag, label, _, _ = _IMAGE.unpack_from(payload)
    if flag == 0:
        return ImageRecord((label,), payload[_IMAGE.size :])
    begin = _IMAGE.size + 4 * flag
    if len(payload) < begin:
        raise ValueError(f"the record announces {flag} labels in {len(payload)} bytes")
    return ImageRecord(struct.unpack_from(f"<{flag}f", payload, _IMAGE.size), payload[begin:])


def gap(numbers: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Distance between neighbouring float32 numbers near whole ones, at least 1."""
    return np.maximum(np.spacing(np.asarray(numbers, np.float32)), 1).astype(np.int64)


def rounded_down(number: int) -> float:
    """The largest number that float32 holds and that is not above a whole one."""
    nearest = np.float32(number)
    return float(nearest if int(nearest) <= number else np.nextafter(nearest, np.float32(0)))


class RecordWriter:
    """Appends keyed records; made by `open_writer`."""

    def __init__(self, records: IO[bytes], index: IO[bytes]) -> None:
        self._records = records
        self._index = index

    def write(self, key: int, payload: bytes) -> None:
        """Append one record under ``key``."""
        self._index.write(f"{key}\t{self._records.tell()}\n".encode())
        self._records.write(encode(payload))

    def overwrite_first(self, payload: bytes) -> None:
        """Replace the first record by one of the same length (a header that is known only at the end)."""
        end = self._records.tell()
        self._records.seek(0)
        self._records.write(encode(payload))
        self._records.seek(end)


@contextmanager
def open_writer(rec: Path, idx: Path) -> Iterator[RecordWriter]:
    """Write a record file and its index; they get their names only when the body has ended well."""
    with atomic_open(idx) as index, atomic_open(rec) as records:
        yield RecordWriter(records, index)
