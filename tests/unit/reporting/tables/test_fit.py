"""The fit of tables into lines, its rule, and its widths against TeX's own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.reporting.test_document import latex as latex  # the fixture

from aroface.reporting.document import compile_document
from aroface.reporting.records import load_records
from aroface.reporting.tables import latex as latex_tables
from aroface.reporting.tables.build import build
from aroface.reporting.tables.fit import PAGE_PT, Fit, fitted, turned
from aroface.reporting.tables.form import COLUMN, LNCS_TEXT, TableForm
from aroface.reporting.tables.grid import Grid, Mode, stacked
from aroface.reporting.tables.latex import TEMPLATES
from aroface.reporting.tables.render import write_table
from aroface.reporting.tables.spec import read_spec
from aroface.reporting.tables.type_width import text_width
from made_up_tables import fill_table
from repository import SPECS

NAMES = ("tinyface", "ijbs", "fae", "ablation_factors", "ijbb", "demo/claim")


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Mode], Grid]:
    """Tables of all kinds, of three seeds."""
    found: dict[tuple[str, Mode], Grid] = {}
    for name in NAMES:
        path, folder = SPECS / f"{name}.yaml", tmp_path_factory.mktemp("records")
        fill_table(folder, path)
        records = load_records(folder)
        modes: tuple[Mode, ...] = ("reported", "both", "delta")
        for mode in modes:
            found[name, mode] = build(read_spec(path), () if mode == "reported" else records, mode)
    return found


def fit_of(grid: Grid, **form: object) -> tuple[Fit, tuple[str, ...]]:
    return fitted(stacked(grid), TableForm(**form))  # type: ignore[arg-type]


def test_ijbs_fits_a_column_two_columns_and_a_page_of_lncs(grids: dict[tuple[str, Mode], Grid]):
    grid = grids["ijbs", "reported"]
    column, lines = fit_of(grid, width=COLUMN)
    assert column.blocks == ((0, 1, 2), (3, 4, 5), (6, 7, 8))  # the protocols
    assert column.headers == (0, 2)
    assert len(lines) == 1
    assert lines[0].startswith("table ijbs, 401 pt wide, fits 237 pt without Venue, in 3 parts below one another; ")
    whole, lines = fit_of(grid, width=496.86)
    assert (whole.headers, whole.blocks) == ((0, 1, 2), (tuple(range(9)),))
    assert lines == ()
    lncs, _ = fit_of(grid)
    assert (lncs.headers, lncs.blocks) == ((0, 2), (tuple(range(9)),))
    assert min(column.size, whole.size, lncs.size) == 7
    assert max(column.width, COLUMN) == pytest.approx(COLUMN, abs=0.3)
    assert lncs.width <= LNCS_TEXT + 0.3


@pytest.mark.parametrize("width", [COLUMN, 252.0, LNCS_TEXT])
def test_every_table_fits_every_line(grids: dict[tuple[str, Mode], Grid], width: float):
    for key, grid in grids.items():
        fit, lines = fit_of(grid, width=width)
        assert fit.width <= width + 0.3, key
        assert 7 <= fit.size <= 10
        assert 2 * fit.gap_pt >= 2.5
        assert sorted(j for block in fit.blocks for j in block) == [*range(len(stacked(grid).leaves))]
        assert all(line.count("\n") == 0 and "--" in line for line in lines)


def test_a_table_too_high_for_its_page_is_turned(grids: dict[tuple[str, Mode], Grid]):
    grid = stacked(grids["ijbs", "both"])
    form, lines = turned(grid, TableForm())
    assert (form.environment, form.width) == ("sidewaystable", PAGE_PT)
    assert len(fitted(grid, form)[0].blocks) == 1
    assert re.fullmatch(r"table ijbs, some \d{3} pt high, is turned on a page of 549 pt", *lines)
    assert turned(grid, TableForm(), page=2000) == (TableForm(), ())
    for asked in (TableForm(width=COLUMN), TableForm(environment="longtable"), TableForm(environment="table*")):
        assert turned(grid, asked) == (asked, ())
    assert turned(stacked(grids["ijbs", "reported"]), TableForm()) == (TableForm(), ())


def test_a_table_too_high_however_it_is_set_is_told(grids: dict[tuple[str, Mode], Grid]):
    grid = stacked(grids["ijbs", "delta"])
    _, lines = turned(grid, TableForm(), page=400)
    assert re.fullmatch(r"table ijbs is some \d{3} pt high for 400 pt, also turned: choose fewer of its --rows", *lines)


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_a_turned_table_stands_on_its_page_as_it_was_estimated(tmp_path: Path):
    path = SPECS / "ijbs.yaml"
    fill_table(tmp_path / "records", path)
    said: list[str] = []
    write_table(path, tmp_path / "records", tmp_path / "ijbs.tex", mode="both", say=said.append)
    assert "is turned" in said[0]
    compile_document([tmp_path / "ijbs.tex"], [], tmp_path / "out.pdf", note="Turned.")  # refuses what is too large


def test_smaller_type_comes_before_closer_columns_and_those_before_parts(grids: dict[tuple[str, Mode], Grid]):
    grid = grids["tinyface", "both"]
    wide, lines = fit_of(grid, width=400)
    assert (wide.size, lines) == (8, ())
    assert fit_of(grid, width=wide.width - 5)[0].size == 7
    seven = fit_of(grid, width=wide.width - 5)[0]
    closer = fit_of(grid, width=seven.width - 5)[0]
    assert closer.size == 7
    assert closer.gap_pt < seven.gap_pt
    assert len(closer.blocks) == 1
    parts, lines = fit_of(grid, width=200)
    assert len(parts.blocks) == 2
    assert "in 2 parts below one another" in lines[0]
    assert fit_of(grid, width=400, size=10)[0].size == 10


def test_what_fits_nowhere_is_told_with_the_remedy(grids: dict[tuple[str, Mode], Grid]):
    fit, lines = fit_of(grids["tinyface", "both"], width=100)
    assert fit.width > 100
    assert re.fullmatch(r"table tinyface is \d+ pt too wide for 100 pt, however it is set: .*sidewaystable", lines[0])


def test_widths_of_digits_and_letters():
    assert text_width("57.35", 10) == pytest.approx(22.78, abs=0.01)  # four digits of .5 em and a point
    assert text_width("57.35", 7) == pytest.approx(18.2, abs=0.1)  # .569 em
    assert text_width(r"\textbf{57.35}", 7) > text_width("57.35", 7)
    assert text_width("57.35", 7, "times") == pytest.approx(7 * 2.25)
    assert text_width(r"\aropad{0}9.20", 8) == text_width("29.20", 8)
    assert text_width(r"\arosign{$-$}0.09", 8) == text_width("20.09", 8)
    assert text_width(r"URL\arostar", 8) == text_width(r"URL\aromark{a}", 8) == text_width("URL", 8)
    assert text_width(r"Pi\~{n}a", 9) == pytest.approx(text_width("Pina", 9))


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
@pytest.mark.parametrize("font", ["cm", "times"])
def test_widths_are_those_of_tex(grids: dict[tuple[str, Mode], Grid], tmp_path: Path, font: str):
    shutil.copy(TEMPLATES / "aroface.sty", tmp_path)
    estimates, texts = [], []
    for grid in grids.values():
        for size, width in ((7, COLUMN), (8, LNCS_TEXT), (10, 1000.0)):
            if not grid.rows:
                continue
            form = TableForm(environment="body", size=size, width=width, font=font)  # type: ignore[arg-type]
            estimates.append(fitted(stacked(grid), form)[0].width)
            texts.append(latex_tables.render(grid, form))
    (tmp_path / "widths.tex").write_text(
        "\\documentclass{article}\n"
        + ("\\usepackage{times}\n" if font == "times" else "")
        + "\\usepackage{aroface}\n\\newsavebox{\\mybox}\n\\renewenvironment{arofit}[1][]{\\begin{lrbox}{\\mybox}}"
        "{\\end{lrbox}\\typeout{WIDTH \\the\\wd\\mybox}}\n\\begin{document}\n" + "\n".join(texts) + "\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "widths.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:]
    widths = [float(found) for found in re.findall(r"WIDTH ([\d.]+)pt", done.stdout)]
    assert len(widths) == len(estimates)
    assert estimates == pytest.approx(widths, rel=0.01)
