"""Tables as Markdown, CSV and terminal text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from aroface.reporting.tables.grid import DAGGER, MISSING, Cell, Grid, GridRow, Leaf, on_one_line, stacked
from aroface.reporting.text import markdown_row, markdown_text, print_wide

STAR = "★"
STYLES = {"bold": "bold", "underline": "underline", None: ""}
EXTRAS = ("source", "sd", "low", "high", "seeds")
CORRECTION = "authors_print"
"""Column of a CSV file with what the authors print instead of a row's headers."""
SUFFIXES = {"reported": "reported", "reproduced": "mean", "difference": "delta"}


def markdown(grid: Grid) -> str:
    """The table as GitHub-flavoured Markdown: caption, table, notes, footnote."""
    grid = stacked(grid)
    heads = [
        *grid.row_headers,
        *(" ".join(map(on_one_line, _heading(leaf))) for leaf in grid.leaves),
    ]
    rules = [*(":--" for _ in grid.row_headers), *("--:" for _ in grid.leaves)]
    body = [[*_markdown_headers(row), *(_markdown_cell(cell) for cell in row.cells)] for row in grid.rows]
    table = [markdown_row([markdown_text(head) for head in heads]), markdown_row(rules), *map(markdown_row, body)]
    blocks = [markdown_text(grid.caption), "\n".join(table)]
    blocks += [markdown_text(note) for note in grid.notes]
    blocks += [f"<sup>{mark}</sup> {markdown_text(str(source))}" for mark, source in grid.sources.items()]
    if grid.footnote:
        blocks.append(f"{STAR} {markdown_text(grid.footnote)}")
    return "\n\n".join(blocks) + "\n"


def csv_text(grid: Grid) -> str:
    """The table as CSV for other programs: percentages as printed, an empty field for a missing value.

    A reproduced value has its standard deviation and number of seeds in fields of their own, a difference of rows the
    ends of its interval, a value that is not the authors' the key of its source. No name stands twice. Texts are exact;
    for a spreadsheet program see :func:`csv_excel`.
    """
    return _csv(_csv_rows(grid))


def csv_excel(grid: Grid) -> str:
    """The same for a spreadsheet program: with a byte-order mark, and a tab before what it would not take for text.

    Without them ``+ARoFace`` became a formula, ``1/8`` a date, and ``−`` two wrong letters.
    """
    return "\ufeff" + _csv([[*map(_as_text, row)] for row in _csv_rows(grid)])


def _csv_rows(grid: Grid) -> list[list[str]]:
    """The fields of :func:`csv_text`, the names first."""
    extras = {
        j: [name for name in EXTRAS if any(_extra(grid, row.cells[j], name) for row in grid.rows)]
        for j, leaf in enumerate(grid.leaves)
        if leaf.part != "difference"  # its seeds are those of the mean
    }
    names = [f"{leaf.column.id}_{SUFFIXES[leaf.part]}" for leaf in grid.leaves]
    head = [*grid.row_headers]
    for j, leaf in enumerate(grid.leaves):
        head += [names[j], *(f"{leaf.column.id}_{extra}" for extra in extras.get(j, ()))]
    corrected = any(row.corrected for row in grid.rows)
    rows = [_unique([*head, *([CORRECTION] if corrected else [])])]
    for row in grid.rows:
        fields = [*row.full_headers]
        for j, cell in enumerate(row.cells):
            fields += [cell.number or "", *(_extra(grid, cell, extra) for extra in extras.get(j, ()))]
        rows.append([*fields, *(["; ".join(row.corrected.values())] if corrected else [])])
    return rows


def _csv(rows: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _unique(names: Sequence[str]) -> list[str]:
    """Names of columns, a number behind those that stood before."""
    taken: dict[str, None] = {}
    for name in names:
        candidates = (name, *(f"{name}_{number}" for number in range(2, len(names) + 1)))
        taken[next(each for each in candidates if each not in taken)] = None
    return [*taken]


def _as_text(text: str) -> str:
    """A text that no spreadsheet program takes for a formula or a date; a number stays one."""
    return f"\t{text}" if re.match(r"[-+=@\t\r]|\d+\s*[-/.:]\s*\d+[-/.:\d]*$", text) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.\d+)?", text) is not None


def terminal(grid: Grid, *, color: bool | None = None, width: int | None = None) -> str:
    """The table for a terminal; digits are never cut or wrapped, whatever its width.

    Args:
        grid: Table.
        color: True for bold and underlined type; None decides by what standard output is.
        width: Columns of the terminal; None takes this one's.
    """
    grid = stacked(grid)
    below = grid.layout.spread == "below"
    body = [[*_terminal_headers(row), *(_terminal_cell(cell, below) for cell in row.cells)] for row in grid.rows]
    heads = [*grid.row_headers, *("\n".join(_heading(leaf)) for leaf in grid.leaves)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for j, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if j >= len(grid.row_headers) else "left")
    for i, cells in enumerate(body):
        table.add_row(*cells, end_section=i + 1 < len(body) and grid.rows[i + 1].rule)
    below_it = [*grid.notes, *(f"[{mark}] {source}" for mark, source in grid.sources.items())]
    below_it += [f"{STAR} {grid.footnote}"] if grid.footnote else []
    return print_wide([Text(grid.caption), table, *map(Text, below_it)], color=color, width=width)


def _heading(leaf: Leaf) -> list[str]:
    return [part for part in leaf.path if part]


def marked_headers(row: GridRow) -> tuple[str, ...]:
    """The headers of a row with its star and its dagger."""
    headers = [text + DAGGER if number in row.corrected else text for number, text in enumerate(row.headers)]
    headers[0] += STAR if row.star and headers[0] else ""
    return tuple(headers)


def digits(cell: Cell) -> str:
    """The value as text, with a true minus sign; two dashes where there is none."""
    if cell.number is None:
        return MISSING
    return cell.number.replace("-", "−")


def spread(cell: Cell) -> str:
    """Standard deviation or interval after the value, with a space before it; empty where there is neither."""
    if cell.around:
        return f" ± {cell.around}"
    if cell.interval:
        return f" [{cell.interval[0]}, {cell.interval[1]}]".replace("-", "−")
    return ""


def _extra(grid: Grid, cell: Cell, name: str) -> str:
    if name == "source":
        return grid.sources[cell.mark].key if cell.mark else ""
    if name == "sd":
        return cell.sd or ""
    if name == "seeds":
        return str(cell.seeds) if cell.seeds else ""
    return cell.interval[name == "high"] if cell.interval else ""


def _markdown_headers(row: GridRow) -> list[str]:
    first, *rest = (markdown_text(text) for text in marked_headers(row))
    return [f"**{first}**" if row.bold and first else first, *rest]


def _markdown_cell(cell: Cell) -> str:
    text = digits(cell)
    if cell.emphasis:
        text = f"**{text}**" if cell.emphasis == "bold" else f"<u>{text}</u>"
    return text + (f"<sup>{cell.mark}</sup>" if cell.mark else "") + spread(cell)


def _terminal_headers(row: GridRow) -> list[Text]:
    first, *rest = marked_headers(row)
    return [Text(first, style="bold" if row.bold else ""), *(Text(text) for text in rest)]


def _terminal_cell(cell: Cell, below: bool) -> Text:
    around = spread(cell)
    mark = f" [{cell.mark}]" if cell.mark else ""
    return Text.assemble(
        (digits(cell), STYLES[cell.emphasis]), mark, f"\n{around.strip()}" if below and around else around
    )
