"""The wheel alone, in an empty folder: what needs the registries and defaults of the repository works there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from aroface.shipped import shipped
from repository import ROOT
from small_sets import CONFIG


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(package: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "aroface", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_data_commands_and_plan(package: Path, tmp_path: Path) -> None:
    listed = run(package, tmp_path, "data", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "scrfd_2.5g" in listed.stdout
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    planned = run(package, tmp_path, "plan", "--configfile", "mine.yaml")
    assert planned.returncode == 0, planned.stderr
    assert [*(tmp_path / "results/recipes").glob("arcface-faces-*.json")]
    (tmp_path / "photographs/anna").mkdir(parents=True)
    words = ["photographs", "--out", "aligned", "--align"]
    missing = run(package, tmp_path, "data", "prepare", *words)
    assert missing.returncode == 2
    assert "scrfd_2.5g" in missing.stderr, "the registered detector is known, its file is not here"
    assert "no such file" not in missing.stderr


def test_own_registry_wins(package: Path, tmp_path: Path) -> None:
    own = tmp_path / "workflow/registries/detectors.yaml"
    own.parent.mkdir(parents=True)
    shutil.copy(ROOT / "workflow/registries/detectors.yaml", own)
    own.write_text(own.read_text().replace("scrfd_2.5g:", "scrfd_mine:"))
    listed = run(package, tmp_path, "data", "list")
    assert "scrfd_mine" in listed.stdout
    assert "scrfd_2.5g" not in listed.stdout
    assert "lfw" in listed.stdout, "the other registries are the package's"


def test_shipped_files(tmp_path: Path) -> None:
    for path in (ROOT / "workflow/registries").iterdir():
        assert shipped(tmp_path / "workflow/registries" / path.name).read_text() == path.read_text()
    for other in ("workflow/registries/other.yaml", "registries/methods.yaml", "methods.yaml"):
        assert shipped(tmp_path / other) == tmp_path / other
