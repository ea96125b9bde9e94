"""Results that an earlier version finished are taken up: features are evaluated again, nothing is made anew.

``golden/finished_tiny.tar.xz`` holds the folder of results that ``workflow/configs/tiny.yaml`` gave before packages and
modules had their present names, with Snakemake's notes. Images, weights and features are zeros of their size.
"""

from __future__ import annotations

import tarfile

import pytest

from repository import GOLDEN
from workflow_project import Project

TINY = "workflow/configs/tiny.yaml"


@pytest.fixture
def finished(project: Project) -> Project:
    with tarfile.open(GOLDEN / "finished_tiny.tar.xz") as archive:
        archive.extractall(project.folder)
    for reported in project.folder.glob("paper_tables/*.tex"):  # their specifications may have been copied later
        reported.touch()
    return project


def test_records_alone_are_made_again(finished: Project) -> None:
    """Of all features, whose protocols' numbers have a new version, and what is reported of them; nothing else."""
    planned = finished.plan(config=TINY).planned
    results = finished.folder / "results/tiny"
    folders = [path.parent for path in results.glob("features/*/*/index.json")]
    features = [f"evaluate {folder.parent.name} {folder.name}" for folder in folders]
    records = [name for name in planned if name.startswith("evaluate ")]
    assert sorted(records) == sorted(features) and features
    rest = {name.split()[0].partition("_")[0] for name in planned} - {"evaluate"}
    assert rest <= {"table", "figure", "claims", "compare", "document", "report", "crate"}, planned


def test_a_further_seed_trains_beside_the_finished_runs(finished: Project) -> None:
    runs = {path.name for path in (finished.folder / "results/tiny/runs").iterdir()}
    (finished.folder / "more.yaml").write_text("seeds: [0, 1]\n")
    trained = finished.plan("--configfile", TINY, "more.yaml", config=None).trained
    assert len(trained) == len(runs) == 2
    assert not runs & set(trained)
