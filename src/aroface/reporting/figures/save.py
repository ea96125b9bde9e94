"""Saving of figures as vector PDF, PNG and LaTeX, in the type of the text and with reproducible bytes."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from aroface.files import sha256_file, write_bytes, write_text
from aroface.provenance import git_commit
from aroface.reporting.figures.form import DEFAULT_FORM, FigureForm, style
from aroface.reporting.figures.fragment import FigureOrigin, render_fragment
from aroface.reporting.figures.words import FigureWords, unbroken
from aroface.reporting.text import one_line

_DPI = 300
# Dates and program names would change the bytes of an unchanged figure.
_METADATA: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
# Computer Modern's files carry dates that fontTools remarks upon at every subset.
logging.getLogger("fontTools.ttLib.tables._h_e_a_d").setLevel(logging.ERROR)


def save_figure(
    out: str | PathLike[str],
    draw: Callable[[], Figure],
    words: FigureWords,
    sources: Iterable[Path],
    *,
    form: FigureForm = DEFAULT_FORM,
    note: str | None = None,
    command: str | None = None,
) -> None:
    """Write ``{out}.pdf``, ``{out}.png`` and ``{out}.tex``: a figure environment with the caption.

    Args:
        out: Path of the files without their suffix.
        draw: Function that draws the figure, called in the style of ``form``, which the saving shares.
        words: Captions and description.
        sources: Records or histories that the figure shows.
        form: Form of the figure.
        note: Last sentence of the caption.
        command: Command that draws it.
    """
    whole = f"{words.caption} {note}" if note else words.caption
    said = FigureWords(*(unbroken(one_line(text)) for text in (words.short, whole, words.alt)))
    origin = figure_origin(sources, command)
    fragment = render_fragment(Path(out).name, said, form, origin)
    metadata = {
        "pdf": {"Title": said.short, "Subject": said.caption, "Keywords": "; ".join(origin.lines)},
        "png": {"Title": said.short, "Description": said.alt},
    }
    with matplotlib.rc_context(style(form)):
        figure = draw()
        for suffix in _METADATA:
            write_bytes(f"{out}.{suffix}", picture(figure, suffix, metadata[suffix]))
    write_text(f"{out}.tex", fragment)


def figure_origin(sources: Iterable[Path], command: str | None = None) -> FigureOrigin:
    """Origin of a figure from files of results, each named by its folder and itself."""
    hashes = {"/".join(path.parts[-2:]): sha256_file(path) for path in sources}
    return FigureOrigin(command, git_commit(), dict(sorted(hashes.items())))


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
