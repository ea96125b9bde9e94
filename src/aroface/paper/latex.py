"""Tables and figures as LaTeX fragments that a paper can input; what they need is in ``preamble.tex``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import jinja2

from aroface.paper.grid import MISSING, Cell, Grid, GridRow

PLACES = (Path(__file__).parents[1] / "_templates", Path(__file__).parents[3] / "paper_tables" / "templates")

ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "<": "$<$",
        ">": "$>$",
        "|": "$|$",
        "±": r"$\pm$",
        "−": "$-$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "Δ": r"$\Delta$",
        "°": r"$^\circ$",
        "★": r"$\bigstar$",
        "–": "--",
        "\u00a0": "~",
    }
)


def escape(text: str) -> str:
    """Plain Unicode text as LaTeX that prints the same."""
    return text.translate(ESCAPES)


@cache
def environment() -> jinja2.Environment:
    """The template engine, with delimiters that LaTeX leaves alone; an undefined variable is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(place) for place in PLACES]),
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\#{",
        comment_end_string="}",
        line_statement_prefix="%%",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters["tex"] = escape
    return environment


def render(grid: Grid) -> str:
    """The table as a ``table`` environment with caption and label."""
    template = environment().get_template("table.tex.j2")
    return template.render(
        grid=grid,
        columns="l" * len(grid.row_headers) + "c" * len(grid.leaves),
        headings=_headings(grid),
        rows=_aligned_rows(grid),
    )


def render_figure(picture: str, caption: str, label: str) -> str:
    """A ``figure`` environment of full width.

    Args:
        picture: file name of the picture, found through the document's graphics path.
        caption: plain text.
        label: LaTeX label.
    """
    template = environment().get_template("figure.tex.j2")
    return template.render(picture=picture, caption=caption, label=label)


def _headings(grid: Grid) -> list[tuple[str, str]]:
    """Heading lines with the rules under them, topmost first; a level at which no column has a heading is left out."""
    first = len(grid.row_headers)
    paths = [leaf.path for leaf in grid.leaves]
    levels = [level for level in range(len(paths[0])) if any(path[level] for path in paths)]
    found = []
    for level in levels:
        last = level == levels[-1]
        cells = [escape(header) if last else "" for header in grid.row_headers]
        rules = []
        column = first + 1
        for path, group in groupby(paths, key=lambda path: path[: level + 1]):
            span = len(list(group))
            text = escape(path[-1])
            cells.append(text if span == 1 else rf"\multicolumn{{{span}}}{{c}}{{{text}}}")
            if text and not last:
                rules.append(rf"\cmidrule(lr){{{column}-{column + span - 1}}}")
            column += span
        found.append((" & ".join(cells), "".join(rules)))
    return found


def _aligned_rows(grid: Grid) -> list[dict[str, object]]:
    """Rows as template variables, their cells padded so that the source reads as a table too."""
    below = grid.layout.spread == "below"
    columns = [_column([row.cells[j] for row in grid.rows], below) for j in range(len(grid.leaves))]
    names = [[_header(row, i) for row in grid.rows] for i in range(len(grid.row_headers))]
    padded = [_pad(texts) for texts in [*names, *columns]]
    return [
        {
            "rule": row.rule,
            "gap": row.gap,
            "remark": textwrap.wrap(row.remark or "", 100),
            "cells": " & ".join(column[i] for column in padded).rstrip(),
            "below": _below(grid, row) if below else None,
        }
        for i, row in enumerate(grid.rows)
    ]


def _pad(texts: Sequence[str]) -> list[str]:
    width = max((len(text) for text in texts), default=0)
    return [text.ljust(width) for text in texts]


def _header(row: GridRow, index: int) -> str:
    text = escape(row.headers[index])
    if index == 0 and text:
        text = rf"\textbf{{{text}}}" if row.bold else text
        text += r"\arostar" if row.star else ""
    return text


def _column(cells: Sequence[Cell], below: bool) -> list[str]:
    """Cells of one column, filled up with invisible digits so that all points stand under one another."""
    whole = _widest(cell.number for cell in cells if cell.interval is None)
    spreads = [] if below else [cell.sd for cell in cells if cell.sd is not None]
    widest = max(spreads, key=len, default=None)
    texts = []
    for cell in cells:
        if cell.number is None:
            texts.append(MISSING)
            continue
        text = _signed(cell.number)
        if cell.emphasis:
            text = rf"\{'textbf' if cell.emphasis == 'bold' else 'underline'}{{{text}}}"
        fill = "0" * (whole - len(cell.number.lstrip("+-").partition(".")[0]))
        if fill and not cell.number.startswith(("+", "-")):
            text = rf"\phantom{{{fill}}}{text}"
        if cell.interval and not below:
            text += rf"\arointerval{{{_signed(cell.interval[0])}}}{{{_signed(cell.interval[1])}}}"
        elif widest:
            text += rf"\arosd{{{cell.sd}}}" if cell.sd else rf"\phantom{{\arosd{{{widest}}}}}"
        texts.append(text)
    return texts


def _widest(numbers: Iterable[str | None]) -> int:
    return max((len(number.lstrip("+-").partition(".")[0]) for number in numbers if number is not None), default=0)


def _below(grid: Grid, row: GridRow) -> str | None:
    """The line of standard deviations and intervals under a row; None if it has none."""
    texts = [
        rf"\arointerval{{{_signed(cell.interval[0])}}}{{{_signed(cell.interval[1])}}}"
        if cell.interval
        else rf"\arosd{{{cell.sd}}}"
        if cell.sd
        else ""
        for cell in row.cells
    ]
    return " & ".join([""] * len(grid.row_headers) + texts).strip(" ") if any(texts) else None


def _signed(number: str) -> str:
    """Digits with a sign that is set as long as a digit is wide, not as a hyphen."""
    return f"${number[0]}${number[1:]}" if number[0] in "+-" else number
