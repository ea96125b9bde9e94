"""What cannot be made leaves gaps, is said, and starts nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workflow.test_live import wait_for

from aroface.reporting.document import latex_missing
from repository import ROOT
from workflow_project import Outcome, Project, copy_of, finish

SEARCH = {"tinyface": {"identities": 10, "gallery_per_identity": 2, "probes_per_identity": 2, "distractors": 20}}
SWEEP = {"qualities": ["hq", 16], "scale": [0.1], "degrees": [10], "shift": [0.06], "joint": [1.0]}
SWEEP["metric"] = ["tar_strict_at_far_1e-2"]
LFW, TINYFACE = "paper_tables/specs/demo/lfw.yaml", "paper_tables/specs/tinyface.yaml"
DOCUMENT = ".tex" if latex_missing() else ".pdf"


def whole_paper(project: Project) -> Project:
    """Let a project have tables with and without reported values, a figure, and so all kinds of products."""
    project.config["experiments"] = [
        {"method": method, "dataset": "ms1mv3", "arch": "r100"} for method in ("arcface", "arcface_aroface")
    ]
    del project.config["data"]["faces"]
    folder = project.folder / "received/ms1m-retinaface-t1"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train.rec", "train.idx", "property"):
        (folder / name).write_text(name)
    project.config["data"]["search"] = {"seed": 4, "generate": SEARCH}
    project.config["benchmarks"] += [
        {"name": "tinyface", "data": "search"},
        {"name": "fae", "protocol": "sensitivity", "data": "clean", "options": SWEEP},
    ]
    project.config |= {"tables": [LFW, TINYFACE], "figures": ["fae"]}
    project.write()
    return project


def failed_lines(outcome: Outcome) -> list[str]:
    return re.findall(r"^failed: .*$", outcome.text, re.MULTILINE)


@pytest.fixture(scope="module")
def failed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    """A reproduction of which one training and one evaluation fail."""
    project = whole_paper(copy_of(template, tmp_path_factory.mktemp("failed")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STANDIN_RENDERS", "yes")
        patch.setenv("STANDIN_FAILS", "train arcface-ms1mv3-r100-s1;evaluate arcface_aroface-ms1mv3-r100-s0")
        return project, project.run("--keep-going")


def test_failures_are_listed_at_the_end_a_line_each(failed: tuple[Project, Outcome]) -> None:
    project, outcome = failed
    assert outcome.status == 1
    run, other = (
        next(path.name.removesuffix(".json") for path in (project.folder / "results/recipes").glob(f"{name}-*"))
        for name in ("arcface-ms1mv3-r100-s1", "arcface_aroface-ms1mv3-r100-s0")
    )
    evaluations = [
        f"failed: evaluate {other} {name}: results/logs/evaluate/{other}/{name}.log: evaluate was told to fail"
        for name in ("fae", "pairs_clean", "tinyface")
    ]
    training = f"failed: train {run}: results/logs/train/{run}.log: train was told to fail"
    assert failed_lines(outcome) == [*evaluations, training]
    after = outcome.text[outcome.text.index(training) :]
    assert "rule" not in after, "nothing but Snakemake's last words follows"


def test_all_tables_figures_pages_and_the_document_are_rendered_with_gaps(failed: tuple[Project, Outcome]) -> None:
    project, outcome = failed
    results = project.folder / "results"
    for name in ("tables/lfw.tex", "tables/tinyface.tex", "figures/fae.pdf", "compare.md", "claims.md", "paper.pdf"):
        assert not (results / name).exists()
    made = [f"table   results/tables/{name}.partial.tex" for name in ("lfw", "tinyface")]
    made += ["figure  results/figures/fae.partial.pdf", "compare results/compare.partial.md"]
    made += ["claims  results/claims.partial.md", f"paper   results/paper.partial{DOCUMENT}"]
    made += ["report  results/report.partial.html"]
    assert [line for line in outcome.text.splitlines() if ".partial." in line] == made
    rows = (results / "tables/lfw.partial.tex").read_text()
    assert "80.00" in rows, "arcface has its first seed"
    assert "--" in rows
    assert "ArcFace+ARoFace" in rows
    assert "80.10" in rows, "its other seed was evaluated"
    source = (results / "paper.partial.tex").read_text()
    for name in ("tables/lfw", "tables/tinyface", "figures/fae", "claims"):
        assert f"{name}.partial.tex" in source
    assert "Incomplete" in source
    report = (results / "report.partial.html").read_text()
    assert "1 run:" in report
    assert "6 records:" in report
    assert "report.partial.html" in source


def test_what_is_whole_afterwards_replaces_what_has_gaps(failed: tuple[Project, Outcome], tmp_path: Path) -> None:
    project = whole_paper(copy_of(failed[0].folder, tmp_path))
    project.calls()
    outcome = project.run()
    assert outcome.status == 0, outcome.text
    verbs = [call.split()[0] for call in project.calls()]
    assert {verb: verbs.count(verb) for verb in verbs} == {
        "train": 1, "embed": 3, "evaluate": 6, "table": 2, "figure": 1, "compare": 1, "claims": 1, "document": 1,
        "report": 1, "crate": 1,
    }  # fmt: skip
    assert not list((tmp_path / "results").rglob("*.partial.*"))
    assert "partial" not in outcome.text.partition("table   ")[2]


def test_what_does_not_need_what_failed_is_whole(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_FAILS", "evaluate /fae")
    whole_paper(project)
    outcome = project.run("--keep-going")
    assert outcome.status == 1
    results = project.folder / "results"
    assert sorted(path.name for path in (results / "tables").iterdir()) == ["lfw.tex", "tinyface.tex"]
    assert sorted(path.name for path in results.rglob("*.partial.*")) == sorted(
        [
            *(f"fae.partial.{suffix}" for suffix in ("pdf", "png", "tex")),
            *(f"claims.partial.{suffix}" for suffix in ("json", "md", "tex")),
            f"paper.partial{DOCUMENT}",
            "report.partial.html",
        ]
    )
    asked = next(call for call in project.calls() if call.startswith("document"))
    assert "tables/lfw.tex" in asked
    assert "figures/fae.partial.tex" in asked


@pytest.fixture
def running(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A reproduction in the midst of its first trainings."""
    monkeypatch.setenv("STANDIN_WAITS", str(tmp_path / "enough"))
    monkeypatch.setenv("STANDIN_RENDERS", "yes")
    process = project.start(sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml")
    try:
        wait_for(lambda: len(list((project.folder / "results/state").glob("*/progress.json"))) == 2)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_what_there_is_is_rendered_while_a_reproduction_runs(
    project: Project, running: subprocess.Popen[str], tmp_path: Path
) -> None:
    """It holds the lock meanwhile, goes on undisturbed and ends with the whole."""
    locks = sorted(path.name for path in (project.folder / ".snakemake/locks").iterdir())
    assert locks, "the running Snakemake holds the lock"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "aroface", "table", LFW, "--format", "markdown", "--mode", "reproduced"]
    began = time.monotonic()
    shown = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 30
    assert shown.stderr == "aroface: no folder results/records, so there are no reproduced values\n"
    project.calls()
    outcome = project.run("tables", "--nolock", "--config", "render_only=true")
    assert outcome.status == 0, outcome.text
    assert {call.split()[0] for call in project.calls()} == {"table"}
    table = (project.folder / "results/tables/lfw.tex").read_text()
    assert "--" in table
    assert not re.search(r"\d\d\.\d\d", table)
    assert sorted(path.name for path in (project.folder / ".snakemake/locks").iterdir()) == locks
    assert running.poll() is None
    (tmp_path / "enough").touch()
    ended = finish(running)
    assert ended.status == 0, ended.text
    assert "80.05" in (project.folder / "results/tables/lfw.tex").read_text()
