"""Tables as a web page of their own, without a script and without anything fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from aroface.reporting.tables.grid import Cell, Grid, GridRow, heading_levels, stacked
from aroface.reporting.tables.plain import STAR, digits, spread
from aroface.reporting.tables.sources import Source

NEWLINE = "\n"
STYLE = """\
body { font-family: serif; margin: 2em auto; width: max-content; max-width: 95vw }
figure { margin: 0; overflow-x: auto }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; margin: 1em auto }
caption, p { max-width: 60em; text-align: left }
caption { padding-bottom: 0.7em }
th { font-weight: normal; text-align: left; padding: 0.2em 0.7em; white-space: nowrap }
td { text-align: right; padding: 0.2em 0.7em; white-space: nowrap; font-variant-numeric: tabular-nums }
thead th[scope^=col] { text-align: center; vertical-align: bottom }
thead th.group { border-bottom: 1px solid }
thead tr:first-child th[rowspan] { text-align: left; vertical-align: bottom }
tbody { border-top: 1px solid }
tr.gap > * { padding-top: 0.6em }
small { font-size: 80% }
"""


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
    for number, row in enumerate(grid.rows):
        if number == 0 or row.rule:
            yield "<tbody>" if number == 0 else "</tbody>\n<tbody>"
        yield _row(grid, row, link)
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


def _row(grid: Grid, row: GridRow, link: Callable[[str, str], str] | None) -> str:
    first, *rest = (escape(header) for header in row.headers)
    star = f"<sup>{STAR}</sup>" if row.star and first else ""
    first = f"<b>{first}</b>" if row.bold and first else first
    headers = "".join(f'<th scope="row">{text}</th>' for text in (first + star, *rest))
    title = f' title="{escape(row.remark)}"' if row.remark else ""
    gap = ' class="gap"' if row.gap else ""
    goals = [link(row.key, leaf.column.id) if link else None for leaf in grid.leaves]
    cells = "".join(f"<td>{_cell(cell, goal)}</td>" for cell, goal in zip(row.cells, goals, strict=True))
    return f"<tr{gap}{title}>{headers}{cells}</tr>"


def _cell(cell: Cell, goal: str | None) -> str:
    text = escape(digits(cell))
    if cell.emphasis:
        tag = "b" if cell.emphasis == "bold" else "u"
        text = f"<{tag}>{text}</{tag}>"
    if goal is not None:
        text = f'<a href="{escape(goal)}">{text}</a>'
    if cell.mark:
        text += f"<sup>{escape(cell.mark)}</sup>"
    around = escape(spread(cell))
    return f"{text}<small>{around}</small>" if around else text
