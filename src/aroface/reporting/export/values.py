r"""Single numbers for the text of a paper: the cells of all tables by their addresses, as ``\aroval`` takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from pathlib import Path

from aroface.errors import InputError
from aroface.files import if_there
from aroface.reporting.records import Record, RecordedExperiment
from aroface.reporting.rounding import percent, rounded
from aroface.reporting.statistics.intervals import SeedInterval, estimate, on_this_benchmark
from aroface.reporting.statistics.samples import Sample, difference
from aroface.reporting.tables.cells import Line, lines, measure
from aroface.reporting.tables.latex import environment
from aroface.reporting.tables.spec import EMPTY, Column, Spec
from aroface.shipped import PACKAGE

MACROS = ("aroval", "arovalunit", "arovalpm")
"""Macros that print a number, with the address as their argument."""
DECIMALS = range(4)
"""Numbers of decimals that a suffix can ask for."""
STYLE = PACKAGE / "_templates" / "aroface-values.sty"
"""Definition of these macros."""

_ONLY_TEX = re.compile(r"[\\#{}]")
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*")
_USE = re.compile(rf"\\(?:{'|'.join(sorted(MACROS, key=len, reverse=True))})\s*\{{((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}")
_INPUT = re.compile(r"\\(?:input|include)\s*\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class CellFields:
    r"""The numbers of one cell.

    Attributes:
        address: ``table/row/column``, as ``aroface explain`` takes it.
        fields: Numbers by suffix, with ASCII signs: the empty one has the reproduced value, ``:sd``, ``:interval``
            (95 % interval on this benchmark, Student's t over seeds), ``:seeds``, ``:0`` to ``:3`` (decimals),
            ``:reported`` and ``:difference`` (reproduced minus reported) the rest; what there is not is left out.
    """

    address: str
    fields: Mapping[str, str]


def cell_fields(
    spec: Spec,
    records: Sequence[Record],
    experiments: Iterable[RecordedExperiment] | None = None,
    labels: Mapping[str, str] = EMPTY,
) -> Iterator[CellFields]:
    """The numbers of all cells of a table, row by row; a cell without any is left out.

    Args:
        spec: Table.
        records: All records that count.
        experiments: Experiments of the configuration; None takes those that have records.
        labels: Printed names of methods and data sets.

    Raises:
        InputError: Records that are ambiguous, or lack a metric.
    """
    table = lines(spec, records, experiments, labels)
    for line in table:
        for column in spec.columns:
            fields = {**_reproduced(spec, table, line, column, records), **_reported(line, column)}
            if "" in fields and ":reported" in fields:
                gap = Decimal(fields[""]) - Decimal(fields[":reported"])
                fields[":difference"] = rounded(gap, column.decimals, signed=True)
            if fields:
                yield CellFields(address(spec.name, line.row.key, column.id), fields)


def address(table: str, row: str, column: str) -> str:
    """Address of a cell, with a hyphen where a row's name has a minus sign."""
    return f"{table}/{row}/{column}".replace("−", "-")


def values_text(cells: Iterable[CellFields], header: Sequence[str] = ()) -> str:
    r"""The file ``aroface-values.tex``, which defines the numbers for ``\aroval``.

    Args:
        cells: Numbers by address.
        header: Lines of comment before all.

    Raises:
        InputError: Two addresses differ only in what LaTeX drops.
    """
    known: dict[str, CellFields] = {}
    for cell in cells:
        if known.setdefault(canonical(cell.address), cell) is not cell:
            raise InputError("two cells have one address", where=cell.address, remedy="rename a row of the table")
    template = environment().get_template("aroface-values.tex.j2")
    return template.render(
        header=header,
        cells=[
            {
                "address": written(cell.address),
                "fields": "".join(f"{{{suffix}}}{{{_digits(value)}}}" for suffix, value in cell.fields.items()),
            }
            for cell in known.values()
        ],
    )


def canonical(text: str) -> str:
    """An address as addresses are compared: without what only TeX needs, such as a backslash before a per cent sign."""
    return " ".join(_ONLY_TEX.sub("", text).split())


def written(text: str) -> str:
    """An address as LaTeX reads it: a per cent sign would begin a comment."""
    return _ONLY_TEX.sub("", text).replace("%", r"\%")


@dataclass(frozen=True, slots=True)
class UnknownAddress:
    """An address in a paper that no cell has.

    Attributes:
        file: File that has it.
        line: Number of its line, from 1.
        address: Address as it is written.
        nearest: Nearest address that there is; None without any.
    """

    file: Path
    line: int
    address: str
    nearest: str | None

    def __str__(self) -> str:
        remedy = f"; the nearest is {self.nearest!r}" if self.nearest else "; no table has a number"
        return f"{self.file}: line {self.line}: no value {self.address!r}{remedy}"


def check_paper(paper: Path, cells: Iterable[CellFields]) -> tuple[int, list[UnknownAddress]]:
    r"""Look up the address of every ``\aroval`` of a paper, and of the files that it reads by ``\input``.

    Args:
        paper: LaTeX file.
        cells: Numbers by address.

    Returns:
        Number of addresses that were looked up, and those that are unknown.

    Raises:
        InputError: The file is missing, or is no UTF-8.
    """
    known = {canonical(cell.address + suffix) for cell in cells for suffix in cell.fields}
    uses = list(_uses(paper, paper.parent, set()))
    unknown = [
        UnknownAddress(file, line, text, nearest(canonical(text), known))
        for file, line, text in uses
        if canonical(text) not in known
    ]
    return len(uses), unknown


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The text of those known that is most alike; None without any."""
    matcher = SequenceMatcher(b=text, autojunk=False)

    def likeness(other: str) -> float:
        matcher.set_seq1(other)
        return matcher.ratio()

    return max(sorted(known), key=likeness, default=None)


def _uses(file: Path, folder: Path, seen: set[Path]) -> Iterator[tuple[Path, int, str]]:
    """File, line and address of each use, in the order in which LaTeX reads them."""
    if file.resolve() in seen:
        return
    seen.add(file.resolve())
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("no such file", file=file) from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8", file=file, remedy="save it as UTF-8") from None
    text = "\n".join(_COMMENT.sub(r"\1", line) for line in text.splitlines())
    found = [(match.start(), match) for pattern in (_USE, _INPUT) for match in pattern.finditer(text)]
    for start, match in sorted(found, key=lambda each: each[0]):
        if match.re is _USE:
            yield from ((file, text.count("\n", 0, start) + 1, use) for use in _asked(match))
            continue
        read = folder / match[1].strip()
        for path in (read, read.with_name(f"{read.name}.tex")):
            if path.name != "aroface-values.tex" and if_there(path.is_file):
                yield from _uses(path, folder, seen)
                break


def _asked(match: re.Match[str]) -> list[str]:
    """Addresses that one use looks up: with a standard deviation there are two."""
    return [match[1], f"{match[1]}:sd"] if match[0].startswith(r"\arovalpm") else [match[1]]


def _reproduced(
    spec: Spec, table: Sequence[Line], line: Line, column: Column, records: Sequence[Record]
) -> dict[str, str]:
    signed = line.row.difference is not None
    sample = _sample(spec, table, line, column, records)
    estimated = estimate(sample.values)
    if estimated is None:
        return {}
    fields = {"": percent(estimated.mean, column.decimals, signed=signed)}
    if estimated.sd is not None:
        fields[":sd"] = percent(estimated.sd, column.decimals)
    interval = on_this_benchmark(sample)
    if interval is not None and (ends := _ends(interval, column)):
        fields[":interval"] = ends
    fields[":seeds"] = str(estimated.n)
    return fields | {f":{places}": percent(estimated.mean, places, signed=signed) for places in DECIMALS}


def _sample(spec: Spec, table: Sequence[Line], line: Line, column: Column, records: Sequence[Record]) -> Sample:
    if line.row.difference is None:
        if line.experiment is None:
            return Sample({})
        return measure(spec, column, line.experiment, records, line.row.quality).sample
    of, minus = (
        _sample(spec, table, side, column, records)
        for name in line.row.difference
        for side in table
        if side.row.id == name
    )
    return difference(of, minus)


def _ends(interval: SeedInterval, column: Column) -> str | None:
    if interval.low is None or interval.high is None:
        return None
    return f"[{percent(interval.low, column.decimals)}, {percent(interval.high, column.decimals)}]"


def _reported(line: Line, column: Column) -> dict[str, str]:
    known = line.row.known(column.id)
    if not known:
        return {}
    digits = known if isinstance(known, str) else known.digits
    if column.reported_digits == "column":
        digits = rounded(Decimal(digits), column.decimals)
    return {":reported": digits}


def _digits(value: str) -> str:
    r"""Digits with signs as long as text has them; ``\arominus`` is a hyphen in titles of bookmarks."""
    return value.replace("-", r"\arominus ")
