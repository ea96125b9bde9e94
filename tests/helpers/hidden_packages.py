"""Commands in a process in which packages are as if they were not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

_PROGRAM = """
import contextlib, importlib.machinery, io, json, sys

commands, hidden = json.loads(sys.argv[1])

class Hiding(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

at = sys.meta_path.index(importlib.machinery.PathFinder)
sys.meta_path[at] = Hiding
from aroface.cli.main import main

results = []
for words in commands:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        status = main(words)
    results.append([status, said.getvalue()])
print(json.dumps(results))
"""


def run_without(hidden: Collection[str], commands: Sequence[Sequence[str]], folder: Path) -> list[tuple[int, str]]:
    """Exit status and standard error of each command, run where the modules ``hidden`` cannot be imported."""
    words = json.dumps([list(map(list, commands)), sorted(hidden)])
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [(status, said) for status, said in json.loads(done.stdout.splitlines()[-1])]
