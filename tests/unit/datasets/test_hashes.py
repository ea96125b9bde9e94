"""Hashes that are remembered are those of the files, and are read again when a file changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from aroface.datasets.hashes import FileHashes
from aroface.errors import InputError

LONG_AGO = 1_000_000_000 * 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "faces").mkdir()
    put(tmp_path / "faces/a.jpg", b"one")
    return tmp_path / "faces"


def put(path: Path, data: bytes, mtime_ns: int = LONG_AGO) -> None:
    path.write_bytes(data)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def ask(folder: Path, memory: Path) -> str:
    hashes = FileHashes(folder, memory)
    found = hashes.sha256("a.jpg")
    hashes.write()
    return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_unchanged_file_is_not_read_again(folder: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    assert ask(folder, memory) == sha256(b"one")
    put(folder / "a.jpg", b"two")  # same size and time: only reading it would tell
    assert ask(folder, memory) == sha256(b"one")
    put(folder / "a.jpg", b"two", LONG_AGO + 1)
    assert ask(folder, memory) == sha256(b"two")
    put(folder / "a.jpg", b"three", LONG_AGO + 1)
    assert ask(folder, memory) == sha256(b"three")


def test_a_file_that_changed_just_now_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    now = (folder / "a.jpg").stat().st_ctime_ns
    put(folder / "a.jpg", b"one", now)
    ask(folder, tmp_path / "memory.json")
    put(folder / "a.jpg", b"two", now)
    assert ask(folder, tmp_path / "memory.json") == sha256(b"two")


def test_a_memory_of_another_folder_or_a_broken_one_counts_for_nothing(folder: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    ask(folder, memory)
    (tmp_path / "others").mkdir()
    put(tmp_path / "others/a.jpg", b"two")
    assert ask(tmp_path / "others", memory) == sha256(b"two")
    for broken in ("{", "[]", '{"schema": 0}'):
        memory.write_text(broken)
        assert ask(folder, memory) == sha256(b"one")


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"b\.jpg: no such file"):
        FileHashes(folder).sha256("b.jpg")
