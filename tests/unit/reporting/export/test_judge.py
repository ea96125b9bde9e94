from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

from aroface.reporting.export.glyphs import Font, Glyph, fonts, glyphs, page_height
from aroface.reporting.export.judge import judge_fonts, judge_log, judge_type

LOG = r"""
Overfull \hbox (1.9pt too wide) in paragraph at lines 3--4
(aroface: aroface-table-a.tex)
Overfull \hbox (12.5pt too wide) in paragraph at lines 3--4
Overfull \hbox (15.25pt too wide) in paragraph at lines 3--4
LaTeX Warning: Label `tab:a' multiply defined.
(aroface: main.tex)
Overfull \vbox (68.9pt too high) has occurred while \output is active []
Overfull \hbox (2.22221pt too wide) has occurred while \output is active
(aroface: aroface-figure-b.tex)
LaTeX Warning: Float too large for page by 10.5pt on input line 7.
(aroface: main.tex)
LaTeX Warning: Reference `tab:b' on page 1 undefined on input line 5.
LaTeX Warning: Reference `tab:b' on page 1 undefined on input line 5.
LaTeX Warning: Citation `arcface' on page 1 undefined on input line 6.
Package natbib Warning: Citation `adaface' on page 1 undefined on input line 6.
Missing character: There is no ★ (U+2605) in font lmroman10-regular!
"""


def test_a_log_is_judged_fragment_by_fragment():
    assert [f"{fault.place}: {fault.problem}" for fault in judge_log(LOG)] == [
        "aroface-table-a.tex: 15.2 pt wider than the line",
        "aroface-figure-b.tex: 10.5 pt higher than the page",
        "aroface-table-a.tex: the label tab:a is defined twice",
        "main.tex: the reference tab:b is not defined",
        "main.tex: the citation arcface is not defined",
        "main.tex: the citation adaface is not defined",
        "main.tex: the type has no ★",
    ]
    assert judge_log("(aroface: a.tex)\nUnderfull \\hbox (badness 10000)\n") == []


def line(text: str, x: float, y: float, size: float, font: str = "F", upright: bool = True) -> list[Glyph]:
    """Glyphs that are half as wide as they are high, printed along a line."""
    step = size / 2
    found = []
    for number, character in enumerate(text):
        place = (x + number * step, y) if upright else (x, y + number * step)
        found.append(Glyph(1, character, font, *place, size, step, (1.0, 0.0) if upright else (0.0, 1.0)))
    return found


def problems(*lines: list[Glyph]) -> list[str]:
    faults = judge_type([glyph for part in lines for glyph in part], {"a.tex": 1, "b.tex": 2})
    return [f"{fault.place}: {fault.problem}" for fault in faults]


def test_type_below_seven_points_is_found():
    assert problems(line("normal", 0, 0, 10)) == []
    assert problems(line("seven", 0, 0, 6.97)) == []
    assert problems(line("normal", 0, 0, 10), line("small", 0, -20, 6)) == [
        "a.tex: type of 6.0 pt on page 1 ('small')",
    ]
    assert problems(line("beside", 0, 0, 8), line("small", 24, 0, 5)) == ["a.tex: type of 5.0 pt on page 1 ('small')"]


@pytest.mark.parametrize("upright", [True, False])
def test_sub_and_superscripts_are_exempt(upright: bool):
    base = line("10", 0, 0, 8, upright=upright)
    place = (8.0, 3.0) if upright else (-3.0, 8.0)
    assert problems(base, line("23", *place, 5.6, upright=upright)) == []
    far = (80.0, 3.0) if upright else (-3.0, 80.0)
    assert len(problems(base, line("23", *far, 5.6, upright=upright))) == 1


def test_small_capitals_are_exempt():
    assert problems(line("T", 0, 0, 8), line("ABLE", 4, 0, 6.4)) == []
    assert len(problems(line("T", 0, 0, 8), line("able", 4, 0, 6.4))) == 1
    assert len(problems(line("T", 0, 0, 8), line("ABLE", 4, 0, 6.4, font="another"))) == 1


@pytest.mark.parametrize(("kind", "name"), [(3, "Type3"), (42, "Type0")])
def test_fonts_of_pictures(tmp_path: Path, kind: int, name: str):
    with matplotlib.rc_context({"pdf.fonttype": kind}):
        figure = Figure((3, 2))
        figure.text(0.1, 0.5, "Words", fontsize=9)
        figure.text(0.5, 0.1, "up", fontsize=6, rotation=90)
        figure.savefig(tmp_path / "a.pdf")
    found = glyphs(tmp_path / "a.pdf")
    assert page_height(tmp_path / "a.pdf") == pytest.approx(2 * 72.27)
    assert "".join(glyph.text for glyph in found) == "Wordsup"
    assert {round(glyph.size) for glyph in found} == {9, 6}
    assert found[-1].direction == (0.0, 1.0)
    faults = judge_fonts(tmp_path / "a.pdf")
    assert [" of Type 3" in fault.problem for fault in faults] == ([True] if kind == 3 else [])
    assert len(fonts(tmp_path / "a.pdf")) == 1


def test_a_font_that_is_not_embedded(tmp_path: Path):
    with matplotlib.rc_context({"pdf.use14corefonts": True, "font.family": "Helvetica"}):
        figure = Figure((3, 2))
        figure.text(0.1, 0.5, "Words")
        figure.savefig(tmp_path / "a.pdf")
    assert fonts(tmp_path / "a.pdf") == [Font("Helvetica", "Type1", False)]
    (fault,) = judge_fonts(tmp_path / "a.pdf")
    assert str(fault) == "main.tex: the font Helvetica is not embedded; install it, or take another"
