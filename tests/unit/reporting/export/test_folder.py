from __future__ import annotations

import re
from pathlib import Path

import pytest

from aroface.cli.main import main
from aroface.files import sha256_file
from aroface.reporting.export.origin import MARKER, written_files
from aroface.reporting.export.templates import TEMPLATES
from aroface.reporting.tables.latex import TEMPLATES as FILES
from repository import ROOT


@pytest.fixture(autouse=True)
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone without results, in which commands run."""
    place = tmp_path / "clone"
    place.mkdir()
    for name in ("config.yaml", "paper_tables", "workflow"):
        (place / name).symlink_to(ROOT / name)
    monkeypatch.chdir(place)
    return place


def export(*words: str) -> int:
    return main(["export", "--no-compile", *words])


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


FRAGMENTS = ["aroface-table-ijbs-reported.tex", "aroface-table-tinyface-reported.tex"]
OTHERS = ["PROVENANCE.txt", "aroface-values.tex", "aroface.bib", "aroface.sty", "main.tex"]


def test_every_template_has_a_document():
    assert {path.name.removesuffix(".tex.j2") for path in (FILES / "main").glob("*.tex.j2")} == {*TEMPLATES, "base"}
    assert all(template.column <= template.text for template in TEMPLATES.values())


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_clone_without_results_exports_what_the_authors_report(template: str):
    assert export("--template", template, "kit") == 0
    folder = Path("kit")
    assert names(folder) == sorted([*OTHERS, *(f"tables/{name}" for name in FRAGMENTS)])
    main_text = (folder / "main.tex").read_text()
    assert main_text.index(r"\documentclass") < main_text.index(r"\usepackage{aroface}")
    assert [*re.findall(r"\\input\{(tables/.*?)\}", main_text)] == [
        "tables/aroface-table-tinyface-reported",
        "tables/aroface-table-ijbs-reported",
    ]
    assert r"\ref{tab:aroface:tinyface:reported}" in main_text
    assert r"\label{tab:aroface:tinyface:reported}" in (folder / "tables" / FRAGMENTS[1]).read_text()
    assert "67.32" in (folder / "tables" / FRAGMENTS[1]).read_text()


def test_a_flat_folder_has_no_folders_and_names_that_are_its_own():
    assert export("--template", "acm", "--flat", "--subset", "tinyface", "kit") == 0
    assert names(Path("kit")) == sorted([*OTHERS, FRAGMENTS[1]])
    assert r"\input{aroface-table-tinyface-reported}" in (Path("kit") / "main.tex").read_text()


def test_wide_tables_span_the_columns_of_a_class():
    assert export("--template", "ieee", "--flat", "kit") == 0
    assert r"\begin{table*}" in Path("kit", FRAGMENTS[0]).read_text()
    assert r"\begin{table*}" not in Path("kit", FRAGMENTS[1]).read_text()


def test_fragments_say_how_they_were_made_and_from_what():
    assert export("--template", "cvpr", "--subset", "tinyface", "kit") == 0
    comments = []
    for line in Path("kit/tables", FRAGMENTS[1]).read_text().splitlines():
        if not line.startswith("% "):
            break
        comments.append(line.removeprefix("% "))
    text = " ".join(comments)
    assert "command: aroface export --no-compile --template cvpr --subset tinyface kit" in text
    assert re.search(r"commit: ([0-9a-f]{40}|unknown)", text)
    spec = Path("paper_tables/specs/tinyface.yaml")
    assert f"specification: {spec}, sha256 {sha256_file(spec)}" in text
    assert "records: none" in text
    assert str(ROOT) not in text
    provenance = Path("kit/PROVENANCE.txt").read_text()
    assert provenance.startswith(MARKER)
    assert sha256_file(spec) in provenance
    assert re.search(r"^versions +python 3\.", provenance, re.M)


def test_all_files_are_listed_with_their_hashes():
    assert export("--template", "llncs", "kit") == 0
    listed = written_files(Path("kit"))
    assert listed is not None
    assert sorted([*listed, "PROVENANCE.txt"]) == names(Path("kit"))
    assert all(sha256_file(Path("kit", name)) == sha256 for name, sha256 in listed.items())


def test_an_unchanged_export_is_replaced():
    assert export("--template", "llncs", "kit") == 0
    Path("kit/main.aux").write_text("of LaTeX")
    assert export("--template", "acm", "--flat", "kit") == 0
    assert names(Path("kit")) == sorted([*OTHERS, *FRAGMENTS])
    assert sorted(path.name for path in Path().iterdir() if "kit" in path.name) == ["kit"]


@pytest.mark.parametrize("change", ["main.tex", "chapter.tex"])
def test_what_an_author_has_written_is_kept(change: str, capsys: pytest.CaptureFixture[str]):
    assert export("--template", "llncs", "kit") == 0
    Path("kit", change).write_text("my paper")
    assert export("--template", "acm", "kit") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"kit: {change} was {'changed' if change == 'main.tex' else 'added'} since the export; " in line
    assert Path("kit", change).read_text() == "my paper"


def test_other_folders_and_files_are_refused(capsys: pytest.CaptureFixture[str]):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("years of work")
    assert export("--template", "acm", "mine") == 2
    assert "mine: a folder that aroface export did not write; name another one" in capsys.readouterr().err
    assert export("--template", "acm", "mine/thesis.tex") == 2
    assert "not a folder" in capsys.readouterr().err
    assert names(Path("mine")) == ["thesis.tex"]
    Path("empty").mkdir()
    assert export("--template", "acm", "empty") == 0


def test_a_failure_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch):
    assert export("--template", "llncs", "kit") == 0
    before = {name: sha256_file(Path("kit", name)) for name in names(Path("kit"))}

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aroface.reporting.export.folder.values_text", fail)
    assert export("--template", "acm", "kit") == 2
    assert {name: sha256_file(Path("kit", name)) for name in names(Path("kit"))} == before
    assert [path.name for path in Path().iterdir() if path.name.startswith(".kit")] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["kit"], "--template: not given; expected one of eccv, llncs"),
        (["--template", "acm"], "DIR: not given"),
        (["--template", "acm", "--subset", "tinyfac", "kit"], "no table or figure 'tinyfac'"),
        (["--template", "acm", "--subset", "tinyfac", "kit"], "; the nearest is tinyface"),
        (["--template", "acm", "--subset", "ijbb", "--mode", "both", "kit"], "nothing to export; left out, without"),
        (["--template", "acm", "--check", "paper.tex"], "--check with --template"),
        (["--template", "acm", "k#it"], "LaTeX cannot read 'k#it'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]):
    assert export(*words) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not Path("kit").exists()


def test_without_latex_the_folder_is_there_and_a_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["export", "--template", "acm", "kit"]) == 0
    error = capsys.readouterr().err
    assert "not compiled: latexmk, pdflatex, kpsewhich not found; on Debian or Ubuntu: apt-get install latexmk" in error
    assert "texlive-publishers texlive-fonts-extra" in error
    assert not Path("kit/main.pdf").exists()
