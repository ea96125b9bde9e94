"""The form of a table in a document: what its options and the key of the specification change."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.reporting.tables.test_render import CLAIM_ROWS, SEEDS, small_spec, write_seeds

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.reporting.tables.form import COLUMN, LNCS_TEXT, TableForm, read_form, read_width
from aroface.reporting.tables.render import render_table
from repository import SPECS

TINYFACE = SPECS / "tinyface.yaml"


def reported(spec: Path = TINYFACE, format: Any = "latex", **form: Any) -> str:
    return render_table(spec, "nowhere", mode="reported", format=format, form=read_form(form))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("text", "environment", "width"),
    [
        ("column", "table", COLUMN),
        ("text", "table", 345.0),
        ("text", "table*", 496.86),
        ("84mm", "table", 239.0),
        ("3.3in", "table", 238.49),
        ("252 pt", "table", 252.0),
        ("252", "table", 252.0),
        (252, "table", 252.0),
    ],
)
def test_a_width_is_a_name_or_a_length(text: Any, environment: Any, width: float):
    assert read_width(text, environment) == pytest.approx(width, abs=0.01)


@pytest.mark.parametrize("text", ["wide", "12cm", "-3pt", "1", "nan", ""])
def test_another_width_is_refused(text: str):
    with pytest.raises(InputError, match="is no width; expected column, text, or a length"):
        read_width(text)


def test_the_specification_has_a_form_too_and_options_come_before_it(tmp_path: Path):
    spec = small_spec(tmp_path, form={"size": 7, "width": "column", "label": "tab:mine"})
    write_seeds(tmp_path / "records", SEEDS)
    texts = [
        render_table(spec, tmp_path / "records", mode="reproduced", form=form)
        for form in (None, TableForm(size=8, label="tab:other"))
    ]
    assert r"\label{tab:mine}" in texts[0]
    assert r"\arosize{7}" in texts[0]
    assert r"\label{tab:other}" in texts[1]
    assert r"\arosize{8}" in texts[1]
    assert TableForm(size=8).over(read_form({"size": 7, "width": "column"})) == TableForm(size=8, width=COLUMN)
    assert read_form({}).width == LNCS_TEXT


def test_labels_tell_the_authors_values_from_reproduced_ones(tmp_path: Path):
    assert r"\label{tab:aroface:tinyface:reported}\arooldlabel{tab:tinyface}" in reported()
    factors = render_table(SPECS / "ablation_factors.yaml", tmp_path, mode="both")
    assert r"\label{tab:aroface:ablation-factors}\arooldlabel{tab:ablation_factors}" in factors


@pytest.mark.parametrize("environment", ["table", "table*", "sidewaystable", "longtable", "body"])
def test_environments(environment: Any):
    text = reported(environment=environment)
    begun = re.findall(r"\\begin\{(.*?)\}", text)
    assert begun == re.findall(r"\\end\{(.*?)\}", text)[::-1]
    if environment == "body":
        assert begun == ["arofit", "tabular"]
        assert r"\caption" not in text
        assert r"\label" not in text
    elif environment == "longtable":
        assert begun == ["longtable"]
        assert text.count("Training Set") == 2  # once for the following pages
    else:
        assert begun == [environment, "arofit", "tabular"]
    for package in ("rotating", "longtable"):
        assert (f"and {package}." in text) == (package == {"sidewaystable": "rotating"}.get(environment, environment))


def test_what_is_written_looks_written_by_hand():
    text = reported()
    row = next(line for line in text.splitlines() if "CurricularFace" in line)
    assert row.split() == ["CurricularFace", "&", "MS1MV2", "&", "63.68", "&", "67.65", "\\\\"]
    assert not re.search(r"arorow|arocell|phantom|shortstack|bigstar", text)


def test_captions_and_label_by_option():
    text = reported(caption="50 % of it.", short_caption="Half [1]", label="tab:x")
    assert "\\caption[{Half [1]}]{50 \\% of it.}\n  \\label{tab:x}" in text


def test_notes_of_threeparttable():
    text = reported(SPECS / "ijbb.yaml", notes="threeparttable")
    assert r"\begin{tablenotes}[flushleft]\arosmall" in text
    assert re.search(r"\\item\[a\] .*\\arocite\{", text)
    assert "and threeparttable." in text
    assert r"\aronote" not in text


def test_numbers_of_siunitx(tmp_path: Path):
    write_seeds(tmp_path, SEEDS)
    spec = small_spec(tmp_path, rows=CLAIM_ROWS[:2], emphasis={"rule": "best_second"})
    text = render_table(spec, tmp_path, mode="reproduced", form=TableForm(numbers="siunitx"))
    assert r"\begin{tabular}{@{}l S[table-format=2.1(3)]@{}}" in text
    assert r"60.0 \pm 10.0" in text
    assert "Method & {Rank1}" in text
    text = reported(numbers="siunitx")
    assert r"*{2}{S[table-format=2.2]}@{}}" in text
    assert r"\bfseries 67.32" in text
    assert "{--}" in reported(SPECS / "ijbs.yaml", numbers="siunitx")
    assert r"99.82{\aromark{a}}" in reported(SPECS / "lfw.yaml", numbers="siunitx")
    delta = render_table(spec, tmp_path, mode="reproduced", form=TableForm(numbers="siunitx", uncertainty="interval"))
    assert r"{60.0\aroroom" in delta or r"{60.0\arointerval" in delta


@pytest.mark.parametrize("other", [{"numbers": "siunitx"}, {"transpose": True}])
def test_links_exclude_what_cannot_have_them(other: dict[str, Any]):
    with pytest.raises(InputError, match="links and"):
        reported(links=True, **other)


def test_columns_and_rows_in_the_order_given():
    names = ["AdaFace@WebFace4M", "ArcFace@MS1MV3", "ArcFace+ARoFace@MS1MV3"]
    rows = rows_of(reported(format="csv", columns=["rank5", "rank1"], rows=names))
    assert [*rows[0]] == ["Method", "Training Set", "rank5_reported", "rank1_reported"]
    assert [row["Method"] for row in rows] == ["AdaFace", "ArcFace", "ArcFace+ARoFace"]
    text = reported(columns=["rank5"], rows=names)
    assert text.count(r"\midrule") == 2  # below the headings, and between the training sets
    assert "Re-runs" in text
    assert "Re-runs" not in reported(rows=names[1:])


def test_a_header_printed_once_is_printed_where_the_row_above_is_gone(tmp_path: Path):
    text = render_table(
        SPECS / "fae.yaml",
        tmp_path,
        mode="both",
        format="markdown",
        form=TableForm(rows=("adaface_hq", "adaface_r24", "arcface_r24")),
    )
    lines = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines() if line.startswith("| A")]
    assert lines == [["AdaFace", "full"], ["AdaFace", "24 px"], ["ArcFace", "24 px"]]


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ({"columns": ["rank11"]}, "table tinyface: no column 'rank11'; expected rank1, rank5; did you mean rank1?"),
        ({"rows": ["AdaFace@WebFace4"]}, "did you mean AdaFace@WebFace4M?"),
    ],
)
def test_an_unknown_one_names_the_nearest(form: dict[str, Any], line: str):
    with pytest.raises(InputError, match=re.escape(line)):
        reported(**form)


def test_rows_and_columns_change_places():
    rows = rows_of(reported(format="csv", transpose=True))
    assert [row[""] for row in rows] == ["Rank1", "Rank5"]
    assert rows[0]["ArcFace+ARoFace@MS1MV2_reported"] == "67.32"
    text = reported(transpose=True, width=1000)
    assert r"\multicolumn{4}{c}{MS1MV2} & \multicolumn{2}{c}{MS1MV3}" in text
    assert r"ArcFace+CFSM\arostarsign{}" in text
    groups = rows_of(reported(SPECS / "ijbs.yaml", format="csv", transpose=True))
    assert len(groups) == 9
    assert groups[6]["PFE@MS1MV2_reported"] == "9.20"


def test_fewer_decimals_round_and_more_are_not_made_up(tmp_path: Path):
    assert rows_of(reported(format="csv", decimals=1))[0]["rank1_reported"] == "63.9"
    assert rows_of(reported(format="csv", decimals=4))[0]["rank1_reported"] == "63.89"
    write_seeds(tmp_path, {"arcface": (0.67349, 0.67349)})
    text = render_table(small_spec(tmp_path), tmp_path, mode="reproduced", format="csv", form=TableForm(decimals=0))
    assert rows_of(text)[0]["rank1_mean"] == "67"  # of 67.349, not of 67.3 or 67.5


def test_uncertainty_by_option(tmp_path: Path):
    write_seeds(tmp_path / "records", SEEDS)
    spec = small_spec(tmp_path, rows=CLAIM_ROWS)
    kinds: tuple[Any, ...] = ("sd", "interval", "none")
    texts = {
        kind: render_table(spec, tmp_path / "records", mode="reproduced", form=TableForm(uncertainty=kind))
        for kind in kinds
    }
    assert r"60.0\arosd{10.0}" in texts["sd"] or r"\arosd{10.0}" in texts["sd"]
    assert r"\arointerval{10.3}{109.7}" in texts["interval"]
    assert not re.search(r"arosd|arointerval|aropad\{\\", texts["none"])
    assert "standard deviation" not in texts["none"]


def test_the_command_has_every_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "ijbs.tex"
    words = ["table", str(SPECS / "ijbs.yaml"), "--mode", "reported", "--width", "column", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert said.err.startswith("table ijbs, 401 pt wide, fits 237 pt without Venue, in 3 parts below one another; ")
    assert said.err.count("\n") == 1
    assert main([*words[:4], "--columns", "single_rank1", "--rows", "PFE@MS1MV2", "--label", "tab:x", "--links"]) == 0
    text = capsys.readouterr().out
    assert r"\arocell{single_rank1}{50.16}" in text
    assert r"\label{tab:x}" in text
    assert main([*words[:4], "--width", "12cm"]) == 2
    assert "'12cm' is no width" in capsys.readouterr().err
