"""Indexed record files: the images and labels of an InsightFace training set by position."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.recordio import MAGIC, SMALLEST, Record, decode, unpack
from aroface.errors import InputError
from aroface.files import atomic_open

_SCAN_CHUNK = 1 << 20
_INDEX_LINES = "lines of key, tab, offset"
_DAMAGED = "the file is damaged: copy or download it again"

Int64 = npt.NDArray[np.int64]


class RecordFile:
    """The images of an indexed record file, by position 0 … N−1, safe to read from many threads at once.

    Two layouts are understood. With a header record (InsightFace): record 0 has the labels
    [n_images + 1, n_images + 1 + n_identities], images have the keys 1 … n_images, and one record per identity gives
    its range of keys. Without (a shuffled file): every record is an image.

    Memory is 20 bytes an image: offset, label and extent.

    Args:
        rec: the record file.
        idx: its index, ``key<TAB>offset`` a line.

    Raises:
        InputError: a file is missing, truncated or malformed, or the index points past the end of the records.
    """

    def __init__(self, rec: Path, idx: Path) -> None:
        self.path = rec
        self._idx = idx
        self._cache = rec.with_suffix(".labels.npy")
        try:
            self._descriptor = os.open(rec, os.O_RDONLY)
        except FileNotFoundError:
            raise InputError("no such file", file=rec) from None
        weakref.finalize(self, os.close, self._descriptor)
        self._size = os.fstat(self._descriptor).st_size
        keys, offsets = _read_index(idx)
        extents = _extents(offsets, self._size)
        self._check_offsets(keys, offsets, extents)
        last = int(np.argmax(offsets))
        self._load(int(keys[last]), int(offsets[last]), int(extents[last]))
        header = self._load(int(keys[0]), int(offsets[0]), int(extents[0]))
        self.has_header = len(header.labels) == 2 and not header.content
        images = self._image_rows(keys, header.labels) if self.has_header else slice(None)
        self._first_key = int(self.has_header)
        self._offsets: Int64 = offsets[images]
        self._extents = extents[images].astype(np.uint32)
        labels = self._range_labels(offsets[images.stop :]) if self.has_header else None
        self.labels: Int64 = self._cached_labels() if labels is None else labels

    def __len__(self) -> int:
        return len(self._offsets)

    def place(self, position: int) -> str:
        """How the record of an image is named in messages."""
        return _place(position + self._first_key, int(self._offsets[position]))

    def read(self, position: int) -> bytes:
        """The encoded image at ``position``.

        Raises:
            InputError: no whole record is there, or its label is not the one that the index arrays hold.
        """
        key = position + self._first_key
        record = self._load(key, int(self._offsets[position]), int(self._extents[position]))
        if record.labels[0] != self.labels[position]:
            raise InputError(
                f"the record's own label is {record.labels[0]:g}",
                file=self.path,
                record=self.place(position),
                expected=f"{self.labels[position]} by the identities' ranges or {self._cache.name}",
                remedy=_DAMAGED,
            )
        return record.content

    def will_need(self, positions: Iterable[int]) -> None:
        """Ask the kernel to fetch these records in the background (cold random reads halve in cost)."""
        for position in positions:
            os.posix_fadvise(self._descriptor, self._offsets[position], self._extents[position], os.POSIX_FADV_WILLNEED)

    def _load(self, key: int, offset: int, extent: int) -> Record:
        try:
            return unpack(decode(os.pread(self._descriptor, extent, offset)))
        except ValueError as error:
            raise InputError(str(error), file=self.path, record=_place(key, offset), remedy=_DAMAGED) from None

    def _check_offsets(self, keys: Int64, offsets: Int64, extents: Int64) -> None:
        for wrong, what in (
            (offsets > self._size - SMALLEST, f"points past the end of {self.path.name}, which has {self._size} bytes"),
            ((offsets < 0) | (offsets % 4 != 0), "is not a multiple of 4"),
            (extents < SMALLEST, "is too close to the next one"),
        ):
            if wrong.any():
                row = int(np.argmax(wrong))
                raise InputError(
                    f"the offset {offsets[row]} {what}",
                    file=self._idx,
                    record=f"record {keys[row]}",
                    remedy=f"is {self.path.name} truncated, or the index another file's?",
                )

    def _image_rows(self, keys: Int64, header: tuple[float, ...]) -> slice:
        end, last = int(header[0]), int(header[1])
        if not 2 <= end <= last or not np.array_equal(keys, np.arange(last)):
            raise InputError(
                f"the index has {len(keys)} records with the keys {keys[0]} to {keys[-1]}",
                file=self._idx,
                expected=f"the {last} keys 0 to {last - 1} that the header of {self.path.name} announces",
            )
        return slice(1, end)

    def _range_labels(self, identity_offsets: Int64) -> Int64 | None:
        """Labels from the identities' ranges: one read for each identity instead of one for each image.

        None if the ranges do not cover the images one after the other.
        """
        ranges = self._labels_at(identity_offsets, count=2, advice=mmap.MADV_SEQUENTIAL)
        ranges = ranges[ranges[:, 0] < ranges[:, 1]]
        starts, ends = ranges.astype(np.int64).T
        if not np.array_equal([1, *ends.tolist()], [*starts.tolist(), len(self) + 1]):
            return None
        firsts = self._labels_at(self._offsets[starts - 1], count=1, advice=mmap.MADV_RANDOM)
        return np.repeat(self._whole(firsts[:, 0], starts - 1), ends - starts)

    def _cached_labels(self) -> Int64:
        """Labels of all records; the scan of a large file takes minutes, so its result is kept where that is allowed.

        A stale cache does no harm: `read` compares every label with its record.
        """
        newest = max(self.path.stat().st_mtime_ns, self._idx.stat().st_mtime_ns)
        with suppress(OSError, ValueError):
            if self._cache.stat().st_mtime_ns > newest:
                labels: Int64 = np.load(self._cache, allow_pickle=False)
                if labels.shape == (len(self),) and labels.dtype == np.int64:
                    return labels
        found = self._labels_at(self._offsets, count=1, advice=mmap.MADV_SEQUENTIAL)
        labels = self._whole(found[:, 0], np.arange(len(self)))
        with suppress(OSError), atomic_open(self._cache) as file:
            np.save(file, labels)
        return labels

    def _labels_at(self, offsets: Int64, *, count: int, advice: int) -> npt.NDArray[np.float32]:
        """The first ``count`` labels of the records at ``offsets``, float32 (N, count)."""
        mapped = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        mapped.madvise(advice)
        words = np.frombuffer(mapped, "<u4", count=self._size // 4)
        labels = np.empty((len(offsets), count), np.float32)
        for begin in range(0, len(offsets), _SCAN_CHUNK):
            start = offsets[begin : begin + _SCAN_CHUNK] // 4
            wrong = words[start] != MAGIC
            if wrong.any():
                offset = offsets[begin + int(np.argmax(wrong))]
                raise InputError(
                    f"the offset {offset} is not the start of a record of {self.path.name}", file=self._idx
                )
            scalar = (words[start + 2] == 0) if count == 1 else np.zeros(len(start), bool)
            for column in range(count):
                at = start + np.where(scalar, 3, 8 + column)
                labels[begin : begin + _SCAN_CHUNK, column] = words[np.minimum(at, len(words) - 1)].view("<f4")
        return labels

    def _whole(self, labels: npt.NDArray[np.float32], positions: Int64) -> Int64:
        wrong = ~np.isfinite(labels) | (labels < 0) | (labels != np.floor(labels))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"the label is {labels[row]:g}",
                file=self.path,
                record=self.place(int(positions[row])),
                expected="a whole number from 0",
            )
        return labels.astype(np.int64)


def _place(key: int, offset: int) -> str:
    return f"record {key} (byte {offset})"


def _read_index(idx: Path) -> tuple[Int64, Int64]:
    """Keys and offsets, sorted by key."""
    if not idx.is_file():
        raise InputError("no such file", file=idx)
    if idx.stat().st_size == 0:
        raise InputError("the index is empty", file=idx, expected=_INDEX_LINES)
    try:
        table = np.loadtxt(idx, dtype=np.int64, delimiter="\t", ndmin=2, comments=None, encoding="ascii")
    except (ValueError, OverflowError) as error:
        raise InputError(str(error).split(";")[0], file=idx, expected=_INDEX_LINES) from None
    if table.shape[1] != 2:
        raise InputError(f"the number of columns is {table.shape[1]}", file=idx, expected=_INDEX_LINES)
    keys, offsets = table[np.argsort(table[:, 0], kind="stable")].T.copy()
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        raise InputError("the key occurs twice", file=idx, record=f"record {keys[twice[0]]}")
    return keys, offsets


def _extents(offsets: Int64, size: int) -> Int64:
    """Bytes from each offset to the next larger one, or to the end of the file."""
    order = np.argsort(offsets, kind="stable")
    extents = np.empty_like(offsets)
    extents[order] = np.diff(offsets[order], append=size)
    return extents
