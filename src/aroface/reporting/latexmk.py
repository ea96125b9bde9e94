"""Compilation by the LaTeX that is installed: no shell escape, nothing left beside the source, equal bytes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aroface.errors import InputError

Engine = Literal["pdflatex", "xelatex", "lualatex"]

ENGINES: dict[Engine, str] = {"pdflatex": "-pdf", "xelatex": "-pdfxe", "lualatex": "-pdflua"}
"""Engines, each with the option of latexmk that takes it."""
EPOCH = "0"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled document.

    Attributes:
        pdf: Path of the PDF file.
        log: Log of the last run.
        bibliography: Log of BibTeX; empty without one.
    """

    pdf: Path
    log: str
    bibliography: str = ""


def latexmk(source: Path, folder: Path, engine: Engine = "pdflatex") -> Compiled:
    """Compile a document, as often as its references ask for, BibTeX included.

    Args:
        source: Path of the ``.tex`` file, whose folder LaTeX runs in.
        folder: Folder of everything that LaTeX writes.
        engine: Program that reads the source.

    Raises:
        InputError: LaTeX stopped at an error; one line names file, line and error.
    """
    command = ["latexmk", "-norc", ENGINES[engine], "-interaction=nonstopmode", "-halt-on-error", "-file-line-error"]
    # XeLaTeX writes no PDF on the first runs, which latexmk asks for by -no-pdf.
    command += [f"-{engine}={engine} -no-shell-escape %O %S", f"-outdir={folder}", source.name]
    surroundings = {
        **os.environ,
        "SOURCE_DATE_EPOCH": EPOCH,
        "FORCE_SOURCE_DATE": "1",
        "max_print_line": "10000",  # TeX would break the log's lines at 79 characters
        "error_line": "254",
        "half_error_line": "238",
    }
    done = subprocess.run(command, cwd=source.parent, env=surroundings, capture_output=True)
    log = _read(folder / source.with_suffix(".log").name) or done.stdout.decode(errors="replace")
    if done.returncode:
        error = re.search(r"^(.+:\d+: .+|! .+)$", log, re.MULTILINE)
        reason = error[1] if error else _last_line(done.stderr.decode(errors="replace")) or "no PDF was written"
        raise InputError(f"LaTeX stopped: {reason}", file=source)
    made = folder / source.name  # whose stem may have a dot
    return Compiled(made.with_suffix(".pdf"), log, _read(made.with_suffix(".blg")))


def missing_programs(engine: Engine = "pdflatex") -> list[str]:
    """Names of the programs that are needed and not installed."""
    return [program for program in ("latexmk", engine, "kpsewhich") if shutil.which(program) is None]


def missing_files(names: list[str]) -> list[str]:
    """Those of some files of LaTeX, such as ``booktabs.sty``, that are not installed, sorted."""
    paths = subprocess.run(["kpsewhich", *names], capture_output=True, text=True).stdout.split("\n")
    return sorted({*names} - {Path(line).name for line in paths})


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
