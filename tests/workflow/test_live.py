"""The live display: what it shows, how it ends and that it leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import live
from snakemake_log import SnakemakeLog
from workflow_project import Project, finish

ARGUMENTS = ("workflow/scripts/live.py", "--", "--cores", "2", "--configfile", "test.yaml")


def wait_for(condition: Callable[[], bool], limit_s: float = 30) -> None:
    """Wait until something is so."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


def test_it_ends_with_the_tables_and_then_has_nothing_to_do(project: Project) -> None:
    outcome = finish(project.start(sys.executable, *ARGUMENTS))
    assert outcome.status == 0, outcome.text
    assert re.search(r"\b(\d+)/\1 jobs", outcome.text)
    assert "the table paper_tables/specs/demo/lfw.yaml" in outcome.text
    assert "table   results/tables/lfw.tex" in outcome.text
    project.calls()
    again = finish(project.start(sys.executable, *ARGUMENTS))
    assert again.text.startswith("Nothing to do")
    assert [call.split()[-2:] for call in project.calls()] == [["--format", "terminal"]]


def test_a_failure_shows_what_the_job_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_FAILS", "train")
    outcome = finish(project.start(sys.executable, *ARGUMENTS))
    assert outcome.status == 1
    assert "failed: train arcface" in outcome.text
    assert "  train was told to fail" in outcome.text
    (log,) = (project.folder / "results/logs").glob("snakemake-*.log")
    assert f"results/logs/{log.name}" in outcome.text


def test_a_wrong_configuration_is_one_line(project: Project) -> None:
    project.config["recipe"] = "tinny"
    project.write()
    outcome = finish(project.start(sys.executable, *ARGUMENTS))
    assert outcome.status == 2
    assert outcome.text.startswith("error: test.yaml: recipe: unknown recipe 'tinny'")
    assert len(outcome.text.splitlines()) == 1


def test_ctrl_c_lets_trainings_save_and_leaves_nothing_running(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_WAITS", "yes")
    state = project.folder / "results/state"
    process = project.start(sys.executable, *ARGUMENTS)
    wait_for(lambda: any(state.glob("*/progress.json")))
    os.kill(process.pid, signal.SIGINT)
    outcome = finish(process)
    assert outcome.status == 130
    assert outcome.text.splitlines()[-1] == "Stopped. The same command goes on from here."
    assert len(list(state.glob("*/saved"))) == len(list(state.glob("*/progress.json")))
    assert running_in(project.folder) == []
    assert not list((project.folder / "results").rglob("*.partial.*")), "who wants an end waits for no pages"


def test_a_job_that_starts_while_all_are_stopped_is_stopped_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Snakemake that waits for its jobs, and starts one right after the request."""
    program = tmp_path / "snakemake"
    program.write_text(
        f"#!{sys.executable}\nimport signal, subprocess, sys, time\nsignal.signal(signal.SIGINT, lambda *_: None)\n"
        "print('ready', flush=True)\ntime.sleep(1)\n"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with open(tmp_path / "log", "w") as file:
        running = live.Snakemake([], SnakemakeLog(), file)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        assert running.watch(Quiet()) == live.INTERRUPTED
    assert time.monotonic() - began < 30


class Quiet:
    """No display."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def update(self, last: bool = False) -> None: ...


def running_in(folder: Path) -> list[str]:
    """Command lines of the processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
