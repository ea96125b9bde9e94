"""Text files of columns, some of millions of lines, read in bounded memory; errors name the line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError
from aroface.files import refuse_special

BLOCK = 1 << 24
"""Bytes that are parsed at a time: what bounds the memory."""

ColumnKind = Literal["integer", "number", "text", "any"]
Values = npt.NDArray[Any]

_DTYPES: dict[ColumnKind, type] = {"integer": np.int64, "number": np.float32, "text": object, "any": object}
_WORDS: dict[ColumnKind, str] = {
    "integer": "a whole number",
    "number": "a finite number",
    "text": "a name",
    "any": "anything",
}
_INTEGER = re.compile(rb"([+-]?\d+)(\.0*)?")


@dataclass(frozen=True, slots=True)
class Form:
    """Form of the lines of a file.

    Attributes:
        columns: Name and kind of each column; of a file with commas, the first ones that matter.
        commas: True if commas stand between the columns; else spaces or tabs do, and there are no other columns.
        header: True if the first line names the columns.
    """

    columns: tuple[tuple[str, ColumnKind], ...]
    commas: bool = False
    header: bool = False

    def __str__(self) -> str:
        separator = "," if self.commas else " "
        more = f"{separator}…" if self.commas else ""
        return f"lines of {separator.join(name for name, _ in self.columns)}{more}"


def blocks(path: Path, form: Form) -> Iterator[tuple[int, list[Values]]]:
    """The columns of a file, some thousand lines at a time; empty lines are passed over.

    Yields:
        The number of the first row, counted from 0, and one array a column: int64, float32 or strings as objects.

    Raises:
        InputError: The file is missing, no regular one or empty, or a line has other columns.
    """
    refuse_special(path, str(form))
    if not path.is_file():
        raise InputError("no such file", file=path)
    row, line = 0, 1
    with open(path, "rb") as file:
        if form.header:
            _check_header(path, file.readline(), form)
            line = 2
        while content := file.read(BLOCK):
            content += file.readline()
            if content.strip():
                columns = _parse(path, content, form, line)
                yield row, columns
                row += len(columns[0])
            line += content.count(b"\n")
    if row == 0:
        raise InputError("the list is empty", file=path, expected=form)


def column_places(header: Sequence[str], names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Place of each column that a header names.

    Args:
        header: Fields of the line, in upper or lower case.
        names: Names that each column may have, in capitals; of several that are there the one listed first counts.
    """
    found = [name.strip().upper() for name in header]
    chosen = {column: next((name for name in known if name in found), None) for column, known in names.items()}
    return {column: found.index(name) for column, name in chosen.items() if name is not None}


def csv_lines(lines: Iterable[list[str]], path: Path) -> Iterator[list[str]]:
    """Lines of a reader of a file; what it cannot read is an error that names the line.

    Raises:
        InputError: A line is none of such a file.
    """
    iterator, number = iter(lines), 0
    while True:
        number += 1
        try:
            fields = next(iterator)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"cannot be read ({error})", file=path, where=f"line {number}") from None
        yield fields


def count_lines(path: Path) -> int:
    """Largest possible number of rows of a file.

    Raises:
        InputError: The file is missing or no regular one.
    """
    refuse_special(path)
    if not path.is_file():
        raise InputError("no such file", file=path)
    with open(path, "rb") as file:
        return 1 + sum(content.count(b"\n") for content in iter(partial(file.read, BLOCK), b""))


def read_columns(path: Path, form: Form) -> list[Values]:
    """All rows of a file, one array (N,) a column; for the errors see `blocks`."""
    column_blocks = [columns for _, columns in blocks(path, form)]
    return [np.concatenate(column) for column in zip(*column_blocks, strict=True)]


