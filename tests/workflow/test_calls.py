"""Whose Snakemake's lock is: a dead call's is taken over, a living one's is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import calls
import orphaned_jobs
from calls import CALLS, Call, known_calls, this_call

HOLD = (
    f"import sys; sys.path.insert(0, {str(Path(calls.__file__).parent)!r})\n"
    + """
import calls, time
with calls._mutex(calls.CALLS):
    pass
with calls._recorded(calls.this_call(), calls.CALLS):
    print("held", flush=True)
    time.sleep(60)
"""
)


class Locks:
    """Snakemake's lock, as far as it matters here: it is there or it is not."""

    _lockdir = ".snakemake/locks"
    place = Path(_lockdir) / "0.output.lock"

    @property
    def locked(self) -> bool:
        return self.place.exists()

    def all_outputfiles(self) -> list[str]:
        return ["results/tables/lfw.tex", "paper_tables/lfw.tex"]

    @contextmanager
    def lock(self) -> Iterator[None]:
        assert not self.locked
        self.place.touch()
        try:
            yield
        finally:
            self._delete_locks()

    @contextmanager
    def lock_warn_only(self) -> Iterator[None]:
        if self.locked:
            print("cannot be locked")
        yield

    def _delete_locks(self) -> None:
        shutil.rmtree(self._lockdir, ignore_errors=True)

    def cleanup_locks(self) -> None:
        self._delete_locks()


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locks:
    """A folder whose lock was left there by somebody."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(calls.MARK, raising=False)
    guarded = type("Guarded", (Locks,), {})
    calls.guard(guarded, Path("results"))
    locks: Locks = guarded()
    locks.place.parent.mkdir(parents=True)
    locks.place.touch()
    return locks


def leave_record(**changes: Any) -> Call:
    """The record of another call; of a process that is no more, unless told otherwise."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    call = replace(this_call(), pid=gone.pid, start=1.0, **changes)
    CALLS.mkdir(parents=True, exist_ok=True)
    calls._path(call, CALLS).write_text(json.dumps(asdict(call)))
    return call


@contextmanager
def another_process(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "which was killed"),
        ({"boot": "before the last start"}, "which was killed"),
        ({"host": "the same machine under another name"}, "which was killed"),
        ({"display": 1}, "which was killed"),
        (None, "no Snakemake runs in this folder"),
    ],
)
def test_the_lock_of_a_dead_call_is_taken_over(
    locks: Locks, capsys: pytest.CaptureFixture[str], changes: dict[str, Any] | None, said: str
) -> None:
    dead = None if changes is None else leave_record(**changes)
    with locks.lock():
        assert locks.locked
        assert [path.name for path in CALLS.glob("*.json")] == [calls._path(this_call(), CALLS).name]
        [shared] = (calls._read(path) for path in Path("results/.calls").glob("*.json"))
        assert shared is not None
        assert (shared.pid, shared.makes) == (os.getpid(), ("tables/lfw.tex",))
        assert os.environ[calls.MARK] == f"{this_call().identity} {Path.cwd()}"
    assert not locks.locked
    assert not [*CALLS.glob("*.json")]
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert dead is None or f"process {dead.pid} on {dead.host} since {dead.since}" in line


def test_a_lock_of_another_machine_names_the_command(locks: Locks, capsys: pytest.CaptureFixture[str]) -> None:
    leave_record(host="login2", boot="another")
    with pytest.raises(SystemExit) as ended:
        locks.lock().__enter__()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"error: \.snakemake: locked by process \d+ on login2 since .*; .*does not live any more: .*--unlock", line
    )
    assert locks.locked
    locks.cleanup_locks()
    assert not known_calls().foreign
    with locks.lock():
        pass


