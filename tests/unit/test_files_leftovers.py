"""Temporaries that killed processes leave of atomic writes are removed by the next one, and nothing else is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aroface import files, leftovers
from aroface.datasets.manifest import atomic_folder
from aroface.files import atomic_path, list_files, read_json_if_there, write_json
from aroface.leftovers import temporary_prefix

WRITE = """
import sys, time
from pathlib import Path
from aroface.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writes", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch):
    monkeypatch.setattr(leftovers, "_tidied", set())


def begun(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writes\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_living_writer_is_left_alone_and_a_killed_one_cleared_away(tmp_path):
    process = begun(tmp_path / "progress.json")
    try:
        write_json(tmp_path / "owner.json", {})
        assert len(names(tmp_path)) == 2, "it writes still"
    finally:
        end(process)
    leftovers._tidied.clear()
    write_json(tmp_path / "progress.json", {})
    assert names(tmp_path) == ["owner.json", "progress.json"]


@pytest.mark.parametrize(
    ("name", "age_s", "stays"),
    [
        (".progress.json.01234567-1-abcd_123.json", 60, True),  # of another machine, which may be writing it
        (".progress.json.01234567-1-abcd_123.json", 2 * leftovers.ABANDONED_S, False),
        (".progress.json.abcd_123.json", 2 * leftovers.ABANDONED_S, True),
        (".hidden", 2 * leftovers.ABANDONED_S, True),
        ("model.01234567-1-abcd_123.json", 2 * leftovers.ABANDONED_S, True),
        (".état.01234567-1-abcd_123", 2 * leftovers.ABANDONED_S, False),
    ],
)
def test_only_what_nobody_writes_any_more_is_removed(tmp_path, name, age_s, stays):
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    write_json(tmp_path / "x.json", {})
    assert (tmp_path / name).exists() == stays


def test_half_a_folder_goes_when_its_writer_is_known_to_be_dead(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    ours = temporary_prefix(tmp_path / "train").replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    for name in (f"{ours}abcd1234", ".train.01234567-1-abcd1234"):
        (tmp_path / name / "images").mkdir(parents=True)
        os.utime(tmp_path / name, (1, 1))
    with atomic_folder(tmp_path / "train") as folder:
        (folder / "x").touch()
    assert names(tmp_path) == [".train.01234567-1-abcd1234", "train"]


def test_a_folder_is_looked_through_once(tmp_path, monkeypatch):
    looked = []
    scan = os.scandir
    monkeypatch.setattr(leftovers.os, "scandir", lambda path: looked.append(path) or scan(path))
    for _ in range(3):
        with atomic_path(tmp_path / "x") as temporary:
            temporary.touch()
    assert len(looked) == 1


def test_a_file_that_vanishes_is_missing_and_no_error(tmp_path):
    assert read_json_if_there(tmp_path / "x.json") is None
    write_json(tmp_path / "x.json", {"a": 1})
    assert read_json_if_there(tmp_path / "x.json") == {"a": 1}
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(files.InputError, match="not JSON"):
        read_json_if_there(tmp_path / "x.json")


def test_a_folder_that_vanishes_while_it_is_listed_is_listed_again(tmp_path, monkeypatch):
    write_json(tmp_path / "a/x.json", {})
    glob, fails = Path.glob, [True, True]

    def interrupted(self, pattern):
        if fails and fails.pop():
            raise FileNotFoundError(tmp_path / "b")
        return glob(self, pattern)

    monkeypatch.setattr(Path, "glob", interrupted)
    assert list_files(tmp_path, "*/*.json") == [tmp_path / "a/x.json"]
    fails.append(True)
    assert list_files(tmp_path / "gone", "*/*.json") == []
