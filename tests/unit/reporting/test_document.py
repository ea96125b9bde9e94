from __future__ import annotations

import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

from aroface.errors import InputError
from aroface.reporting.document import check_log, compile_document, latex_missing, write_document
from aroface.reporting.figures.alignment_errors import figure_fae
from aroface.reporting.latexmk import latexmk
from aroface.reporting.tables.render import write_table
from aroface.reporting.tables.tex_text import ESCAPES, GREEK, escape
from made_up_records import sweep, write_record
from repository import ROOT

SPECS = ROOT / "paper_tables" / "specs"
TINYFACE = (
    "URL MS1MV2 63.89 68.67",
    "CurricularFace MS1MV2 63.68 67.65",
    "ArcFace+CFSM MS1MV2 64.69 68.80",
    "ArcFace+ARoFace MS1MV2 67.32 72.45",
    "ArcFace MS1MV3 63.81 68.80",
    "ArcFace+ARoFace MS1MV3 67.54 71.05",
    "AdaFace WebFace4M 72.02 74.52",
    "AdaFace+ARoFace WebFace4M 73.98 76.47",
    "AdaFace WebFace12M 72.29 74.97",
    "AdaFace+ARoFace WebFace12M 74.00 76.87",
)


@pytest.fixture
def latex() -> None:
    """Compiling is part of what is tested: a machine without LaTeX fails here, and says what to install."""
    missing = latex_missing()
    if missing is None and shutil.which("pdftotext") is None:
        missing = "pdftotext is not installed; on Debian or Ubuntu: apt-get install poppler-utils"
    if missing:
        pytest.fail(missing, pytrace=False)


def pdf_text(path: Path) -> str:
    return subprocess.run(["pdftotext", "-layout", path, "-"], check=True, capture_output=True, text=True).stdout


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_the_compiled_tinyface_table_has_every_number_in_order(tmp_path: Path):
    compile_document([ROOT / "paper_tables" / "tinyface.tex"], [], tmp_path / "out.pdf", note="Reported values.")
    words = pdf_text(tmp_path / "out.pdf").split()
    table = words[words.index("Rank5") + 1 :]
    printed = [word.rstrip("⋆★†") for word in table if word not in "⋆★†"]
    assert " ".join(printed).startswith(" ".join(TINYFACE))


@pytest.fixture
def material(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """Every table in its widest mode and the figure, of made-up records."""
    records = tmp_path / "records"
    for method in ("arcface", "arcface_random", "arcface_aroface"):
        for seed in range(3):
            common = {"dataset": "demo", "arch": "small", "seed": seed}
            value = 0.6 + seed / 100
            write_record(records, method, {"rank1": value, "rank5": value, "rank20": value, "map": value}, **common)
            for name in ("lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw", "pairs_clean", "pairs_lq"):
                metrics = {"accuracy": value, "tar_strict_at_far_1e-2": value}
                write_record(records, method, metrics, benchmark=name, protocol="pairs", **common)
            write_record(
                records,
                method,
                {"auc_hq": 0.9},
                benchmark="sweep",
                protocol="sensitivity",
                series=sweep(0.9, 0.05),
                **common,
            )
    for seed in range(2):
        write_record(records, "arcface_aroface", {"rank1": 0.67 + seed / 50, "rank5": 0.7}, seed=seed)
    figure = tmp_path / "figures" / "figure_fae"
    figure_fae(records, "sweep", figure)
    fragments = [figure.with_suffix(".tex")]
    demo = [path.name for path in records.iterdir() if "-demo-" in path.name]
    paper = [path.name for path in records.iterdir() if "-ms1mv2-" in path.name]
    for name, runs in (
        ("tinyface", paper),
        ("lfw", demo),
        ("demo/tinyface", demo),
        ("demo/lfw", demo),
        ("demo/claim", demo),
    ):
        fragments.append(tmp_path / "tables" / f"{name.replace('/', '-')}.tex")
        write_table(SPECS / f"{name}.yaml", records, fragments[-1], mode="delta", runs=runs)
    return fragments, [figure.with_suffix(".pdf")]


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_everything_fits_the_page_and_the_bytes_repeat(tmp_path: Path, material: tuple):
    fragments, pictures = material
    first, second = tmp_path / "one" / "all.pdf", tmp_path / "another" / "place" / "all.pdf"
    for out in (first, second):
        compile_document(fragments, pictures, out, note="Made-up numbers: 100 % of them.")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in first.parent.iterdir()) == ["all.pdf", "all.tex"]
    text = pdf_text(first)
    assert "Made-up numbers: 100 % of them." in text
    for caption in ("Fig. 1", "Table 1", "Table 5"):
        assert caption in text
    assert str(tmp_path) not in first.with_suffix(".tex").read_text()


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_a_table_that_is_too_wide_is_one_clear_line(tmp_path: Path):
    fragment = tmp_path / "wide.tex"
    fragment.write_text(r"\begin{table}\begin{arofit}\rule{18cm}{1cm}\end{arofit}\end{table}")
    with pytest.raises(InputError, match=r"wide\.tex: Overfull .* 165\.\d+pt wider than the text; set a smaller size"):
        compile_document([fragment], [], tmp_path / "out.pdf", note="")
    assert not (tmp_path / "out.pdf").exists()


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_a_table_that_is_a_little_too_wide_shrinks(tmp_path: Path):
    fragment = tmp_path / "wide.tex"
    fragment.write_text(r"\begin{table}\begin{arofit}\rule{15cm}{1cm}\end{arofit}\end{table}")
    compile_document([fragment], [], tmp_path / "out.pdf", note="")


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_every_sign_that_is_escaped_is_printed(tmp_path: Path):
    signs = " ".join(map(chr, ESCAPES))
    fragment = tmp_path / "signs.tex"
    fragment.write_text(rf"\begin{{table}}\caption{{{escape(signs)}}}\end{{table}}")
    compile_document([fragment], [], tmp_path / "out.pdf", note="")
    # PDFs have the signs of units in place of three letters: ohm, micro and increment.
    printed = unicodedata.normalize("NFKC", pdf_text(tmp_path / "out.pdf")).replace("∆", "Δ")
    assert {*GREEK, *"\\&%$#{}<>|±×≥≤≈∞→"} <= {*printed}


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_an_error_of_latex_is_one_clear_line(tmp_path: Path):
    fragment = tmp_path / "broken.tex"
    fragment.write_text(r"\nosuchmacro")
    with pytest.raises(InputError, match=r"LaTeX stopped: .*broken\.tex:1: Undefined control sequence") as error:
        compile_document([fragment], [], tmp_path / "out.pdf", note="")
    assert "\n" not in str(error.value)


