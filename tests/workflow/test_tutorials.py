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
from documentation import DOCS, command_lines
from repository import ROOT
from workflow_project import Outcome, finish

SMALLER = {
    "make demo": "python workflow/scripts/live.py -- --cores 2 --configfile workflow/configs/demo.yaml",
    "workflow/configs/demo.yaml": "workflow/configs/tiny.yaml demo_smaller.yaml",
    "results/demo": "results/tiny",
    "ArcFace+ARoFace@Synthetic": "AdaFace+ARoFace@Synthetic",
    "workflow/configs/folder.yaml mine.yaml": "workflow/configs/folder.yaml mine.yaml folder_smaller.yaml",
    "path/to/faces": "faces",
}
"""What stands in a tutorial, and what the test runs instead: a smaller configuration of the same chain."""

LEFT_OUT = {". .venv/bin/activate", "make test"}
"""Commands that the test is run by."""

OVERLAYS = {
    "demo_smaller.yaml": {
        "experiments": [{"method": "adaface_aroface", "dataset": "synthetic"}],
        "benchmarks": [{"name": "tinyface", "data": "search"}],
        "tables": ["paper_tables/specs/demo/tinyface.yaml"],
        "figures": [],
    },
    "folder_smaller.yaml": {
        "recipe": "tiny",
        "experiments": [{"method": "arcface_aroface", "dataset": "photographs"}],
        "benchmarks": [{"name": "pairs_clean", "data": "photographs.pairs"}],
        "tables": ["paper_tables/specs/demo/lfw.yaml"],
        "figures": [],
    },
}
"""Configurations that are laid over those of the tutorials."""


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
    return finish(subprocess.Popen(["sh", "-c", command], cwd=folder, env=environment, **pipe), limit_s=600)


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


def project(template: Path, folder: Path) -> Path:
    shutil.copytree(template, folder, dirs_exist_ok=True)
    for name, values in OVERLAYS.items():
        (folder / name).write_text(yaml.safe_dump(values))
    return folder


def test_demo(template: Path, tmp_path: Path) -> None:
    said = run_all(project(template, tmp_path), "tutorials/demo.md")
    assert "1 of 1 finished" in (tmp_path / "results/tiny/report.html").read_text()
    assert (tmp_path / "results/tiny/ro-crate-metadata.json").exists()
    assert re.search(r"^to do: \d+ jobs: (1 data set, )?1 training, ", said, re.M)


def test_your_own_faces(template: Path, tmp_path: Path) -> None:
    save_people(tmp_path / "faces", people=14, images=4)
    run_all(project(template, tmp_path), "tutorials/your-own-faces.md")
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
