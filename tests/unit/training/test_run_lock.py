"""One training of a run at a time, on one machine and between machines that share a file system."""

import errno
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
from aroface.training import run_lock
from aroface.training.run_lock import OWNER, PROGRESS, locked

HOLD = """
import sys, time
from pathlib import Path
from aroface.training.run_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(run_lock, "BEAT_S", 0.05)
    monkeypatch.setattr(run_lock, "STALE_S", 1.0)
    monkeypatch.setattr(run_lock, "LATE_S", 0.5)


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


def test_what_killed_owners_left_of_their_progress_goes(tmp_path):
    left, other = tmp_path / f".{PROGRESS}.a1b2_c3d.json", tmp_path / f".{PROGRESS}.{'0' * 8}-1-a1b2_c3d.json"
    for path in (left, other):
        path.touch()
    with locked(tmp_path):
        assert not left.exists()
        assert other.exists(), "another machine may be writing it"


def test_a_killed_owner_on_this_machine_holds_nothing_up(tmp_path):
    process = hold(tmp_path)
    with pytest.raises(InputError, match=f"process {process.pid}"):
        locked(tmp_path).__enter__()
    process.kill()
    process.communicate()
    before = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - before < run_lock.STALE_S / 2


def test_a_silent_owner_on_another_machine_is_taken_for_dead_after_the_stated_time(tmp_path, capfd):
    path = write_owner(tmp_path)
    before = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - before >= run_lock.STALE_S
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


def test_an_owner_of_whom_nothing_can_be_read_is_taken_for_dead_after_the_stated_time(tmp_path, capfd):
    (tmp_path / OWNER).write_text("half a li")
    before = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - before >= run_lock.STALE_S
    assert "locked by a process that has not said who it is: waiting 1 s" in capfd.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]


def test_a_lock_that_may_not_be_written_is_one_line(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(InputError, match=r"/lock: cannot be written \(Is a directory\); see whose it is"):
        locked(tmp_path).__enter__()
    (tmp_path / "state").write_text("")
    with pytest.raises(InputError, match=r"/state: cannot be written \(File exists\)"):
        locked(tmp_path / "state").__enter__()


def test_an_owner_that_ends_meanwhile_is_not_waited_for(tmp_path):
    path = write_owner(tmp_path)
    threading.Timer(0.2, path.unlink).start()
    before = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - before < run_lock.STALE_S


def test_of_two_that_take_over_at_once_one_wins(tmp_path, monkeypatch):
    """Without the kernel's lock, as between machines; the other one finds a living owner."""

    def refuse(file: int, how: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
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
    token = json.loads((tmp_path / OWNER).read_text())["token"]
    write_owner(tmp_path).rename(tmp_path / f"displaced-{token}")
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


def test_a_full_disk_leaves_no_owner_that_nobody_is(tmp_path, monkeypatch):
    real = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 50:
            real(file, data[:50])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data)

    monkeypatch.setattr(run_lock.os, "write", full)
    with pytest.raises(OSError, match=r"No space left on device: \d+ B needed, .* free: '.*owner.json'"):
        locked(tmp_path).__enter__()
    assert not (tmp_path / OWNER).exists()
    monkeypatch.undo()
    with locked(tmp_path):
        pass


def test_of_an_owner_that_was_displaced_by_one_that_died_at_it(tmp_path):
    """Its claim is there, and nothing came of it: it is waited for once more, and no longer."""
    path = write_owner(tmp_path)
    (tmp_path / "displaced-theirs").write_text(path.read_text())
    with locked(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]


LATE_NODE = """
import json, os, sys, threading, time
from pathlib import Path
from aroface.errors import InputError
from aroface.training import run_lock

folder, delay, skew, seconds, name = Path(sys.argv[1]), *map(float, sys.argv[2:5]), sys.argv[5]
began = time.monotonic()
views = [(0.0, json.loads(sys.argv[6]))]  # what it sees first: the past
own = {}

def look():
    while True:
        view = {}
        for path in folder.iterdir():
            try:
                view[path.name] = [path.read_text(), path.stat().st_mtime_ns]
            except OSError:
                pass
        views.append((time.monotonic(), view))
        time.sleep(0.02)

def seen(path):
    now = time.monotonic() - delay
    while len(views) > 1 and views[1][0] <= now:
        views.pop(0)
    if path.name in own and own[path.name] > views[0][0]:  # what it wrote itself it sees at once
        try:
            return [path.read_text(), path.stat().st_mtime_ns]
        except OSError:
            return None
    return views[0][1].get(path.name)

def read(path):
    found = seen(path)
    try:
        return json.loads(found[0]) if found else None
    except ValueError:
        return None

def write(path, value, real=run_lock.write_json):
    real(path, value)
    own[path.name] = time.monotonic()

def create(path, mine, real=run_lock._create):
    done = real(path, mine)
    if done:
        own[path.name] = time.monotonic()
    return done

def touch(path, real=os.utime):
    now = time.time_ns() + int(skew * 1e9)
    real(path, ns=(now, now))

run_lock.BEAT_S, run_lock.STALE_S, run_lock.LATE_S = 0.1, 3 * delay, 1.5 * delay
run_lock.boot_id, run_lock._kernel_lock = lambda: name, lambda file: None
run_lock._read, run_lock._time_of = read, lambda path: (seen(path) or [None, 0])[1]
run_lock.write_json, run_lock._create, os.utime = write, create, touch
threading.Thread(target=look, daemon=True).start()
try:
    with run_lock.locked(folder):
        print("held", flush=True)
        time.sleep(seconds)
    print("done", flush=True)
except InputError as error:
    print(f"refused: {error}", flush=True)
"""

DELAY = 1.0


class Node:
    """A machine that sees what others write a second late, with a clock of its own."""

    def __init__(self, folder: Path, skew: float, seconds: float = 60, sees: object = None) -> None:
        words = [str(folder), str(DELAY), str(skew), str(seconds), f"boot{skew}", json.dumps(sees or {})]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", LATE_NODE, *words], **pipe)

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        self.process.kill()
        return self.process.communicate()[1]


def sees(folder: Path) -> dict[str, object]:
    return {path.name: [path.read_text(), path.stat().st_mtime_ns] for path in folder.iterdir()}


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_a_living_owner_seen_late_and_with_another_clock_is_left_alone(tmp_path, skew):
    first = Node(tmp_path, skew)
    assert first.line() == "held"
    second = Node(tmp_path, 0.0)  # which sees an empty folder yet
    try:
        assert second.line().startswith("refused: ")
        time.sleep(2 * DELAY)
        assert first.process.poll() is None
    finally:
        second.end()
        first.end()


def test_of_two_that_see_late_one_displaces_a_dead_owner(tmp_path):
    write_owner(tmp_path)
    now = sees(tmp_path)
    nodes = [Node(tmp_path, skew, seconds=4 * DELAY, sees=now) for skew in (-600.0, 600.0)]
    said = [node.line() for node in nodes]
    assert sorted(line.split(":")[0] for line in said) == ["held", "refused"]
    winner = nodes[said.index("held")]
    assert winner.line() == "done", "it took no late sight for a displacement"
    for node in nodes:
        node.end()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_an_owner_that_has_ended_is_waited_for_no_longer_than_it_is_seen(tmp_path):
    path = write_owner(tmp_path)
    then = sees(tmp_path)
    path.unlink()
    node = Node(tmp_path, 0.0, seconds=0, sees=then)
    assert node.line() == "held"
    assert node.line() == "done"
    said = node.end()
    assert "is locked by Slurm job 17" in said
    assert "taken over" not in said
