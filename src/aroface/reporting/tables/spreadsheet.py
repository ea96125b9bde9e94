"""Tables as spreadsheets: numbers that can be computed with, in the digits that the other forms print."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from aroface.reporting.tables.grid import MISSING, Cell, Grid, GridRow, heading_levels, on_one_line, stacked
from aroface.reporting.tables.plain import STAR, marked_headers, spread

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

WIDEST = 28
"""Most characters of a column's width, but for those of its values."""


def xlsx(grid: Grid) -> bytes:
    """The table as an Office Open XML workbook of one sheet.

    Values are numbers, their formats fill up digits, so that all points of a column stand under one another. Standard
    deviations and intervals have columns of their own, under the heading of their values. Caption and notes stand in
    merged cells above and below.

    Needs openpyxl, which only this form does.
    """
    import openpyxl

    grid = stacked(grid)
    book = openpyxl.Workbook()
    book.properties.title = grid.short_caption or grid.name
    book.properties.creator = "aroface"
    book.remove(book.worksheets[0])
    sheet = book.create_sheet(grid.name[:31])
    _Sheet(sheet, grid).write()
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class _Place:
    """Columns of the sheet that belong to a column of cells: its values, and their spreads where there are any."""

    value: int
    spread: int | None

    @property
    def last(self) -> int:
        return self.spread or self.value


