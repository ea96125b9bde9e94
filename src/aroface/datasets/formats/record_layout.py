"""Files of a record set as different tools write them: parts, index, property, lists of images, landmarks.

==================  ==============================================================================================
InsightFace         ``train.rec``, ``train.idx`` with header record and identities' records, ``property``
MXNet's im2rec      ``train.rec``, ``train.idx``, ``train.lst``; with ``--chunks`` ``train_0.rec``, ``train_0.lst``, …
CVLface             ``train.rec``, ``train.idx``, ``train.tsv``, ``ldmk_5points.csv``; keys from 0
==================  ==============================================================================================

Without ``property`` the number of identities comes from the header record, else from the list, else from the records'
own labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.retrying_reads import retrying
from aroface.errors import InputError

RECORDS, INDEX, PROPERTY = "train.rec", "train.idx", "property"
LIST_ENDINGS = (".lst", ".tsv")
LANDMARKS = "ldmk_5points.csv"

_STEM = "train"
_PART = re.compile(r"train[._-]?(\d{1,6})\.rec")
_COLUMNS = {".lst": (0, 1), ".tsv": (0, 2)}  # key and label
_FORMS = {".lst": "lines of key, tab, label, tab, path", ".tsv": "lines of key, tab, path, tab, label"}

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """Files of a record set.

    Attributes:
        folder: Folder of the set.
        stems: Names of the record files without their ending, in order.
        has_property: True if there is a ``property`` file.
        lists: Name of the list of images of each part; None where a part has none.
        landmarks: Name of the table of landmarks; None where there is none.
    """

    folder: Path
    stems: tuple[str, ...]
    has_property: bool
    lists: tuple[str | None, ...]
    landmarks: str | None

    @property
    def files(self) -> list[str]:
        """Names of the files that decide labels and images: records, indices, ``property`` or else the lists."""
        records = [f"{stem}{ending}" for stem in self.stems for ending in (".rec", ".idx")]
        others = [PROPERTY] if self.has_property else [name for name in dict.fromkeys(self.lists) if name is not None]
        return [*records, *others]


def find_layout(folder: Path) -> RecordLayout | None:
    """Files of the record set in a folder; None if it holds no records.

    Raises:
        InputError: A part is missing between others.
    """
    stems = (_STEM,) if (folder / RECORDS).exists() else _numbered(folder)
    if not stems:
        return None
    lists = tuple(_list_of(folder, stem) or _list_of(folder, _STEM) for stem in stems)
    landmarks = LANDMARKS if (folder / LANDMARKS).is_file() else None
    return RecordLayout(folder, stems, (folder / PROPERTY).exists(), lists, landmarks)


def read_list(path: Path) -> tuple[Int64, Float64]:
    """Keys, int64 (N,), and labels, float64 (N,), of a list of images; of several labels the first is the class.

    Args:
        path: ``.lst`` file of im2rec (key, label or labels, path) or ``.tsv`` file of CVLface (key, path, label).

    Raises:
        InputError: The file is missing or malformed, a key occurs twice, or a label is no class.
    """
    form = _FORMS[path.suffix]

    def read() -> Float64:
        columns = _COLUMNS[path.suffix]
        return np.loadtxt(path, np.float64, delimiter="\t", usecols=columns, ndmin=2, comments=None, encoding="latin-1")

    if retrying(path.stat, path).st_size == 0:
        raise InputError("the list is empty", file=path, expected=form)
    try:
        table = retrying(read, path)
    except (ValueError, OverflowError) as error:
        raise InputError(str(error).split(";")[0], file=path, expected=form) from None
    with np.errstate(invalid="ignore"):
        keys, labels = table[:, 0].astype(np.int64), table[:, 1].copy()
        wrong = ~np.isfinite(table).all(axis=1) | (table != np.floor(table)).any(axis=1) | (table < 0).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        what = f"key {table[row, 0]:g}, label {table[row, 1]:g}"
        raise InputError(what, file=path, where=f"row {row + 1}", expected=f"{form}: whole numbers from 0")
    ordered = np.sort(keys)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise InputError(f"the key {ordered[twice[0]]} occurs twice", file=path)
    return keys, labels


def _numbered(folder: Path) -> tuple[str, ...]:
    """Stems of numbered parts in order of their numbers."""
    if not folder.is_dir():
        return ()
    matches = [match for path in folder.glob(f"{_STEM}*.rec") if (match := _PART.fullmatch(path.name))]
    parts = {int(match[1]): match[0] for match in sorted(matches, key=lambda match: match[0])}
    if not parts:
        return ()
    if len(parts) < len(matches):
        raise InputError("two parts have one number", file=folder, expected=f"one {_STEM}_N.rec a number")
    numbers = sorted(parts)
    gap = next((number for number in range(min(numbers[0], 1), numbers[-1]) if number not in parts), None)
    if gap is not None:
        what = f"part {gap} is missing between {len(parts)} parts numbered {numbers[0]} to {numbers[-1]}"
        raise InputError(what, file=folder, expected="parts numbered without a gap from 0 or 1")
    return tuple(Path(parts[number]).stem for number in numbers)


def _list_of(folder: Path, stem: str) -> str | None:
    return next((f"{stem}{ending}" for ending in LIST_ENDINGS if (folder / f"{stem}{ending}").is_file()), None)
