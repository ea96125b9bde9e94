"""A table as it is printed, whatever the format: headings, rows and cells of finished digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aroface.paper.spec import Column, Layout

Mode = Literal["reported", "reproduced", "both", "delta"]
Part = Literal["reported", "reproduced", "difference"]

MISSING = "--"


@dataclass(frozen=True, slots=True)
class Cell:
    """One value, in digits.

    Attributes:
        number: the value in per cent or in points of it, with an ASCII sign; None where there is no result.
        sd: standard deviation over the seeds.
        interval: ends of a confidence interval.
        seeds: how many seeds it is the mean of; 0 for what the authors reported.
        emphasis: how it stands out.
    """

    number: str | None = None
    sd: str | None = None
    interval: tuple[str, str] | None = None
    seeds: int = 0
    emphasis: Literal["bold", "underline"] | None = None


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
        headers: texts of the row headers, empty where an equal text above is not repeated.
        full_headers: the same with nothing left out.
        cells: one for each leaf.
        rule: whether a rule sets it off from the row above.
        gap: whether a space does.
        bold: whether its first header is bold.
        star: whether its first header has a star.
        remark: what a reader of the source should know about the row.
    """

    headers: tuple[str, ...]
    full_headers: tuple[str, ...]
    cells: tuple[Cell, ...]
    rule: bool = False
    gap: bool = False
    bold: bool = False
    star: bool = False
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table ready to be printed."""

    name: str
    label: str
    caption: str
    row_headers: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    rows: tuple[GridRow, ...]
    footnote: str | None
    layout: Layout
