"""Captions, notes and marks of tables, as a paper has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from aroface.reporting.tables.build import build
from aroface.reporting.tables.caption import CONFIDENCE_INTERVAL
from aroface.reporting.tables.grid import Grid, on_one_line
from aroface.reporting.tables.render import make_grid, render_table
from aroface.reporting.tables.spec import read_spec
from made_up_tables import fill_table
from repository import SPECS

NAMES = [path.relative_to(SPECS).with_suffix("").as_posix() for path in sorted(SPECS.rglob("*.yaml"))]
MODES = ("reported", "reproduced", "both", "delta")
SENTENCE_END = re.compile(r"(?<!\bvs)\.(?= |$)")


def grid(name: str, mode: Any, records: Path | None = None, **options: Any) -> Grid:
    return make_grid(SPECS / f"{name}.yaml", records or Path("nowhere"), mode=mode, **options)


def words(table: Grid) -> list[str]:
    """All texts that are read, with the headings."""
    headings = [heading for leaf in table.leaves for heading in leaf.path]
    return [table.caption, table.short_caption or "", *table.notes, table.footnote or "", *headings, *table.row_headers]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_a_caption_is_two_sentences_and_has_a_short_form(name: str, mode: str):
    table = grid(name, mode, caption_note="")
    assert len(SENTENCE_END.findall(table.caption)) <= 2
    assert len(table.caption) < 330
    assert table.short_caption
    assert len(table.short_caption) < 60
    assert not table.short_caption.endswith(".")
    assert f"\\caption[{{{table.short_caption}}}]" in render_table(SPECS / f"{name}.yaml", "nowhere", mode="reported")


@pytest.mark.parametrize("name", NAMES)
def test_words_are_those_of_papers(name: str):
    for text in (text for mode in MODES for text in words(grid(name, mode))):
        assert not re.search(r"\d [%]", text), "a number is not parted from its sign"
        assert not re.search(r"(?<![\w)])\.\d", text), "a zero stands before the point"
        assert not re.search(r"perturb|renders itself|repository renders|[a-z]+_[a-z]+", text)
    demo = name.startswith("demo/")
    assert (
        grid(name, "reproduced").caption.endswith("Synthetic faces; not comparable with the real benchmarks.") == demo
    )


def test_what_stood_in_captions_stands_in_notes(tmp_path: Path):
    fill_table(tmp_path, SPECS / "ablation_adversary.yaml")
    table = grid("ablation_adversary", "reproduced", tmp_path)
    notes = " ".join(table.notes).replace("\u00a0", " ")
    assert CONFIDENCE_INTERVAL[False] in notes
    for text in ("leave out 0 by chance", "5 % after Holm over all pairs of rows", "on this benchmark", "ten-fold"):
        assert text in notes
        assert text not in table.caption
    assert table.caption.endswith("mean ± standard deviation over 3 seeds.")


def test_one_percent_is_named():
    headings = {on_one_line(leaf.column.label) for leaf in grid("ijbs", "reported").leaves}
    assert headings == {"Rank1", "Rank5", "TPIR@FPIR=1 %"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("format", "mark", "note"),
    [
        ("latex", r"WebFace12M\arodagger", r"$\dagger$ Corrected; the authors print WebFace4M."),
        ("html", "WebFace12M<sup>†</sup>", "† Corrected; the authors print WebFace4M."),
        ("markdown", "WebFace12M†", "† Corrected; the authors print WebFace4M."),
        ("terminal", "WebFace12M†", "† Corrected; the authors print WebFace4M."),
        ("csv", ",WebFace4M\n", "authors_print"),
    ],
)
def test_a_corrected_value_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: Any, format: Any, mark: str, note: str
):
    monkeypatch.setenv("COLUMNS", "200")
    text = render_table(SPECS / "tinyface.yaml", tmp_path, mode=mode, format=format)
    shown = 0 if mode == "reproduced" else 1
    assert text.count(mark) == shown
    assert text.count(note) == shown


def test_bold_is_explained_wherever_it_stands(tmp_path: Path):
    assert "Bold: the authors' own rows, as in their table; not the best values." in grid("ijbs", "reported").notes
    fill_table(tmp_path, SPECS / "ijbs.yaml")
    both = grid("ijbs", "both", tmp_path).notes
    assert "Bold values of the paper: the authors' own rows, as in their table; not the best values." in both
    assert any(note.startswith("Bold reproduced values: best of its column, or not sig") for note in both)
    best = grid("ijbs", "reported", emphasis="best_second").notes
    assert "Bold: best of its column; underlined: second best, by their digits." in best
    assert not any("Bold" in note for note in grid("ijbs", "reported", emphasis="none").notes)
    assert not any("Bold" in note for note in grid("lfw", "reproduced").notes)


@pytest.mark.parametrize(
    ("name", "mode", "note"),
    [
        ("tinyface", "reported", None),
        ("ijbs", "reported", "--: not reported."),
        ("ijbc", "reported", "--: not published."),
        ("tinyface", "both", "--: not reproduced here (URL, CurricularFace and ArcFace+CFSM) or no result."),
        ("ijbs", "delta", "--: not reported or no result."),
        ("adaface", "reproduced", "--: no result."),
        ("demo/claim", "reproduced", "--: no result."),
    ],
)
def test_dashes_are_explained(name: str, mode: str, note: str | None):
    assert [text for text in grid(name, mode).notes if text.startswith("--")] == ([note] if note else [])


def test_a_row_that_nobody_meant_to_reproduce_has_no_missing_result(tmp_path: Path):
    fill_table(tmp_path, SPECS / "tinyface.yaml")
    table = grid("tinyface", "both", tmp_path)
    assert "--: not reproduced here (URL, CurricularFace and ArcFace+CFSM)." in table.notes


def test_rows_of_one_name_are_told_apart():
    spec = read_spec(SPECS / "ijbs.yaml")
    assert spec.rows is not None
    table = build(spec, (), "reproduced")
    (note,) = (note for note in table.notes if note.startswith("--"))
    assert note == "--: not reproduced here (PFE and URL) or no result."
