"""Documents of fragments and pictures that lie in folders of any name."""

from pathlib import Path

import pytest

from aroface.errors import InputError
from aroface.reporting.document import compile_document, latex_missing, write_document
from aroface.reporting.figures.form import FigureForm
from aroface.reporting.figures.fragment import FigureOrigin, render_fragment
from aroface.reporting.figures.words import FigureWords
from aroface.reporting.tables.latex import is_plain_name

READABLE = ["my paper", "it's", "a&b", "a_b~c", "(1)", "größe 中", "x=1,y;z", "[a]", "!*?|`"]
UNREADABLE = ["$HOME", "a#b", "50%", 'say "hi"', "a\\b", "a{b", "a^^41", "|ls"]


@pytest.mark.parametrize("name", READABLE)
def test_tex_reads_it(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize("name", UNREADABLE)
def test_fragment_that_tex_cannot_read_is_copied(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "x" / name if name != "|ls" else tmp_path / name
    folder.mkdir(parents=True)
    (folder / "table.tex").write_text("The table.\n")
    write_document([folder / "table.tex"], [], tmp_path / "paper.tex", note="")
    text = (tmp_path / "paper.tex").read_text()
    assert "The table." in text
    assert "\\input{x" not in text and "\\input{|" not in text
    with pytest.raises(InputError, match=r"paper.tex: LaTeX cannot read .*; use paths without any of # % \$ \^"):
        write_document([], [folder / "figure.pdf"], tmp_path / "paper.tex", note="")
    with pytest.raises(InputError, match="LaTeX cannot read"):
        render_fragment(name, FigureWords("Short", "Caption", "Alt"), FigureForm(), FigureOrigin())


@pytest.mark.latex
def test_compiles_in_any_folder(tmp_path: Path) -> None:
    if missing := latex_missing():
        pytest.skip(missing)
    names = [*READABLE, *UNREADABLE]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.tex").write_text("A table.\n\n")
    out = tmp_path / "it's $HOME & 50% #1 größe" / "paper.pdf"
    compile_document([tmp_path / name / "table.tex" for name in names], [], out, note="-- 50% {x} $y$")
    assert out.read_bytes().startswith(b"%PDF")
