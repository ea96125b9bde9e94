"""Lists of labelled pairs: CSV and other tables of two paths and a label, and LFW's ``pairs.txt``."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aroface.datasets.formats.checks import FOLDS
from aroface.datasets.formats.text_tables import column_places, csv_lines
from aroface.errors import InputError
from aroface.files import read_document

_EXPECTED = (
    "a table with the columns image1, image2 and same (fold, person1 and person2 may be there), two paths and a label"
    " a line, or LFW's pairs.txt"
)
_MOST_BYTES = 256_000_000

_NAMES: Mapping[str, Sequence[str]] = {
    "first": ("IMAGE1", "PATH1", "FILE1", "FIRST", "IMG1", "IMAGE_1", "PATH_1", "FILE_1"),
    "second": ("IMAGE2", "PATH2", "FILE2", "SECOND", "IMG2", "IMAGE_2", "PATH_2", "FILE_2"),
    "same": ("SAME", "LABEL", "ISSAME", "IS_SAME", "GENUINE", "MATCH"),
    "fold": ("FOLD",),
    "first_person": ("PERSON1", "IDENTITY1", "SUBJECT1", "ID1", "FIRST_PERSON"),
    "second_person": ("PERSON2", "IDENTITY2", "SUBJECT2", "ID2", "SECOND_PERSON"),
}
_LABELS = {
    **dict.fromkeys(("1", "true", "same", "genuine", "match", "mated", "yes"), True),
    **dict.fromkeys(("0", "-1", "false", "different", "impostor", "nonmatch", "non-match", "nonmated", "no"), False),
}
_LABEL_WORDS = "same or different, 1 or 0, true or false, genuine or impostor"


@dataclass(frozen=True, slots=True)
class ListedPair:
    """A pair of a list.

    Attributes:
        first: Path of the first image.
        second: Path of the second image.
        same: Label, true where both show one person.
        line: Number of the line.
        fold: Name of the fold, where the list has folds.
        people: Names of the people on both sides, where the list has them.
    """

    first: Path
    second: Path
    same: bool
    line: int
    fold: str | None = None
    people: tuple[str, str] | None = None


def read_pair_list(path: Path, images: Path) -> list[ListedPair]:
    """Read a list of pairs; images need not exist.

    Commas, semicolons, tabs or blanks stand between the columns. Without a header the first three columns are two paths
    and a label. A first line of numbers alone is LFW's: ``name 1 4`` and ``name 1 other 2`` follow. A list of such
    lines alone, as RFW's, has the ten folds of its order where each tenth holds as many genuine as impostor pairs.

    Args:
        path: File of the list.
        images: Folder that paths are relative to.

    Raises:
        InputError: The file is missing or no such list, or a label contradicts the people's names.
    """
    lines = _lines(path)
    if not lines:
        raise InputError("the list is empty", file=path, expected=_EXPECTED)
    first = lines[0][1]
    if len(first) <= 2 and all(field.isdigit() for field in first):
        pairs = _lfw_pairs(lines, path, images)
    elif _is_headless(lines):
        pairs = _headless_pairs(lines, images)
    else:
        pairs = _table_pairs(lines, path, images)
    if not pairs:
        raise InputError("the list holds no pair", file=path, expected=_EXPECTED)
    return pairs


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Fields of each line that is not empty, with the line's number."""
    text = read_document(path, _EXPECTED, _MOST_BYTES).removeprefix("\ufeff")
    rows = text.splitlines()
    begin = next((row for row in rows if row.strip()), "")
    delimiter = next((mark for mark in "\t,;" if mark in begin), None)
    if delimiter is None:
        fields = [row.split() for row in rows]
    else:
        fields = list(csv_lines(csv.reader(rows, delimiter=delimiter, strict=True), path))
        if len(fields) != len(rows):
            raise InputError("a field with a line break", file=path, expected=_EXPECTED)
    stripped = [[field.strip() for field in row] for row in fields]
    return [(number, row) for number, row in enumerate(stripped, 1) if any(row)]


def _table_pairs(lines: Sequence[tuple[int, list[str]]], path: Path, images: Path) -> list[ListedPair]:
    places = column_places(lines[0][1], _NAMES)
    if {"first", "second", "same"} <= places.keys():
        lines = lines[1:]
    elif len(lines[0][1]) >= 3 and lines[0][1][2].lower() in _LABELS:
        places = {"first": 0, "second": 1, "same": 2}
    else:
        raise InputError(f"the first line is {' '.join(lines[0][1])!r:.80}", file=path, expected=_EXPECTED)
    if ("first_person" in places) != ("second_person" in places):
        raise InputError("the people of one side only", file=path, where="line 1", expected="person1 and person2")
    return [_table_pair(row, places, path, number, images) for number, row in lines]


