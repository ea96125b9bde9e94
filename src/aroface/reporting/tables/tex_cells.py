"""Cells, row headers and headings of a table as LaTeX, filled up so that points and signs stand under one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from aroface.reporting.anchors import column_anchor
from aroface.reporting.tables.form import TableForm
from aroface.reporting.tables.grid import MISSING, Cell, Grid, GridRow, heading_levels
from aroface.reporting.tables.tex_text import escape
from aroface.reporting.tables.type_width import text_width


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading over some columns of numbers; ``ruled`` if a rule stands below it."""

    text: str
    span: int
    ruled: bool = False


@dataclass(frozen=True)
class TexCells:
    """The cells of a table in LaTeX.

    Attributes:
        grid: Table, its parts stacked.
        form: Form of it.
    """

    grid: Grid
    form: TableForm

    @property
    def below(self) -> bool:
        """True if deviations and intervals stand below their values."""
        return self.grid.layout.spread == "below"

    @cached_property
    def headers(self) -> list[list[str]]:
        """Row headers: for each of them, the texts of all rows."""
        return [[_header(row, i) for row in self.grid.rows] for i in range(len(self.grid.row_headers))]

    @cached_property
    def header_headings(self) -> list[str]:
        """Headings over the row headers."""
        return [_behind_a_row(escape(text)) for text in self.grid.row_headers]

    @cached_property
    def numbers(self) -> list[list[str]]:
        """Values: for each column, the texts of all rows."""
        return [self._column(j) for j in range(len(self.grid.leaves))]

    @cached_property
    def measured(self) -> list[list[str]]:
        """Values as they are measured: those of plain columns, also where siunitx sets them."""
        return [self._plain(j) for j in range(len(self.grid.leaves))]

    @cached_property
    def lower(self) -> list[list[str]]:
        """Deviations and intervals below the values: for each column, the texts of all rows; empty where none is."""
        return [
            [self._lower(row.cells[j]) if self.below else "" for row in self.grid.rows]
            for j in range(len(self.grid.leaves))
        ]

    def _lower(self, cell: Cell) -> str:
        text = _around(cell, 0)
        return f"{{{text}}}" if text and self.form.numbers == "siunitx" else text

    def headings(self, leaves: Sequence[int]) -> list[list[Heading]]:
        """Lines of headings over some columns, topmost first; a heading of several lines takes as many."""
        lines = []
        levels = heading_levels(replace(self.grid, leaves=tuple(self.grid.leaves[j] for j in leaves)))
        for number, level in enumerate(levels, 1):
            texts = [[escape(line) for line in text.splitlines()] for text, _ in level]
            height = max(1, *map(len, texts)) if texts else 1
            for i in range(height):
                filled = [[""] * (height - len(each)) + each for each in texts]
                ruled = number < len(levels) and i == height - 1
                lines.append(
                    [
                        Heading(each[i], span, ruled and bool(each[-1]))
                        for each, (_, span) in zip(filled, level, strict=True)
                    ]
                )
        return lines

    def siunitx(self, leaves: Sequence[int]) -> str:
        """Format of an S column that holds all of these columns."""
        cells = [row.cells[j] for j in leaves for row in self.grid.rows if row.cells[j].number is not None]
        sign = "+" if any(_is_signed(cell) for cell in cells) else ""
        format = f"{sign}{_whole(cells) or 1}.{_decimals(cells)}" if _decimals(cells) else f"{sign}{_whole(cells) or 1}"
        if not self.below and (digits := max((len(_last_digits(cell)) for cell in cells), default=0)):
            format += f"({digits})"
        return f"S[table-format={format}]"

    def _column(self, j: int) -> list[str]:
        if self.form.numbers == "plain":
            return self._plain(j)
        cells = [row.cells[j] for row in self.grid.rows]
        plain = self._plain(j)
        if not self.below and any(cell.interval and not cell.half for cell in cells):
            return [f"{{{text}}}" for text in plain]  # siunitx knows no intervals
        return [_siunitx(cell, text, self.below) for cell, text in zip(cells, plain, strict=True)]

    def _plain(self, j: int) -> list[str]:
        """Cells of one column, filled up with invisible digits and signs."""
        cells = [row.cells[j] for row in self.grid.rows]
        anchor = column_anchor(self.grid.leaves[j].column.id) if self.form.links else None
        known = [cell for cell in cells if cell.number is not None]
        decimals = _decimals(known)
        # Beside numbers without a sign, a sign takes the place of one digit.
        mixed = len({_is_signed(cell) for cell in known}) > 1
        whole = max((len(_before(cell.number or "")) + (mixed and _is_signed(cell)) for cell in known), default=0)
        digits = max((len(cell.around.partition(".")[0]) for cell in known if cell.around), default=0)
        spreads = [] if self.below else [text for cell in known if (text := _around(cell, digits))]
        room = max(spreads, key=self._width, default="")
        texts = []
        for cell in cells:
            if cell.number is None:
                texts.append(_linked(anchor, MISSING))
                continue
            text = _linked(anchor, _emphasised(cell, mixed))
            after = "0" * (decimals - len(_after(cell.number)))
            after = "." + after if after and not _after(cell.number) else after
            before = "0" * (whole - len(_before(cell.number)) - (mixed and _is_signed(cell)))
            text += rf"\aromark{{{cell.mark}}}" if cell.mark else ""
            text = _pad(before) + text + _pad(after)
            texts.append(text + ("" if self.below else self._beside(_around(cell, digits), room)))
        return texts

    def _beside(self, own: str, room: str) -> str:
        """A deviation or an interval in the room of the widest one of its column."""
        if not own:
            return _pad(room)
        return own if abs(self._width(own) - self._width(room)) < 0.1 else rf"\aroroom{{{room}}}{{{own}}}"

    def _width(self, tex: str) -> float:
        return text_width(tex, 10, self.form.font)


