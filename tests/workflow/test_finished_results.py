"""Results that an earlier version finished are taken up without a job.

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


def test_nothing_is_done_again(finished: Project) -> None:
    outcome = finished.plan(config=TINY)
    assert "Nothing to be done" in outcome.text, outcome.text
    assert not outcome.planned


def test_a_further_seed_trains_beside_the_finished_runs(finished: Project) -> None:
    runs = {path.name for path in (finished.folder / "results/tiny/runs").iterdir()}
    (finished.folder / "more.yaml").write_text("seeds: [0, 1]\n")
    trained = finished.plan("--configfile", TINY, "more.yaml", config=None).trained
    assert len(trained) == len(runs) == 2
    assert not runs & set(trained)
