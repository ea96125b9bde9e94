"""Projects that tests of the workflow begin with: new ones and finished ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from repository import ROOT
from workflow_project import SNAKEMAKE, Outcome, Project, copy_of


@pytest.fixture(scope="session", autouse=True)
def end_snakemake() -> Iterator[None]:
    """Leave no process behind."""
    yield
    SNAKEMAKE.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a project in which nothing has been done."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("Snakefile", "config.yaml", "CITATION.cff"):
        shutil.copy(ROOT / name, folder)
    for name in ("profiles", "workflow", "paper_tables"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    """A project in which nothing has been done."""
    return copy_of(template, tmp_path)


@pytest.fixture(scope="session")
def first_run(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The folder of a project in which everything has been done, and what was said meanwhile."""
    project = copy_of(template, tmp_path_factory.mktemp("done"))
    outcome = project.run()
    assert outcome.status == 0, outcome.text
    return project.folder, outcome


@pytest.fixture
def done(first_run: tuple[Path, Outcome], tmp_path: Path) -> Project:
    """A project in which everything has been done."""
    return copy_of(first_run[0], tmp_path)
