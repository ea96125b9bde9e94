"""Indexed record files: the images and labels of an InsightFace training set by position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.recordio import (
    EXACT,
    HEADER_SIZE,
    LENGTH_MASK,
    MAGIC,
    SMALLEST,
    ImageRecord,
    TruncatedError,
    decode,
    gap,
    unpack,
)
from aroface.datasets.retrying_reads import SteadyFile, retrying
from aroface.errors import InputError
from aroface.files import atomic_open, refuse_special

_SCAN_CHUNK = 1 << 16  # records whose labels are looked at together
_READ_AT_ONCE = 1 << 20  # bytes; larger records are read again at their full length
_NEIGHBOURS = 1 << 16  # bytes from one record to the next
_INDEX_LINES = "lines of key, tab, offset"
_DAMAGED = "the file is damaged: copy or download it again"

Int64 = npt.NDArray[np.int64]

ListedLabels = Callable[[], tuple[Int64, npt.NDArray[np.float64]]]
"""Function that reads a list of images: keys, int64 (N,), and labels, float64 (N,)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an index: int64 (N,) keys, offsets, and bytes up to the next record of the index or the file's end."""

    keys: Int64
    offsets: Int64
    extents: Int64

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, which: slice | Int64) -> Rows:
        return Rows(self.keys[which], self.offsets[which], self.extents[which])


