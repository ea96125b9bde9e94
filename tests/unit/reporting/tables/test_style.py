"""The package aroface.sty in documents: its options, its floor of type size, and the forms of a table by LaTeX."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.reporting.test_document import latex as latex  # the fixture

from aroface.reporting.tables.form import read_form
from aroface.reporting.tables.latex import TEMPLATES
from aroface.reporting.tables.render import render_table
from aroface.reporting.tables.tex_text import escape
from made_up_tables import fill_table
from repository import SPECS

pytestmark = [pytest.mark.latex, pytest.mark.usefixtures("latex")]


def compiled(folder: Path, preamble: str, body: str, program: str = "pdflatex") -> tuple[str, str]:
    """Log and printed text of an article with the package beside it."""
    for name in ("aroface.sty", "preamble.tex"):
        shutil.copy(TEMPLATES / name, folder)
    source = f"\\documentclass{{article}}\n{preamble}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (folder / "paper.tex").write_text(source)
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=None)
    assert done.returncode == 0, done.stdout[-1500:]
    text = subprocess.run(["pdftotext", "-layout", "paper.pdf", "-"], cwd=folder, capture_output=True, text=True)
    return (folder / "paper.log").read_text(errors="replace"), text.stdout


@pytest.mark.parametrize(
    "preamble",
    [
        r"\input{preamble.tex}\input{preamble.tex}\usepackage[final]{graphicx}\usepackage[star=text]{aroface}",
        r"\usepackage[draft]{graphicx}\usepackage{amssymb}\input{aroface.sty}\makeatletter\input{aroface.sty}",
        r"\usepackage[oldlabels,floor=8pt]{aroface}\usepackage{siunitx}\arosetup{star=$\ast$}\graphicspath{{pictures/}}",
    ],
)
def test_it_may_be_read_twice_and_beside_graphicx_with_options(tmp_path: Path, preamble: str):
    log, text = compiled(tmp_path, preamble, render_table(SPECS / "tinyface.yaml", "nowhere", mode="reported"))
    assert "72.45" in text
    assert ("tab:tinyface" in (tmp_path / "paper.aux").read_text()) == ("oldlabels" in preamble)
    assert "Overfull" not in log


def test_the_star_needs_no_font_of_its_own(tmp_path: Path):
    _, text = compiled(tmp_path, r"\usepackage{times}\usepackage{aroface}", r"ArcFace\arostar{} \arodagger")
    assert "⋆" in text
    assert "†" in text
    fonts = subprocess.run(["pdffonts", "paper.pdf"], cwd=tmp_path, capture_output=True, text=True).stdout
    assert "Type 3" not in fonts


def test_an_unknown_option_is_an_error(tmp_path: Path):
    with pytest.raises(AssertionError, match="Unknown option `stars'"):
        compiled(tmp_path, r"\usepackage[stars=5]{aroface}", "")


@pytest.mark.parametrize(("size", "shrinks"), [(10, True), (9, False)])
def test_a_table_shrinks_to_the_floor_and_no_further(tmp_path: Path, size: int, shrinks: bool):
    body = rf"\arosize{{{size}}}\begin{{arofit}}[mine]\rule{{480pt}}{{1pt}}\end{{arofit}}"  # 345 pt are .72 of it
    log, _ = compiled(tmp_path, r"\usepackage{aroface}", rf"\noindent {body}")
    assert ("Overfull" in log) != shrinks
    assert ("Table `mine' is 135.0pt too wide for type of" in log) != shrinks


FORMS = [
    ({"environment": "table*", "width": "text"}, ""),
    ({"environment": "sidewaystable"}, r"\usepackage{rotating}"),
    ({"environment": "longtable"}, r"\usepackage{longtable}"),
    ({"environment": "body"}, ""),
    ({"notes": "threeparttable"}, r"\usepackage{threeparttable}"),
    ({"numbers": "siunitx"}, r"\usepackage{siunitx}"),
    ({"numbers": "siunitx"}, r"\usepackage{siunitx}[=v2]"),
    ({"numbers": "siunitx", "uncertainty": "interval"}, r"\usepackage{siunitx}"),
]


@pytest.mark.parametrize(("form", "package"), FORMS)
def test_every_form_prints_the_numbers(tmp_path: Path, form: dict[str, str], package: str):
    records = tmp_path / "records"
    fill_table(records, SPECS / "tinyface.yaml")
    table = render_table(SPECS / "tinyface.yaml", records, mode="delta", form=read_form(form))
    sources = render_table(SPECS / "ijbb.yaml", records, mode="reported", form=read_form(form))
    log, text = compiled(
        tmp_path, rf"\usepackage{{aroface}}\usepackage[margin=1in]{{geometry}}{package}", table + sources
    )
    assert "Overfull" not in log
    assert re.search(r"ArcFace\+ARoFace +MS1MV2 +67\.32 +67\.41.* \+0\.09", text)
    assert re.search(r"72\.45 +72\.36.* [−-]0\.09", text)
    assert ("±" in text.replace("mean ±", "")) == ("uncertainty" not in form)
    fonts = subprocess.run(["pdffonts", "paper.pdf"], cwd=tmp_path, capture_output=True, text=True).stdout
    assert "Type 3" not in fonts


@pytest.mark.parametrize(
    ("program", "preamble"),
    [
        ("pdflatex", ""),
        ("pdflatex", r"\usepackage[T1]{fontenc}\usepackage{lmodern}"),
        ("xelatex", ""),
        ("lualatex", ""),
    ],
)
def test_letters_are_printed(tmp_path: Path, program: str, preamble: str):
    _, text = compiled(tmp_path, rf"{preamble}\usepackage{{aroface}}", escape("Łódź Đorđe naïve Ångström ß"), program)
    found = "".join(text.split())
    assert "Ł" in found or program == "pdflatex"
    assert "ngstr" in found
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert "Missing character" not in log
