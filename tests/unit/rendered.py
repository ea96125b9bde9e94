"""Rendered tables, taken apart again."""

from __future__ import annotations

from pathlib import Path


def table_rows(path: Path) -> list[list[str]]:
    """The cells of a LaTeX table's body, line by line."""
    body = path.read_text().split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    lines = [line.strip() for line in body.splitlines() if "&" in line]
    return [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in lines]
