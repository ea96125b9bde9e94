"""Rendered tables, taken apart again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def unlinked(text: str) -> str:
    """A LaTeX table as it is printed: without the names of its cells and the room of its signs."""
    text = re.sub(r"\\arosign\{(\$.\$)\}", r"\1", text)
    text = re.sub(r" *\\arorow\{[\w-]+\}%\n", "", text)
    inner = r"(?:[^{}]|\{[^{}]*\})*"
    return re.sub(rf"\\arocell\{{[\w-]+\}}\{{({inner})\}}", r"\1", text)


def table_rows(path: Path) -> list[list[str]]:
    """The cells of a LaTeX table's body, line by line."""
    body = unlinked(path.read_text()).split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    lines = [line.strip() for line in body.splitlines() if "&" in line]
    return [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in lines]


def numbers(text: str) -> list[str]:
    """The decimal numbers of a rendered table, in any of its forms, with ASCII signs and in the order of the text."""
    text = re.sub(r"\\aropad\{(?:[^{}]|\{[^{}]*\})*\}|\\\\\[.*?\]", "", text)
    text = re.sub("<[^>]*>", " ", unlinked(text))
    text = text.replace("$-$", "-").replace("$+$", "+").replace("−", "-")
    return re.findall(r"(?<![\d.])[+-]?\d+\.\d+", text)


def body(text: str, format: str) -> str:
    """A rendered table without its caption, headings and notes, as far as those are set apart."""
    if format == "latex":
        return text.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    return "<td" + text.split("<td", 1)[-1].split("</table>")[0] if format == "html" else text


def stands_in(part: Sequence[str], whole: Iterable[str]) -> bool:
    """Whether all of a sequence stands in another one, in its order."""
    rest = iter(whole)
    return all(each in rest for each in part)
