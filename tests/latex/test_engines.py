"""The document of all tables, and numbers in prose, by every engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.unit.reporting.export.test_values import ADDRESS, CELLS
from tests.unit.reporting.test_document import pdf_text

from aroface.reporting.document import check_log, write_document
from aroface.reporting.export.judge import judge_fonts
from aroface.reporting.export.values import STYLE, values_text
from aroface.reporting.latexmk import ENGINES, latexmk
from repository import ROOT

TABLES = [ROOT / "paper_tables" / "tinyface.tex", ROOT / "paper_tables" / "ijbs.tex"]


@pytest.mark.latex_matrix
@pytest.mark.parametrize("report", [None, "report.html"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_document_compiles_after_a_move(engine: str, report: str | None, tmp_path: Path):
    written = tmp_path / "results"
    write_document(TABLES, [], written / "paper.tex", note="100 % as reported.", report=report and written / report)
    moved = tmp_path / "elsewhere" / "deep" / "results"
    moved.parent.mkdir(parents=True)
    shutil.move(written, moved)
    compiled = latexmk(moved / "paper.tex", tmp_path / "build", engine)
    check_log(compiled.log, moved / "paper.tex")
    assert "67.32" in pdf_text(compiled.pdf)
    assert judge_fonts(compiled.pdf) == []
    assert [path.name for path in moved.iterdir()] == ["paper.tex"]


@pytest.mark.latex_matrix
@pytest.mark.parametrize("encoding", ["OT1", "T1"])
def test_the_document_compiles_in_both_encodings_of_pdftex(encoding: str, tmp_path: Path):
    write_document(TABLES, [], tmp_path / "paper.tex", note="<100 %> | as reported.")
    text = (tmp_path / "paper.tex").read_text()
    fonts = rf"\usepackage[{encoding}]{{fontenc}}\usepackage{{lmodern}}"
    (tmp_path / "paper.tex").write_text(text.replace(r"\usepackage{aroface}", rf"{fonts}\usepackage{{aroface}}"))
    compiled = latexmk(tmp_path / "paper.tex", tmp_path / "build")
    check_log(compiled.log, tmp_path / "paper.tex")
    assert "<100 %> | as reported." in pdf_text(compiled.pdf)


@pytest.mark.latex_matrix
@pytest.mark.parametrize(
    "document_class", ["article", "IEEEtran", "llncs", "revtex4-2", "acmart", "memoir", "scrartcl"]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_stand_in_titles_of_every_class(engine: str, document_class: str, tmp_path: Path):
    shutil.copy(STYLE, tmp_path)
    (tmp_path / "aroface-values.tex").write_text(values_text(CELLS))
    number = rf"\aroval{{{ADDRESS}}}"
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass{{{document_class}}}\usepackage{{hyperref}}\usepackage{{aroface-values}}"
        rf"\input{{aroface-values}}\begin{{document}}\title{{On {number}}}\author{{Author}}\maketitle"
        rf"\section{{At {number} and \arovalpm{{{ADDRESS}}}}}\begin{{figure}}\caption{{Of {number}}}\end{{figure}}"
        rf"Text \arovalunit{{{ADDRESS}:difference}}.\end{{document}}"
    )
    compiled = latexmk(tmp_path / "paper.tex", tmp_path / "build", engine)
    text = " ".join(pdf_text(compiled.pdf).split())
    assert text.count("67.32") >= 4
    assert "−0.02 %" in text
    assert "Token not allowed" not in compiled.log
