"""The wheel in a fresh environment and an empty folder: it works without the repository, with what it asks for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from aroface.shipped import shipped
from repository import REGISTRIES, ROOT, SPECS
from small_sets import CONFIG


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def asked_for(package: Distribution, extras: set[str], found: dict[str, Distribution]) -> None:
    """Add the distributions that a package asks for with these extras, and that those ask for, to ``found``."""
    for line in package.requires or ():
        requirement = Requirement(line)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            continue
        if requirement.name == package.metadata["Name"]:
            asked_for(package, requirement.extras, found)
        elif requirement.name not in found:
            found[requirement.name] = distribution(requirement.name)
            asked_for(found[requirement.name], requirement.extras, found)


def install(wheel: Path, folder: Path, *extras: str) -> Path:
    """Install the wheel with the tests' own copies of what it asks for.

    Returns:
        The Python of the new environment.
    """
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (metadata,) = site.glob("aroface-*.dist-info")
    packages: dict[str, Distribution] = {}
    asked_for(PathDistribution(metadata), {*extras}, packages)
    for package in packages.values():
        for name in {path.parts[0] for path in package.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(str(package.locate_file(name)))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment without extras."""
    return install(wheel, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the extra ``paper``, which includes ``data``."""
    return install(wheel, tmp_path_factory.mktemp("paper"), "paper")


def run(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([python, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def aroface(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(python, folder, "-m", "aroface", *words)


OWN_LOOP = """
import importlib.util
import numpy as np
import torch
from aroface import AlignmentAdversary
from aroface.evaluation.metrics.verification import accuracy
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build

assert not any(map(importlib.util.find_spec, ("cv2", "jsonschema", "matplotlib", "onnx", "pandas", "yaml")))
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 8))
head = Classifier(5, 8, build("arcface"), seed=0)
images, labels = torch.rand(8, 3, 16, 16) * 2 - 1, torch.arange(8) % 5
images, labels = AlignmentAdversary("clean")(images, labels, lambda x, y: head(model(x), y), model)
head(model(images), labels).backward()
same = np.arange(20) % 2 == 0
print(float(accuracy(np.where(same, 0.5, 2.0), same)[0]))
"""


def test_core_without_extras(bare: Path, tmp_path: Path) -> None:
    done = run(bare, tmp_path, "-c", OWN_LOOP)
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr
    listed = aroface(bare, tmp_path, "data", "list")
    assert listed.returncode == 2
    assert re.fullmatch(r'aroface: error: this needs the package \w+; pip install "aroface\[data\]"\n', listed.stderr)


def test_schemas_and_templates(python: Path, tmp_path: Path) -> None:
    shutil.copy(SPECS / "tinyface.yaml", tmp_path)
    done = aroface(python, tmp_path, "table", "tinyface.yaml", "--mode", "reported")
    assert done.returncode == 0, done.stderr
    assert "67.32" in done.stdout and "\\toprule" in done.stdout


def test_data_commands_and_plan(python: Path, tmp_path: Path) -> None:
    listed = aroface(python, tmp_path, "data", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "scrfd_2.5g" in listed.stdout
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    planned = aroface(python, tmp_path, "plan", "--configfile", "mine.yaml")
    assert planned.returncode == 0, planned.stderr
    assert [*(tmp_path / "results/recipes").glob("arcface-faces-*.json")]
    (tmp_path / "photographs/anna").mkdir(parents=True)
    words = ["photographs", "--out", "aligned", "--align"]
    missing = aroface(python, tmp_path, "data", "prepare", *words)
    assert missing.returncode == 2
    assert "scrfd_2.5g" in missing.stderr, "the registered detector is known, its file is not here"
    assert "no such file" not in missing.stderr


def test_own_registry_wins(python: Path, tmp_path: Path) -> None:
    own = tmp_path / "workflow/registries/detectors.yaml"
    own.parent.mkdir(parents=True)
    shutil.copy(REGISTRIES / "detectors.yaml", own)
    own.write_text(own.read_text().replace("scrfd_2.5g:", "scrfd_mine:"))
    listed = aroface(python, tmp_path, "data", "list")
    assert "scrfd_mine" in listed.stdout
    assert "\nscrfd_2.5g " not in listed.stdout
    assert "lfw" in listed.stdout, "the other registries are the package's"


def test_shipped_files(tmp_path: Path) -> None:
    for path in REGISTRIES.iterdir():
        assert shipped(tmp_path / "workflow/registries" / path.name).read_text() == path.read_text()
    for other in ("workflow/registries/other.yaml", "registries/methods.yaml", "methods.yaml"):
        assert shipped(tmp_path / other) == tmp_path / other
