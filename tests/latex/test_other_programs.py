"""Tables read by programs that are no TeX: pandoc and LaTeXML keep headings, digits, stars and deviations.

Both have to be there (Debian's packages pandoc and latexml): without one of them its tests fail and say so.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aroface.reporting.tables.latex import TEMPLATES
from aroface.reporting.tables.render import render_table
from made_up_tables import fill_table
from repository import SPECS

pytestmark = pytest.mark.latex


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.fail(f"{program} is not installed; on Debian or Ubuntu: apt-get install pandoc latexml", pytrace=False)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a paper of three tables."""
    folder = tmp_path_factory.mktemp("paper")
    shutil.copy(TEMPLATES / "aroface.sty", folder)
    for name, mode in (("tinyface", "both"), ("ijbs", "reported"), ("fae", "reproduced")):
        fill_table(folder / "records" / name, SPECS / f"{name}.yaml")
        text = render_table(SPECS / f"{name}.yaml", folder / "records" / name, mode=mode)  # type: ignore[arg-type]
        (folder / f"{name}.tex").write_text(text)
    body = "\n".join(rf"\input{{{name}}}" for name in ("tinyface", "ijbs", "fae"))
    (folder / "paper.tex").write_text(
        f"\\documentclass{{article}}\n\\usepackage{{aroface}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    return folder


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    return done.stdout


def words(line: str) -> str:
    return " ".join(line.split())


def test_pandoc(paper: Path):
    needs("pandoc")
    text = run("pandoc", "paper.tex", "--to", "plain", "--columns", "250", folder=paper)
    lines = [words(line) for line in text.splitlines()]
    assert "Method Training Set paper reproduced paper reproduced" in lines
    assert "ArcFace+CFSM^(⋆) MS1MV2 64.69 – 68.80 –" in lines
    assert "ArcFace+ARoFace MS1MV2 67.32 67.41 ± 0.15 72.45 72.36 ± 0.22" in lines
    assert "Surveillance- Surveillance- Surveillance-" in lines
    assert "to-Single to-Booking to-Surveillance" in lines
    assert "PFE MS1MV2 50.16 58.33 31.88 53.60 61.75 35.99 9.20 20.82 0.84" in lines
    assert "⋆ Re-runs with official code" in text
    assert "(lr)" not in text
    assert "aro" not in text.replace("aroface", "")


def test_latexml(paper: Path):
    needs("latexmlc")
    run("latexmlc", "--includestyles", "--dest=paper.html", "paper.tex", folder=paper)
    page = re.sub("<annotation.*?</annotation>", "", (paper / "paper.html").read_text(), flags=re.DOTALL)
    cells = re.split(r"<span class=\"ltx_td", page)[1:]
    texts = [
        words(html.unescape(re.sub("<[^>]*>", "", cell.partition(">")[2])).replace("\u2004", " ")) for cell in cells
    ]
    for heading in ("to-Single", "to-Booking", "to-Surveillance", "Rank1", "Training Set"):
        assert heading in texts
    numbers = [text.strip("\u2003\u2002\u00a0 ") for text in texts]
    start = numbers.index("50.16")
    assert numbers[start : start + 9] == ["50.16", "58.33", "31.88", "53.60", "61.75", "35.99", "9.20", "20.82", "0.84"]
    assert "ArcFace+CFSM⋆" in texts
    assert any(text.replace(" ", "") == "67.41±0.15" for text in texts)
    assert "ltx_ERROR" not in page
