"""Rendered tables, taken apart again."""

from __future__ import annotations

import re
from pathlib import Path


def unlinked(text: str) -> str:
    """A LaTeX table without the names of its cells, as it is printed."""
    text = re.sub(r" *\\arorow\{[\w-]+\}%\n", "", text)
    inner = r"(?:[^{}]|\{[^{}]*\})*"
    return re.sub(rf"\\arocell\{{[\w-]+\}}\{{({inner})\}}", r"\1", text)


def table_rows(path: Path) -> list[list[str]]:
    """The cells of a LaTeX table's body, line by line."""
    body = unlinked(path.read_text()).split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    lines = [line.strip() for line in body.splitlines() if "&" in line]
    return [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in lines]