def _behind_a_row(text: str) -> str:
    """A cell that TeX does not take for an option of the line break or rule before it."""
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def _header(row: GridRow, index: int) -> str:
    text = _behind_a_row(escape(row.headers[index]))
    if not text:
        return text
    if index == 0:
        text = rf"\textbf{{{text}}}" if row.bold else text
        text += r"\arostar" if row.star else ""
    return text + (r"\arodagger" if index in row.corrected else "")


def _linked(anchor: str | None, text: str) -> str:
    return text if anchor is None else rf"\arocell{{{anchor}}}{{{text}}}"


def _emphasised(cell: Cell, mixed: bool) -> str:
    text = _signed(cell.number or "")
    if mixed and _is_signed(cell):
        text = rf"\arosign{{{text[:3]}}}{text[3:]}"
    if cell.emphasis:
        return rf"\{'textbf' if cell.emphasis == 'bold' else 'underline'}{{{text}}}"
    return text


def _pad(text: str) -> str:
    return rf"\aropad{{{text}}}" if text else ""


def _around(cell: Cell, digits: int) -> str:
    """The deviation or interval of a cell; empty where it has none."""
    if cell.interval and not cell.half:
        return rf"\arointerval{{{_signed(cell.interval[0])}}}{{{_signed(cell.interval[1])}}}"
    if not cell.around:
        return ""
    return rf"\arosd{{{_pad('0' * (digits - len(cell.around.partition('.')[0])))}{cell.around}}}"


def _siunitx(cell: Cell, plain: str, below: bool) -> str:
    """A cell of an S column: what is no plain number stands in braces."""
    if cell.number is None or cell.emphasis == "underline":
        return f"{{{plain}}}"
    text = (r"\bfseries " if cell.emphasis else "") + cell.number
    if not below and cell.around:
        text += rf" \pm {cell.around}"
    return text + (rf"{{\aromark{{{cell.mark}}}}}" if cell.mark else "")


def _last_digits(cell: Cell) -> str:
    """The deviation in units of its value's last digit, as siunitx counts it; empty where there is none."""
    if not cell.around:
        return ""
    return cell.around.replace(".", "").lstrip("0") or "0"


def _is_signed(cell: Cell) -> bool:
    return cell.number is not None and cell.number.startswith(("+", "-"))


def _before(number: str) -> str:
    return number.lstrip("+-").partition(".")[0]


def _after(number: str) -> str:
    return number.partition(".")[2]


def _whole(cells: Iterable[Cell]) -> int:
    return max((len(_before(cell.number or "")) for cell in cells), default=0)


def _decimals(cells: Iterable[Cell]) -> int:
    return max((len(_after(cell.number or "")) for cell in cells), default=0)


def _signed(number: str) -> str:
    """Digits with a sign that is set as long as a digit is wide, not as a hyphen."""
    return f"${number[0]}${number[1:]}" if number[:1] in ("+", "-") else number
