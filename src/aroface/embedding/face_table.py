"""Table of embedded faces, a row each, and its files: Parquet, NPZ and CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError
from aroface.files import atomic_open, atomic_path

Float32 = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

PHOTOGRAPH = -1
"""Number of the frame in the rows of photographs, which are no videos."""

_BOX = ("left", "top", "right", "bottom")
_POINTS = tuple(f"{point}_{axis}" for point in ("le", "re", "nose", "lm", "rm") for axis in "xy")
_INTEGERS = ("frame", "face", "faces")


@dataclass(frozen=True, slots=True, eq=False)
class FaceTable:
    """Faces and their features, N rows.

    Attributes:
        path: File of the photograph or video, str (N,).
        frame: Number of the video's frame, int64 (N,); `PHOTOGRAPH` for a photograph.
        face: Number of the face in its photograph, int64 (N,); 0 is the largest.
        faces: Number of faces found there, int64 (N,).
        box: Left, top, right and bottom in pixels of the upright photograph, float32 (N, 4).
        points: Landmarks in its pixels, float32 (N, 5, 2): left and right eye, nose, left and right mouth corner, left
            being the viewer's.
        score: Score of the detector, float32 (N,), 0 … 1.
        norm: Length of the feature before it was normalised, float32 (N,).
        feature: Features of unit length, float32 (N, dimension).
    """

    path: npt.NDArray[np.str_]
    frame: Integers
    face: Integers
    faces: Integers
    box: Float32
    points: Float32
    score: Float32
    norm: Float32
    feature: Float32

    def __len__(self) -> int:
        return len(self.path)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def concatenate(tables: Sequence[FaceTable]) -> FaceTable:
    """One table of all rows, of one table at least."""
    return FaceTable(**{name: np.concatenate([each.columns()[name] for each in tables]) for name in _names()})


def check_form(out: Path) -> None:
    """Refuse a file whose ending names no form, or one whose package is not installed, before anything is computed.

    Raises:
        InputError: The ending is none of ``.parquet``, ``.npz`` and ``.csv``.
        ModuleNotFoundError: Pyarrow is missing, for Parquet.
    """
    if out.suffix.lower() not in _WRITERS:
        raise InputError(f"ending {out.suffix!r}", file=out, expected=" or ".join(_WRITERS))
    if out.suffix.lower() == ".parquet":
        import pyarrow.parquet  # noqa: F401


def write_faces(out: Path, tables: Iterable[FaceTable]) -> None:
    """Write tables below each other, in the form that the file's ending names; Parquet and CSV hold one at a time."""
    _WRITERS[out.suffix.lower()](out, tables)


def read_faces(path: str | PathLike[str]) -> FaceTable:
    """Read a table from an NPZ file.

    Raises:
        InputError: It is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return FaceTable(**{name: stored[name] for name in _names()})
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"no table of faces ({error})", file=path, expected="an .npz file of aroface embed") from None


def _names() -> list[str]:
    return [each.name for each in fields(FaceTable)]


def _flat(table: FaceTable) -> dict[str, npt.NDArray[Any]]:
    """All columns of one value a row, in the order of the files."""
    columns = table.columns()
    flat = {name: columns[name] for name in ("path", *_INTEGERS)}
    flat |= dict(zip(_BOX, table.box.T, strict=True))
    flat |= dict(zip(_POINTS, table.points.reshape(len(table), -1).T, strict=True))
    return {**flat, "score": table.score, "norm": table.norm}


def _write_npz(out: Path, tables: Iterable[FaceTable]) -> None:
    with atomic_open(out) as file:
        np.savez(file, allow_pickle=False, **concatenate(list(tables)).columns())


def _write_csv(out: Path, tables: Iterable[FaceTable]) -> None:
    with atomic_path(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, table in enumerate(tables):
            flat = _flat(table)
            if number == 0:
                writer.writerow([*flat, *(f"feature_{place}" for place in range(table.feature.shape[1]))])
            writer.writerows(_csv_rows(flat, table))


def _csv_rows(flat: dict[str, npt.NDArray[Any]], table: FaceTable) -> Iterator[list[str]]:
    texts = [[_text(name, value) for value in column.tolist()] for name, column in flat.items()]
    for row, feature in enumerate(table.feature.tolist()):
        yield [*(column[row] for column in texts), *(f"{value:.9g}" for value in feature)]


def _text(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"  # digits that tell float32 numbers apart
    return "" if name == "frame" and value == PHOTOGRAPH else str(value)


def _write_parquet(out: Path, tables: Iterable[FaceTable]) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    writer = None
    with atomic_path(out) as temporary:
        try:
            for table in tables:
                flat: dict[str, Any] = _flat(table)
                flat["frame"] = pa.array(table.frame, pa.int64(), mask=table.frame == PHOTOGRAPH)
                values = pa.array(np.ascontiguousarray(table.feature).ravel())
                flat["feature"] = pa.FixedSizeListArray.from_arrays(values, table.feature.shape[1])
                part = pa.table(flat)
                writer = writer or ParquetWriter(temporary, part.schema)
                writer.write_table(part)
        finally:
            if writer is not None:
                writer.close()


_WRITERS: dict[str, Callable[[Path, Iterable[FaceTable]], None]] = {
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".csv": _write_csv,
}
