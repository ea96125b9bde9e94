"""Tables for other programs: CSV, spreadsheets and Word documents, and points under one another on a page."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pytest
import yaml

from aroface.cli.extras import PACKAGES
from aroface.cli.main import main
from aroface.errors import InputError
from aroface.reporting.tables.grid import Cell, stacked
from aroface.reporting.tables.plain import spread
from aroface.reporting.tables.render import make_grid, render_table, write_table
from aroface.reporting.tables.spreadsheet import number_format
from made_up_records import write_record
from made_up_tables import fill_table
from repository import SPECS

NAMES = [path.relative_to(SPECS).with_suffix("").as_posix() for path in sorted(SPECS.rglob("*.yaml"))]
LISTED = [name for name in NAMES if yaml.safe_load((SPECS / f"{name}.yaml").read_text())["rows"] != "experiments"]
MODES = ("reported", "reproduced", "both", "delta")


@pytest.fixture(scope="module", params=["tinyface", "ijbs", "ablation_ratio", "demo/claim", "ijbc"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("records")
    path = SPECS / f"{request.param}.yaml"
    fill_table(folder, path)
    return path, folder


@pytest.mark.parametrize("name", LISTED)
def test_no_column_of_a_csv_file_has_the_name_of_another(tmp_path: Path, name: str):
    fill_table(tmp_path, SPECS / f"{name}.yaml")
    for mode in MODES:
        for format in ("csv", "csv-excel"):
            text = render_table(SPECS / f"{name}.yaml", tmp_path, mode=mode, format=format)  # type: ignore[arg-type]
            names = next(csv.reader(io.StringIO(text)))
            assert [name for name, count in Counter(names).items() if count > 1] == []
            assert all(len(row) == len(names) for row in csv.reader(io.StringIO(text)))
            assert all(len(row) == len(names) for row in csv.DictReader(io.StringIO(text)))


def test_equal_headings_get_numbers(tmp_path: Path):
    spec = yaml.safe_load((SPECS / "tinyface.yaml").read_text())
    spec["row_headers"][1]["label"] = "Method"
    path = tmp_path / "tinyface.yaml"
    path.write_text(yaml.safe_dump(spec))
    text = render_table(path, tmp_path, mode="reported", format="csv")
    assert text.startswith("Method,Method_2,rank1_reported,rank5_reported,authors_print\n")
    assert "AdaFace+ARoFace,WebFace12M,74.00,76.87,WebFace4M\n" in text


def test_a_spreadsheet_program_takes_texts_for_texts(tmp_path: Path):
    fill_table(tmp_path, SPECS / "ablation_ratio.yaml")
    exact = render_table(SPECS / "ablation_ratio.yaml", tmp_path, mode="reproduced", format="csv")
    assert not exact.startswith("\ufeff")
    assert "\n1/8,3,60." in exact
    text = render_table(SPECS / "ablation_ratio.yaml", tmp_path, mode="reproduced", format="csv-excel")
    assert text.startswith("\ufeffShare,")
    assert "\n0,3," in text
    assert "\n\t1/8,3,60." in text
    claim = render_table(SPECS / "demo" / "claim.yaml", tmp_path, mode="reproduced", format="csv-excel")
    assert ",\t+ARoFace," in claim
    assert ",ARoFace − plain," in claim
    assert text.replace("\t", "").removeprefix("\ufeff") == exact


@pytest.mark.parametrize("mode", MODES)
def test_a_workbook_has_the_table(table: tuple[Path, Path], tmp_path: Path, mode: Any):
    path, records = table
    out = tmp_path / "table.xlsx"
    write_table(path, records, out, mode=mode, format="xlsx")
    sheet = openpyxl.load_workbook(out).active
    grid = stacked(make_grid(path, records, mode=mode))
    values = [[cell for cell in row if cell.value is not None] for row in sheet.iter_rows()]
    assert values[0][0].value == grid.caption
    body = values[-len(grid.rows) - len(below(grid)) :][: len(grid.rows)]
    for row, cells in zip(grid.rows, body, strict=True):
        expected = [text for cell in row.cells for text in (cell.number or "--", spread(cell).strip()) if text]
        found = cells[-len(expected) :] if expected else []
        for text, cell in zip(expected, found, strict=True):
            if text == "--" or text.startswith("["):
                assert (cell.value, cell.data_type) == (text, "s")
            else:
                assert cell.value == pytest.approx(float(text.replace("− ", "-").replace("± ", "")))
                assert cell.data_type == "n"
        values_of_row = [cell for cell in found if cell.data_type == "n" and "±" not in cell.number_format]
        bold = [cell.font.b for cell in values_of_row]
        assert bold == [cell.emphasis == "bold" for cell in row.cells if cell.number is not None]
    assert [row[0].value for row in values[-len(below(grid)) :]] == below(grid) if below(grid) else True
    assert all(cell.data_type != "f" for row in values for cell in row)


def below(grid: Any) -> list[str]:
    """Lines below a table."""
    star = [f"★ {grid.footnote}"] if grid.footnote else []
    return [*grid.notes, *(f"{mark} {source}" for mark, source in grid.sources.items()), *star]


def test_headings_of_a_workbook_are_merged(tmp_path: Path):
    write_table(SPECS / "ijbs.yaml", "nowhere", tmp_path / "ijbs.xlsx", mode="reported", format="xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "ijbs.xlsx").active
    merged = {str(span) for span in sheet.merged_cells.ranges}
    assert {"D2:F2", "G2:I2", "J2:L2"} <= merged
    assert [sheet[f"{letter}2"].value for letter in "DGJ"] == [
        f"Surveillance-to-{name}" for name in ("Single", "Booking", "Surveillance")
    ]
    assert sheet["F3"].value == "TPIR 1\u00a0%"


@pytest.mark.parametrize(
    ("cell", "decimals", "expected"),
    [
        (Cell("67.32"), 2, "0.00"),
        (Cell("67.6"), 2, "0.0_0"),
        (Cell("67"), 2, "0_._0_0"),
        (Cell("+0.09"), 2, '+0.00;"−"0.00;0.00'),
        (Cell("60.10", mark="a"), 2, '0.00"a"'),
    ],
)
def test_number_formats_put_points_under_one_another(cell: Cell, decimals: int, expected: str):
    assert number_format(cell, decimals) == expected


@pytest.mark.parametrize("mode", MODES)
def test_a_word_document_has_the_table(table: tuple[Path, Path], tmp_path: Path, mode: Any):
    path, records = table
    out = tmp_path / "table.docx"
    write_table(path, records, out, mode=mode, format="docx")
    document = docx.Document(str(out))
    grid = stacked(make_grid(path, records, mode=mode))
    (drawn,) = document.tables
    first = len(grid.row_headers)
    for row, line in zip(grid.rows, drawn.rows[-len(grid.rows) :], strict=True):
        texts = [cell.text for cell in line.cells]
        assert [text.rstrip("★†") for text in texts[:first]] == list(row.headers)
        for text, value in zip(texts[first:], row.cells, strict=True):
            expected = (value.number or "--").replace("-", "−") if value.number else "--"
            assert text == expected + (value.mark or "") + spread(value)
        bold = [bool(cell.paragraphs[0].runs[0].bold) for cell in line.cells[first:]]
        assert bold == [value.emphasis == "bold" for value in row.cells]
    paragraphs = [paragraph.text for paragraph in document.paragraphs if paragraph.text]
    assert paragraphs == [grid.caption, *below(grid)]


def test_pandoc_reads_the_document(tmp_path: Path):
    write_table(SPECS / "ijbs.yaml", "nowhere", tmp_path / "ijbs.docx", mode="reported", format="docx")
    command = ["pandoc", "ijbs.docx", "-t", "plain", "--columns", "250"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    row = next(line for line in text.splitlines() if "AdaFace+ARoFace" in line)
    assert row.split()[3:] == ["72.28", "77.93", "61.43", "73.01", "79.11", "60.02", "40.51", "50.90", "6.37"]
    assert "Surveillance-to-Booking" in text


@pytest.mark.parametrize("format", ["xlsx", "docx"])
def test_the_command_writes_files_and_prints_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str):
    words = ["table", str(SPECS / "tinyface.yaml"), "--mode", "reported", "--format", format]
    assert main([*words, "--out", str(tmp_path / f"t.{format}")]) == 0
    assert (tmp_path / f"t.{format}").read_bytes().startswith(b"PK")
    assert main(words) == 2
    assert capsys.readouterr().err == f"aroface: error: {format} cannot be printed; name a file with --out\n"


@pytest.mark.parametrize(("module", "format"), [("openpyxl", "xlsx"), ("docx", "docx")])
def test_a_missing_library_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str, format: str
):
    monkeypatch.setitem(sys.modules, module, None)
    words = ["table", str(SPECS / "tinyface.yaml"), "--mode", "reported", "--format", format]
    assert main([*words, "--out", str(tmp_path / f"t.{format}")]) == 2
    line = f'aroface: error: this needs the package {PACKAGES[module][0]}; pip install "aroface[paper]"\n'
    assert capsys.readouterr().err == line
    assert not (tmp_path / f"t.{format}").exists()


def test_a_file_is_no_text(tmp_path: Path):
    with pytest.raises(InputError, match="xlsx cannot be printed"):
        render_table(SPECS / "tinyface.yaml", tmp_path, mode="reported", format="xlsx")


def test_points_stand_under_one_another_on_a_page(tmp_path: Path):
    for seed, value in enumerate((0.5, 0.6)):
        write_record(tmp_path, "arcface_aroface", {"rank1": value, "rank5": 0.7}, seed=seed)
    text = render_table(SPECS / "tinyface.yaml", tmp_path, mode="both", format="html")
    spans = re.findall(
        r'<td><span class="value">([^ ]*?)</span><small class="spread" style="min-width: (\d+)ch">', text
    )
    assert {width for _, width in spans} == {"7"}, "every cell of a column has the same place for its deviation"
    assert "<td>63.89</td>" in text, "columns without deviations have no place for them"
    authors = render_table(SPECS / "ijbs.yaml", tmp_path, mode="reported", format="html")
    assert "<td><b>67.6</b>\u2007</td>" in authors
