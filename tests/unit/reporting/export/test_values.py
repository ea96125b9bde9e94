from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.reporting.test_document import latex as latex  # the fixture
from tests.unit.reporting.test_document import pdf_text

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.reporting.export.values import STYLE, CellFields, canonical, cell_fields, check_paper, values_text
from aroface.reporting.records import load_records
from aroface.reporting.tables.spec import read_spec
from made_up_tables import fill_table
from repository import ROOT, SPECS

ADDRESS = "tinyface/ArcFace+ARoFace@MS1MV2/rank1"
CELLS = [
    CellFields(ADDRESS, {"": "67.32", ":sd": "0.12", ":difference": "-0.02", ":reported": "67.34", ":seeds": "3"}),
    CellFields("odd/A_b, 50 % of #1 & {x}@$ ~/c", {"": "1.5", ":sd": "0.1"}),
]


def fields(spec: str, records: Path) -> dict[str, dict[str, str]]:
    return {cell.address: dict(cell.fields) for cell in cell_fields(read_spec(SPECS / spec), load_records(records))}


def test_a_cell_has_its_value_and_what_belongs_to_it(tmp_path: Path):
    fill_table(tmp_path, SPECS / "tinyface.yaml")
    cell = fields("tinyface.yaml", tmp_path)[ADDRESS]
    assert cell == {
        **{"": "67.41", ":sd": "0.15", ":interval": "[67.03, 67.79]", ":seeds": "3", ":reported": "67.32"},
        **{":difference": "+0.09", ":0": "67", ":1": "67.4", ":2": "67.41", ":3": "67.410"},
    }


def test_differences_of_rows_are_signed_and_hyphens_stand_for_minus(tmp_path: Path):
    fill_table(tmp_path, SPECS / "adaface.yaml")
    found = fields("adaface.yaml", tmp_path)
    name = next(each for each in found if "ARoFace - control" in each)
    assert found[name][""] == "+0.33"
    assert ":interval" not in found[name], "all seeds differ by the same"


def test_without_records_only_reported_values_are_there(tmp_path: Path):
    found = fields("tinyface.yaml", tmp_path)
    assert found[ADDRESS] == {":reported": "67.32"}


def test_addresses_are_compared_without_what_only_tex_needs():
    assert canonical(r"a\_b@50 \% \#1") == canonical("a_b@50 % 1") == "a_b@50 % 1"
    with pytest.raises(InputError, match="two cells have one address"):
        values_text([CellFields("t/a#/c", {"": "1"}), CellFields("t/a/c", {"": "2"})])


def test_a_check_names_file_line_and_the_nearest(tmp_path: Path):
    paper = tmp_path / "paper.tex"
    paper.write_text(
        "\\section{At \\aroval{" + ADDRESS + "}}\n"
        "% \\aroval{not/read/here}\n"
        "50\\% and \\arovalunit{tinyface/ArcFace+ARoFace@MS1MV3/rank1}\n"
        "\\input{part}\\input{aroface-values}\\input{not-there}\n"
    )
    (tmp_path / "part.tex").write_text(
        f"\n\\arovalpm{{{ADDRESS}:reported}}\\aroval{{odd/A\\_b, 50 \\% of \\#1 & x@$ ~/c}}"
    )
    number, unknown = check_paper(paper, CELLS)
    assert number == 5
    assert [(each.file.name, each.line, each.address) for each in unknown] == [
        ("paper.tex", 3, "tinyface/ArcFace+ARoFace@MS1MV3/rank1"),
        ("part.tex", 2, f"{ADDRESS}:reported:sd"),
    ]
    assert unknown[0].nearest == ADDRESS
    assert str(unknown[0]).endswith(f"line 3: no value '{unknown[0].address}'; the nearest is '{ADDRESS}'")


def test_the_verb_checks_a_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name in ("config.yaml", "paper_tables", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    Path("paper.tex").write_text(f"\\aroval{{{ADDRESS}:reported}}")
    assert main(["export", "--check", "paper.tex"]) == 0
    assert capsys.readouterr().out == "paper.tex: 1 numbers, each with a value\n"
    Path("paper.tex").write_text(f"x\n\\aroval{{{ADDRESS}}}\n\\aroval{{{ADDRESS}:reporte}}")
    assert main(["export", "--check", "paper.tex"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"aroface: error: paper.tex: line 2: no value '{ADDRESS}'; the nearest is '{ADDRESS}:reported'"
    assert "line 3" in second
    assert main(["export", "--check", "missing.tex"]) == 2


def compiled(folder: Path, body: str, preamble: str = "", engine: str = "pdflatex") -> subprocess.CompletedProcess[str]:
    shutil.copy(STYLE, folder)
    (folder / "aroface-values.tex").write_text(values_text(CELLS, ["100 % made up"]))
    (folder / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{aroface-values}\n\\input{aroface-values}\n"
        f"{preamble}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    command = [engine, "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", env=_wide(), check=False
        )
    return done


def _wide() -> dict[str, str]:
    import os

    return {**os.environ, "max_print_line": "1000"}


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_numbers_expand_in_titles_captions_and_tests(tmp_path: Path):
    body = rf"""
    \tableofcontents
    \section{{At \aroval{{{ADDRESS}}}, \arovalunit{{{ADDRESS}:difference}}, \arovalpm{{{ADDRESS}}}}}
    \begin{{figure}}
      \caption{{Caption \aroval{{{ADDRESS}:seeds}} and \aroval{{odd/A_b, 50 \% of \#1 & x@$ ~/c}}}}
    \end{{figure}}
    \edef\digits{{\aroval{{{ADDRESS}}}}}\ifx\digits\expected equal\fi
    \ifdim\aroval{{{ADDRESS}}}pt>67pt greater\fi
    \aroval{{odd/A\_b, 50 \% of #1 & x@$ ~/c:sd}}
    """
    preamble = r"\usepackage{hyperref}\def\expected{67.32}"
    done = compiled(tmp_path, body, preamble)
    assert done.returncode == 0, done.stdout
    text = pdf_text(tmp_path / "paper.pdf")
    assert text.count("67.32, −0.02 %, 67.32 ± 0.12") == 2
    assert "Caption 3 and 1.5" in text
    assert "equal" in text
    assert "greater" in text
    assert "0.1" in text
    assert "Token not allowed" not in (tmp_path / "paper.log").read_text(errors="replace")
    assert r"0006\0007\000.\0003\0002" in (tmp_path / "paper.out").read_text()


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("tinyface/ArcFace+AroFace@MS1MV2/rank1", f"the nearest is '{ADDRESS}'"),
        (f"{ADDRESS}:std", f"no field 'std' of '{ADDRESS}'; its fields are :sd :difference :reported :seeds"),
        ("odd/A_b, 50 \\% of 1 & x@$ ~/d", "the nearest is 'odd/A_b, 50 % of 1 & x@$ ~/c'"),
    ],
)
def test_a_missing_number_is_an_error_that_names_the_nearest(tmp_path: Path, address: str, line: str):
    done = compiled(tmp_path, rf"\aroval{{{address}}}")
    assert done.returncode != 0
    assert f"! Package aroface Error: no {'field' if 'field' in line else 'value'} '" in done.stdout
    assert line in done.stdout
