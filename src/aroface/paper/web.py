"""Tables as a web page of their own, without a script and without anything fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from aroface.paper.grid import Cell, Grid, GridRow, heading_levels, stacked
from aroface.paper.plain import STAR, digits, spread

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
    return "\n".join(_page(grid)) + "\n"


def _page(grid: Grid) -> Iterator[str]:
    yield "<!doctype html>"
    yield f'<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(grid.name)}</title>'
    yield f"<style>\n{STYLE}</style>\n</head>\n<body>\n<figure>"
    yield f'<table id="{escape(grid.label)}">'
    yield f"<caption>{escape(grid.caption)}</caption>"
    yield from _head(grid)
    for number, row in enumerate(grid.rows):
        if number == 0 or row.rule:
            yield "<tbody>" if number == 0 else "</tbody>\n<tbody>"
        yield _row(row)
    yield "</tbody>\n</table>" if grid.rows else "</table>"
    for note in grid.notes:
        yield f"<p><small>{escape(note)}</small></p>"
    if grid.footnote:
        yield f"<p><small>{STAR} {escape(grid.footnote)}</small></p>"
    yield "</figure>\n</body>\n</html>"


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


def _row(row: GridRow) -> str:
    first, *rest = (escape(header) for header in row.headers)
    star = f"<sup>{STAR}</sup>" if row.star and first else ""
    first = f"<b>{first}</b>" if row.bold and first else first
    headers = "".join(f'<th scope="row">{text}</th>' for text in (first + star, *rest))
    title = f' title="{escape(row.remark)}"' if row.remark else ""
    gap = ' class="gap"' if row.gap else ""
    opening = f"<tr{gap}{title}>"
    return f"{opening}{headers}{''.join(f'<td>{_cell(cell)}</td>' for cell in row.cells)}</tr>"


def _cell(cell: Cell) -> str:
    text = escape(digits(cell))
    if cell.emphasis:
        tag = "b" if cell.emphasis == "bold" else "u"
        text = f"<{tag}>{text}</{tag}>"
    around = escape(spread(cell))
    return f"{text}<small>{around}</small>" if around else text