def test_without_latex_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = latex_missing()
    assert missing is not None
    assert "apt-get install latexmk texlive-latex-recommended" in missing
    assert "tug.org/texlive" in missing
    assert "\n" not in missing
    with pytest.raises(InputError, match="LaTeX is not installed"):
        compile_document([], [], tmp_path / "out.pdf", note="A note.")
    assert "A note." in (tmp_path / "out.tex").read_text()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for program, output in (
        ("latexmk", ""),
        ("pdflatex", ""),
        ("kpsewhich", "/texmf/expl3.sty\n/texmf/iftex.sty\n/texmf/graphicx.sty"),
    ):
        (tmp_path / program).write_text(f"#!/bin/sh\nprintf '{output}'\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(latex_missing()).startswith("LaTeX lacks booktabs.sty, glyphtounicode.tex; on Debian")


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_the_source_alone_compiles_elsewhere(tmp_path: Path):
    fragment = tmp_path / "paper_tables" / "tinyface.tex"
    fragment.parent.mkdir()
    shutil.copy(ROOT / "paper_tables" / "tinyface.tex", fragment)
    write_document([fragment], [], tmp_path / "results" / "paper.tex", note="")
    moved = tmp_path / "another" / "place" / "paper.tex"
    moved.parent.mkdir(parents=True)
    (tmp_path / "results" / "paper.tex").rename(moved)
    fragment.unlink()
    assert "67.32" in pdf_text(latexmk(moved, tmp_path / "build").pdf)


def test_two_pictures_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"2 pictures are named a\.pdf"):
        write_document([], [tmp_path / "x" / "a.pdf", tmp_path / "y" / "a.pdf"], tmp_path / "out.tex", note="")


def test_a_log_names_the_fragment_that_does_not_fit():
    log = "(aroface: tables/a.tex)\n(aroface: tables/b.tex)\nOverfull \\hbox (12.5pt too wide) in paragraph\n"
    with pytest.raises(InputError, match=r"tables/b\.tex: Overfull \\hbox: 12\.5pt"):
        check_log(log, Path("out.tex"))


def test_a_float_higher_than_its_page_is_refused():
    log = "(aroface: ijbs.tex)\n\nLaTeX Warning: Float too large for page by 33.5pt on input line 80.\n"
    with pytest.raises(InputError, match=r"ijbs\.tex: 33\.5pt higher than the page; set form: "):
        check_log(log, Path("out.tex"))
