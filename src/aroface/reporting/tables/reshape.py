"""Rows and columns of a table as a document wants them: some of them, in another order, or in each other's place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from aroface.errors import InputError
from aroface.reporting.tables.form import TableForm, Uncertainty
from aroface.reporting.tables.grid import Grid, GridRow, Leaf, Part
from aroface.reporting.tables.spec import Column, Spec

_SPREADS: Mapping[Uncertainty, Literal["sd", "prediction", "none"]] = MappingProxyType(
    {"sd": "sd", "interval": "prediction", "none": "none"}
)


def with_form(spec: Spec, form: TableForm) -> Spec:
    """The specification with the decimals and the uncertainty of a form, which decide how values are rounded.

    Fewer decimals round reported values, too; more leave them as they are in print.
    """
    if form.uncertainty is not None:
        spec = replace(spec, seeds=replace(spec.seeds, spread=_SPREADS[form.uncertainty]))
    if form.decimals is not None:
        spec = replace(spec, columns=tuple(_rounded(column, form.decimals) for column in spec.columns))
    return spec


def _rounded(column: Column, decimals: int) -> Column:
    digits = "column" if decimals < column.decimals else column.reported_digits
    return replace(column, decimals=decimals, reported_digits=digits)


def reshaped(grid: Grid, form: TableForm) -> Grid:
    """The table with the columns and rows that a form names, and its rows in the columns' place if it says so.

    Raises:
        InputError: There is no such column or row; names the nearest.
    """
    if form.columns is not None:
        grid = _with_columns(grid, form.columns)
    if form.rows is not None:
        grid = _with_rows(grid, form.rows)
    if form.transpose:
        grid = _transposed(grid)
    if form.caption is not None:
        grid = replace(grid, caption=form.caption)
    if form.short_caption is not None:
        grid = replace(grid, short_caption=form.short_caption)
    return grid


def _with_columns(grid: Grid, names: Sequence[str]) -> Grid:
    known = list(dict.fromkeys(leaf.column.id for leaf in grid.leaves))
    _check(grid, "column", names, known)
    chosen = [j for name in dict.fromkeys(names) for j, leaf in enumerate(grid.leaves) if leaf.column.id == name]
    rows = tuple(replace(row, cells=tuple(row.cells[j] for j in chosen)) for row in grid.rows)
    return _only_used(replace(grid, leaves=tuple(grid.leaves[j] for j in chosen), rows=rows))


def _with_rows(grid: Grid, names: Sequence[str]) -> Grid:
    index = {name: i for i, row in enumerate(grid.rows) for name in (row.key, row.id) if name}
    _check(grid, "row", names, list(dict.fromkeys(row.key for row in grid.rows)), extra=index)
    chosen = list(dict.fromkeys(index[name] for name in names))
    block = _blocks(grid.rows)
    rows: list[GridRow] = []
    for position, i in enumerate(chosen):
        row, above = grid.rows[i], chosen[position - 1] if position else None
        again = above is None or above != i - 1
        headers = tuple(
            full if again and above is not None and grid.rows[above].full_headers[j] != full else text
            for j, (text, full) in enumerate(zip(row.headers, row.full_headers, strict=True))
        )
        if above is None:
            headers = row.full_headers
        rule = above is not None and block[above] != block[i]
        rows.append(replace(row, headers=headers, rule=rule, gap=row.gap and not rule and above is not None))
    return _only_used(replace(grid, rows=tuple(rows)))


def _blocks(rows: Iterable[GridRow]) -> list[int]:
    """The number of the block that each row stands in."""
    numbers, number = [], 0
    for row in rows:
        number += row.rule
        numbers.append(number)
    return numbers


def _only_used(grid: Grid) -> Grid:
    """The table without the footnote and the sources of rows and columns that are gone."""
    marks = {cell.mark for row in grid.rows for cell in row.cells}
    starred = any(row.star for row in grid.rows)
    sources = {mark: source for mark, source in grid.sources.items() if mark in marks}
    return replace(grid, footnote=grid.footnote if starred else None, sources=sources)


def _transposed(grid: Grid) -> Grid:
    """A row for each column, and a column for each row and part; the last row header is the topmost heading."""
    parts = list(dict.fromkeys(leaf.part for leaf in grid.leaves))
    headings = {leaf.part: leaf.path[-1] for leaf in grid.leaves}
    columns = list(dict.fromkeys(leaf.column.id for leaf in grid.leaves))
    place = {(leaf.column.id, leaf.part): j for j, leaf in enumerate(grid.leaves)}
    first = {name: next(leaf for leaf in grid.leaves if leaf.column.id == name) for name in columns}
    grouped = any(leaf.path[0] for leaf in grid.leaves)
    pairs = [(row, part) for row in grid.rows for part in parts if not _is_empty(grid, row, part)]
    leaves = tuple(_leaf(row, part, headings.get(part, ""), first[columns[0]].column) for row, part in pairs)
    blank = grid.rows[0].cells[0] if grid.rows else None
    rows: list[GridRow] = []
    for name in columns:
        group, label = first[name].path[0].replace("-\n", "-").replace("\n", " "), first[name].path[1]
        full = (group, label) if grouped else (label,)
        new = not rows or rows[-1].full_headers[0] != group
        cells = tuple(
            row.cells[place[name, part]] if (name, part) in place else replace(blank, number=None, sd=None)
            for row, part in pairs
            if blank is not None
        )
        shown = full if new or not grouped else ("", label)
        rows.append(GridRow(name, shown, full, cells, rule=grouped and new and bool(rows)))
    return replace(grid, row_headers=("", "") if grouped else ("",), leaves=leaves, rows=tuple(rows))


def _is_empty(grid: Grid, row: GridRow, part: Part) -> bool:
    """True for a difference where nothing is, in a table with several parts."""
    cells = [cell for leaf, cell in zip(grid.leaves, row.cells, strict=True) if leaf.part == part]
    return part == "difference" and all(cell.number is None for cell in cells)


def _leaf(row: GridRow, part: Part, heading: str, like: Column) -> Leaf:
    star = "★" if row.star else ""
    method, *others = row.full_headers
    column = replace(like, id=row.key, label=method, group=others[-1] if others else None)
    return Leaf(column, part, (*reversed(others), method + star, heading))


def _check(grid: Grid, kind: str, names: Sequence[str], known: list[str], extra: Iterable[str] = ()) -> None:
    accepted = {*known, *extra}
    for name in names:
        if name not in accepted:
            near = difflib.get_close_matches(name, sorted(accepted), 1, 0.3)
            remedy = f"did you mean {near[0]}?" if near else None
            raise InputError(
                f"no {kind} {name!r}", where=f"table {grid.name}", expected=", ".join(known), remedy=remedy
            )
