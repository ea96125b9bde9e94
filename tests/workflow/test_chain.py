"""The whole chain with nothing replaced, on very few faces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aroface.reporting.records import load_records
from documentation import documented_metrics
from repository import ROOT
from workflow_project import Outcome, finish

pytestmark = pytest.mark.xdist_group("chain")  # one worker runs the chain for all of them

COMMAND = [sys.executable, "workflow/scripts/live.py", "--", "--cores", "2"]
COMMAND += ["--configfile", "workflow/configs/tiny.yaml"]


def run(folder: Path, *command: str) -> Outcome:
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    pipe["env"] = {**os.environ, "PYTHONPATH": f"{folder / 'src'}:{os.environ.get('PYTHONPATH', '')}"}
    return finish(subprocess.Popen(command, cwd=folder, start_new_session=True, **pipe), limit_s=240)


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project in which the whole chain has run."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(template, folder, dirs_exist_ok=True)
    outcome = run(folder, *COMMAND)
    assert outcome.status == 0, outcome.text
    return folder


def test_from_nothing_to_the_paper(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, symlinks=True)
    results = tmp_path / "results/tiny"
    records = load_records(results / "records")
    assert sorted((record.experiment.method, record.benchmark) for record in records) == [
        (method, benchmark)
        for method in ("adaface_aroface", "arcface")
        for benchmark in ("fae", "pairs_clean", "templates", "tinyface", "videos")
    ]
    documented = documented_metrics()
    for metric in {metric for record in records for metric in record.metrics}:
        assert any(pattern.fullmatch(metric) for pattern in documented), metric
    table = (results / "tables/lfw.tex").read_text()
    assert "AdaFace+ARoFace" in table
    assert "--" in table  # the configuration has no pairs of low quality
    assert "Synthetic faces" in table
    for figure in ("fae", "training", "displacements"):
        assert (results / f"figures/{figure}.pdf").read_bytes().startswith(b"%PDF")
    assert "No training" not in (results / "figures/displacements.tex").read_text()
    assert any((results / f"paper{suffix}").exists() for suffix in (".pdf", ".tex"))
    report = (results / "report.html").read_text()
    assert "2 of 2 finished" in report
    assert "Nothing is missing of what the configuration asks for." in report
    assert '"mainEntity"' in (results / "ro-crate-metadata.json").read_text()
    assert run(tmp_path, *COMMAND).text.startswith("Nothing to do")
    shutil.rmtree(results / "data")
    shutil.rmtree(results / "figures")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *COMMAND[-2:], "--config", "render_only=true"]
    outcome = run(tmp_path, *command)
    assert outcome.status == 0, outcome.text
    assert (results / "figures/fae.pdf").exists()
    assert not (results / "data").exists(), "nothing but rendering was started"


def test_what_retrains_and_what_does_not(made: Path, tmp_path: Path) -> None:
    """A comment in the source, reordered keys, a time limit: nothing. A learning rate: one run beside the others."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, symlinks=True)
    shutil.copytree(ROOT / "src", tmp_path / "src")
    config = yaml.safe_load((tmp_path / "workflow/configs/tiny.yaml").read_text())
    config |= {"figures": [], "tables": ["paper_tables/specs/demo/lfw.yaml"]}
    config["benchmarks"] = [{"name": "pairs_clean", "data": "clean"}]

    def weights() -> dict[str, int]:
        files = (tmp_path / "results/tiny/runs").glob("*/model.safetensors")
        return {path.parent.name: path.stat().st_mtime_ns for path in files}

    def make() -> dict[str, int]:
        (tmp_path / "edited.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "edited.yaml"]
        outcome = run(tmp_path, *command)
        assert outcome.status == 0, outcome.text
        return weights()

    first = weights()
    assert len(first) == 2
    trainer = tmp_path / "src/aroface/training/trainer.py"
    trainer.write_text(trainer.read_text() + "\n# a comment\n")
    config = dict(reversed(config.items()))
    config["experiments"] = [dict(reversed(each.items())) for each in config["experiments"]]
    config["resources"] = {"train": {"runtime": 999}}
    assert make() == first
    config["experiments"][0]["overrides"] = {"optimiser": {"lr": 0.05}}
    second = make()
    assert first.items() < second.items()
    assert len(second) == 3
