"""Features on disk: written batch by batch, resumable after a kill, whole only where ``index.json`` stands.

``features.npy`` is a plain NumPy file (rows, dimension) in float32 that grows at its end; ``progress.json`` says how
many of its rows are known to be on disk and of what (a hash of weights, benchmark and options). Rows are appended
rather than written through a memory map: a full disk then is an error that can be reported, not a signal that kills
the process.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.errors import InputError
from aroface.files import atomic_open, read_json, write_json

Rows = NDArray[np.float32]

FEATURES = "features.npy"
INDEX = "index.json"
PROGRESS = "progress.json"
SHARD_ROWS = 4096
_DTYPE = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """A complete folder of features.

    Attributes:
        folder: where it lies.
        index: content of ``index.json``.
        values: (rows, dimension), not normalised, memory-mapped read-only.
        arrays: what the protocol needs beside them (labels, which pairs are genuine), by name.
    """

    folder: Path
    index: Mapping[str, Any]
    values: Rows
    arrays: Mapping[str, NDArray[Any]]


def open_features(folder: str | PathLike[str]) -> StoredFeatures:
    """Open a folder that :func:`aroface.embedding.benchmark.embed_benchmark` has completed.

    Raises:
        InputError: the folder is incomplete, or a file in it is not as the index says.
    """
    folder = Path(folder)
    if not (folder / INDEX).exists():
        raise InputError("no complete features", file=folder, expected=INDEX, remedy="run aroface embed to the end")
    index = read_json(folder / INDEX)
    shape = (index["rows"], index["dimension"])
    values = _load(folder / FEATURES, shape, _DTYPE)
    arrays = {
        name: np.array(_load(folder / f"{name}.npy", tuple(entry["shape"]), np.dtype(entry["dtype"])))
        for name, entry in index["arrays"].items()
    }
    return StoredFeatures(folder, index, values, arrays)


def _load(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"damaged ({error})", file=path, remedy="delete its folder and embed again") from None
    if array.shape != shape or array.dtype != dtype:
        raise InputError(f"{array.dtype} {array.shape}", file=path, expected=f"{dtype} {shape} as in {INDEX}")
    return array


def write_rows(
    folder: Path,
    key: str,
    shape: tuple[int, int],
    batches: Callable[[int], Iterator[Rows]],
    *,
    shard_rows: int = SHARD_ROWS,
) -> float:
    """Fill ``features.npy``, going on after the last shard that an earlier, killed call has completed.

    Args:
        folder: where the features go. A folder begun under another key is begun anew.
        key: hash of all that decides the values.
        shape: rows and dimension.
        batches: yields the rows from a given one on, batch by batch, in order.
        shard_rows: after how many rows they are flushed to the disk and counted as done, at the end of a batch.

    Returns:
        Seconds spent on the rows, those of earlier calls included. Where the disk is full, what is done is kept.
    """
    header = _header(shape)
    row_bytes = shape[1] * _DTYPE.itemsize
    done, earlier = _begin(folder, key, header, row_bytes)
    started = time.monotonic() - earlier
    with open(folder / FEATURES, "r+b") as file:
        file.truncate(len(header) + done * row_bytes)
        file.seek(0, os.SEEK_END)
        written = done
        for rows in batches(done):
            file.write(np.ascontiguousarray(rows, dtype=_DTYPE).data)
            written += len(rows)
            if written - done >= shard_rows or written == shape[0]:
                file.flush()
                os.fsync(file.fileno())
                done = written
                _mark(folder, key, done, time.monotonic() - started)
    if done != shape[0]:
        raise ValueError(f"{written} rows came, not {shape[0]}")
    return time.monotonic() - started


def _begin(folder: Path, key: str, header: bytes, row_bytes: int) -> tuple[int, float]:
    """Rows that are done and the seconds they took; (0, 0.0) after making the folder ready for a new start."""
    features = folder / FEATURES
    if features.exists() and (folder / PROGRESS).exists():
        progress = read_json(folder / PROGRESS)
        enough = features.stat().st_size >= len(header) + progress["rows"] * row_bytes
        if progress["key"] == key and enough:
            return progress["rows"], progress["seconds"]
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (INDEX, PROGRESS):
        (folder / stale).unlink(missing_ok=True)
    features.write_bytes(header)
    _mark(folder, key, 0, 0.0)
    return 0, 0.0


def _mark(folder: Path, key: str, rows: int, seconds: float) -> None:
    write_json(folder / PROGRESS, {"key": key, "rows": rows, "seconds": seconds})


def _header(shape: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": _DTYPE.str, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def write_index(folder: Path, index: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Complete a folder: write ``arrays`` as ``{name}.npy`` and then ``index.json``, which describes them."""
    for name, array in arrays.items():
        with atomic_open(folder / f"{name}.npy") as file:
            np.save(file, array, allow_pickle=False)
    described = {name: {"dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()}
    write_json(folder / INDEX, {**index, "arrays": described})
