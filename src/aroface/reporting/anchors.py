"""Addresses as names that HTML, URLs and LaTeX take as they are: a link from a PDF or a table finds its place."""

from __future__ import annotations

import re

from aroface.files import digest

_HASH_DIGITS = 6
_SPEAKING = re.compile(r"[A-Za-z0-9_+@]+")


def row_anchor(table: str, row: str) -> str:
    """The part of a cell's anchor that all cells of a row share, such as ``tinyface--ArcFace-ARoFace-MS1MV2``.

    Args:
        table: Name of the table.
        row: Address of the row, its headers joined by ``@``.
    """
    return f"{_slug(table)}--{_slug(row)}"


def cell_anchor(table: str, row: str, column: str) -> str:
    """A cell's address as an id of letters, digits, ``_`` and ``-``: ``cell-tinyface--ArcFace-ARoFace-MS1MV2--rank1``.

    Two cells have two ids: what is neither letter, digit, ``_``, ``+`` nor ``@`` puts a hash behind the part's name.
    """
    return f"cell-{row_anchor(table, row)}--{column_anchor(column)}"


def column_anchor(column: str) -> str:
    """The part of a cell's anchor that all cells of a column share."""
    return _slug(column)


def run_anchor(run: str) -> str:
    """The id of what is said of a run."""
    return f"run-{run if re.fullmatch('[A-Za-z0-9_-]+', run) else _slug(run)}"


def table_anchor(table: str) -> str:
    """The id of a table."""
    return f"table-{_slug(table)}"


def _slug(text: str) -> str:
    if _SPEAKING.fullmatch(text):
        return re.sub("[+@]", "-", text)
    name = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")
    return f"{name}-{digest(text, _HASH_DIGITS)}".lstrip("-")