class RecordFile:
    """The images of an indexed record file, by position 0 … N−1.

    Safe to read from many threads and from forked or spawned workers at once. Transient errors of the file system are
    waited out.

    Two layouts are understood. With a header record (InsightFace): record 0 has the labels
    [n_images + 1, n_images + 1 + n_identities], images have the keys 1 … n_images, and one record per identity gives
    its range of keys; the index may leave the header record out. Without (a shuffled file): every record is an image.

    All these numbers are float32, that is rounded beyond 2**24. So the number of images is that of the records before
    the first identity's, and where a range may be rounded the labels of the images at its ends decide.

    Memory is 20 bytes an image: offset, label and extent; 28 where the keys have gaps. Without header record the labels
    come from the list of images if there is one that names them all, else from every record; they are kept in a file
    beside the records, or beside the link to a read-only folder.

    Args:
        rec: Path of the record file.
        idx: Path of its index, ``key<TAB>offset`` a line.
        listed: Reader of the list of images that the records were written from; None where there is none.

    Attributes:
        path: Path of the record file.
        labels: Labels, int64 (N,).
        has_header: True for the layout with a header record.
        identities: Number of identities' records; 0 without header record.

    Raises:
        InputError: A file is missing, truncated or malformed, or the index points past the end of the records.
    """

    def __init__(self, rec: Path, idx: Path, listed: ListedLabels | None = None) -> None:
        self.path = rec
        self._idx = idx
        self._file = SteadyFile(rec)
        rows, header = self._with_header(self._checked(*_read_index(idx)))
        self.has_header = header is not None
        images = rows if header is None else rows[self._image_rows(rows, header)]
        self.identities = 0 if header is None else len(rows) - len(images) - 1
        self._keys, self._offsets = _compact(images.keys), images.offsets.copy()
        self._extents = np.minimum(images.extents, np.iinfo(np.uint32).max).astype(np.uint32)
        labels = None if header is None else self._range_labels(images, rows[len(images) + 1 :])
        self.labels: Int64 = self._cached_labels(images, listed) if labels is None else labels

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def keys(self) -> Int64:
        """Keys of the images, int64 (N,)."""
        return np.asarray(self._keys, np.int64)

    def own_labels(self) -> Int64:
        """Labels that the records themselves hold, int64 (N,); all of the file is read."""
        keys = self.keys
        rows = Rows(keys, self._offsets, self._extents.astype(np.int64))
        return self._whole(self._labels_at(rows, count=1)[:, 0], rows)

    def where(self, position: int) -> tuple[Path, str]:
        """File and record of an image, for messages."""
        return self.path, _place(int(self._keys[position]), int(self._offsets[position]))

    def read(self, position: int) -> bytes:
        """The encoded image at ``position``.

        Raises:
            InputError: No whole record is there, or its label is not the one that the index arrays hold.
        """
        entry = int(self._keys[position]), int(self._offsets[position])
        record = self._load(*entry, int(self._extents[position]))
        if record.labels[0] != self.labels[position]:
            raise InputError(
                f"the record's own label is {record.labels[0]:g}",
                file=self.path,
                where=_place(*entry),
                expected=f"{self.labels[position]} by the identities' ranges, the list or {_cache_name(self.path)}",
                remedy=_DAMAGED,
            )
        return record.content

    def will_need(self, positions: Iterable[int]) -> None:
        """Ask the kernel to fetch these records in the background (cold random reads halve in cost)."""
        self._file.will_need(
            (int(self._offsets[position]), min(int(self._extents[position]), _READ_AT_ONCE)) for position in positions
        )

    def _load(self, key: int, offset: int, extent: int) -> ImageRecord:
        """The record at ``offset``, which is no longer than ``extent`` bytes."""
        location = _place(key, offset)
        size = min(extent, _READ_AT_ONCE)
        try:
            try:
                return unpack(decode(self._file.read(size, offset, location)))
            except TruncatedError:
                if size == extent:
                    raise
                return unpack(decode(self._file.read(extent, offset, location)))
        except ValueError as error:
            raise InputError(str(error), file=self.path, where=location, remedy=_DAMAGED) from None

    def _labels_at(self, rows: Rows, count: int) -> npt.NDArray[np.float32]:
        """The first ``count`` labels of records, float32 (N, count); NaN where a record has fewer."""
        labels = np.full((len(rows), count), np.nan, np.float32)
        order = np.argsort(rows.offsets, kind="stable")
        for begin in range(0, len(rows), _SCAN_CHUNK):
            chunk = order[begin : begin + _SCAN_CHUNK]
            labels[chunk] = self._labels_of_chunk(rows[chunk], count)
        return labels

    def _labels_of_chunk(self, rows: Rows, count: int) -> npt.NDArray[np.float32]:
        needed = HEADER_SIZE + 4 * count
        words = self._heads(rows.offsets, 8 + needed)
        if (words[:, 0] != MAGIC).any():
            offset = rows.offsets[np.argmax(words[:, 0] != MAGIC)]
            raise InputError(f"the offset {offset} is not the start of a record of {self.path.name}", file=self._idx)
        labels = words[:, 8:].view("<f4").copy()
        scalar = words[:, 2] == 0
        labels[scalar, 0], labels[scalar, 1:] = words[scalar, 3].view("<f4"), np.nan
        # A first part this short has its labels in another part, or is all of a record without image.
        for row in np.flatnonzero((words[:, 1] & LENGTH_MASK) < needed).tolist():
            row_labels = self._load(int(rows.keys[row]), int(rows.offsets[row]), int(rows.extents[row])).labels
            labels[row] = [*row_labels[:count], *[np.nan] * (count - len(row_labels))]
        return labels

    def _heads(self, offsets: Int64, size: int) -> npt.NDArray[np.uint32]:
        """The first ``size`` bytes of records in the order of their offsets, uint32 (N, size / 4).

        Neighbours come with one read, what lies between them as well: a disk gives that faster than every record alone.
        """
        heads = np.empty((len(offsets), size), np.uint8)
        apart = np.flatnonzero(np.diff(offsets) > _NEIGHBOURS) + 1
        for begin, end in zip([0, *apart.tolist()], [*apart.tolist(), len(offsets)], strict=True):
            while begin < end:
                start = int(offsets[begin])
                stop = begin + int(np.searchsorted(offsets[begin:end], start + _READ_AT_ONCE))
                stretch = int(offsets[stop - 1]) + size - start
                block = np.frombuffer(self._file.read(stretch, start).ljust(stretch, b"\0"), np.uint8)
                heads[begin:stop] = block[(offsets[begin:stop] - start)[:, None] + np.arange(size)]
                begin = stop
        return heads.view("<u4")

    def _checked(self, keys: Int64, offsets: Int64) -> Rows:
        """The rows of the index, whose offsets lie within the file; its last record is a whole one."""
        rows = Rows(keys, offsets, _extents(offsets, self._file.size))
        name, size = self.path.name, self._file.size
        for wrong, problem in (
            (offsets > size - SMALLEST, f"points past the end of {name}, which has {size} bytes"),
            ((offsets < 0) | (offsets % 4 != 0), "is not a multiple of 4"),
            (rows.extents < SMALLEST, "is too close to the next one"),
        ):
            if wrong.any():
                row = int(np.argmax(wrong))
                raise InputError(
                    f"the offset {offsets[row]} {problem}",
                    file=self._idx,
                    where=f"record {keys[row]}",
                    remedy=f"is {name} truncated, or the index another file's?",
                )
        self._load_row(rows, int(np.argmax(offsets)))
        return rows

    def _load_row(self, rows: Rows, row: int) -> ImageRecord:
        return self._load(int(rows.keys[row]), int(rows.offsets[row]), int(rows.extents[row]))

    def _with_header(self, rows: Rows) -> tuple[Rows, tuple[float, ...] | None]:
        """All rows and the header's labels, where there is a header record, in the index or before what it lists."""
        first = int(rows.offsets.min())
        if rows.keys[0] == 1 and first >= SMALLEST:
            with suppress(InputError):
                header = self._load(0, 0, first)
                if _is_header(header):
                    zero = np.zeros(1, np.int64)
                    joined = (zero, rows.keys), (zero, rows.offsets), (np.array([first]), rows.extents)
                    return Rows(*map(np.concatenate, joined)), header.labels
        header = self._load_row(rows, 0)
        return rows, header.labels if _is_header(header) else None

    def _image_rows(self, rows: Rows, header: tuple[float, ...]) -> slice:
        end, last = header
        keys = rows.keys
        first = self._first_identity(rows, end) if end <= last and _is_about(len(keys), last) else None
        if first is None or keys[0] != 0 or keys[-1] != len(keys) - 1:
            raise InputError(
                f"the index has {len(keys)} records with the keys {keys[0]} to {keys[-1]}",
                file=self._idx,
                expected=f"the {last:.0f} keys 0 to {last - 1:.0f} that the header of {self.path.name} announces",
            )
        return slice(1, first)

    def _first_identity(self, rows: Rows, announced: float) -> int | None:
        """The key of the first identity's record, which the header announces up to rounding; None if it is not there.

        Rounded, the header's number does not tell images from other records: only these have no content.
        """
        if not (2 <= announced <= len(rows) + int(gap(announced)) and announced.is_integer()):
            return None
        if announced < EXACT:
            return int(announced)
        begin, end = int(announced - gap(announced)), min(int(announced + gap(announced)), len(rows) - 1)
        return next((key for key in range(begin, end + 1) if _is_header(self._load_row(rows, key))), None)

    def _range_labels(self, images: Rows, identities: Rows) -> Int64 | None:
        """Labels from the identities' ranges: some reads for each identity instead of one for each image.

        None if the ranges do not cover the images, each once.
        """
        count = len(images)
        begins, ends = self._labels_at(identities, count=2).T
        whole = (begins >= 1) & (begins < ends) & (ends <= count + 1 + gap(count + 1))
        order = np.argsort(begins[whole], kind="stable")
        starts, stops = begins[whole][order].astype(np.int64), ends[whole][order].astype(np.int64)
        if not len(starts) or starts[0] != 1 or not np.array_equal(starts[1:], stops[:-1]):
            return None
        if not _is_about(count + 1, float(stops[-1])):
            return None
        # At each boundary, and as far around it as it may have been rounded, images are asked for their own labels; up
        # to the next one all images are the last one's person's. At the end there may be a person whose range is empty
        # after rounding.
        boundaries = np.append(starts, stops[-1]) if count >= EXACT - 1 else starts
        uncertain = np.where(boundaries < EXACT, 0, gap(boundaries))
        most = int(uncertain.max())
        around = (boundaries + step for step in range(-most, most + 1))
        asked = [keys[np.abs(keys - boundaries) <= uncertain] for keys in around]
        positions = np.unique(np.clip(np.concatenate(asked), 1, count)) - 1
        chosen = images[positions]
        labels = self._whole(self._labels_at(chosen, count=1)[:, 0], chosen)
        return np.repeat(labels, np.diff(positions, append=count))

    def _cached_labels(self, images: Rows, listed: ListedLabels | None) -> Int64:
        """Labels of all records; the scan of a large file takes minutes, so its result is kept where that is allowed.

        A stale cache or list does no harm: `read` compares every label with its record.
        """
        caches = _caches(self.path)
        with suppress(OSError):
            newest = max(self.path.stat().st_mtime_ns, self._idx.stat().st_mtime_ns)
            for cache in caches:
                if (labels := _read_cache(cache, newest, len(images))) is not None:
                    return labels
        by_list = None if listed is None else _labels_by_key(images.keys, *listed())
        whole = self._whole(self._labels_at(images, count=1)[:, 0] if by_list is None else by_list, images)
        for cache in caches:
            with suppress(OSError), atomic_open(cache) as file:
                np.save(file, whole)
                break
        return whole

    def _whole(self, labels: npt.NDArray[np.floating], rows: Rows) -> Int64:
        wrong = ~np.isfinite(labels) | (labels < 0) | (labels >= EXACT) | (labels != np.floor(labels))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"the label is {labels[row]:g}",
                file=self.path,
                where=_place(int(rows.keys[row]), int(rows.offsets[row])),
                expected=f"a whole number from 0, below {EXACT:,}: float32 does not hold all beyond",
            )
        return labels.astype(np.int64)


