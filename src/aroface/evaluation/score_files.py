"""Score files of any recognition system: lists of comparisons, files of genuine and impostor scores, matrices.

A list is a CSV file, or a text file of columns between tabs or spaces. Its first line names the columns, in any order
and in upper or lower case (:data:`COLUMNS`), or its columns are

- ``score label`` or ``label score``,
- ``person1 person2 score``,
- ``person1 person2 image score``, the four columns of the Bob toolbox,
- ``score`` alone, with a second file for the impostors.

A matrix is an NPY file with a file of labels of its rows (probes) and one of its columns (references), or an NPZ file
with ``scores``, ``rows`` and ``columns``. An NPZ file may as well hold ``genuine`` and ``impostors``, or ``scores``,
``same`` and, if known, ``people`` (N, 2). Labels of a matrix are people.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.text_tables import ColumnKind, Form, blocks, column_places, row_error
from aroface.errors import InputError
from aroface.files import refuse_special
from aroface.omissions import Omissions

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

COLUMNS: Mapping[str, Sequence[str]] = {
    "score": ("SCORE", "SCORES", "SIMILARITY", "DISTANCE"),
    "label": ("LABEL", "SAME", "GENUINE", "MATED", "MATCH", "TARGET"),
    **{
        f"person{side}": (f"PERSON{side}", f"PERSON_{side}", f"ID{side}", f"ID_{side}", f"SUBJECT{side}", f"NAME{side}")
        for side in (1, 2)
    },
    "probe": ("PROBE", "PROBE_IMAGE"),
    "reference": ("REFERENCE", "GALLERY", "REFERENCE_IMAGE"),
    **{f"image{side}": (f"IMAGE{side}", f"IMAGE_{side}", f"PATH{side}", f"FILE{side}") for side in (1, 2)},
}
"""Names that a list may have for each of its columns, in capitals."""

GENUINE = ("genuine", "mated", "same", "match", "target", "client", "positive", "true", "yes", "1", "1.0")
IMPOSTOR = (
    *("impostor", "imposter", "nonmated", "non-mated", "different", "nonmatch", "non-match", "nontarget", "non-target"),
    *("negative", "false", "no", "0", "0.0", "-1"),
)
_SUFFIXES = (".csv", ".tsv", ".txt", ".npz", ".npy")
_EXPECTED = "a list (.csv, .tsv, .txt) or a matrix (.npz, .npy) of scores"
_HEADERLESS: Mapping[int, Sequence[str]] = {
    1: ("score",),
    3: ("person1", "person2", "score"),
    4: ("person1", "person2", "image", "score"),
}


@dataclass(frozen=True, slots=True, eq=False)
class ScoreSet:
    """Comparisons of one system.

    Attributes:
        scores: (N,) scores, larger for more similar faces; those of distances are negated. Not a number where the
            system gave none.
        same: (N,) labels, true for a genuine comparison.
        people: (N, 2) number of the person on each side, or None where nothing names them.
        probes: (N,) number of the probe of each comparison of a search, or None where nothing names them.
        keys: (N,) name of each comparison, by which several systems are matched, or None.
        is_distance: True if the file holds distances.
        matrix: Size of the matrix that they come from, (probes, references); None for a list.
        once: (N,) flags of the comparisons that error rates count: one of each two images, where a symmetric matrix
            compares them twice. None: all.
    """

    scores: Floats
    same: Booleans
    people: Integers | None = None
    probes: Integers | None = None
    keys: NDArray[Any] | None = None
    is_distance: bool = False
    matrix: tuple[int, int] | None = None
    once: Booleans | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: NDArray[Any]) -> ScoreSet:
        """The comparisons of these rows, by number or flag."""
        chosen: dict[str, Any] = {
            name: each[rows]
            for name in ("scores", "same", "people", "probes", "keys", "once")
            if (each := getattr(self, name)) is not None
        }
        return replace(self, **chosen)


@dataclass(frozen=True, slots=True)
class ScoreSource:
    """Files of one system.

    Attributes:
        scores: Path of the scores; with ``impostors`` those of genuine comparisons.
        impostors: Path of the scores of impostor comparisons, where they have a file of their own.
        rows: Path of the labels of a matrix's rows.
        columns: Path of the labels of its columns; None: those of the rows.
        is_distance: True for scores that are smaller for more similar faces.
    """

    scores: Path
    impostors: Path | None = None
    rows: Path | None = None
    columns: Path | None = None
    is_distance: bool = False


def read_scores(source: ScoreSource) -> ScoreSet:
    """Read the comparisons of one system.

    Raises:
        InputError: A file is missing or malformed, a label is none, or comparisons are of one kind only.
    """
    path = source.scores
    for file in (path, source.impostors, source.rows, source.columns):
        if file is not None:
            refuse_special(file)
            if not file.is_file():
                what = "a folder" if file.is_dir() else "no such file"
                raise InputError(what, file=file, expected=_EXPECTED if file == path else None)
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"a file {path.suffix or 'without suffix'}", file=path, expected=_EXPECTED)
    if source.rows is not None and path.suffix.lower() != ".npy":
        raise InputError("--rows is for a matrix of its own", file=path, expected="an .npy file, or no --rows")
    if source.impostors is not None:
        found = _two_lists(_only_scores(path), _only_scores(source.impostors))
    elif path.suffix.lower() == ".npy":
        found = _npy(source)
    elif path.suffix.lower() == ".npz":
        found = _npz(path)
    else:
        found = _read_list(path)
    found = replace(found, is_distance=found.is_distance or source.is_distance)
    scores = np.where(np.isfinite(found.scores), -found.scores if found.is_distance else found.scores, np.nan)
    if found.same.all() or not found.same.any():
        kind = "genuine" if found.same.any() else "impostor"
        raise InputError(f"all {len(found):,} comparisons are {kind} ones", file=path, expected="both kinds")
    return replace(found, scores=scores)


def _read_list(path: Path) -> ScoreSet:
    columns = _columns(path)
    if "score" not in columns:
        raise InputError(f"columns {', '.join(columns)}", file=path, expected="one of them named score")
    named = "person1" in columns and "person2" in columns
    if "label" not in columns and not named:
        raise InputError(
            f"only {', '.join(columns)}",
            file=path,
            expected="a column label (genuine, impostor), or person1 and person2",
            remedy="scores of impostors in another file are named with --impostors",
        )
    people = None if not named else np.stack(_numbered(columns["person1"], columns["person2"]), axis=1)
    same = None if people is None else people[:, 0] == people[:, 1]
    if "label" in columns:
        labels = _labels(columns["label"], path)
        if same is not None and (labels != same).any():
            row = int((labels != same).argmax())
            told = "genuine" if labels[row] else "impostor"
            raise _row_error(path, row, f"{told}, but of {'one person' if same[row] else 'two people'}")
        same = labels
    assert same is not None
    sides = next((pair for pair in (("probe", "reference"), ("image1", "image2")) if {*pair} <= columns.keys()), None)
    keys = None if sides is None else np.array([f"{a}\t{b}" for a, b in zip(*map(columns.get, sides), strict=True)])
    probes = _numbered(columns["probe"])[0] if "probe" in columns else None
    return ScoreSet(_numbers(columns["score"], path), same, people, probes, keys, "distance" in columns)


def _columns(path: Path) -> dict[str, NDArray[Any]]:
    """Columns of a list by their name among :data:`COLUMNS`; an empty one named ``distance`` where that is its name."""
    with open(path, "rb") as file:
        line = file.readline().decode("utf-8-sig", errors="replace")
    commas = "," in line
    fields = [field.strip().strip('"') for field in (line.split(",") if commas else line.split())]
    places = column_places(fields, COLUMNS)
    header = bool(places) and not any(map(_is_number, fields))
    if header:
        names = fields
        for name in fields:
            if fields.count(name) > 1 and fields.index(name) in places.values():
                raise InputError(
                    f"{fields.count(name)} columns {name!r:.60}", file=path, where="line 1", expected="one"
                )
    elif len(fields) == 2:
        places, names = {"score": 0, "label": 1}, ["score", "label"]
    elif len(fields) in _HEADERLESS:
        names = [*_HEADERLESS[len(fields)]]
        places = {name: place for place, name in enumerate(names)}
    else:
        raise InputError(
            f"{len(fields)} columns without names", file=path, where="line 1", expected="a line of names, such as score"
        )
    kinds: list[ColumnKind] = ["text" if place in places.values() else "any" for place in range(len(names))]
    form = Form(tuple((name or "column", kind) for name, kind in zip(names, kinds, strict=True)), commas, header)
    parts: list[list[NDArray[Any]]] = [[] for _ in places]
    for before, block in blocks(path, form):
        for part, place in zip(parts, places.values(), strict=True):
            values = block[place].astype(str)
            odd = np.char.count(values, '"') % 2 == 1
            if odd.any():
                row = int(odd.argmax())
                raise row_error(path, form, before + row, f"a quote in {str(values[row])!r:.60} is not closed")
            part.append(np.char.strip(values, ' "\t\r'))
    columns = {name: np.concatenate(part) for name, part in zip(places, parts, strict=True)}
    if not header and len(fields) == 2 and _is_label(columns["score"]) and not _is_label(columns["label"]):
        columns = {"score": columns["label"], "label": columns["score"]}
    if header and fields[places.get("score", 0)].upper() == "DISTANCE":
        columns["distance"] = np.empty(0)
    return columns


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_label(column: NDArray[Any]) -> bool:
    return bool(np.isin(np.char.lower(np.unique(column)), (*GENUINE, *IMPOSTOR)).all())


def _labels(column: NDArray[Any], path: Path) -> Booleans:
    words, numbers = np.unique(column, return_inverse=True)
    lower = np.char.lower(words)
    genuine, impostor = np.isin(lower, GENUINE), np.isin(lower, IMPOSTOR)
    unknown = ~(genuine | impostor)
    if unknown.any():
        row = int(unknown[numbers].argmax())
        expected = "genuine or impostor, 1 or 0, true or false"
        raise _row_error(path, row, f"label is {str(column[row])!r:.60}", expected=expected)
    return np.asarray(genuine[numbers])


def _numbers(column: NDArray[Any], path: Path) -> Floats:
    try:
        return column.astype(np.float64)
    except ValueError:
        row = next(row for row, text in enumerate(column) if not _is_number(text))
        raise _row_error(path, row, f"score is {str(column[row])!r:.60}", expected="a number") from None


def _row_error(path: Path, row: int, what: str, **more: Any) -> InputError:
    """An error that names the line of a row of a list."""
    with open(path, "rb") as file:
        line = file.readline().decode("utf-8-sig", errors="replace")
    fields = [field.strip().strip('"') for field in (line.split(",") if "," in line else line.split())]
    header = bool(column_places(fields, COLUMNS)) and not any(map(_is_number, fields))
    return row_error(path, Form((), header=header), row, what, **more)


def _numbered(*columns: NDArray[Any]) -> list[Integers]:
    """Numbers of the names in columns, the same for one name in any of them."""
    _, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    return np.split(numbers.astype(np.int64), len(columns))


def _only_scores(path: Path) -> Floats:
    """Scores of a file that holds nothing else."""
    if path.suffix.lower() == ".npy":
        array = _array(path)
        if array.ndim != 1:
            raise InputError(f"an array {array.shape}", file=path, expected="a list (N,) of scores of one kind")
        return _real(array, path)
    if path.suffix.lower() == ".npz":
        raise InputError("an archive", file=path, expected="a list of scores of one kind")
    columns = _columns(path)
    if "score" not in columns:
        raise InputError(f"columns {', '.join(columns)}", file=path, expected="a column score")
    telling = next((name for name in ("label", "person1") if name in columns), None)
    if telling is not None:
        what = f"a column {telling}, which tells genuine from impostor"
        raise InputError(what, file=path, expected="scores of one kind alone", remedy="leave out --impostors")
    return _numbers(columns["score"], path)


def _two_lists(genuine: Floats, impostors: Floats) -> ScoreSet:
    return ScoreSet(np.concatenate([genuine, impostors]), np.arange(len(genuine) + len(impostors)) < len(genuine))


def _npy(source: ScoreSource) -> ScoreSet:
    if source.rows is None:
        raise InputError("no labels of its rows", file=source.scores, remedy="name their file: --rows FILE")
    rows = _label_file(source.rows)
    columns = None if source.columns is None else _label_file(source.columns)
    return _from_matrix(_array(source.scores), rows, columns, source.scores)


def _npz(path: Path) -> ScoreSet:
    arrays = _archive(path)
    if {"genuine", "impostors"} <= arrays.keys():
        return _two_lists(*(_real(arrays[name].ravel(), path) for name in ("genuine", "impostors")))
    if {"scores", "rows"} <= arrays.keys():
        return _from_matrix(arrays["scores"], arrays["rows"], arrays.get("columns"), path)
    if {"scores", "same"} <= arrays.keys():
        scores, same = _real(arrays["scores"], path), arrays["same"]
        named = arrays.get("people")
        flat = scores.shape == same.shape == (scores.size,)
        if not flat or (named is not None and named.shape != (scores.size, 2)):
            raise InputError("arrays of different lengths", file=path, expected="scores and same (N,), people (N, 2)")
        people = None if named is None else _numbered(named.ravel())[0].reshape(-1, 2)
        return ScoreSet(scores, same.astype(np.bool_), people)
    expected = "scores, rows and columns; or scores and same; or genuine and impostors"
    raise InputError(f"arrays {', '.join(arrays) or 'none'}", file=path, expected=expected)


def _from_matrix(values: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any] | None, path: Path) -> ScoreSet:
    """Comparisons of a matrix; of one that compares images with themselves without the diagonal.

    Where such a matrix is symmetric each two images are compared once for the error rates; a search takes both.
    """
    itself = columns is None
    columns = rows if columns is None else columns
    if values.ndim != 2 or values.shape != (len(rows), len(columns)):
        size = " × ".join(map(str, values.shape))
        raise InputError(f"scores {size}", file=path, expected=f"{len(rows)} × {len(columns)}, as there are labels")
    scores = _real(values, path)
    one, other = _numbered(rows.ravel(), columns.ravel()) if itself else _sides(rows, columns)
    people = np.stack([np.repeat(one, len(other)), np.tile(other, len(one))], axis=1)
    probes = np.repeat(np.arange(len(one)), len(other))
    same = people[:, 0] == people[:, 1]
    symmetric = itself and np.allclose(scores, scores.T, rtol=1e-5, atol=1e-8, equal_nan=True)
    once = np.triu(np.ones(scores.shape, np.bool_)).ravel() if symmetric else None
    found = ScoreSet(scores.ravel(), same, people, probes, matrix=(len(one), len(other)), once=once)
    return found.take(~np.eye(len(rows), dtype=np.bool_).ravel()) if itself else found


def _sides(rows: NDArray[Any], columns: NDArray[Any]) -> tuple[Integers, Integers]:
    numbers = _numbered(np.concatenate([rows.ravel().astype(str), columns.ravel().astype(str)]))[0]
    return numbers[: len(rows)], numbers[len(rows) :]


def _label_file(path: Path) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        return _array(path)
    return np.concatenate([block[0] for _, block in blocks(path, Form((("label", "text"),), commas=True))]).astype(str)


def _array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"cannot be read ({error})", file=path, expected="an array of NumPy") from None
    if not isinstance(array, np.ndarray):
        raise InputError("an archive", file=path, expected="one array of NumPy")
    return array


def _archive(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot be read ({error})", file=path, expected="an archive of NumPy (.npz)") from None


def _real(values: NDArray[Any], path: Path) -> Floats:
    if values.dtype.kind not in "fiu":
        raise InputError(f"scores of the type {values.dtype}", file=path, expected="numbers")
    return values.astype(np.float64)


def with_common_comparisons(sets: Mapping[str, ScoreSet], omissions: Omissions) -> dict[str, ScoreSet]:
    """The comparisons that every system has a score for, in one order.

    Comparisons are matched by the names of their two images where all files have such; else they must be the same,
    kind by kind, in the same order.

    Args:
        sets: Comparisons by the name of the system.
        omissions: Account of what is left out.

    Raises:
        InputError: The systems were not compared on the same.
    """
    if len(sets) > 1:
        sets = _matched(sets, omissions)
    if not all(map(len, sets.values())):
        raise InputError("no comparison that all systems have", where="--scores")
    scored = np.all([np.isfinite(each.scores) for each in sets.values()], axis=0)
    for name, each in sets.items():
        for row in np.flatnonzero(np.isnan(each.scores)):
            omissions.add("comparison without a score", f"{name}, number {row + 1}")
    chosen = {name: each.take(scored) for name, each in sets.items()} if not scored.all() else dict(sets)
    for name, each in chosen.items():
        if each.same.all() or not each.same.any():
            raise InputError("no comparisons of one kind that every system has a score for", where=name)
    return chosen


def _in_one_order(
    sets: Mapping[str, ScoreSet], keys: Mapping[str, list[str]], omissions: Omissions
) -> dict[str, ScoreSet]:
    """The comparisons that all systems name, in the order of the first."""
    places = {}
    for name, own in keys.items():
        places[name] = {key: row for row, key in enumerate(own)}
        if len(places[name]) < len(own):
            twice = next(key for row, key in enumerate(own) if places[name][key] != row).replace("\t", " and ")
            raise InputError(f"{twice} are compared twice", where=name, expected="each two images once")
    common = set.intersection(*({*own} for own in keys.values()))
    for name, own in keys.items():
        lacking = (key.replace("\t", " and ") for key in own if key not in common)
        omissions.extend(f"comparison of {name} that another system lacks", lacking)
    kept = [key for key in next(iter(keys.values())) if key in common]
    return {name: each.take(np.array([places[name][key] for key in kept], np.int64)) for name, each in sets.items()}


def _matched(sets: Mapping[str, ScoreSet], omissions: Omissions) -> dict[str, ScoreSet]:
    keys = {name: each.keys.tolist() for name, each in sets.items() if each.keys is not None}
    if len(keys) == len(sets):
        sets = _in_one_order(sets, keys, omissions)
    (first, one), *others = sets.items()
    for name, other in others:
        if len(other) != len(one) or (other.same != one.same).any():
            raise InputError(
                f"the comparisons of {name} are others than those of {first}",
                where="--scores",
                expected="the same ones in the same order, or columns image1 and image2 to match them by",
            )
    # What one file tells of a comparison, it tells of the same one in all.
    shared: dict[str, Any] = {
        field: next((known for each in sets.values() if (known := getattr(each, field)) is not None), None)
        for field in ("people", "probes", "once")
    }
    return {name: replace(each, **shared) for name, each in sets.items()}
