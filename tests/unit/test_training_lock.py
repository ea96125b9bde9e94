"""One training of a run at a time, on one machine and between machines that share a file system."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aroface.errors import InputError
from aroface.training import lock
from aroface.training.lock import OWNER, PROGRESS, locked

HOLD = """
import sys, time
from pathlib import Path
from aroface.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    monkeypatch.setattr(lock, "STALE_S", 1.0)
    monkeypatch.setattr(lock, "SETTLE_S", 0.05)


def write_owner(folder: Path, **changes: object) -> Path:
    owner = {"host": "n7", "pid": 1, "slurm_job": "17", "since": "then", "boot": "another", "token": "theirs"}
    (folder / OWNER).write_text(json.dumps(owner | changes))
    return folder / OWNER


def hold(folder: Path, **environment: str) -> "subprocess.Popen[str]":
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], env={**os.environ, **environment}, **pipe)
    assert process.stdout.readline() == "held\n"
    return process


def test_it_says_who_holds_it_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    with locked(tmp_path), pytest.raises(InputError, match=f"Slurm job 42, process {os.getpid()}.*scancel 42"):
        locked(tmp_path).__enter__()
    assert not (tmp_path / OWNER).exists()


def test_a_killed_owner_on_this_machine_holds_nothing_up(tmp_path):
    process = hold(tmp_path)
    with pytest.raises(InputError, match=f"process {process.pid}"):
        locked(tmp_path).__enter__()
    process.kill()
    process.communicate()
    before = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - before < lock.STALE_S / 2


def test_a_silent_owner_on_another_machine_is_taken_for_dead_after_the_stated_time(tmp_path, capfd):
    path = write_owner(tmp_path)
    before = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - before >= lock.STALE_S
        assert json.loads(path.read_text())["pid"] == os.getpid()
    said = capfd.readouterr().err
    assert "locked by Slurm job 17, process 1 on n7 since then: waiting 1 s" in said
    assert "taken over" in said


@pytest.mark.parametrize("kernel_lock", ["free", "held", "none"])
def test_a_living_owner_on_another_machine_is_left_alone(tmp_path, monkeypatch, kernel_lock):
    """Whatever the file system makes of the kernel's lock."""
    path = write_owner(tmp_path)
    if kernel_lock == "none":

        def refuse(file: int, how: int) -> None:
            raise OSError("no locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.1):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with open(tmp_path / "lock", "w") as file:
            if kernel_lock == "held":
                fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(InputError, match="Slurm job 17, process 1 on n7"):
                locked(tmp_path).__enter__()
    finally:
        ended.set()
        thread.join()
    assert json.loads(path.read_text())["token"] == "theirs"


def test_an_owner_that_ends_meanwhile_is_not_waited_for(tmp_path):
    path = write_owner(tmp_path)
    threading.Timer(0.2, path.unlink).start()
    before = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - before < lock.STALE_S


def test_of_two_that_take_over_at_once_one_wins(tmp_path, monkeypatch):
    """Without the kernel's lock, as between machines; the other one finds a living owner."""

    def refuse(file: int, how: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "SETTLE_S", 0.5)
    write_owner(tmp_path)
    outcomes: list[str] = []
    done = threading.Barrier(2)

    def contend() -> None:
        try:
            with locked(tmp_path):
                outcomes.append("won")
                done.wait(20)
        except InputError:
            outcomes.append("refused")
            done.wait(20)

    threads = [threading.Thread(target=contend) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "won"]


def test_whoever_lost_the_lock_ends(tmp_path):
    process = hold(tmp_path, AROFACE_HANG_S="2")
    write_owner(tmp_path)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 75
    assert "taken over by Slurm job 17" in said
    assert (tmp_path / OWNER).exists(), "the other one's"


def test_a_training_that_does_no_step_is_ended_and_says_where_it_stood(tmp_path):
    process = hold(tmp_path, AROFACE_HANG_S="1")
    before = time.monotonic()
    while time.monotonic() - before < 2.5:
        (tmp_path / PROGRESS).write_text(str(time.monotonic()))
        time.sleep(0.1)
    assert process.poll() is None, "it moved"
    _, said = process.communicate(timeout=20)
    assert process.returncode == 75
    assert "no step in 1 s" in said
    assert 'File "<string>", line 7' in said
