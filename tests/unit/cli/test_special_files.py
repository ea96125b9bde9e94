"""Pipes, sockets and devices in place of files: each verb says so in one line and waits for nobody who writes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aroface.errors import InputError
from aroface.files import refuse_special

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
