"""People of a file of pairs: a CSV file beside it, ``NAME.bin.people.csv``, since ``.bin`` files name nobody."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.text_tables import csv_lines
from aroface.errors import InputError
from aroface.files import is_there, read_document, write_text

COLUMNS = ("pair", "fold", "same", "first_person", "second_person", "first", "second")
"""Number of the pair, its fold, its label, and person and image of both sides."""

_EXPECTED = f"a CSV file with the columns {', '.join(COLUMNS)}"
_MOST_BYTES = 256_000_000

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


class PairRow(NamedTuple):
    """One pair: fold from 1 on, label, and person and image of both sides."""

    fold: int
    same: bool
    first_person: str
    second_person: str
    first: str
    second: str


def people_path(data: Path) -> Path:
    """Path of the file of people of a ``.bin`` file, which need not exist."""
    return data.with_name(f"{data.name}.people.csv")


def write_pair_people(data: Path, rows: Sequence[PairRow]) -> None:
    """Write the people of a ``.bin`` file beside it, a row a pair, in its order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((number, row.fold, int(row.same), *row[2:]) for number, row in enumerate(rows))
    write_text(people_path(data), text.getvalue())


def read_pair_people(data: Path, same: Booleans) -> Integers | None:
    """Person in both images of N pairs, (N, 2), numbered from 0; None where nothing beside the file tells.

    Args:
        data: ``.bin`` file; a link is followed.
        same: Labels of its pairs, (N,), true where both images show one person.

    Raises:
        InputError: The file of people is malformed or of other pairs.
    """
    rows = read_pair_rows(data, same)
    if rows is None:
        return None
    people = [(row.first_person, row.second_person) for row in rows]
    names = {name: number for number, name in enumerate(dict.fromkeys(name for pair in people for name in pair))}
    return np.array([[names[first], names[second]] for first, second in people], np.int64).reshape(-1, 2)


def read_pair_rows(data: Path, same: Booleans) -> list[PairRow] | None:
    """People and images of N pairs; None where nothing beside the file tells.

    Args:
        data: ``.bin`` file; a link is followed.
        same: Labels of its pairs, (N,), true where both images show one person.

    Raises:
        InputError: The file of people is malformed or of other pairs.
    """
    path = people_path(data.resolve())
    if not is_there(path):
        return None
    lines = csv_lines(csv.reader(io.StringIO(read_document(path, _EXPECTED, _MOST_BYTES))), path)
    if tuple(next(lines, ())) != COLUMNS:
        raise InputError("the header names other columns", file=path, where="line 1", expected=", ".join(COLUMNS))
    rows: list[PairRow] = []
    for number, fields in enumerate(lines, 2):
        if len(fields) != len(COLUMNS):
            raise InputError(f"{len(fields)} columns", file=path, where=f"line {number}", expected=_EXPECTED)
        label, first, second = fields[2:5]
        if len(rows) < len(same) and (label != str(int(same[len(rows)])) or (first == second) != (label == "1")):
            what = f"a pair labelled {label!r:.20} of {first!r:.40} and {second!r:.40}"
            remedy = f"it is of other pairs: remove it, or make {data.name} again"
            raise InputError(what, file=path, where=f"line {number}", expected=f"pair {len(rows)}", remedy=remedy)
        rows.append(PairRow(int(fields[1]) if fields[1].isdecimal() else 0, label == "1", *fields[3:]))
    if len(rows) != len(same):
        remedy = f"it is of other pairs: remove it, or make {data.name} again"
        raise InputError(f"{len(rows):,} pairs", file=path, expected=f"{len(same):,}", remedy=remedy)
    return rows