def _table_pair(row: Sequence[str], places: Mapping[str, int], path: Path, line: int, images: Path) -> ListedPair:
    where = f"line {line}"
    if len(row) <= max(places.values()):
        raise InputError(f"{len(row)} columns", file=path, where=where, expected=f"{max(places.values()) + 1} or more")
    values = {name: row[place] for name, place in places.items()}
    empty = next((name for name, value in values.items() if not value), None)
    if empty is not None:
        raise InputError(f"nothing in column {places[empty] + 1}", file=path, where=where, expected=_EXPECTED)
    same = _LABELS.get(values["same"].lower())
    if same is None:
        raise InputError(f"the label {values['same']!r:.40}", file=path, where=where, expected=_LABEL_WORDS)
    people = (values["first_person"], values["second_person"]) if "first_person" in values else None
    if people is not None and (people[0] == people[1]) != same:
        what = f"a {'genuine' if same else 'different'} pair of {people[0]!r:.40} and {people[1]!r:.40}"
        raise InputError(what, file=path, where=where, remedy="correct the label or the names")
    first, second = (Path(os.path.normpath(images / values[side])) for side in ("first", "second"))
    return ListedPair(first, second, same, line, values.get("fold"), people)


def _lfw_pairs(lines: Sequence[tuple[int, list[str]]], path: Path, images: Path) -> list[ListedPair]:
    """Pairs of LFW's list: the header has the number of folds, 1 if left out, and that of pairs of a kind in each."""
    header = [int(field) for field in lines[0][1]]
    folds, half = header if len(header) == 2 else (1, header[0])
    if len(lines) - 1 != 2 * folds * half:
        expected = f"{2 * folds * half:,}, as its first line says"
        raise InputError(f"{len(lines) - 1:,} pairs", file=path, expected=expected)
    image_of = _lfw_images(images)
    pairs = []
    for place, (number, row) in enumerate(lines[1:]):
        fold = str(place // (2 * half) + 1) if folds > 1 else None
        if len(row) not in (3, 4) or not row[1].isdigit() or not row[-1].isdigit():
            what = f"a line {' '.join(row)!r:.80}"
            expected = "NAME 1 4, or NAME 1 OTHER 2"
            raise InputError(what, file=path, where=f"line {number}", expected=expected)
        people = (row[0], row[0] if len(row) == 3 else row[2])
        first, second = image_of(people[0], int(row[1])), image_of(people[1], int(row[-1]))
        pairs.append(ListedPair(first, second, people[0] == people[1], number, fold, people))
    return pairs


def _is_headless(lines: Sequence[tuple[int, list[str]]]) -> bool:
    """Tell whether every line is one of LFW's, of both kinds."""

    def fits(row: Sequence[str]) -> bool:
        return len(row) in (3, 4) and row[1].isdigit() and row[-1].isdigit() and not row[0].isdigit()

    return {len(row) for _, row in lines} == {3, 4} and all(fits(row) for _, row in lines)


def _headless_pairs(lines: Sequence[tuple[int, list[str]]], images: Path) -> list[ListedPair]:
    image_of = _lfw_images(images)
    size = len(lines) // FOLDS
    halves = [
        sum(len(row) == 3 for _, row in lines[begin : begin + size]) for begin in range(0, FOLDS * size, size or 1)
    ]
    listed = len(lines) == FOLDS * size and all(2 * half == size for half in halves)
    pairs = []
    for place, (number, row) in enumerate(lines):
        people = (row[0], row[0] if len(row) == 3 else row[2])
        first, second = image_of(people[0], int(row[1])), image_of(people[1], int(row[-1]))
        fold = str(place // size + 1) if listed else None
        pairs.append(ListedPair(first, second, people[0] == people[1], number, fold, people))
    return pairs


def _lfw_images(images: Path) -> Callable[[str, int], Path]:
    """Function from a person and a number to the image ``person/person_0001`` with whatever ending it has."""

    @cache
    def image_of(person: str, number: int) -> Path:
        stem = f"{person}_{number:04}"
        found = sorted((images / person).glob(f"{glob.escape(stem)}.*"))
        return found[0] if found else images / person / f"{stem}.jpg"

    return image_of
