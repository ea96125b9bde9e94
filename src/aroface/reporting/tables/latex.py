"""Tables and figures as LaTeX fragments that a paper can input; what they need is in ``aroface.sty``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby
from os import PathLike
from urllib.parse import quote

import jinja2

from aroface.errors import InputError
from aroface.reporting.anchors import row_anchor
from aroface.reporting.tables.fit import PAGE_PT, Fit, fit_cells, turned
from aroface.reporting.tables.form import TableForm, check_form
from aroface.reporting.tables.grid import Grid, stacked
from aroface.reporting.tables.tex_cells import Heading, TexCells
from aroface.reporting.tables.tex_text import escape
from aroface.shipped import PACKAGE

TEMPLATES = PACKAGE / "_templates"

_UNREADABLE = re.compile(r'[#%$\\"{}^\x00-\x1f\x7f]|^[|~]')
"""Of a file's name: what TeX reads as something else, however the name is written."""


def is_plain_name(name: str) -> bool:
    """Tell whether TeX can read a file of this name."""
    return _UNREADABLE.search(name) is None


def check_name(name: str, file: str | PathLike[str]) -> None:
    """Refuse a path that TeX cannot read.

    Args:
        name: The path.
        file: The file that would name it.

    Raises:
        InputError: One line with the character.
    """
    if match := _UNREADABLE.search(name):
        remedy = f"use paths without any of # % $ ^ \\ {{ }} and {chr(34)}"
        raise InputError(f"LaTeX cannot read {name!r}, which holds {match[0]!r}", file=file, remedy=remedy)


@cache
def environment() -> jinja2.Environment:
    """The template engine, with delimiters that LaTeX leaves alone; an undefined variable is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
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
    environment.filters["uri"] = lambda path: quote(path).replace("~", "%7E")
    environment.filters["plain"] = lambda name: _UNREADABLE.sub("?", name)
    return environment


def render(
    grid: Grid,
    form: TableForm | None = None,
    say: Callable[[str], object] = lambda line: None,
    page: float = PAGE_PT,
) -> str:
    """The table in LaTeX.

    Args:
        grid: Table.
        form: Form of it; None for a ``table`` on LNCS's pages.
        say: Function that is told what was changed so that the table fits, a line each.
        page: Height of the page's text in points.

    Raises:
        InputError: A text that LaTeX cannot print, or options that exclude one another.
    """
    form = form or TableForm()
    check_form(form)
    reported = all(leaf.part == "reported" for leaf in grid.leaves)
    grid = stacked(grid)
    form, turns = turned(grid, form, page)
    cells = TexCells(grid, form)
    fit, lines = fit_cells(cells)
    lines = (*turns, *lines)
    for line in lines:
        say(line)
    template = environment().get_template("table.tex.j2")
    return template.render(
        grid=grid,
        form=form,
        fit=fit,
        lines=lines,
        needs=_needs(form),
        label=form.label or f"tab:aroface:{grid.name.replace('_', '-')}{':reported' if reported else ''}",
        columns=_columns(cells, fit),
        blocks=[{"headings": _headings(cells, fit, block), "rows": _rows(cells, fit, block)} for block in fit.blocks],
    )


def _needs(form: TableForm) -> str:
    """Packages that a fragment needs."""
    names = [
        "aroface.sty",
        *(["rotating"] if form.environment == "sidewaystable" else []),
        *(["longtable"] if form.environment == "longtable" else []),
        *(["threeparttable"] if form.notes == "threeparttable" and form.environment != "longtable" else []),
        *(["siunitx"] if form.numbers == "siunitx" else []),
    ]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _columns(cells: TexCells, fit: Fit) -> str:
    """Argument of the tabular: the first part's groups of columns set off in the source."""
    widest = max(fit.blocks, key=len)
    groups = [list(group) for _, group in groupby(widest, key=lambda j: cells.grid.leaves[j].path[0])]
    if cells.form.numbers == "plain":
        return " ".join(["@{}" + "l" * len(fit.headers), *("c" * len(group) for group in groups)]) + "@{}"
    formats = [
        cells.siunitx([block[k] for block in fit.blocks if k < len(block)]) for k in range(max(map(len, fit.blocks)))
    ]
    runs = [(format, len(list(run))) for format, run in groupby(formats)]
    texts = [format if count == 1 else f"*{{{count}}}{{{format}}}" for format, count in runs]
    return " ".join(["@{}" + "l" * len(fit.headers), *texts]) + "@{}"


def _headings(cells: TexCells, fit: Fit, block: Sequence[int]) -> list[dict[str, str]]:
    """Heading lines with the rules under them, topmost first."""
    lines = cells.headings(block)
    headings = []
    for number, line in enumerate(lines, 1):
        texts = [cells.header_headings[i] if number == len(lines) else "" for i in fit.headers]
        rules = []
        column = len(fit.headers) + 1
        trimmed = "(lr)" if cells.form.environment == "longtable" or cells.form.notes == "threeparttable" else ""
        for heading in line:
            texts.append(_heading(heading, braces=cells.form.numbers == "siunitx"))
            if heading.ruled:
                rules.append(rf"\cmidrule{trimmed}{{{column}-{column + heading.span - 1}}}")
            column += heading.span
        headings.append({"text": " & ".join(texts), "rules": " ".join(rules)})
    return headings


def _heading(heading: Heading, *, braces: bool) -> str:
    if heading.span > 1:
        return rf"\multicolumn{{{heading.span}}}{{c}}{{{heading.text}}}" if heading.text else "&" * (heading.span - 1)
    return f"{{{heading.text}}}" if braces and heading.text else heading.text


def _rows(cells: TexCells, fit: Fit, block: Sequence[int]) -> list[dict[str, object]]:
    """Rows as template variables, their cells padded so that the source reads as a table too."""
    padded = [_pad(texts) for texts in [*(cells.headers[i] for i in fit.headers), *(cells.numbers[j] for j in block)]]
    return [
        {
            "rule": row.rule,
            "gap": row.gap,
            "remark": textwrap.wrap(row.remark or "", 100) if block is fit.blocks[0] else [],
            "anchor": row_anchor(cells.grid.name, row.key),
            "cells": " & ".join(column[i] for column in padded).rstrip(),
            "below": _below([*([""] * len(fit.headers)), *(cells.lower[j][i] for j in block)]),
        }
        for i, row in enumerate(cells.grid.rows)
    ]


def _pad(texts: Sequence[str]) -> list[str]:
    width = max((len(text) for text in texts), default=0)
    return [text.ljust(width) for text in texts]


def _below(texts: Sequence[str]) -> str | None:
    """The line of standard deviations and intervals under a row; None if it has none."""
    return " & ".join(texts).strip(" ") if any(texts) else None
