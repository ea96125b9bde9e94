"""Lines and tables of text, for the reports that are no table of the paper."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


def print_wide(parts: Iterable[Table | Text | str]) -> str:
    """Tables and lines for a terminal; tables take what room they need, lines wrap at the terminal's width.

    Colours are used where standard output is a terminal.
    """
    here = Console()
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=here.is_terminal, width=here.width, highlight=False)
    for part in parts:
        console.width = here.width
        if isinstance(part, Table):
            wide = console.options.update_width(1000)
            console.width = max(here.width, Measurement.get(console, wide, part).maximum)
        console.print(Text(_wrapped(part, here.width)) if isinstance(part, str) else part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _wrapped(line: str, width: int) -> str:
    """A line, broken where it must; an item of a list stays indented."""
    indent = " " * (len(line) - len(line.lstrip(" -")))
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> str:
    """A table of GitHub-flavoured Markdown from plain texts; the columns numbered in ``right`` are flush right."""
    rules = ["--:" if column in right else ":--" for column in range(len(heads))]
    first, *rest = ([markdown_text(cell) for cell in cells] for cells in (heads, *rows))
    return "\n".join(markdown_row(cells) for cells in (first, rules, *rest))


def markdown_row(cells: Sequence[str]) -> str:
    """One row of a table, of finished cells."""
    return f"| {' | '.join(cells)} |"


def markdown_text(text: str) -> str:
    """Plain text as Markdown that reads the same."""
    for character in "\\`*_|<":
        text = text.replace(character, f"\\{character}")
    return text


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listing(words: Sequence[str]) -> str:
    """Words as a sentence has them: ``a, b and c``."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