class RecordParts:
    """Several record files as one set: images by position, part after part.

    Args:
        parts: Files in order.

    Attributes:
        labels: Labels, int64 (N,).
        identities: Largest number of identities' records of a part; 0 where no part has a header record.
    """

    def __init__(self, parts: Sequence[RecordFile]) -> None:
        self._parts = parts
        self._begins = np.cumsum([0, *map(len, parts)])
        self.labels: Int64 = np.concatenate([part.labels for part in parts])
        self.identities = max(part.identities for part in parts)

    def where(self, position: int) -> tuple[Path, str]:
        """File and record of an image, for messages."""
        record_file, inside = self._place(position)
        return record_file.where(inside)

    def read(self, position: int) -> bytes:
        """The encoded image at ``position``; for the errors see `RecordFile.read`."""
        record_file, inside = self._place(position)
        return record_file.read(inside)

    def will_need(self, positions: Iterable[int]) -> None:
        """Ask the kernel to fetch these records in the background."""
        wanted = np.fromiter(positions, np.int64)
        numbers = np.searchsorted(self._begins, wanted, side="right") - 1
        for number in np.unique(numbers).tolist():
            self._parts[number].will_need((wanted[numbers == number] - self._begins[number]).tolist())

    def _place(self, position: int) -> tuple[RecordFile, int]:
        number = int(np.searchsorted(self._begins, position, side="right")) - 1
        return self._parts[number], int(position - self._begins[number])


