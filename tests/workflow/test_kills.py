"""One command goes on after any kill: nobody unlocks anything, nothing is made twice, 0 means that all is there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tests.workflow.test_live import ARGUMENTS, wait_for

from aroface.files import sha256_file
from workflow_project import Project, copy_of, finish

HOLDS, WAITS = "STANDIN_HOLDS", "STANDIN_WAITS"
MOMENTS = ("data faces-", "train", "embed", "evaluate", "table demo/lfw")
JOBS = {"data": 2, "train": 1, "embed": 1, "evaluate": 1, "table": 1, "document": 1, "report": 1, "crate": 1}


def small(folder: Path, template: Path) -> Project:
    """A project with one training and one benchmark."""
    project = copy_of(template, folder)
    project.config |= {"experiments": project.config["experiments"][:1], "seeds": [0]}
    project.write()
    return project


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Iterator[Project]:
    project = small(tmp_path, template)
    yield project
    for process in all_in(tmp_path):
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="module")
def undisturbed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hashes of all results of a call that nobody kills."""
    project = small(tmp_path_factory.mktemp("undisturbed"), template)
    outcome = project.run()
    assert outcome.status == 0, outcome.text
    return results_of(project)


def results_of(project: Project) -> dict[str, str]:
    """All results but logs, by their content."""
    results = project.folder / "results"
    files = [path for path in results.rglob("*") if path.is_file() and results / "logs" not in path.parents]
    return {str(path.relative_to(results)): sha256_file(path) for path in files}


def all_in(folder: Path) -> list[psutil.Process]:
    """Living processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def begin(project: Project, moment: str, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[str]:
    """A call that has come to this moment, and stays there."""
    for name in ("held", "go"):
        (project.folder / name).unlink(missing_ok=True)
    monkeypatch.setenv(HOLDS, moment)
    process = project.start(sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml")
    monkeypatch.delenv(HOLDS)
    wait_for(lambda: (project.folder / "held").exists() or process.poll() is not None, 180)
    assert process.poll() is None, process.communicate()[0]
    return process


def job_at(moment: str, project: Project) -> psutil.Process:
    """A process that is held there."""
    verb, _, part = moment.partition(" ")
    for process in all_in(project.folder):
        words = process.cmdline()
        if words[1:4] == ["-m", "aroface", verb] and part in " ".join(words):
            return process
    raise AssertionError(f"nobody is held at {moment}")


def made_by(project: Project) -> Counter[str]:
    """Number of starts of the jobs of each verb."""
    calls = [call for call in project.calls() if "--mode reported" not in call and "terminal" not in call]
    return Counter(call.split()[0] for call in calls)


def let_orphans_end(project: Project) -> None:
    (project.folder / "go").touch()
    wait_for(lambda: not all_in(project.folder), 60)


@pytest.mark.parametrize("moment", ["data generate", "train"])
def test_snakemake_alone_is_killed_and_its_jobs_end(
    project: Project, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Their outputs are whole, nothing makes them again, and nothing behind them is left out."""
    process = begin(project, moment, monkeypatch)
    os.kill(process.pid, signal.SIGKILL)
    let_orphans_end(project)
    process.communicate()
    assert any((project.folder / ".snakemake/incomplete").iterdir()), "Snakemake takes it for half-made"
    outcome = project.run()
    assert outcome.status == 0, outcome.text
    assert f"going on from what process {process.pid} on " in outcome.text
    assert results_of(project) == undisturbed
    assert made_by(project) == JOBS
    assert not any((project.folder / ".snakemake/incomplete").iterdir())
    assert "Nothing to be done" in project.run().text


@pytest.mark.parametrize("moment", ["data generate", "train", "embed"])
def test_jobs_that_run_on_are_waited_for(
    project: Project, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    process = begin(project, moment, monkeypatch)
    orphan = job_at(moment, project)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    display = moment == "train"
    command = ARGUMENTS if display else ("-m", "snakemake", "--cores", "2", "--configfile", "test.yaml")
    again = project.start(sys.executable, *command)
    said = ""
    assert again.stdout is not None
    for line in again.stdout:
        said += line
        if "not to wait: kill" in line:
            break
    assert re.search(r"^waiting for \d of a call that was killed", said, re.M), said
    assert f"    {orphan.pid} aroface {moment}" in said
    (project.folder / "go").touch()
    outcome = finish(again)
    assert outcome.status == 0, outcome.text
    assert results_of(project) == undisturbed
    twice = {"embed": 2} if moment == "embed" else {}  # it goes on from the last row, whatever options it had before
    assert made_by(project) == JOBS | twice


def test_whatever_is_killed_whenever(
    project: Project, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake alone, one of its jobs, all of them; each call goes on from where the last one was killed."""
    for number, moment in enumerate(MOMENTS):
        process = begin(project, moment, monkeypatch)
        if number % 3 == 0:
            os.killpg(process.pid, signal.SIGKILL)
        elif number % 3 == 1:
            job_at(moment, project).kill()
            (project.folder / "go").touch()  # pages with gaps are rendered by the same verb
        else:
            os.kill(process.pid, signal.SIGKILL)
            let_orphans_end(project)
        process.communicate()
        assert process.returncode
    outcome = project.run()
    assert outcome.status == 0, outcome.text
    assert results_of(project) == undisturbed
    assert "Nothing to be done" in project.run().text
    assert not [*(project.folder / ".snakemake/calls").glob("*.json")]


def test_a_display_that_is_killed_takes_everything_with_it(
    project: Project, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C does; the next call waits until that is done."""
    monkeypatch.setenv(WAITS, "for ever")
    display = project.start(sys.executable, *ARGUMENTS)
    state = project.folder / "results/state"
    wait_for(lambda: any(state.glob("*/progress.json")), 180)
    display.kill()
    display.wait()
    monkeypatch.delenv(WAITS)
    outcome = finish(project.start(sys.executable, *ARGUMENTS))
    assert outcome.status == 0, outcome.text
    (saved,) = state.glob("*/saved")
    saved.unlink()
    assert results_of(project) == undisturbed
    display.communicate()


def test_a_living_call_is_refused_in_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    process = begin(project, "train", monkeypatch)
    line = rf"error: \.snakemake: locked by process {process.pid} on \S+ since \S+; wait for it, or stop it: kill -INT "
    outcome = project.run()
    assert outcome.status == 2
    assert len(re.findall(line, outcome.text)) == 1
    assert "unlock" not in outcome.text
    shown = finish(project.start(sys.executable, *ARGUMENTS))
    assert shown.status == 2
    assert re.fullmatch(f"{line}\\d+\n", shown.text)
    assert project.plan().planned
    (project.folder / "go").touch()
    assert finish(process).status == 0


def test_what_snakemake_left_out_of_its_plan_is_planned_again(project: Project) -> None:
    """Without any kill: a set is verified again, and the training that waits for it alone would be left out."""
    folder = project.folder / "received/faces_emore"
    folder.mkdir(parents=True)
    for name in ("train.rec", "train.idx", "property"):
        (folder / name).write_text(name)
    project.config["experiments"] = [{"method": "arcface", "dataset": "ms1mv2"}]
    project.write()
    assert project.run("reported", "verify_ms1mv2").status == 0
    project.config["training"] = {"on_corrupt": "skip", "max_corrupt_fraction": 0.5}
    project.write()
    outcome = project.run()
    assert outcome.status == 0, outcome.text
    assert outcome.text.count("Job stats:") == 2, "a plan without the training, and one with it"
    assert "Nothing to be done" in project.run().text
    assert (project.folder / "results/tables/lfw.tex").exists()
