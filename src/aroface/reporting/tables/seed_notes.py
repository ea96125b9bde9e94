"""Notes of a table on its seeds: their number for each row, and significant differences of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aroface.evaluation.statistics.multiplicity import holm
from aroface.reporting.statistics.intervals import best_interval
from aroface.reporting.statistics.multiplicity import SIGNIFICANT, Judge
from aroface.reporting.statistics.samples import difference
from aroface.reporting.tables.cells import CellValues, Line
from aroface.reporting.tables.grid import Cell, GridRow, on_one_line
from aroface.reporting.tables.spec import Spec
from aroface.reporting.text import with_percent_signs

Measured = Mapping[tuple[str, str], CellValues]


def header() -> str:
    """Heading of the column of numbers of seeds."""
    return "Seeds"


def seeds_of(cells: Sequence[Cell]) -> str:
    """The number of seeds of a row as it is printed: `3`, `1–3` where its cells differ, nothing where it has none."""
    counts = sorted({cell.seeds for cell in cells if cell.seeds})
    if len(counts) > 1:
        return f"{counts[0]}–{counts[-1]}"
    return str(counts[0]) if counts else ""


def notes(
    spec: Spec, table: Sequence[Line], rows: Sequence[GridRow], measured: Measured, judge: Judge
) -> tuple[str, ...]:
    """Sentences below the table, as the specification's `seeds` ask for them."""
    sentences = []
    if spec.seeds.count == "note":
        sentences.append(
            _count_note([(line.row.key, seeds_of(row.cells)) for line, row in zip(table, rows, strict=True)])
        )
    if spec.seeds.tests == "note":
        sentences.append(_test_note(spec, table, measured, judge))
    return tuple(with_percent_signs(note) for note in sentences if note)


def _count_note(counts: Sequence[tuple[str, str]]) -> str:
    groups: dict[str, list[str]] = {}
    for name, seeds in counts:
        if seeds:
            groups.setdefault(seeds, []).append(name)
    if not groups:
        return ""
    if len(groups) == 1:
        return f"Seeds: {next(iter(groups))} for each row that has results."
    listed = "; ".join(f"{seeds} for {', '.join(names)}" for seeds, names in groups.items())
    return f"Seeds: {listed}."


def _test_note(spec: Spec, table: Sequence[Line], measured: Measured, judge: Judge) -> str:
    keys = {line.row.id: line.row.key for line in table if line.row.id}
    tests: list[tuple[str, str, float]] = []
    for line in table:
        for column in spec.columns if line.row.difference else ():
            of, minus = (measured.get((keys[name], column.id)) for name in line.row.difference or ())
            comparison = judge(difference(of.sample, minus.sample)) if of and minus else None
            if comparison is not None and comparison.p_value is not None:
                tests.append((" ".join(line.row.headers.values()), on_one_line(column.label), comparison.p_value))
    if not tests:
        return ""
    adjusted = holm([p for _, _, p in tests])
    hits: dict[str, list[str]] = {}
    for (row, heading, _), p in zip(tests, adjusted, strict=True):
        if p < SIGNIFICANT:
            hits.setdefault(row, []).append(f"{heading} ({p_text(p)})")
    listed = "; ".join(f"{row}: {', '.join(columns)}" for row, columns in hits.items())
    test = "test over seeds and people" if judge is best_interval else "t test over seeds"
    count = f"{len(tests)} paired {test.replace('test', 'tests', 1)}" if len(tests) > 1 else f"one paired {test}"
    correction = " with Holm's correction" if len(tests) > 1 else ""
    return f"Significant at 5 % by {count}{correction}: {listed or 'none'}."


def p_text(p_value: float) -> str:
    """A p-value in two digits, never zero."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.3f}" if p_value < 0.0995 else f"p = {p_value:.2f}"
