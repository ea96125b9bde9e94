"""Tables and figures as LaTeX fragments that a paper can input; what they need is in ``preamble.tex``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from os import PathLike
from urllib.parse import quote

import jinja2

from aroface.errors import InputError
from aroface.reporting.anchors import column_anchor, row_anchor
from aroface.reporting.tables.citations import CLOSE, OPEN
from aroface.reporting.tables.grid import MISSING, Cell, Grid, GridRow, heading_levels, stacked
from aroface.shipped import PACKAGE

TEMPLATES = PACKAGE / "_templates"

# Letters that look like Latin ones have no command.
GREEK = {
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta"},
    **{"θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi"},
    **{"ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega"},
    **{"Γ": "Gamma", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi"},
    **{"Ω": "Omega", "Δ": "Delta"},
}
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
        "°": r"$^\circ$",
        "★": r"$\bigstar$",
        "†": r"$\dagger$",
        "≈": r"$\approx$",
        "∞": r"$\infty$",
        "→": r"$\rightarrow$",
        **{letter: rf"$\{name}$" for letter, name in GREEK.items()},
        "–": "--",
        "\u00a0": "~",
    }
)


_UNREADABLE = re.compile(r'[#%$\\"{}^\x00-\x1f\x7f]|^[|~]')
"""Of a file's name: what TeX reads as something else, however the name is written."""

RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


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


def escape(text: str) -> str:
    """Plain Unicode text as LaTeX that prints the same; citation keys in their brackets become a citation."""
    parts = re.split(f"{OPEN}([^{CLOSE}]*){CLOSE}", text)
    return "".join(rf"~\cite{{{part}}}" if number % 2 else _escape(part) for number, part in enumerate(parts))


def _escape(text: str) -> str:
    escaped = text.translate(ESCAPES)
    return re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda found: f"$^{{{found[0].translate(RAISED)}}}$", escaped)


def unescape(text: str) -> str:
    """The plain text that :func:`escape` made LaTeX of."""
    sequences = {escaped: chr(code) for code, escaped in ESCAPES.items()}
    raised = {chr(digit): chr(code) for code, digit in RAISED.items()}
    known = "|".join(re.escape(sequence) for sequence in sorted(sequences, key=len, reverse=True))
    return re.sub(
        rf"\$\^\{{([-0-9]+)\}}\$|({known})",
        lambda found: sequences[found[2]] if found[2] else "".join(map(raised.__getitem__, found[1])),
        text,
    )


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


def render(grid: Grid) -> str:
    """The table as a ``table`` environment with caption and label."""
    grid = stacked(grid)
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
        picture: File name of the picture, found through the document's graphics path.
        caption: Plain text.
        label: LaTeX label.

    Raises:
        InputError: The name holds a character that LaTeX cannot read in one.
    """
    check_name(picture, picture)
    template = environment().get_template("figure.tex.j2")
    return template.render(picture=picture, caption=caption, label=label)


def _headings(grid: Grid) -> list[tuple[str, str]]:
    """Heading lines with the rules under them, topmost first."""
    levels = heading_levels(grid)
    headings = []
    for number, level in enumerate(levels, 1):
        last = number == len(levels)
        cells = [escape(header) if last else "" for header in grid.row_headers]
        rules = []
        column = len(grid.row_headers) + 1
        for heading, span in level:
            text = _heading(heading)
            cells.append(text if span == 1 else rf"\multicolumn{{{span}}}{{c}}{{{text}}}")
            if text and not last:
                rules.append(rf"\cmidrule(lr){{{column}-{column + span - 1}}}")
            column += span
        headings.append((" & ".join(cells), "".join(rules)))
    return headings


def _heading(text: str) -> str:
    """A heading, its lines below one another."""
    lines = [escape(line) for line in text.splitlines()]
    return "".join(lines) if len(lines) < 2 else "\\shortstack{" + r" \\ ".join(lines) + "}"


def _aligned_rows(grid: Grid) -> list[dict[str, object]]:
    """Rows as template variables, their cells padded so that the source reads as a table too."""
    below = grid.layout.spread == "below"
    columns = [
        _column([row.cells[j] for row in grid.rows], column_anchor(leaf.column.id), below)
        for j, leaf in enumerate(grid.leaves)
    ]
    names = [[_header(row, i) for row in grid.rows] for i in range(len(grid.row_headers))]
    padded = [_pad(texts) for texts in [*names, *columns]]
    return [
        {
            "rule": row.rule,
            "gap": row.gap,
            "remark": textwrap.wrap(row.remark or "", 100),
            "anchor": row_anchor(grid.name, row.key),
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
    return text + (r"\arodagger" if index in row.corrected else "")


def _column(cells: Sequence[Cell], anchor: str, below: bool) -> list[str]:
    """Cells of one column, filled up with invisible digits so that all points stand under one another.

    Each number is the argument of a command that knows the cell, for documents in which numbers are links.
    """
    whole = _widest(cell.number for cell in cells if not _is_compared(cell))
    digits = max((_decimals(cell.number) for cell in cells if cell.number), default=0)
    spreads = [] if below else [cell.around for cell in cells if cell.around is not None]
    widest = max(spreads, key=len, default=None)
    texts = []
    for cell in cells:
        if cell.number is None:
            texts.append(rf"\arocell{{{anchor}}}{{{MISSING}}}")
            continue
        text = _signed(cell.number)
        if cell.emphasis:
            text = rf"\{'textbf' if cell.emphasis == 'bold' else 'underline'}{{{text}}}"
        text = rf"\arocell{{{anchor}}}{{{text}}}"
        mark = rf"\aromark{{{cell.mark}}}" if cell.mark else ""
        fill = "0" * (whole - len(cell.number.lstrip("+-").partition(".")[0]))
        if fill and not cell.number.startswith(("+", "-")):
            text = rf"\phantom{{{fill}}}{text}"
        if missing := "0" * (digits - _decimals(cell.number)):
            text += rf"{mark}\phantom{{{missing if digits > len(missing) else '.' + missing}}}"
        else:
            text += mark
        if cell.interval and not cell.half and not below:
            text += rf"\arointerval{{{_signed(cell.interval[0])}}}{{{_signed(cell.interval[1])}}}"
        elif widest:
            text += rf"\arosd{{{cell.around}}}" if cell.around else rf"\phantom{{\arosd{{{widest}}}}}"
        texts.append(text)
    return texts


def _is_compared(cell: Cell) -> bool:
    """True if a cell is a difference, whose sign takes the place of filling digits."""
    return cell.number is not None and cell.number.startswith(("+", "-"))


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def _widest(numbers: Iterable[str | None]) -> int:
    return max((len(number.lstrip("+-").partition(".")[0]) for number in numbers if number is not None), default=0)


def _below(grid: Grid, row: GridRow) -> str | None:
    """The line of standard deviations and intervals under a row; None if it has none."""
    texts = [
        rf"\arointerval{{{_signed(cell.interval[0])}}}{{{_signed(cell.interval[1])}}}"
        if cell.interval and not cell.half
        else rf"\arosd{{{cell.around}}}"
        if cell.around
        else ""
        for cell in row.cells
    ]
    return " & ".join([""] * len(grid.row_headers) + texts).strip(" ") if any(texts) else None


def _signed(number: str) -> str:
    """Digits with a sign that is set as long as a digit is wide, not as a hyphen."""
    return f"${number[0]}${number[1:]}" if number[0] in "+-" else number