def test_a_living_call_is_refused_by_name(locks: Locks, capsys: pytest.CaptureFixture[str]) -> None:
    leave_record()
    with another_process(sys.executable, "-c", HOLD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert [call.pid for call in known_calls().living] == [process.pid]
        with pytest.raises(SystemExit):
            locks.lock().__enter__()
        [line] = capsys.readouterr().err.splitlines()
        since = known_calls().living[0].since
        assert line.startswith(f"error: .snakemake: locked by process {process.pid} on ")
        assert line.endswith(f"since {since}; wait for it, or stop it: kill -INT {process.pid}")
        with locks.lock_warn_only():
            assert capsys.readouterr().out == "cannot be locked\n"
        locks._delete_locks()
        with locks.lock():  # what it makes is nothing that the other does, or there would be a lock
            pass
        assert len(known_calls().living) == 1
    locks.place.parent.mkdir()
    locks.place.touch()
    with locks.lock_warn_only():
        assert capsys.readouterr().out == "", "a dead one is not worth a warning"


def test_a_living_snakemake_without_a_record_is_refused(locks: Locks, capsys: pytest.CaptureFixture[str]) -> None:
    """As an older version has it; a job of one is none."""
    wait = "import time; print('waits', flush=True); time.sleep(60)"
    Path("snakemake").write_text(f"#!{sys.executable}\n{wait}\n")
    Path("snakemake").chmod(0o755)
    with another_process("./snakemake", "--mode", "remote") as job, another_process("./snakemake", "-c1") as living:
        for process in (job, living):
            assert process.stdout is not None
            process.stdout.readline()
        with pytest.raises(SystemExit):
            locks.lock().__enter__()
        assert f"locked by process {living.pid} on" in capsys.readouterr().err
    with locks.lock():
        pass


def test_a_call_whose_display_was_killed_is_waited_for(
    locks: Locks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    monkeypatch.setenv(calls.DISPLAY, str(gone.pid))
    with another_process(sys.executable, "-c", HOLD) as process:
        assert process.stdout is not None
        process.stdout.readline()
        monkeypatch.setattr(calls.time, "sleep", lambda seconds: process.kill())
        monkeypatch.setattr(calls, "start_again", lambda: sys.exit("planned again"))
        with pytest.raises(SystemExit, match="planned again"):
            locks.lock().__enter__()
    assert f"waiting for the end of process {process.pid}" in capsys.readouterr().err


def test_a_process_number_that_was_used_again_is_no_living_call(locks: Locks) -> None:
    with another_process(sys.executable, "-c", "import time; time.sleep(60)") as process:
        call = replace(this_call(), pid=process.pid, start=1.0)
        CALLS.mkdir(parents=True, exist_ok=True)
        calls._path(call, CALLS).write_text(json.dumps(asdict(call)))
        assert known_calls().dead == [call]


@pytest.mark.parametrize(("makes", "refused"), [("tables/lfw.tex", True), ("tables/tinyface.tex", False)])
def test_two_clones_do_not_make_one_file(
    locks: Locks, capsys: pytest.CaptureFixture[str], makes: str, refused: bool
) -> None:
    """They would remove each other's logs, and whoever is refused could not be seen to be."""
    folder = Path("results/.calls")
    folder.mkdir(parents=True)
    locks._delete_locks()
    with another_process(sys.executable, "-c", "import time; time.sleep(60)") as process:
        start = calls._start_of(process.pid)
        call = replace(this_call(), pid=process.pid, start=start, folder="/another/clone", makes=(makes,))
        calls._path(call, folder).write_text(json.dumps(asdict(call)))
        if not refused:
            with locks.lock():
                return
        with pytest.raises(SystemExit) as ended:
            locks.lock().__enter__()
        assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: results: locked by process {process.pid} on ")
    assert " in /another/clone, which makes the same; wait for it" in line


def test_half_a_record_is_none(locks: Locks) -> None:
    CALLS.mkdir(parents=True)
    for content in ("", "{", "[]", '{"pid": 1}'):
        (CALLS / "x.json").write_text(content)
        assert known_calls() == calls.Known([], [], [])


def test_only_jobs_of_this_folder_whose_call_has_ended_are_waited_for(
    locks: Locks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, wait = Path.cwd(), [sys.executable, "-c", "import sys, time; time.sleep(60)", "-m", "aroface", "train"]
    marks = {"orphan": f"ended {here}", "mine": f"{this_call().identity} {here}", "elsewhere": "ended /tmp", "none": ""}
    processes = {}
    try:
        for name, mark in marks.items():
            monkeypatch.setenv(calls.MARK, mark)
            monkeypatch.setenv("SLURM_JOB_ID", "17")
            processes[name] = subprocess.Popen(wait)
            psutil.Process(processes[name].pid).cmdline()
        monkeypatch.delenv("SLURM_JOB_ID")
        assert orphaned_jobs.processes_of_killed_calls(slurm=True) == [], "Slurm is asked for its own"
        found = orphaned_jobs.processes_of_killed_calls()
        assert [process.pid for process in found] == [processes["orphan"].pid]
        monkeypatch.setattr(orphaned_jobs.time, "sleep", lambda seconds: processes["orphan"].kill())
        assert orphaned_jobs.wait_for_processes(found)
        said = capsys.readouterr().err
        assert f"    {found[0].pid} aroface train" in said
        assert f"not to wait: kill {found[0].pid} " in said
        assert not orphaned_jobs.wait_for_processes([])
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
