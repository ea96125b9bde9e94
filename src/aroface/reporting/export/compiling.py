"""Compilation of an exported folder, with the judgement of what came of it and its pages as pictures."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aroface.errors import InputError
from aroface.reporting.export.folder import Fragment, add_file
from aroface.reporting.export.judge import MAIN, Fault, judge
from aroface.reporting.export.templates import BASE_PACKAGES, ENGINE_PACKAGES, VenueTemplate
from aroface.reporting.latexmk import Engine, latexmk, missing_files, missing_programs

RESOLUTION = 110
"""Dots per inch of the pages' pictures."""
_PAGE = re.compile(r"\\newlabel\{(.*?)\}\{\{(?:[^{}]|\{[^{}]*\})*\}\{(\d+)\}")
_BASE_FILES = ("booktabs.sty", "graphicx.sty", "expl3.sty")


def cannot_compile(template: VenueTemplate, engine: Engine) -> str | None:
    """One line that says what LaTeX lacks for a template and how to get it; None if all is there."""
    packages = " ".join(dict.fromkeys([*BASE_PACKAGES, *ENGINE_PACKAGES[engine], *template.packages]))
    hint = f"on Debian or Ubuntu: apt-get install {packages}"
    programs = missing_programs(engine)
    if programs:
        return f"{', '.join(programs)} not found; {hint}"
    lacking = missing_files([*_BASE_FILES, *template.needs])
    return f"LaTeX lacks {', '.join(lacking)}; {hint}" if lacking else None


def compile_folder(folder: Path, fragments: Sequence[Fragment], engine: Engine = "pdflatex") -> list[Fault]:
    """Compile the document of an export and judge it; ``main.pdf`` and its pages as PNG are added to the folder.

    Args:
        folder: Folder of the export.
        fragments: Fragments of the document.
        engine: Program that reads the source.

    Returns:
        All that print would not take; an error of LaTeX is one, too.
    """
    with tempfile.TemporaryDirectory(prefix="aroface-latex-") as temporary:
        try:
            compiled = latexmk(folder / MAIN, Path(temporary), engine)
        except InputError as error:
            line = str(error).removeprefix(f"{folder / MAIN}: ")
            return [Fault(MAIN, line, "see the line that it names")]
        faults = judge(compiled.log, compiled.pdf, _pages(compiled.pdf.with_suffix(".aux"), fragments))
        add_file(folder, compiled.pdf, "main.pdf")
        if shutil.which("pdftoppm"):
            command = ["pdftoppm", "-r", str(RESOLUTION), "-png", str(compiled.pdf), f"{temporary}/page"]
            subprocess.run(command, check=True, capture_output=True)
            for number, path in enumerate(sorted(Path(temporary).glob("page-*.png")), 1):
                add_file(folder, path, f"main-{number}.png")
    return faults


def _pages(auxiliary: Path, fragments: Sequence[Fragment]) -> dict[str, int]:
    """Page of each fragment, by the labels that LaTeX wrote down."""
    text = auxiliary.read_text(encoding="utf-8", errors="replace")
    pages = {match[1]: int(match[2]) for match in _PAGE.finditer(text)}
    return {fragment.file: pages[fragment.label] for fragment in fragments if fragment.label in pages}
