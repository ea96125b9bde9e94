"""Saving of figures as vector PDF, PNG and LaTeX, in the type of the text and with reproducible bytes."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from aroface.files import write_bytes, write_text
from aroface.reporting.figures.layout import STYLE
from aroface.reporting.tables.latex import render_figure
from aroface.reporting.text import one_line

_DPI = 300
# Dates and program names would change the bytes of an unchanged figure.
_METADATA: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
# Computer Modern's files carry dates that fontTools remarks upon at every subset.
logging.getLogger("fontTools.ttLib.tables._h_e_a_d").setLevel(logging.ERROR)


def save_figure(out: str | PathLike[str], draw: Callable[[], Figure], caption: str, note: str | None = None) -> None:
    """Write ``{out}.pdf``, ``{out}.png`` and ``{out}.tex``: a figure environment with the caption.

    Args:
        out: Path of the files without their suffix.
        draw: Function that draws the figure, called in the style of the paper, which the saving shares.
        caption: Content of the figure, in plain text.
        note: Last sentence of the caption.
    """
    stem = Path(out).name
    whole = one_line(f"{caption} {note}" if note else caption)
    fragment = render_figure(f"{stem}.pdf", whole, f"fig:{stem}")
    with matplotlib.rc_context(STYLE):
        figure = draw()
        for suffix in _METADATA:
            write_bytes(f"{out}.{suffix}", picture(figure, suffix))
    write_text(f"{out}.tex", fragment)


def picture(figure: Figure, form: str, metadata: Mapping[str, Any] | None = None) -> bytes:
    """A figure as a file of the form ``pdf`` or ``png``, the same bytes every time.

    Args:
        figure: Figure to be saved.
        form: Format of the file.
        metadata: Metadata of the file, in Matplotlib's names; none by default.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=_DPI, metadata={**_METADATA[form], **(metadata or {})})
    return buffer.getvalue()
