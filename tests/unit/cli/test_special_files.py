"""Pipes, sockets and devices in place of files: each verb says so in one line and waits for nobody who writes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aroface.cli.main import main
from aroface.datasets.formats.text_tables import Form, count_lines, read_columns
from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.preparation.pack_options import PackOptions, packed_identities
from aroface.datasets.preparation.photographs import read_landmarks
from aroface.embedding.feature_store import open_features
from aroface.errors import InputError
from aroface.files import refuse_special, sha256_file, write_json
from aroface.results import INDEX

LIMIT_S = 300
"""Seconds after which a verb is taken to wait for ever."""

VERBS = {
    "a checkpoint": ["model", "info", "f.pt"],
    "an ONNX model": ["model", "info", "f.onnx"],
    "an endless device": ["model", "info", "/dev/zero"],
    "a model to evaluate": ["evaluate", "--model", "f.pt", "--benchmark", "f.bin"],
    "a benchmark": ["embed", "--run-dir", ".", "--benchmark", "f.json", "--out", "features"],
    "a pair file": ["data", "info", "f.bin"],
    "a link to a pipe": ["data", "info", "link.bin"],
    "a configuration": ["plan", "--configfile", "f.yaml"],
    "landmarks": ["data", "pack", ".", "--out", "packed", "--landmarks", "f.bin"],
    "a named model": ["robustness", "--model", "mine=f.pt", "--pairs", "f.bin"],
    "a file to write": ["table", "specs.yaml", "--out=f.bin"],
}


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_a_pipe_or_device_is_one_line(tmp_path: Path, words: list[str]):
    for suffix in ("pt", "onnx", "json", "bin", "yaml"):
        os.mkfifo(tmp_path / f"f.{suffix}")
    (tmp_path / "link.bin").symlink_to("f.bin")
    command = [sys.executable, "-m", "aroface", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    (line,) = done.stderr.splitlines()
    kind = "a device" if "/dev/zero" in words else "a pipe"
    assert (done.returncode, done.stdout) == (2, "") and f": {kind}, not a file" in line
    assert ("write what comes through it to a file" in line) == (kind == "a pipe")


@pytest.mark.parametrize("words", [["--data-dir=~/data", "lfw"], ["~/lfw.bin"]])
def test_a_tilde_that_no_shell_has_filled_in_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str]):
    """Shells fill it in at the beginning of a word alone, and not between quotation marks."""
    assert main(["data", "info", *words]) == 2
    path = words[0].rpartition("=")[2]
    line = f"'{path}' begins with '~', which no shell has filled in; write the path out, or ./{path} for a folder"
    assert capsys.readouterr().err == f"aroface: error: {line} of that name\n"


READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "landmarks": (lambda folder: read_landmarks(folder / "points.csv"), "points.csv"),
    "landmarks of options": (
        lambda folder: packed_identities(folder / "people", PackOptions(landmarks=str(folder / "points.csv"))),
        "points.csv",
    ),
    "records": (TrainingSet.open, "train.rec"),
    "an index of records": (TrainingSet.open, "train.idx"),
    "properties": (TrainingSet.open, "property"),
    "a list": (lambda folder: read_columns(folder / "list.txt", Form((("name", "text"),))), "list.txt"),
    "a list to count": (lambda folder: count_lines(folder / "list.txt"), "list.txt"),
    "features": (open_features, "features.npy"),
    "a file to hash": (lambda folder: sha256_file(folder / "model.safetensors"), "model.safetensors"),
}


@pytest.mark.parametrize(("read", "name"), READERS.values(), ids=READERS)
def test_a_pipe_inside_a_set_is_one_line(tmp_path: Path, read: Callable[[Path], object], name: str):
    """A name that no command line holds is looked at by who reads the file."""
    write_training_set(tmp_path, [(0, b"image")], 1)
    write_json(tmp_path / INDEX, {"rows": 1, "dimension": 1, "arrays": {}})
    (tmp_path / "people/anna").mkdir(parents=True)
    (tmp_path / "people/anna/1.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with within(LIMIT_S), pytest.raises(InputError, match=f"{name}: a pipe, not a file"):
        read(tmp_path)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail instead of waiting for who writes to a pipe."""

    def fail(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_kinds_of_files_are_told_apart(tmp_path: Path):
    file, pipe, place = tmp_path / "file", tmp_path / "pipe", tmp_path / "socket"
    file.touch()
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(place))  # an address has room for some 100 characters
    for path, kind in ((pipe, "a pipe"), (place, "a socket"), (Path("/dev/null"), "a device")):
        with pytest.raises(InputError, match=f"{path.name}: {kind}, not a file; expected words"):
            refuse_special(path, "words")
    (tmp_path / "broken").symlink_to("nothing")
    for path in (file, tmp_path, tmp_path / "missing", tmp_path / "broken"):
        refuse_special(path)


def test_a_substituted_process_is_a_pipe(tmp_path: Path):
    """Bash's ``<(…)`` is one end of a pipe below /dev/fd."""
    reading, writing = os.pipe()
    try:
        with pytest.raises(InputError, match=r"a pipe, not a file; write what comes through it to a file"):
            refuse_special(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        os.close(writing)
