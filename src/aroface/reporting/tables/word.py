"""Tables as Word documents: three rules, merged headings, and points under one another by decimal tabs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from aroface.reporting.tables.grid import DAGGER, Cell, Grid, GridRow, heading_levels, on_one_line, stacked
from aroface.reporting.tables.plain import STAR, digits, spread

if TYPE_CHECKING:
    from docx.table import Table, _Cell
    from docx.text.paragraph import Paragraph

RULE = {"heavy": "8", "light": "4"}
"""Widths of rules in eighths of a point."""
WIDE = 7
"""Most columns of cells that fit a page in portrait."""
CHARACTER = 0.56
"""Width of a digit in ems, with some room."""


def docx(grid: Grid) -> bytes:
    """The table as an Office Open XML document of one table, its caption above and its notes below.

    Needs python-docx, which only this form does. A table of many columns stands on a page in landscape.
    """
    from docx import Document
    from docx.enum.section import WD_ORIENT
    from docx.shared import Pt

    grid = stacked(grid)
    document = Document()
    document.core_properties.title = grid.short_caption or grid.name
    document.core_properties.author = "aroface"
    style = document.styles["Normal"]
    style.font.name, style.font.size = "Times New Roman", Pt(_size(grid))
    if len(grid.leaves) > WIDE:
        section = document.sections[0]
        section.orientation = WD_ORIENT.LANDSCAPE
        section.page_width, section.page_height = section.page_height, section.page_width
    caption = document.add_paragraph(grid.caption)
    caption.paragraph_format.keep_with_next = True
    _fill(document.add_table(0, len(grid.row_headers) + len(grid.leaves)), grid)
    for number, runs in enumerate(_notes(grid)):
        note = document.add_paragraph()
        note.paragraph_format.space_before, note.paragraph_format.space_after = Pt(0 if number else 6), Pt(0)
        for text, raised in runs:
            run = note.add_run(text)
            run.font.size, run.font.superscript = Pt(8), raised
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def _size(grid: Grid) -> int:
    """Type size in points."""
    return 10 if len(grid.leaves) <= WIDE else 8


def _notes(grid: Grid) -> list[list[tuple[str, bool]]]:
    """Paragraphs below the table, each of texts that are raised or not."""
    notes = [[(note, False)] for note in grid.notes]
    notes += [[(mark, True), (f" {source}", False)] for mark, source in grid.sources.items()]
    return [*notes, *([[(f"{STAR} {grid.footnote}", False)]] if grid.footnote else [])]


def _fill(table: Any, grid: Grid) -> None:
    """Write headings and rows, the rules between them, and widths."""
    levels = heading_levels(grid)
    first = len(grid.row_headers)
    for level in levels:
        cells = table.add_row().cells
        column = first
        for text, span in level:
            cell = cells[column].merge(cells[column + span - 1]) if span > 1 else cells[column]
            _write(cell.paragraphs[0], on_one_line(text), centred=True)
            if text and span > 1:
                _rule(cell, "bottom", "light")
            column += span
    for column, header in enumerate(grid.row_headers):
        _write(table.rows[-1].cells[column].paragraphs[0], header)
    for row in table.rows:
        _repeat(row)
    for row in grid.rows:
        cells = table.add_row().cells
        for column in range(first):
            _header(cells[column].paragraphs[0], row, column)
        for j, value in enumerate(row.cells):
            _value(cells[first + j].paragraphs[0], value, [each.cells[j] for each in grid.rows], _size(grid))
    _rules(table, grid, len(levels))
    _tighten(table)


def _header(paragraph: Paragraph, row: GridRow, column: int) -> None:
    text = row.headers[column]
    run = paragraph.add_run(text)
    run.bold = row.bold and column == 0
    if text and row.star and column == 0:
        paragraph.add_run(STAR).font.superscript = True
    if column in row.corrected:
        paragraph.add_run(DAGGER).font.superscript = True


def _value(paragraph: Paragraph, cell: Cell, column: list[Cell], size: float) -> None:
    """A value at the decimal tab of its column, its spread after it."""
    from docx.enum.text import WD_TAB_ALIGNMENT
    from docx.shared import Pt

    whole = max((len(each.number.partition(".")[0]) for each in column if each.number), default=2)
    paragraph.paragraph_format.tab_stops.add_tab_stop(Pt(whole * CHARACTER * size), WD_TAB_ALIGNMENT.DECIMAL)
    run = paragraph.add_run(digits(cell))
    run.bold = cell.emphasis == "bold"
    run.underline = cell.emphasis == "underline"
    if cell.mark:
        paragraph.add_run(cell.mark).font.superscript = True
    if around := spread(cell):
        paragraph.add_run(around).font.size = Pt(size - 2)


def _write(paragraph: Paragraph, text: str, *, centred: bool = False) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    paragraph.add_run(text)
    if centred:
        paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER


def _rules(table: Table, grid: Grid, headings: int) -> None:
    """The rules of a printed table: above it, below its headings, between its blocks, and below it."""
    for cell in table.rows[0].cells:
        _rule(cell, "top", "heavy")
    for number, row in enumerate(grid.rows):
        if number == 0 or row.rule:
            for cell in table.rows[headings + number].cells:
                _rule(cell, "top", "light")
    for cell in table.rows[-1].cells:
        _rule(cell, "bottom", "heavy")


def _rule(cell: _Cell, side: str, weight: str) -> None:
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    properties = cell._tc.get_or_add_tcPr()
    borders: Any = properties.find(qn("w:tcBorders"))
    if borders is None:
        borders = OxmlElement("w:tcBorders")
        properties.append(borders)
    rule = OxmlElement(f"w:{side}")
    for key, value in {"val": "single", "sz": RULE[weight], "space": "0", "color": "000000"}.items():
        rule.set(qn(f"w:{key}"), value)
    borders.append(rule)


def _repeat(row: Any) -> None:
    """Repeat a row of headings on each page."""
    from docx.oxml import OxmlElement

    row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))


def _tighten(table: Table) -> None:
    from docx.shared import Pt

    table.autofit = True
    for row in table.rows:
        for cell in row.cells:
            for paragraph in cell.paragraphs:
                paragraph.paragraph_format.space_before = paragraph.paragraph_format.space_after = Pt(1)
