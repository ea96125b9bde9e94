"""Lines and tables of text, for the reports that are no table of the paper."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

SENSITIVITY = "sensitivity"
"""Protocol of a sweep of alignment errors."""
DEFAULT_METRIC = "tar_strict_at_far_1e-2"
"""Metric of such a sweep that figures show."""
FULL_QUALITY = "hq"
# Name of a metric, without and with its unit.
_FARS = {"1e-1": "10 %", "1e-2": "1 %", "1e-3": "0.1 %", "1e-4": "0.01 %", "1e-5": "0.001 %"}
METRICS = {
    "accuracy": ("Accuracy", "Accuracy (%)"),
    "auc": ("Area under the ROC curve", "Area under ROC (%)"),
    **{
        f"{kind}_at_far_{far}": (f"TAR at FAR = {words}", f"TAR (%) at FAR = {words}")
        for kind in ("tar", "tar_strict")
        for far, words in _FARS.items()
    },
}


def print_wide(parts: Iterable[Table | Text | str], *, color: bool | None = None, width: int | None = None) -> str:
    """Tables and lines for a terminal; tables take what room they need, lines wrap at the terminal's width.

    Args:
        parts: Tables and lines in their order.
        color: True for colours, bold and underlined type; None decides by what standard output is.
        width: Number of columns of the terminal; None takes this one's.
    """
    here = Console()
    width = width or here.width
    buffer = io.StringIO()
    typed = here.is_terminal if color is None else color
    console = Console(file=buffer, force_terminal=typed, width=width, highlight=False)
    for block in parts:
        console.width = width
        if isinstance(block, Table):
            wide = console.options.update_width(1000)
            console.width = max(width, Measurement.get(console, wide, block).maximum)
        console.print(Text(_wrapped(block, width)) if isinstance(block, str) else block)
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


def one_line(text: str) -> str:
    """Text without line breaks: LaTeX ends a caption at an empty line. Other spaces stay what they are."""
    return re.sub(r"\s*[\r\n]\s*", " ", text.strip())


def over_seeds(counts: Collection[int]) -> str:
    """Nature of values by the numbers of seeds behind them: ``one seed``, ``mean over 2 to 3 seeds``."""
    low, high = min(counts), max(counts)
    if high == 1:
        return "one seed"
    return f"mean over {low if low == high else f'{low} to {high}'} seeds"


def quality_name(quality: str) -> str:
    """``hq`` and ``r24`` in words."""
    return "full quality" if quality == FULL_QUALITY else f"{quality[1:]} px"


def metric_name(metric: str) -> tuple[str, str]:
    """A metric in words, without and with its unit."""
    plain = metric.replace("_", " ")
    return METRICS.get(metric, (plain, f"{plain} (%)"))
