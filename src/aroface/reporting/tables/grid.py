"""A table as it is printed, whatever the format: headings, rows and cells of finished digits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from aroface.reporting.tables.sources import Source
from aroface.reporting.tables.spec import Column, Layout

Mode = Literal["reported", "reproduced", "both", "delta"]
Part = Literal["reported", "reproduced", "difference"]

MISSING = "--"
DAGGER = "†"
"""Mark of a row header that the authors print otherwise."""
HEADINGS: dict[Part, str] = {"reported": "paper", "reproduced": "reproduced", "difference": "Δ"}
"""Headings of the parts of a column that has several."""
PUBLISHED = "published"
"""Heading instead of the paper's where values are not all the authors'."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value, in digits.

    Attributes:
        number: Value in per cent or in points of it, with an ASCII sign; None where there is no result.
        sd: Standard deviation over the seeds.
        interval: Ends of an interval: of prediction beside a mean, of confidence beside a difference of rows.
        half: Half the width of that interval, where it is to be printed so.
        seeds: Number of seeds that it is the mean of; 0 for reported values.
        emphasis: Emphasis of the value.
        mark: Mark of the source of a value that is not the authors'; None of any other value.
    """

    number: str | None = None
    sd: str | None = None
    interval: tuple[str, str] | None = None
    half: str | None = None
    seeds: int = 0
    emphasis: Literal["bold", "underline"] | None = None
    mark: str | None = None

    @property
    def around(self) -> str | None:
        """Number after a plus-minus sign."""
        return self.sd or self.half


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column of cells: one part of a column of the specification, ``path`` being the headings above it."""

    column: Column
    part: Part
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GridRow:
    """A row of cells.

    Attributes:
        key: Middle part of the cells' addresses.
        headers: Texts of the row headers, empty where an equal text above is not repeated.
        full_headers: Same with nothing left out.
        cells: One for each leaf.
        rule: True if a rule sets it off from the row above.
        gap: True if a space does.
        bold: True if its first header is bold.
        star: True if its first header has a star.
        remark: Remark for a reader of the source.
        corrected: Positions of the headers that the authors print otherwise, and their texts there.
        compares: True if it is the difference of two rows.
        runs: True if it can have reproduced values: an experiment belongs to it, or it compares two rows.
        id: Name by which differences refer to it; None where it has none.
    """

    key: str
    headers: tuple[str, ...]
    full_headers: tuple[str, ...]
    cells: tuple[Cell, ...]
    rule: bool = False
    gap: bool = False
    bold: bool = False
    star: bool = False
    remark: str | None = None
    corrected: Mapping[int, str] = field(default_factory=dict)
    compares: bool = False
    runs: bool = True
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table ready to be printed.

    Attributes:
        name: Name of the specification.
        label: LaTeX label.
        caption: One or two sentences, and a note on what the numbers are.
        row_headers: Headings of the columns that name the rows.
        leaves: Columns of cells.
        rows: Rows.
        footnote: Meaning of the star; None where no row has one.
        layout: Fit of the LaTeX table.
        notes: Sentences below the table: meaning of its marks, statistics, training.
        sources: Sources of values that are not the authors', by their marks.
        short_caption: Caption for a list of tables.
        aside: Positions of the row headers that name no row, such as the venue, which a narrow table leaves out.
    """

    name: str
    label: str
    caption: str
    row_headers: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    rows: tuple[GridRow, ...]
    footnote: str | None
    layout: Layout
    notes: tuple[str, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    short_caption: str | None = None
    aside: tuple[int, ...] = ()


def heading_of(part: Part, published: bool) -> str:
    """Heading of a part of a column.

    Args:
        part: Part of a column.
        published: True if values of the paper's part are not all the authors'.
    """
    return PUBLISHED if published and part == "reported" else HEADINGS[part]


def on_one_line(heading: str) -> str:
    """A heading whose lines are joined: after a hyphen, an ``@`` or an ``=`` without a space."""
    return re.sub(r"(?<=[-@=])\n", "", heading).replace("\n", " ")


def heading_levels(grid: Grid) -> list[list[tuple[str, int]]]:
    """Headings over the columns of cells, topmost line first: text and number of columns of each.

    A level at which no column has a heading is left out.
    """
    paths = [leaf.path for leaf in grid.leaves]
    levels = [level for level in range(len(paths[0])) if any(path[level] for path in paths)]
    return [
        [(path[-1], len(list(group))) for path, group in groupby(paths, key=lambda path: path[: level + 1])]
        for level in levels
    ]


def stacked(grid: Grid) -> Grid:
    """The same table with the parts of a column below one another, where its layout says so and there are several.

    Each row becomes one line for each part, named in a further header. A row that nothing can reproduce has only the
    authors' line, one of which nothing is in print only the other; differences have one where there are any.
    """
    parts = [part for part in HEADINGS if any(leaf.part == part for leaf in grid.leaves)]
    if grid.layout.parts == "beside" or len(parts) == 1:
        return grid
    columns = list(dict.fromkeys(leaf.column.id for leaf in grid.leaves))
    first = {column: next(leaf for leaf in grid.leaves if leaf.column.id == column) for column in columns}
    leaves = tuple(replace(leaf, part=parts[0], path=(*leaf.path[:-1], "")) for leaf in first.values())
    rows = tuple(line for row in grid.rows for line in _stacked_row(grid, row, parts, columns))
    return replace(grid, row_headers=(*grid.row_headers, ""), leaves=leaves, rows=rows)


def _stacked_row(grid: Grid, row: GridRow, parts: list[Part], columns: list[str]) -> Iterator[GridRow]:
    blank = ("",) * len(row.headers)
    first = True
    for part in parts:
        by_column = {
            leaf.column.id: cell for leaf, cell in zip(grid.leaves, row.cells, strict=True) if leaf.part == part
        }
        cells = tuple(by_column.get(column, Cell()) for column in columns)
        empty = all(cell.number is None for cell in cells)
        if empty and (part == "difference" or (part == "reproduced") != row.runs):
            continue
        headers = row.headers if first else blank
        heading = heading_of(part, bool(grid.sources))
        line = replace(row, headers=(*headers, heading), full_headers=(*row.full_headers, part), cells=cells)
        if first:
            yield replace(line, gap=not row.rule and row is not grid.rows[0])
        else:
            yield replace(line, rule=False, gap=False, bold=False, star=False, remark=None, corrected={})
        first = False
