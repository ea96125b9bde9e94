"""The rows of a run as Markdown: a summary, and a table or two for each simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import median

from known_truth.rows import ANYTHING, Kind, Row

_KINDS: Mapping[Kind, str] = {"interval": "coverage", "test": "size", "share": "rate"}
_GAP = "difference of "


def markdown(rows: Iterable[Row], models: Mapping[str, str]) -> str:
    """A section for each simulation; all rates in per cent with their Monte Carlo standard error.

    ``!`` marks a rate that lies out of its bounds by more than three errors.

    Args:
        rows: Rows of a run.
        models: Description of each simulation's draws, by its name.
    """
    grouped = [(name, [*group]) for name, group in groupby(rows, key=lambda row: row.simulation)]
    parts = [summary(dict(grouped))]
    for name, group in grouped:
        text = models[name]
        parts += [f"### {name}", f"{text[0].upper()}{text[1:]}; {_repetitions(group)}.", *_tables(group)]
    return "\n\n".join(parts)


def summary(grouped: Mapping[str, Sequence[Row]]) -> str:
    """Coverage and size of each simulation: least, median and largest."""
    heads = ("model", "coverage of 95 % intervals", "size of 5 % tests", "rows", "out of bounds")
    return table(
        heads,
        [
            (
                name,
                _range(rows, "interval"),
                _range(rows, "test"),
                str(len(rows)),
                str(sum(not row.holds for row in rows)),
            )
            for name, rows in grouped.items()
        ],
    )


def _range(rows: Sequence[Row], kind: Kind) -> str:
    rates = [100 * row.rate for row in rows if row.kind == kind and row.bounds != ANYTHING]
    return f"{min(rates):.1f} to {max(rates):.1f}, median {median(rates):.1f}" if rates else ""


def _repetitions(rows: Sequence[Row]) -> str:
    counts = {row.repetitions + row.without for row in rows}
    return f"{max(counts):,} repetitions"


def _tables(rows: Sequence[Row]) -> list[str]:
    """Intervals and tests of one quantity in a line, where there are both; everything else as it comes."""
    known = {(row.kind, row.quantity): row for row in rows}
    wide = [row for row in rows if row.kind == "interval" and ("interval", _GAP + row.quantity) in known]
    used: set[int] = set()
    lines = []
    for row in wide:
        mine = [row, known["interval", _GAP + row.quantity], known.get(("test", row.quantity))]
        used |= {id(each) for each in mine if each}
        lines.append(
            (f"`{row.quantity}`", *(_rate(each) if each else "" for each in mine), _misses(row), _before(mine))
        )
    heads = ("metric", "interval", "difference", "test of equal networks", "interval misses below, above", "before")
    found = [table(heads, lines)] if lines else []
    rest = [row for row in rows if id(row) not in used]
    if rest:
        heads = ("", "what", "measured", "misses below, above", "before")
        found.append(table(heads, [_cells(row) for row in rest]))
    return found


def _cells(row: Row) -> tuple[str, ...]:
    return _KINDS[row.kind], row.quantity, _rate(row), _misses(row), row.before


def _rate(row: Row) -> str:
    missing = f" ({row.without} of {row.repetitions + row.without} without)" if row.without else ""
    return f"{100 * row.rate:.1f} ± {100 * row.error:.1f}{'' if row.holds else ' **!**'}{missing}"


def _misses(row: Row) -> str:
    return "" if row.low is None or row.high is None else f"{100 * row.low:.1f}, {100 * row.high:.1f}"


def _before(rows: Sequence[Row | None]) -> str:
    return "; ".join(f"{_KINDS[row.kind]} {row.before}" for row in rows if row and row.before)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, [":--"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
