"""Names of files whose ending contradicts what is written into them are refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from aroface.cli.main import main
from repository import ROOT

TABLE = ["table", str(ROOT / "paper_tables/specs/tinyface.yaml"), "--mode", "reported"]
REFUSED = {
    "a sheet": (["data", "info", "absent", "--sheet", "s.xyz"], "s.xyz: a name that ends in .xyz; expected one that"),
    "a sheet as JPEG": (["data", "info", "absent", "--sheet", "s.jpg"], "one that ends in .png"),
    "a sheet without": (["data", "info", "absent", "--sheet", "sheet"], "sheet: a name without an ending"),
    "a schedule": (["plan", "--configfile", "absent", "--schedule", "plan.v2"], "ends in .pdf or .png"),
    "a document": (["document", "absent.tex", "--out", "paper.doc"], "ends in .pdf or .tex"),
    "a report": (["report", "--configfile", "absent", "--out", "report.pdf"], "ends in .html or .htm"),
    "a table": ([*TABLE, "--out", "t.docx"], "t.docx: a name that ends in .docx; expected one that ends in .tex"),
    "a table as HTML": ([*TABLE, "--format", "html", "--out", "t.md"], "one that ends in .html"),
    "a spreadsheet": ([*TABLE, "--format", "xlsx", "--out", "T.CSV"], "one that ends in .xlsx"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_ending_that_says_something_else(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["t.tex", "t.TEX", "t.table", "t"])
def test_other_endings_say_nothing(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TABLE, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text().startswith("%")
