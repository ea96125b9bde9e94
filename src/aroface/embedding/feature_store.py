"""Features on disk: written batch by batch, resumable after a kill, whole only where ``index.json`` stands.

``features.npy`` is a plain NumPy file (rows, dimension) in float32 or float16; ``progress.json`` tells how many of its
rows are known to be on disk and of what (a hash of weights, benchmark and options). Several processes write a part of
the rows each, with a ``progress-{first}-{end}.json`` of their own. Rows are written as bytes rather than through a
memory map: a full disk then is an error that can be reported, not a signal that kills the process.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aroface.errors import InputError
from aroface.files import atomic_open, make_folder, read_json, refuse_special, write_json, writing
from aroface.results import INDEX, PROGRESS, check_names

Rows = NDArray[np.float32]

FEATURES = "features.npy"
SHARD_ROWS = 4096
_BLOCK = 8192  # rows that are looked at together
_PARTS = {
    "": ("benchmark", "benchmark_manifest_hash", "wall_s"),
    "checkpoint": ("run", "experiment", "recipe", "recipe_hash", "weights_sha256", "data"),
    "protocol": ("name", "options"),
}
Precision = Literal["float32", "float16"]


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """A complete folder of features.

    Attributes:
        folder: Folder of the features.
        index: Content of ``index.json``.
        values: Features, float32 or float16 (rows, dimension), not normalised, memory-mapped read-only.
        arrays: Arrays that the protocol needs beside them (labels, genuine pairs), by name.
    """

    folder: Path
    index: Mapping[str, Any]
    values: Rows
    arrays: Mapping[str, NDArray[Any]]


def open_features(folder: str | PathLike[str]) -> StoredFeatures:
    """Open a folder that :func:`aroface.embedding.embed.embed_benchmark` has completed.

    Raises:
        InputError: The folder is incomplete, or a file in it differs from the index.
    """
    folder = Path(folder)
    if not (folder / INDEX).exists():
        raise InputError("no complete features", file=folder, expected=INDEX, remedy="run aroface embed to the end")
    index = read_json(folder / INDEX)
    try:
        shape, dtype = (index["rows"], index["dimension"]), _dtype(index.get("precision", "float32"))
        listed = {name: (tuple(entry["shape"]), np.dtype(entry["dtype"])) for name, entry in index["arrays"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        remedy = "delete its folder and embed again"
        raise InputError("no index of features", file=folder / INDEX, remedy=remedy) from None
    values = _load(folder / FEATURES, shape, dtype)
    _check_finite(values, folder / FEATURES)
    arrays = {name: np.array(_load(folder / f"{name}.npy", *entry)) for name, entry in listed.items()}
    return StoredFeatures(folder, index, values, arrays)


def open_run_features(folder: str | PathLike[str]) -> StoredFeatures:
    """Open the features of a run on a benchmark, as `open_features`, with an index that a record can be made of.

    Raises:
        InputError: See `open_features`; or the index lacks a part, or holds a name that no record can have.
    """
    features = open_features(folder)
    file, index = features.folder / INDEX, features.index
    parts = {"": index, "checkpoint": index.get("checkpoint"), "protocol": index.get("protocol")}
    for name, part in parts.items():
        missing = [*_PARTS[name]] if not isinstance(part, Mapping) else [key for key in _PARTS[name] if key not in part]
        if missing:
            where = f"{name}.{missing[0]}".lstrip(".")
            raise InputError("no such key", file=file, where=where, remedy="delete its folder and embed again")
    checkpoint, options = index["checkpoint"], index["protocol"]["options"]
    if not isinstance(checkpoint["experiment"], Mapping) or not isinstance(options, Mapping):
        raise InputError("no index of a run's features", file=file, remedy="delete its folder and embed again")
    check_names(checkpoint["run"], checkpoint["experiment"], file=file)
    return features


def _load(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    refuse_special(path)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:  # EOFError of an empty file
        raise InputError(f"damaged ({error})", file=path, remedy="delete its folder and embed again") from None
    if array.shape != shape or array.dtype != dtype:
        raise InputError(f"{array.dtype} {array.shape}", file=path, expected=f"{dtype} {shape} as in {INDEX}")
    return array


def _check_finite(values: NDArray[Any], path: Path) -> None:
    """Refuse features that became NaN or infinite on the disk: comparisons with them are false, and rates look usual.

    Raises:
        InputError: A row is not finite.
    """
    for begin in range(0, len(values), _BLOCK):
        finite = np.isfinite(values[begin : begin + _BLOCK]).all(axis=1)
        if not finite.all():
            row = begin + int(finite.argmin())
            remedy = "delete its folder and embed again"
            raise InputError("a feature is not finite", file=path, where=f"row {row}", remedy=remedy)


def write_rows(
    folder: Path,
    key: str,
    shape: tuple[int, int],
    batches: Callable[[int], Iterator[Rows]],
    *,
    part: range | None = None,
    precision: Precision = "float32",
    shard_rows: int = SHARD_ROWS,
) -> float:
    """Fill ``features.npy``, or a part of it, going on after the last shard that an earlier, killed call has completed.

    Args:
        folder: Folder of the features. A folder begun under another key is begun anew.
        key: Hash of all that decides the values.
        shape: Rows and dimension of the whole file.
        batches: Function that yields the rows from a given one on, to the end of the part, batch by batch, in order.
        part: Rows of this call; all by default. Calls for the other parts may run at the same time; what was done in
            other parts than these is done again.
        precision: Precision of the file.
        shard_rows: Number of rows after which they are flushed to the disk and counted as done, at the end of a batch.

    Returns:
        Seconds spent on the rows, those of earlier calls included. On a full disk the finished rows are kept.
    """
    part, dtype = part if part is not None else range(shape[0]), _dtype(precision)
    header, row_bytes = _header(shape, dtype), shape[1] * dtype.itemsize
    progress = folder / (PROGRESS if part == range(shape[0]) else f"progress-{part.start}-{part.stop}.json")
    done, earlier = _begin(folder, progress, key, header, row_bytes, part)
    started = time.monotonic() - earlier
    size = len(header) + shape[0] * row_bytes
    with writing(folder / FEATURES, size), open(folder / FEATURES, "r+b") as file:
        file.seek(len(header) + done * row_bytes)
        written = done
        for rows in batches(done):
            file.write(np.ascontiguousarray(rows, dtype=dtype).data)
            written += len(rows)
            if written - done >= shard_rows or written == part.stop:
                file.flush()
                os.fsync(file.fileno())
                done = written
                _mark(progress, key, done, time.monotonic() - started)
    if done != part.stop:
        raise ValueError(f"{written - part.start} rows came, not {len(part)}")
    return time.monotonic() - started


def _begin(folder: Path, progress: Path, key: str, header: bytes, row_bytes: int, part: range) -> tuple[int, float]:
    """Prepare the folder; return the row to resume from and the seconds that the rows before it took."""
    features = folder / FEATURES
    if features.exists() and progress.exists():
        state = read_json(progress)
        enough = features.stat().st_size >= len(header) + state["rows"] * row_bytes
        if state["key"] == key and enough:
            return state["rows"], state["seconds"]
    make_folder(folder)
    for stale in (folder / INDEX, progress):
        stale.unlink(missing_ok=True)
    flags = os.O_CREAT | os.O_RDWR  # others may be writing their parts
    with writing(features, len(header)), open(os.open(features, flags, 0o666), "r+b") as file:
        file.write(header)
    _mark(progress, key, part.start, 0.0)
    return part.start, 0.0


def _mark(progress: Path, key: str, rows: int, seconds: float) -> None:
    write_json(progress, {"key": key, "rows": rows, "seconds": seconds})


def _dtype(precision: Precision) -> np.dtype[Any]:
    return np.dtype(precision).newbyteorder("<")


def _header(shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def write_index(folder: Path, index: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Complete a folder: write ``arrays`` as ``{name}.npy`` and then ``index.json``, which describes them.

    What a longer file of an earlier key left behind the last row is cut off.
    """
    dtype, shape = _dtype(index.get("precision", "float32")), (index["rows"], index["dimension"])
    os.truncate(folder / FEATURES, len(_header(shape, dtype)) + shape[0] * shape[1] * dtype.itemsize)
    for name, array in arrays.items():
        with atomic_open(folder / f"{name}.npy") as file:
            np.save(file, array, allow_pickle=False)
    described = {name: {"dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()}
    write_json(folder / INDEX, {**index, "arrays": described})
