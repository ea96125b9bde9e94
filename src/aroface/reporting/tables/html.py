"""Tables as a web page of their own, without a script and without anything fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from aroface.reporting.tables.grid import DAGGER, Cell, Grid, GridRow, heading_levels, stacked
from aroface.reporting.tables.plain import STAR, digits, spread
from aroface.reporting.tables.sources import Source

NEWLINE = "\n"
STYLE = """\
body { font-family: serif; margin: 2em auto; width: max-content; max-width: 95vw }
figure { margin: 0; overflow-x: auto }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; margin: 1em auto }
caption, p { max-width: 60em; text-align: left }
figure > p { margin: 0.4em 0 }
caption { padding-bottom: 0.7em }
th { font-weight: normal; text-align: left; padding: 0.2em 0.7em; white-space: nowrap }
td { text-align: right; padding: 0.2em 0.7em; white-space: nowrap; font-variant-numeric: tabular-nums }
thead th[scope^=col] { text-align: center; vertical-align: bottom }
thead th.group { border-bottom: 1px solid }
thead tr:first-child th[rowspan] { text-align: left; vertical-align: bottom }
tbody { border-top: 1px solid }
tr.gap > * { padding-top: 0.6em }
small { font-size: 80% }
.value, .spread { display: inline-block; text-align: right }
.spread { text-align: left; white-space: pre }
.value sup { display: inline-block; width: 0 }
"""
FIGURE_SPACE = "\u2007"
"""Space as wide as a digit."""
POINT_SPACE = "\u2008"
"""Space as wide as a point."""


def html(grid: Grid) -> str:
    """The table as an HTML page: caption, headings with their groups, a body for each block, notes, footnote."""
    grid = stacked(grid)
    below = "".join(f"<p><small>{line}</small></p>\n" for line in remarks(grid))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(grid.name)}</title>\n'
        f"<style>\n{STYLE}</style>\n</head>\n<body>\n<figure>\n"
        f"{table(grid, grid.label, caption=True)}\n{below}</figure>\n</body>\n</html>\n"
    )


def table(grid: Grid, anchor: str, *, caption: bool = False, link: Callable[[str, str], str] | None = None) -> str:
    """The table as an element of a page.

    Args:
        grid: Table.
        anchor: Element's id.
        caption: True if the element has the caption.
        link: Link of a cell's number, from a row's address and a column's id; None for no links.
    """
    return "\n".join(_table(stacked(grid), anchor, caption, link))


def remarks(grid: Grid) -> list[str]:
    """Notes below the table, in HTML, with the sources of values that are not the authors' and its star's footnote."""
    footnote = [f"{STAR} {escape(grid.footnote)}"] if grid.footnote else []
    sources = [f"<sup>{escape(mark)}</sup> {_source(source)}" for mark, source in grid.sources.items()]
    return [*map(escape, grid.notes), *sources, *footnote]


def _source(source: Source) -> str:
    link = [f'<a href="{escape(source.url)}">{escape(source.url)}</a>'] if source.url else []
    return ", ".join([*map(escape, source.parts), *link]) + escape(source.remark)


def _table(grid: Grid, anchor: str, caption: bool, link: Callable[[str, str], str] | None) -> Iterator[str]:
    yield f'<table id="{escape(anchor)}">'
    if caption:
        yield f"<caption>{escape(grid.caption)}</caption>"
    yield from _head(grid)
    columns = [_Column.of([row.cells[number] for row in grid.rows]) for number in range(len(grid.leaves))]
    for number, row in enumerate(grid.rows):
        if number == 0 or row.rule:
            yield "<tbody>" if number == 0 else "</tbody>\n<tbody>"
        yield _row(grid, row, columns, link)
    yield "</tbody>\n</table>" if grid.rows else "</table>"


def _head(grid: Grid) -> Iterator[str]:
    levels = heading_levels(grid)
    yield "<thead>"
    for number, level in enumerate(levels, 1):
        cells = []
        if number == 1:
            rows = f' rowspan="{len(levels)}"' if len(levels) > 1 else ""
            cells += [f'<th scope="col"{rows}>{escape(header)}</th>' for header in grid.row_headers]
        for text, span in level:
            scope = f'scope="colgroup" colspan="{span}"' if span > 1 else 'scope="col"'
            group = ' class="group"' if text and number < len(levels) else ""
            cells.append(f"<th {scope}{group}>{escape(text).replace(NEWLINE, '<br>')}</th>")
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</thead>"


def _row(grid: Grid, row: GridRow, columns: Sequence[_Column], link: Callable[[str, str], str] | None) -> str:
    headers = "".join(f'<th scope="row">{_header(row, number)}</th>' for number in range(len(row.headers)))
    title = f' title="{escape(row.remark)}"' if row.remark else ""
    gap = ' class="gap"' if row.gap else ""
    goals = [link(row.key, leaf.column.id) if link else None for leaf in grid.leaves]
    cells = zip(row.cells, columns, goals, strict=True)
    values = "".join(f"<td>{_cell(cell, column, goal)}</td>" for cell, column, goal in cells)
    return f"<tr{gap}{title}>{headers}{values}</tr>"


def _header(row: GridRow, number: int) -> str:
    text = escape(row.headers[number])
    if number == 0 and text:
        text = f"<b>{text}</b>" if row.bold else text
        text += f"<sup>{STAR}</sup>" if row.star else ""
    return text + (f"<sup>{DAGGER}</sup>" if number in row.corrected else "")


@dataclass(frozen=True, slots=True)
class _Column:
    """Widths of a column, in digits, so that its points stand under one another.

    Attributes:
        decimals: Most digits after the point.
        spread: Most characters of a standard deviation or an interval; 0 without any.
    """

    decimals: int
    spread: int

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> _Column:
        """The widths that these cells need."""
        decimals = max((_decimals(cell.number) for cell in cells if cell.number), default=0)
        return cls(decimals, max((len(spread(cell)) for cell in cells), default=0))

    def fill(self, cell: Cell) -> str:
        """Invisible digits that a value lacks after its point."""
        own = _decimals(cell.number) if cell.number else self.decimals
        point = POINT_SPACE if self.decimals > own == 0 else ""
        return point + FIGURE_SPACE * (self.decimals - own)


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def _cell(cell: Cell, column: _Column, goal: str | None) -> str:
    """A value and its spread, each in an element of the same width in all rows."""
    text = escape(digits(cell))
    if cell.emphasis:
        tag = "b" if cell.emphasis == "bold" else "u"
        text = f"<{tag}>{text}</{tag}>"
    if goal is not None:
        text = f'<a href="{escape(goal)}">{text}</a>'
    if cell.mark:
        text += f"<sup>{escape(cell.mark)}</sup>"
    text += column.fill(cell)
    if not column.spread:
        return text
    around = f'<small class="spread" style="min-width: {column.spread}ch">{escape(spread(cell))}</small>'
    return f'<span class="value">{text}</span>{around}'
