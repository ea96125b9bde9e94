"""A small part of the matrix of tests/latex: classes of one package of Debian's, by pdfLaTeX."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.reporting.test_document import latex as latex  # the fixture

from aroface.cli.main import main
from aroface.files import sha256_file
from aroface.planning.products import Products, find_products
from aroface.reporting.export.compiling import cannot_compile, compile_folder
from aroface.reporting.export.folder import Fragment, write_folder
from aroface.reporting.export.judge import Fault
from aroface.reporting.export.origin import written_files
from aroface.reporting.export.templates import TEMPLATES
from exported_folders import write_export
from made_up_results import made_up_plan
from repository import ROOT

SMALL = ("cvpr", "ieee", "llncs", "revtex")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Products:
    return find_products(made_up_plan(tmp_path_factory.mktemp("results"), "workflow/configs/demo.yaml"))


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
@pytest.mark.parametrize("template", SMALL)
def test_tables_and_figures_compile_in_a_class(template: str, demo: Products, tmp_path: Path):
    folder = tmp_path / "paper"
    subset = ["tinyface", "lfw", "templates", "fae", "figure_fae", "figure_training"]
    fragments = write_export(demo, template, folder, subset=subset, flat=template == "ieee")
    assert cannot_compile(TEMPLATES[template], "pdflatex") is None
    assert [*map(str, compile_folder(folder, fragments))] == []
    assert (folder / "main-1.png").exists()
    listed = written_files(folder)
    assert listed is not None
    assert listed["main.pdf"] == sha256_file(folder / "main.pdf")


@pytest.fixture(scope="module")
def claimed(tmp_path_factory: pytest.TempPathFactory) -> Products:
    """A plan with results that the claims are judged by."""
    changes = {"seeds": [0, 1]}
    return find_products(made_up_plan(tmp_path_factory.mktemp("results"), "config.yaml", **changes))


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_the_claims_compile_across_the_columns_of_a_class(claimed: Products, tmp_path: Path):
    folder = tmp_path / "paper"
    (fragment,) = write_export(claimed, "cvpr", folder, subset=["claims"], flat=True)
    text = (folder / "aroface-claims.tex").read_text()
    assert fragment.label == "tab:aroface:claims"
    assert r"\begin{table*}" in text
    assert "confirmed: +4.30" in text
    assert "paper_tables/claims.yaml" in text
    assert [*map(str, compile_folder(folder, [fragment]))] == []


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.yaml", "paper_tables", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.latex
@pytest.mark.usefixtures("latex", "clone")
def test_the_verb_compiles_and_judges(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    words = ["export", "--template", "article", "--flat", "--subset", "tinyface", "kit"]
    assert main(words) == 0
    assert capsys.readouterr().out == "kit\n"
    assert {path.name for path in Path("kit").iterdir()} >= {"main.pdf", "main-1.png", "main.tex"}
    assert not list(Path("kit").glob("*.log"))

    def faulty(*arguments: object, **options: object) -> list[Fragment]:
        fragments = write_folder(*arguments, **options)
        path = Path(str(arguments[2])) / "aroface-table-tinyface-reported.tex"
        path.write_text(path.read_text() + "\\par\\noindent\\rule{20cm}{1cm}\n\n\\ref{nothing}\n")
        return fragments

    monkeypatch.setattr("aroface.reporting.export.folder.write_folder", faulty)
    assert main(words) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("aroface: aroface-table-tinyface-reported.tex: 224.1 pt wider than the line; set columns:")
    assert "the reference nothing is not defined" in second
    assert Path("kit/main.pdf").exists()


@pytest.mark.latex
@pytest.mark.usefixtures("latex", "clone")
def test_an_error_of_latex_is_a_fault_and_the_folder_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("aroface.reporting.export.folder.package_text", lambda: "\\nosuchmacro\n")
    assert main(["export", "--template", "article", "--subset", "tinyface", "kit"]) == 1
    assert "LaTeX stopped: " in capsys.readouterr().err
    assert Path("kit/main.tex").exists()
    assert not Path("kit/main.pdf").exists()


def test_a_fault_is_one_line():
    assert str(Fault("a.tex", "too wide", "make it narrower")) == "a.tex: too wide; make it narrower"
