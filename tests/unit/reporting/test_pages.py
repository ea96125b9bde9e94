"""Every table of the paper compiles in every mode, fits its page and has all its numbers there."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from tests.unit.reporting.tables.test_ijbs import LINES
from tests.unit.reporting.test_document import latex as latex  # the fixture

from aroface.reporting.document import compile_document
from aroface.reporting.tables.render import write_table
from aroface.reporting.tables.spec import read_spec
from made_up_tables import fill_experiment, fill_table
from rendered import body, numbers
from repository import SPECS

NAMES = sorted(path.stem for path in SPECS.glob("*.yaml"))


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
@pytest.mark.parametrize("name", NAMES)
def test_a_table_fits_in_every_mode(tmp_path: Path, name: str):
    spec = SPECS / f"{name}.yaml"
    records = tmp_path / "records"
    if read_spec(spec).rows is None:  # a row for each experiment
        for method, value in (("arcface", 0.5123), ("arcface_aroface", 0.5345)):
            for seed in range(3):
                fill_experiment(records, yaml.safe_load(spec.read_text()), method, value + seed / 300, seed)
    else:
        fill_table(records, spec)
    fragments = []
    for mode in ("reported", "reproduced", "both", "delta"):
        fragments.append(tmp_path / f"{mode}.tex")
        write_table(spec, records, fragments[-1], mode=mode)
    compile_document(fragments, [], tmp_path / "out.pdf", note="Made-up numbers.")
    text = subprocess.run(["pdftotext", tmp_path / "out.pdf", "-"], check=True, capture_output=True, text=True).stdout
    assert [f"Table {number}." in text for number in (1, 2, 3, 4)] == [True] * 4
    rendered = Counter(number for path in fragments for number in numbers(body(path.read_text(), "latex")))
    assert sum(rendered.values()) > 20
    assert not rendered - Counter(numbers(text)), "a number that was rendered is not on the pages"


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_the_compiled_ijbs_table_has_every_number_in_order(tmp_path: Path):
    compile_document([SPECS.parent / "ijbs.tex"], [], tmp_path / "out.pdf", note="Reported values.")
    command = ["pdftotext", "-layout", tmp_path / "out.pdf", "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    printed = [" ".join(line.split()) for line in text.splitlines() if "MS1MV2" in line or "WebFace" in line]
    # The venue, which names no row, has no room on LNCS's page.
    expected = [[method, *rest] for method, _, *rest in (line[2:].split() for line in LINES)]
    assert printed == [" ".join(words).replace(" -", " –") for words in expected]
