"""The IJB-S table that is in the repository, against the specification and against the authors' page."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aroface.reporting.tables.render import render_table
from aroface.reporting.tables.spec import read_spec
from made_up_tables import fill_table
from rendered import table_rows
from repository import ROOT

SPEC = ROOT / "paper_tables" / "specs" / "ijbs.yaml"
TABLE = ROOT / "paper_tables" / "ijbs.tex"

# Copied from the authors' page, not from the specification; bold rows with a !, their dash for what is not there.
AUTHORS = """
  ArcFace          CVPR2019  MS1MV2      57.35 64.42 41.85  57.36 64.95 41.23  -     -     -
  PFE              ICCV2019  MS1MV2      50.16 58.33 31.88  53.60 61.75 35.99  9.20  20.82 0.84
  URL              ICCV2020  MS1MV2      59.79 65.78 41.06  61.98 67.12 42.73  -     -     -
! ArcFace+ARoFace  ECCV2024  MS1MV2      61.65 67.6  47.87  60.66 67.33 46.34  18.31 32.07 2.23
  ArcFace          CVPR2019  WebFace4M   69.26 74.31 57.06  70.31 75.15 56.89  32.13 46.67 5.32
! ArcFace+ARoFace  ECCV2024  WebFace4M   70.96 75.54 58.67  71.70 75.24 58.06  32.95 50.30 6.81
  AdaFace          CVPR2022  WebFace12M  71.35 76.24 59.40  71.93 76.56 59.37  36.71 50.03 4.62
! AdaFace+ARoFace  ECCV2024  WebFace12M  72.28 77.93 61.43  73.01 79.11 60.02  40.51 50.90 6.37
"""
LINES = AUTHORS.strip("\n").splitlines()
SEARCHES = ("single", "booking", "surveillance")
METRICS = ("rank1", "rank5", "tpir_at_fpir_1e-2")


def plain(cell: str) -> str:
    """A LaTeX cell without what fills it up and without its emphasis."""
    return re.sub(r"\\phantom\{[0.]*\}", "", cell).strip().removeprefix(r"\textbf{").removesuffix("}")


def test_the_table_in_the_repository_is_what_the_renderer_makes():
    assert TABLE.read_bytes() == render_table(SPEC, "nowhere", mode="reported").encode()


@pytest.mark.parametrize("row", range(8))
def test_every_cell_is_the_authors(row: int):
    cells = table_rows(TABLE)[row]
    expected = [word if word != "-" else "--" for word in LINES[row][2:].split()]
    assert [plain(cell) for cell in cells] == expected
    bold = [r"\textbf" in cell for cell in cells]
    assert bold == [LINES[row][0] == "!", False, False] + [LINES[row][0] == "!"] * 9


def test_every_column_has_the_metric_of_its_heading():
    columns = read_spec(SPEC).columns
    assert [column.metric for column in columns] == [
        f"surveillance_to_{search}_{metric}" for search in SEARCHES for metric in METRICS
    ]
    assert [column.label for column in columns] == ["Rank1", "Rank5", "TPIR@\nFPIR=\n1 %"] * 3
    groups = [(column.group or "").replace("\n", "") for column in columns]
    assert groups == [f"Surveillance-to-{search.capitalize()}" for search in SEARCHES for _ in METRICS]
    head = TABLE.read_text().split(r"\toprule")[1].split(r"\midrule")[0]
    for search in SEARCHES:
        assert rf"\multicolumn{{3}}{{c}}{{\shortstack{{Surveillance- \\ to-{search.capitalize()}}}}}" in head
    assert r"\cmidrule(lr){4-6}\cmidrule(lr){7-9}\cmidrule(lr){10-12}" in head


def test_the_venue_is_printed_and_names_no_row():
    rows = read_spec(SPEC).rows or ()
    assert [row.headers["venue"] for row in rows] == [line.split()[-11] for line in LINES]
    assert rows[3].key == "ArcFace+ARoFace@MS1MV2"


def test_what_the_authors_call_arcface_on_webface_is_cosface_or_their_own_weights(tmp_path: Path):
    for also, value in ((False, "70.96"), (True, "71.96")):
        folder = tmp_path / str(also)
        fill_table(folder, SPEC, seeds=[0], released=True, also=also, shift=lambda *_, also=also: 0.01 * also)
        rows = list(csv.DictReader(io.StringIO(render_table(SPEC, folder, mode="both", format="csv"))))
        assert rows[5]["single_rank1_mean"] == value
    names = {path.parent.name.split("-")[0] for path in (tmp_path / "True").glob("*webface4m*/*.json")}
    assert names == {"arcface", "arcface_aroface"}


def test_csv_has_one_row_for_each_of_the_table_with_all_parts(tmp_path: Path):
    fill_table(tmp_path, SPEC, seeds=[0])
    rows = list(csv.DictReader(io.StringIO(render_table(SPEC, tmp_path, mode="delta", format="csv"))))
    assert len(rows) == 8
    assert (rows[3]["single_rank1_reported"], rows[3]["single_rank1_mean"], rows[3]["single_rank1_delta"]) == (
        "61.65",
        "61.76",
        "+0.11",
    )
    assert rows[1]["single_rank1_mean"] == ""


def test_parts_below_one_another(tmp_path: Path):
    fill_table(tmp_path, SPEC, seeds=[0])
    text = render_table(SPEC, tmp_path, mode="delta", format="markdown")
    lines = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line][2:]
    assert [line[3] for line in lines[:5]] == ["paper", "reproduced", "Δ", "paper", "paper"]
    assert [line[0] for line in lines[:5]] == ["ArcFace", "", "", "PFE", "URL"]
    assert len(lines) == 6 * 3 + 2  # PFE and URL are others' models
    assert [line[4] for line in lines[5:8]] == ["61.65", "61.76", "+0.11"]
    empty = render_table(SPEC, tmp_path / "nowhere", mode="both", format="markdown")
    assert empty.count("| reproduced | -- |") == 6


def test_emphasis_by_value_is_another_than_the_papers():
    text = render_table(SPEC, "nowhere", mode="reported", format="markdown", emphasis="best_second")
    columns = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
    by_name = {(row[1], row[3]): row for row in columns}
    assert by_name["AdaFace+ARoFace", "WebFace12M"][4] == "**72.28**"
    assert by_name["AdaFace", "WebFace12M"][4] == "<u>71.35</u>"
    assert by_name["ArcFace+ARoFace", "WebFace4M"][12] == "**6.81**"


class Cells(HTMLParser):
    """The texts of a page's cells by rows, and what opened and was not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.bold: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("meta", "br"):
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        if "b" in self.open:
            self.bold.append(data)


def test_the_page_has_every_value_of_the_authors():
    page = Cells()
    page.feed(render_table(SPEC, "nowhere", mode="reported", format="html"))
    assert page.open == []
    assert page.rows[0][3:] == ["Surveillance-to-Single", "Surveillance-to-Booking", "Surveillance-to-Surveillance"]
    assert [[cell.replace("--", "-").rstrip() for cell in row] for row in page.rows[2:]] == [
        line[2:].split() for line in LINES
    ]
    assert page.bold == [word for line in LINES if line[0] == "!" for word in (line.split()[1], *line.split()[4:])]
