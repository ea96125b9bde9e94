"""The commands of the tutorials, as they are written, on smaller configurations."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import yaml

from aroface.faces.synthetic import render, sample_identities, sample_nuisances
from aroface.reporting.records import load_records
from documentation import DOCS, command_lines
from repository import ROOT
from workflow_project import Outcome, finish

SMALLER = {
    "make demo": "python workflow/scripts/live.py -- --cores 2 --configfile workflow/configs/tiny.yaml",
    "workflow/configs/demo.yaml": "workflow/configs/tiny.yaml",
    "results/demo": "results/tiny",
    "ArcFace+ARoFace@Synthetic": "AdaFace+ARoFace@Synthetic",
    "workflow/configs/folder.yaml mine.yaml": "workflow/configs/folder.yaml mine.yaml smaller.yaml",
    "path/to/faces": "faces",
}
"""What stands in a tutorial, and what the test runs instead: another configuration of the same chain."""

LEFT_OUT = {". .venv/bin/activate", "make test"}
"""Commands that the test is run by."""

FOLDER = {
    "recipe": "tiny",
    "experiments": [{"method": "arcface_aroface", "dataset": "photographs"}],
    "benchmarks": [{"name": "pairs_clean", "data": "photographs.pairs"}],
    "tables": ["paper_tables/specs/demo/lfw.yaml"],
    "figures": [],
}
"""Laid over the tutorial's own configuration."""


def commands(page: str) -> list[str]:
    lines = [line.split("  #")[0].strip() for line in command_lines(DOCS / page)]
    found = [line for line in lines if line not in LEFT_OUT]
    for written, run in SMALLER.items():
        found = [line.replace(written, run) for line in found]
    return found


def run(folder: Path, command: str) -> Outcome:
    bin_folder = folder / "bin"
    if not bin_folder.exists():
        bin_folder.mkdir()
        for name, words in (("python", ""), ("aroface", " -m aroface"), ("snakemake", " -m snakemake")):
            (bin_folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
            (bin_folder / name).chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "PATH": f"{bin_folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return finish(subprocess.Popen(["sh", "-c", command], cwd=folder, env=environment, **pipe), limit_s=240)


def run_all(folder: Path, page: str) -> str:
    said = []
    for command in commands(page):
        outcome = run(folder, command)
        assert outcome.status == 0, f"{command}\n{outcome.text}"
        said.append(outcome.text)
    return "\n".join(said)


def test_every_replacement_is_used() -> None:
    written = "\n".join(line for page in (DOCS / "tutorials").iterdir() for line in command_lines(page))
    assert all(each in written for each in {*SMALLER, *LEFT_OUT})


def test_demo(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    said = run_all(tmp_path, "tutorials/demo.md")
    results = tmp_path / "results/tiny"
    assert "2 of 2 finished" in (results / "report.html").read_text()
    assert (results / "ro-crate-metadata.json").exists()
    assert re.search(r"^to do: \d+ jobs: 1 training, ", said, re.M), "an edit trains one run"
    documented = documented_metrics()
    records = load_records(results / "records")
    assert {record.protocol["name"] for record in records} == {"pairs", "tinyface", "ijb", "ijbs", "sensitivity"}
    for name in {name for record in records for name in record.metrics}:
        assert any(pattern.fullmatch(name) for pattern in documented), name


def documented_metrics() -> list[re.Pattern[str]]:
    """Names of metrics in the first column of the reference, their placeholders as patterns."""
    text = (DOCS / "reference/records.md").read_text().split("## Metrics")[1].split("\n## ")[0]
    names = [name for line in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`([^`]+)`", line)]
    places = {"SEARCH": "[a-z]+_to_[a-z]+", "METRIC": ".+", "X": r"1e-\d", "K": r"\d+", "N": r"\d+"}
    return [re.compile(re.sub("SEARCH|METRIC|[XKN]", lambda match: places[match[0]], name)) for name in names]


def test_your_own_faces(template: Path, tmp_path: Path) -> None:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    save_people(tmp_path / "faces", people=14, images=4)
    (tmp_path / "smaller.yaml").write_text(yaml.safe_dump(FOLDER))
    run_all(tmp_path, "tutorials/your-own-faces.md")
    assert (tmp_path / "results/folder/report.html").exists()
    assert (tmp_path / "faces.png").exists()


def save_people(folder: Path, people: int, images: int) -> None:
    rng = np.random.default_rng(0)
    who = sample_identities(people, 0)[np.repeat(np.arange(people), images)]
    drawn, _ = render(who, sample_nuisances(people * images, rng))
    for number, image in enumerate(drawn):
        path = folder / f"person{number // images:02}" / f"{number % images}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image[..., ::-1])
