"""The whole chain with nothing replaced, on very few faces."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from conftest import Outcome, finish

from aroface.paper.records import load_records

COMMAND = [sys.executable, "workflow/scripts/live.py", "--", "--cores", "2"]
COMMAND += ["--configfile", "workflow/configs/tiny.yaml"]


def run(folder: Path) -> Outcome:
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return finish(subprocess.Popen(COMMAND, cwd=folder, start_new_session=True, **pipe), limit_s=240)


def test_from_nothing_to_the_paper(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    outcome = run(tmp_path)
    assert outcome.status == 0, outcome.text
    results = tmp_path / "results/tiny"
    records = load_records(results / "records")
    assert sorted((record.experiment.method, record.benchmark) for record in records) == [
        (method, benchmark)
        for method in ("adaface_aroface", "arcface")
        for benchmark in ("fae", "pairs_clean", "tinyface")
    ]
    table = (results / "tables/lfw.tex").read_text()
    assert "AdaFace+ARoFace" in table
    assert "--" in table  # the configuration has no pairs of low quality
    assert "synthetic" in table
    assert (results / "figures/fae.pdf").read_bytes().startswith(b"%PDF")
    assert any((results / f"paper{suffix}").exists() for suffix in (".pdf", ".tex"))
    assert run(tmp_path).text.startswith("Nothing to do")
