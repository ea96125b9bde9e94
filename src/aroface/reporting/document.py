"""One PDF of all tables and figures, by the LaTeX that is installed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from aroface.errors import InputError
from aroface.files import atomic_path, write_text
from aroface.reporting.latexmk import latexmk, missing_files, missing_programs
from aroface.reporting.tables.latex import TEMPLATES, check_name, environment, is_plain_name

TITLE = "ARoFace: tables and figures"
PACKAGES = ("booktabs.sty", "expl3.sty", "glyphtounicode.tex", "graphicx.sty", "iftex.sty")
HINT = (
    "on Debian or Ubuntu: apt-get install latexmk texlive-latex-recommended texlive-publishers; elsewhere: TeX Live "
    "from https://tug.org/texlive with latexmk, booktabs, iftex and, for Springer's pages, llncs"
)


def latex_missing() -> str | None:
    """One line that says what of LaTeX is missing and how to get it; None if all is there.

    ``llncs.cls`` is not asked for: without it the document has LNCS's text width in the article class.
    """
    programs = missing_programs()
    if programs:
        return f"LaTeX is not installed ({', '.join(programs)} not found); {HINT}"
    lacking = missing_files([*PACKAGES])
    if lacking:
        return f"LaTeX lacks {', '.join(lacking)}; {HINT}"
    return None


def write_document(
    fragments: Sequence[str | PathLike[str]],
    pictures: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    note: str,
    report: str | PathLike[str] | None = None,
) -> None:
    """Write a LaTeX document that puts the fragments on LNCS pages.

    Args:
        fragments: Tables and figures as ``write_table`` and ``figure_fae`` write them, in the order of the document.
        pictures: PDF files that the figures show; the fragments name them without their folders.
        out: Path of the ``.tex`` file. It refers to fragments in its folder and below by relative paths, so that the
            folder can be compiled wherever it stands; others, and those whose path LaTeX cannot read, are copied into
            it, as is the package ``aroface``.
        note: Meaning of the numbers, as the first paragraph.
        report: File that explains each cell, which need not be there yet; None for a document without links.

    Raises:
        InputError: Two pictures of one name, of which LaTeX would take the first twice, or one in a folder whose path
            LaTeX cannot read.
    """
    folder = Path(out).resolve().parent
    names = [Path(picture).name for picture in pictures]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{names.count(name)} pictures are named {name}", expected="a name of its own for each")
    picture_folders = dict.fromkeys(_relative(Path(picture).parent, folder) for picture in pictures)
    for picture_folder in picture_folders:
        check_name(picture_folder, out)
    template = environment().get_template("document.tex.j2")
    text = template.render(
        title=TITLE,
        note=note,
        package=(TEMPLATES / "aroface.sty").read_text(encoding="utf-8"),
        report=None if report is None else _relative(report, folder),
        fragments=[_fragment(_relative(fragment, folder), Path(fragment)) for fragment in fragments],
        picture_folders=picture_folders,
    )
    write_text(out, text)


def compile_document(
    fragments: Sequence[str | PathLike[str]],
    pictures: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    note: str,
    report: str | PathLike[str] | None = None,
) -> None:
    """Write the document beside ``out`` (as ``.tex``) and compile it; equal input gives a PDF of equal bytes.

    Args:
        fragments: Fragments, see :func:`write_document`.
        pictures: Pictures, see :func:`write_document`.
        out: Path of the PDF file.
        note: First paragraph, see :func:`write_document`.
        report: Report, see :func:`write_document`.

    Raises:
        InputError: LaTeX is not installed, stops at an error, or could not fit something into the text width.
    """
    source = Path(out).with_suffix(".tex").resolve()
    write_document(fragments, pictures, source, note=note, report=report)
    missing = latex_missing()
    if missing:
        raise InputError(missing, file=out)
    with tempfile.TemporaryDirectory(prefix="aroface-latex-") as folder:
        compiled = latexmk(source, Path(folder))
        check_log(compiled.log, source)
        with atomic_path(out) as temporary:
            shutil.copyfile(compiled.pdf, temporary)


def check_log(log: str, source: Path) -> None:
    """Refuse a document in which something sticks out of the text.

    Raises:
        InputError: Names the fragment, how far it sticks out, and what to do.
    """
    fragment = source.name
    for line in log.splitlines():
        if marker := re.match(r"\(aroface: (.*)\)$", line):
            fragment = marker[1]
        if overfull := re.match(r"Overfull \\hbox \((.*?) too wide\)", line):
            raise InputError(
                f"Overfull \\hbox: {overfull[1]} wider than the text",
                file=source,
                where=fragment,
                remedy="set a smaller size or gap_pt, or spread: below, in the layout of the table's specification",
            )
        if large := re.match(r"LaTeX Warning: Float too large for page by (\S+pt)", line):
            raise InputError(
                f"{large[1]} higher than the page",
                file=source,
                where=fragment,
                remedy="set form: {environment: sidewaystable} or fewer columns in the table's specification",
            )


def _fragment(name: str, path: Path) -> dict[str, str | None]:
    """A fragment as the template takes it: its path, or its text where that path would not outlast a move."""
    plain = is_plain_name(name) and not name.startswith("..")
    return {"name": name if plain else path.stem, "text": None if plain else path.read_text(encoding="utf-8")}


def _relative(path: str | PathLike[str], folder: Path) -> str:
    return Path(os.path.relpath(Path(path).resolve(), folder)).as_posix()