def _is_header(record: ImageRecord) -> bool:
    return len(record.labels) == 2 and not record.content


def _is_about(exact: int, rounded: float) -> bool:
    """Tell whether a float32 label stands for this whole number: exactly below 2**24, up to rounding beyond."""
    return abs(exact - rounded) <= (0 if exact < EXACT else int(gap(exact)))


def _cache_name(rec: Path) -> str:
    return f"{rec.stem}.labels.npy"


def _caches(rec: Path) -> list[Path]:
    """Places of the labels' cache: beside the records and, where their folder is a link, beside the link."""
    beside = [rec.parent.parent] if rec.parent.is_symlink() else []
    return [folder / _cache_name(rec) for folder in (rec.parent, *beside)]


def _read_cache(cache: Path, newest: int, count: int) -> Int64 | None:
    with suppress(OSError, ValueError, EOFError):
        if cache.stat().st_mtime_ns > newest:
            labels: Int64 = np.load(cache, allow_pickle=False)
            if labels.shape == (count,) and labels.dtype == np.int64:
                return labels
    return None


def _labels_by_key(keys: Int64, listed: Int64, labels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Labels of sorted keys from a list; None if it does not name all of them."""
    order = np.argsort(listed, kind="stable")
    places = np.searchsorted(listed[order], keys)
    if not len(listed) or places[-1] >= len(listed):
        return None
    chosen = order[places]
    return labels[chosen] if np.array_equal(listed[chosen], keys) else None


def _place(key: int, offset: int) -> str:
    return f"record {key} (byte {offset})"


def _compact(keys: Int64) -> range | Int64:
    first, last = int(keys[0]), int(keys[-1])
    return range(first, last + 1) if last - first + 1 == len(keys) else keys


def _read_index(idx: Path) -> tuple[Int64, Int64]:
    """Keys and offsets, sorted by key."""
    refuse_special(idx, _INDEX_LINES)
    if retrying(idx.stat, idx).st_size == 0:
        raise InputError("the index is empty", file=idx, expected=_INDEX_LINES)

    def read() -> Int64:
        return np.loadtxt(idx, dtype=np.int64, delimiter="\t", ndmin=2, comments=None, encoding="ascii")

    try:
        table = retrying(read, idx)
    except (ValueError, OverflowError) as error:
        raise InputError(str(error).split(";")[0], file=idx, expected=_INDEX_LINES) from None
    if table.shape[1] != 2:
        raise InputError(f"the number of columns is {table.shape[1]}", file=idx, expected=_INDEX_LINES)
    keys, offsets = table[np.argsort(table[:, 0], kind="stable")].T.copy()
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        raise InputError("the key occurs twice", file=idx, where=f"record {keys[twice[0]]}")
    return keys, offsets


def _extents(offsets: Int64, size: int) -> Int64:
    """Bytes from each offset to the next larger one, or to the end of the file."""
    order = np.argsort(offsets, kind="stable")
    extents = np.empty_like(offsets)
    extents[order] = np.diff(offsets[order], append=size)
    return extents