def row_error(path: Path, form: Form, row: int, what: str, **more: Any) -> InputError:
    """An error that names the line of a row; the file is read again up to there.

    Args:
        path: Path of the file.
        form: Form of the file.
        row: Number of the row, as counted by `blocks`.
        what: Fault, for the message.
        more: Further arguments of `InputError`.
    """
    with open(path, "rb") as file:
        filled = (number for number, line in enumerate(file, 1) if line.strip() and not (form.header and number == 1))
        number = next(number for count, number in enumerate(filled) if count == row)
    return InputError(what, file=path, where=f"line {number}", **more)


def _check_header(path: Path, line: bytes, form: Form) -> None:
    first = line.split(b",")[0].strip()
    if not first:
        raise InputError("the list is empty", file=path, expected=form)
    if first.isdigit():
        raise InputError("the line is no header", file=path, where="line 1", expected="the names of the columns")


def _parse(path: Path, content: bytes, form: Form, line: int) -> list[Values]:
    import pandas as pd  # takes .4 s, which a plan, that reads no list, need not wait for

    kinds = [kind for _, kind in form.columns]
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is found all the same
            frame = pd.read_csv(
                io.BytesIO(content),
                sep="," if form.commas else r"\s+",
                header=None,
                usecols=range(len(kinds)) if form.commas else None,
                dtype={number: _DTYPES[kind] for number, kind in enumerate(kinds)},
                quoting=csv.QUOTE_NONE,
                na_filter=False,
                engine="c",
                low_memory=False,  # in pieces it would not see all lines that are too long
            )
    except (ValueError, OverflowError) as error:
        raise _fault(path, content, form, line, str(error)) from None
    columns = [frame[number].to_numpy() for number in frame.columns]
    if len(columns) != len(kinds) or not all(map(_usable, columns, kinds)):
        raise _fault(path, content, form, line, "wrong columns")
    return columns


def _usable(column: Values, kind: ColumnKind) -> bool:
    """Return whether a column is free of values that the parser accepts and a list must not hold."""
    if kind == "number":
        return bool(np.isfinite(column).all())
    return kind in ("integer", "any") or bool(column.all())


def _fault(path: Path, content: bytes, form: Form, line: int, reason: str) -> InputError:
    """Error about a part of a file that cannot be parsed."""
    wanted = len(form.columns)
    for number, text in enumerate(content.split(b"\n"), line):
        if not text.strip():
            continue
        fields = [field.strip() for field in text.split(b",")] if form.commas else text.split()
        if len(fields) < wanted or (len(fields) > wanted and not form.commas):
            return InputError(f"{len(fields)} columns", file=path, where=f"line {number}", expected=form)
        for field, (name, kind) in zip(fields, form.columns, strict=False):
            if not _is(field, kind):
                shown = field.decode(errors="replace")
                return InputError(f"{name} is {shown!r:.60}", file=path, where=f"line {number}", expected=_WORDS[kind])
    return InputError(f"cannot be read ({reason})", file=path, expected=form)


def _is(field: bytes, kind: ColumnKind) -> bool:
    if kind == "any":
        return True
    try:
        if kind == "integer":
            match = _INTEGER.fullmatch(field)
            return match is not None and -(2**63) <= int(match[1]) < 2**63
        if kind == "number" and b"_" in field:  # NumPy takes 3_8.29 for 38.29, the parser of the file does not
            return False
        with np.errstate(over="ignore"):
            return bool(field.decode()) if kind == "text" else bool(np.isfinite(np.float32(field)))
    except ValueError:
        return False


def unknown(values: Values, known: Values) -> int | None:
    """The number of the first row, (N,) or (N, 2), that holds what ``known`` does not; None where none does."""
    strange = ~np.isin(values, known)
    rows = strange.any(axis=1) if strange.ndim == 2 else strange
    return int(rows.argmax()) if rows.any() else None


def plain_names(names: Sequence[str]) -> int | None:
    """The number of the first name that cannot be a file's in a folder, None where all can."""
    odd = {"/", "\\", "\0", "\r"}
    if not odd & set("".join(names)) and max(map(len, names)) < 256 and not {".", ".."} & set(names):
        return None
    return next(n for n, name in enumerate(names) if odd & set(name) or len(name) > 255 or name in {".", ".."})