class _Sheet:
    """Writes a table into a sheet from above to below."""

    def __init__(self, sheet: Worksheet, grid: Grid) -> None:
        self.sheet, self.grid = sheet, grid
        self.places: list[_Place] = []
        column = len(grid.row_headers) + 1
        for j in range(len(grid.leaves)):
            several = any(spread(row.cells[j]) for row in grid.rows)
            self.places.append(_Place(column, column + 1 if several else None))
            column = self.places[-1].last + 1
        self.columns = column - 1
        self.line = 1

    def write(self) -> None:
        """Write caption, headings, rows and notes, and set widths."""
        self._text(self.grid.caption)
        self._headings()
        self.sheet.freeze_panes = self.sheet.cell(self.line, len(self.grid.row_headers) + 1).coordinate
        decimals = [_decimals([row.cells[j] for row in self.grid.rows]) for j in range(len(self.grid.leaves))]
        for number, row in enumerate(self.grid.rows):
            self._row(row, decimals, ruled=number == 0 or row.rule)
        self._rule(self.line - 1, "bottom")
        notes = [*self.grid.notes, *(f"{mark} {source}" for mark, source in self.grid.sources.items())]
        for note in [*notes, *([f"{STAR} {self.grid.footnote}"] if self.grid.footnote else [])]:
            self._text(note)
        self._widths()

    def _text(self, text: str) -> None:
        """A line of running text in cells that are merged over all columns."""
        from openpyxl import styles

        cell = self.sheet.cell(self.line, 1)
        self._put(cell, text)
        cell.alignment = styles.Alignment(wrap_text=True, vertical="top")
        self.sheet.merge_cells(start_row=self.line, start_column=1, end_row=self.line, end_column=self.columns)
        width = sum(self._width(column) for column in range(1, self.columns + 1))
        self.sheet.row_dimensions[self.line].height = 15 * (1 + len(text) // max(int(width), 1))
        self.line += 1

    def _headings(self) -> None:
        from openpyxl import styles

        levels = heading_levels(self.grid)
        first = self.line
        for level in levels:
            number = 0
            for text, span in level:
                start, end = self.places[number].value, self.places[number + span - 1].last
                cell = self.sheet.cell(self.line, start)
                self._put(cell, on_one_line(text))
                cell.alignment = styles.Alignment(horizontal="center", wrap_text=True)
                if end > start:
                    self.sheet.merge_cells(start_row=self.line, start_column=start, end_row=self.line, end_column=end)
                number += span
            self.line += 1
        for column, header in enumerate(self.grid.row_headers, 1):
            self._put(self.sheet.cell(self.line - 1, column), header)
        self._rule(first, "top")

    def _row(self, row: GridRow, decimals: Sequence[int], *, ruled: bool) -> None:
        from openpyxl import styles

        if ruled:
            self._rule(self.line, "top", "thin")
        for column, header in enumerate(marked_headers(row), 1):
            cell = self.sheet.cell(self.line, column)
            self._put(cell, header)
            cell.font = styles.Font(bold=row.bold and column == 1)
        for value, place, digits in zip(row.cells, self.places, decimals, strict=True):
            cell = self.sheet.cell(self.line, place.value)
            cell.alignment = styles.Alignment(horizontal="right")
            if value.number is None:
                self._put(cell, MISSING)
                continue
            cell.value = float(value.number)
            cell.number_format = number_format(value, digits)
            cell.font = styles.Font(
                bold=value.emphasis == "bold", underline="single" if value.emphasis == "underline" else None
            )
            if place.spread:
                self._spread(value, self.sheet.cell(self.line, place.spread))
        self.line += 1

    def _spread(self, value: Cell, cell: Any) -> None:
        """A standard deviation as a number, an interval as a text."""
        from openpyxl import styles

        cell.font = styles.Font(size=9)
        if value.around:
            cell.value = float(value.around)
            cell.number_format = f'"± "{_zeros(value.around)}'
        elif value.interval:
            self._put(cell, spread(value).strip())

    def _put(self, cell: Any, text: str) -> None:
        """A text as it is, never a formula, a date or a number."""
        cell.value = text
        cell.data_type = "s"

    def _rule(self, line: int, side: Literal["top", "bottom"], style: Literal["thin", "medium"] = "medium") -> None:
        from openpyxl import styles

        for column in range(1, self.columns + 1):
            cell = self.sheet.cell(line, column)
            rule = styles.Side(border_style=style)
            top, bottom = (rule if side == each else getattr(cell.border, each) for each in ("top", "bottom"))
            cell.border = styles.Border(top=top, bottom=bottom)

    def _width(self, column: int) -> float:
        """Width of a column of the sheet, in characters."""
        headers = len(self.grid.row_headers)
        if column <= headers:
            texts = [self.grid.row_headers[column - 1], *(marked_headers(row)[column - 1] for row in self.grid.rows)]
            return 2 + min(max(map(len, texts)), WIDEST)
        j = next(j for j, place in enumerate(self.places) if place.value <= column <= place.last)
        if column == self.places[j].spread:
            return 1 + max(len(spread(row.cells[j])) for row in self.grid.rows)
        leaf = self.grid.leaves[j]
        heading = max((len(on_one_line(text)) for text in leaf.path[1:]), default=0)
        return max(9, 2 + min(heading, WIDEST if self.places[j].spread is None else 9))

    def _widths(self) -> None:
        from openpyxl.utils import get_column_letter

        for column in range(1, self.columns + 1):
            self.sheet.column_dimensions[get_column_letter(column)].width = self._width(column)


def number_format(cell: Cell, decimals: int) -> str:
    """Format of a value in a spreadsheet program: its own digits, filled up to those of its column by space.

    Args:
        cell: Value.
        decimals: Most digits after the point in its column.
    """
    assert cell.number is not None, "a dash has no format"
    own = len(cell.number.partition(".")[2])
    fill = ("_." if decimals > own == 0 else "") + "_0" * (decimals - own)
    digits = _zeros(cell.number) + (f'"{cell.mark}"' if cell.mark else "") + fill
    return f'+{digits};"−"{digits};{digits}' if cell.number.startswith(("+", "-")) else digits


def _zeros(number: str) -> str:
    """Format of the digits of a number."""
    decimals = len(number.partition(".")[2])
    return f"0.{'0' * decimals}" if decimals else "0"


def _decimals(cells: Sequence[Cell]) -> int:
    return max((len(cell.number.partition(".")[2]) for cell in cells if cell.number), default=0)
