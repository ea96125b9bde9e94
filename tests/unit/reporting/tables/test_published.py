"""Values of others in a table: marked where they stand, with a footnote and a BibTeX entry for each source."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from aroface.cli.main import main
from aroface.reporting.document import write_document
from aroface.reporting.explain import explain
from aroface.reporting.records import RecordedExperiment
from aroface.reporting.tables.bibtex import bibtex
from aroface.reporting.tables.latex import TEMPLATES
from aroface.reporting.tables.render import render_table
from aroface.reporting.tables.sources import Source, marks
from aroface.reporting.tables.spec import read_spec
from made_up_records import write_record
from rendered import unlinked
from repository import ROOT, SPECS

SOURCES = {
    "doe": {"title": "Faces & more", "short": "Doe", "author": "Doe, Jo", "booktitle": "Proceedings of X (ICX)"},
    "roe_2": {"title": "roe/faces", "url": "https://example.org/roe_faces", "commit": "1234567", "place": "a_b.md"},
}
SOURCES["doe"] |= {"year": 2020, "place": "Table 1", "note": "another crop"}  # type: ignore[dict-item]
DOE = "Faces & more, ICX 2020, Table 1 (another crop)"
ROE = "roe/faces, a_b.md, commit 1234567, https://example.org/roe_faces"
COLUMNS = [
    {"id": name, "label": name, "benchmark": "tinyface", "metric": name, "decimals": 2} for name in ("rank1", "rank5")
]


def spec(tmp_path: Path, **change: Any) -> Path:
    content = {
        "name": "small",
        "caption": "Small.",
        "label": "tab:small",
        "sources": SOURCES,
        "row_headers": [{"key": "method", "label": "Method"}],
        "columns": COLUMNS,
        "rows": [
            {"method": "A", "experiment": {"method": "arcface"}, "published": {"roe_2": {"rank1": "60.10"}}},
            {"method": "B", "published": {"doe": {"rank1": "61.5"}, "roe_2": {"rank5": "70.00"}}},
            {"method": "C", "experiment": {"method": "c", "dataset": "d", "arch": "r50"}},
        ],
        **change,
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("format", "cells", "footnotes"),
    [
        (
            "markdown",
            ["60.10<sup>a</sup>", "61.5<sup>b</sup>", "70.00<sup>a</sup>"],
            ["<sup>a</sup> ", "<sup>b</sup> "],
        ),
        ("terminal", ["60.10 [a]", "61.5 [b]", "70.00 [a]"], ["[a] ", "[b] "]),
        ("html", ["60.10<sup>a</sup>", "61.5<sup>b</sup>", "70.00<sup>a</sup>"], ["<sup>a</sup> ", "<sup>b</sup> "]),
        ("latex", [r"60.10\aromark{a}", r"61.5\aromark{b}", r"70.00\aromark{a}"], []),
    ],
)
def test_every_form_marks_values_and_names_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Any, cells: list[str], footnotes: list[str]
):
    monkeypatch.setenv("COLUMNS", "200")
    text = unlinked(render_table(spec(tmp_path), tmp_path, mode="reported", format=format)).replace("\\_", "_")
    assert all(cell in text for cell in cells)
    assert "Published values, none of them the authors': letters name their sources." in text.replace("&#x27;", "'")
    found = text.replace("&amp;", "&").replace("\\&", "&")
    if format == "html":
        found = found.replace('<a href="https://example.org/roe_faces">', "").replace("</a>", "")
    for mark, source in zip(footnotes, (ROE, DOE), strict=False):
        assert mark + source in found
    if format == "latex":
        assert rf"\textsuperscript{{a}}~{ROE}\arocite{{roe_2}};" in found
        assert rf"\textsuperscript{{b}}~{DOE}\arocite{{doe}}}}" in found


def test_machines_get_the_key_of_each_value(tmp_path: Path):
    rows = list(csv.DictReader(io.StringIO(render_table(spec(tmp_path), tmp_path, mode="reported", format="csv"))))
    assert [row["rank1_source"] for row in rows] == ["roe_2", "doe", ""]
    assert [row["rank5_source"] for row in rows] == ["", "roe_2", ""]


@pytest.mark.parametrize("parts", ["beside", "below"])
def test_reproduced_values_stand_against_published_ones(tmp_path: Path, parts: str):
    write_record(tmp_path / "records", "arcface", {"rank1": 0.6, "rank5": 0.7})
    path = spec(tmp_path, layout={"parts": parts})
    text = render_table(path, tmp_path / "records", mode="delta", format="markdown")
    assert "Published: values of others, for the authors print none (letters name the sources)" in text
    assert "Δ: reproduced minus published." in text
    if parts == "below":
        assert (
            "| A | published | 60.10<sup>a</sup> | -- |\n|  | reproduced | 60.00 | 70.00 |\n|  | Δ | −0.10 | -- |"
            in text
        )
        assert "| C | reproduced | -- | -- |" in text
        assert "| C | published" not in text, "nothing is in print of it"
    else:
        assert "| A | 60.10<sup>a</sup> | 60.00 | −0.10 | -- | 70.00 | -- |" in text
    assert "<sup>" not in render_table(path, tmp_path / "records", mode="reproduced", format="markdown")


def test_lines_below_each_other_keep_their_order_whatever_column_comes_first(tmp_path: Path):
    rows = [{"method": "A", "experiment": {"method": "arcface"}, "published": {"doe": {"rank5": "70.10"}}}]
    write_record(tmp_path / "records", "arcface", {"rank1": 0.6, "rank5": 0.7})
    path = spec(tmp_path, rows=rows, layout={"parts": "below"})
    text = render_table(path, tmp_path / "records", mode="both", format="markdown")
    assert "| A | published | -- | 70.10<sup>a</sup> |\n|  | reproduced | 60.00 | 70.00 |" in text
    page = render_table(path, tmp_path / "records", mode="both", format="html")
    assert page.count('<th scope="row">published</th>') == 1


def test_values_of_the_authors_and_of_others_in_one_table(tmp_path: Path):
    rows = [
        {"method": "A", "reported": {"rank1": "60.00", "rank5": None}},
        {"method": "B", "published": {"doe": {"rank1": "61.50"}}},
    ]
    path = spec(tmp_path, rows=rows, source={"title": "a page"}, emphasis={"rule": "best_second"})
    text = render_table(path, tmp_path, mode="reported", format="markdown")
    assert "Values as reported by the authors, and those with a letter by others, which it names." in text
    assert "| A | 60.00 | -- |\n| B | **61.50**<sup>a</sup> | -- |" in text
    both = render_table(path, tmp_path, mode="both", format="markdown")
    assert "Bold published values: best of its column, by their digits, whatever their source." in both
    assert "Bold values of the paper" not in both


def test_a_row_for_each_experiment_gets_the_values_of_its_own(tmp_path: Path):
    adaface, control = (RecordedExperiment(method, "ms1mv3", "r100") for method in ("adaface", "adaface_control"))
    options: Any = {"experiments": [adaface, control], "format": "markdown"}
    text = render_table(SPECS / "lfw.yaml", tmp_path, mode="both", **options)
    assert "| adaface | ms1mv3 | published | 99.78<sup>a</sup> | 98.91<sup>a</sup> | -- | 98.17<sup>a</sup> |" in text
    assert "| adaface\\_control | ms1mv3 | reproduced |" in text
    alone = render_table(SPECS / "lfw.yaml", tmp_path, mode="both", **{**options, "experiments": [control]})
    assert "<sup>" not in alone
    assert "published" not in alone.lower()


def test_a_cell_is_traced_to_its_source(tmp_path: Path):
    text = explain("small/B/rank1", [spec(tmp_path)], tmp_path, tmp_path)
    assert "published    61.5, not by the authors\n" in text
    assert DOE in text


def test_entries_have_what_is_known_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    roe = (
        "@misc{roe_2,\n  title = {{roe/faces}},\n  key = {roe/faces},\n  howpublished = {\\url{https://example.org/roe_faces}},\n"
        "  note = {a\\_b.md, commit 1234567},\n}\n"
    )
    doe = (
        "@inproceedings{doe,\n  title = {{Faces \\& more}},\n  author = {Doe, Jo},\n"
        "  booktitle = {Proceedings of X (ICX)},\n  year = {2020},\n  note = {Table 1},\n}\n"
    )
    path = spec(tmp_path)
    assert bibtex(read_spec(path)) == f"{roe}\n{doe}"
    assert main(["table", str(path), "--bibtex"]) == 0
    assert capsys.readouterr().out == f"{roe}\n{doe}"
    assert main(["table", str(path), "--bibtex", "--out", str(tmp_path / "small.bib")]) == 0
    assert (tmp_path / "small.bib").read_text() == f"{roe}\n{doe}"
    assert bibtex(read_spec(SPECS / "ijbs.yaml")).startswith("% This table cites nothing.")


@pytest.mark.parametrize("name", ["ijbb", "ijbc", "lfw"])
def test_a_document_cites_the_sources_where_its_bibliography_has_them(tmp_path: Path, name: str):
    fragment, source = tmp_path / f"{name}.tex", tmp_path / "paper.tex"
    fragment.write_text(render_table(SPECS / f"{name}.yaml", tmp_path, mode="reported"))
    shutil.copy(TEMPLATES / "aroface.sty", tmp_path)
    entries = bibtex(read_spec(SPECS / f"{name}.yaml"))
    (tmp_path / "sources.bib").write_text(entries)
    source.write_text(
        "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n\\usepackage{url}\n"
        f"{(TEMPLATES / 'preamble.tex').read_text()}\n\\begin{{document}}\n\\input{{{name}}}\n"
        "\\bibliographystyle{plain}\n\\bibliography{sources}\n\\end{document}\n"
    )
    command = ["latexmk", "-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error", source.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    count = entries.count("\n@") + 1
    text = subprocess.run(
        ["pdftotext", "-layout", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert all(text.count(f"[{number}]") == 2 for number in range(1, count + 1)), "a citation and an entry of each"
    assert "Warning--" not in (tmp_path / "paper.blg").read_text()


def test_a_document_without_a_bibliography_has_no_open_citations(tmp_path: Path):
    fragment = tmp_path / "ijbc.tex"
    fragment.write_text(render_table(SPECS / "ijbc.yaml", tmp_path, mode="reported"))
    write_document([fragment], [], tmp_path / "paper.tex", note="")
    command = ["latexmk", "-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "undefined" not in (tmp_path / "paper.log").read_text(errors="replace").split("LaTeX2e", 1)[-1]


def test_the_authors_own_tables_cite_nobody():
    for name in ("tinyface", "ijbs"):
        assert "aromark" not in (ROOT / "paper_tables" / f"{name}.tex").read_text()
        assert render_table(SPECS / f"{name}.yaml", "nowhere", mode="reported") == (
            ROOT / "paper_tables" / f"{name}.tex"
        ).read_text(encoding="utf-8")


@pytest.mark.parametrize(("count", "last"), [(1, "a"), (26, "z"), (27, "aa"), (53, "ba")])
def test_marks_are_letters(count: int, last: str):
    assert [*marks(Source(str(number), "T") for number in range(count)).values()][-1] == last
