"""A copy of the workflow for a test; its ``aroface`` command writes its outputs at once and notes what it was asked."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from repository import ROOT

STANDIN = Path(__file__).parent / "standin"
MODULES = os.pathsep.join([str(STANDIN), str(ROOT / "tests/helpers")])
CALLS = "calls.txt"
LIMIT_S = 180

CONFIG: dict[str, Any] = {
    "paths": {"data": "received", "results": "results"},
    "recipe": "tiny",
    "seeds": [0, 1],
    "experiments": [{"method": "arcface", "dataset": "faces"}, {"method": "arcface_aroface", "dataset": "faces"}],
    "data": {
        "faces": {"seed": 1, "generate": {"training": {"identities": 12, "images_per_identity": 6}}},
        "clean": {"seed": 2, "generate": {"pairs": {"identities": 10, "pairs": 80}}},
    },
    "benchmarks": [
        {
            "name": "pairs_clean",
            "protocol": "pairs",
            "data": "clean",
            "options": {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "rendered"},
        },
    ],
    "tables": ["paper_tables/specs/demo/lfw.yaml"],
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    status: int
    text: str

    @property
    def planned(self) -> list[str]:
        """Jobs of a dry run: the rule, and its run and benchmark where it has any."""
        blocks = re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", self.text, re.MULTILINE)
        names = [
            " ".join([rule, *re.findall(r"(?:run|benchmark)=([\w-]+)", "".join(re.findall("wildcards.*", block)))])
            for rule, block in blocks
        ]
        return [name for name in names if name != "all"]

    @property
    def trained(self) -> list[str]:
        """Runs that a dry run would train."""
        return [name.removeprefix("train ") for name in self.planned if name.startswith("train ")]


class Snakemake:
    """Snakemake, imported once for all calls: see ``preloaded_snakemake.py``."""

    @cached_property
    def process(self) -> subprocess.Popen[str]:
        """The process that forks for each call, started by the first."""
        command = [sys.executable, str(Path(__file__).with_name("preloaded_snakemake.py"))]
        environment = {**os.environ, "PYTHONPATH": MODULES}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True, start_new_session=True)

    def run(self, folder: Path, arguments: list[str], environment: dict[str, str]) -> Outcome:
        """Run it in a folder and wait for it; it is killed with all its jobs if it takes too long."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with tempfile.NamedTemporaryFile("r") as output:
            call = {"folder": str(folder), "arguments": arguments, "environment": environment, "output": output.name}
            print(json.dumps(call), file=self.process.stdin, flush=True)
            pid = int(self.process.stdout.readline())
            in_time, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
            if not in_time:
                os.killpg(pid, signal.SIGKILL)
            outcome = Outcome(int(self.process.stdout.readline()), output.read())
        assert in_time, f"still running after {LIMIT_S} s:\n{outcome.text}"
        return outcome

    def close(self) -> None:
        """End the process if there is one."""
        if "process" in vars(self):
            self.process.communicate()


SNAKEMAKE = Snakemake()


class Project:
    """A copy of the workflow in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = deepcopy(CONFIG)
        self.source = ROOT / "src" / "aroface"
        self.write()

    def write(self) -> None:
        """Write the configuration that ``run`` uses."""
        (self.folder / "test.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))

    def calls(self) -> list[str]:
        """What the command was asked since the last time, a line each."""
        path = self.folder / CALLS
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def environment(self) -> dict[str, str]:
        """The environment in which ``python -m aroface`` is the stand-in."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, "PYTHONPATH": MODULES, "AROFACE": str(self.source), "PATH": path}

    def start(self, *command: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment or self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, config: str | None = "test.yaml") -> Outcome:
        """Run Snakemake and wait for it; it is killed with all its jobs if it takes too long."""
        files = ["--configfile", config] if config else []
        return SNAKEMAKE.run(self.folder, ["--cores", "2", *arguments, *files], self.environment())

    def plan(self, *arguments: str, config: str | None = "test.yaml") -> Outcome:
        """What Snakemake would do."""
        outcome = self.run("--dry-run", *arguments, config=config)
        assert outcome.status == 0, outcome.text
        return outcome


def finish(process: subprocess.Popen[str], limit_s: float = LIMIT_S) -> Outcome:
    """Wait for a process; kill it with all it started if it takes too long."""
    try:
        text, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        raise AssertionError(f"still running after {limit_s} s:\n{text}") from None
    return Outcome(process.returncode, text)


def copy_of(template: Path, folder: Path) -> Project:
    """A project with the files of another, whose times are new, as a careless copy has them."""
    shutil.copytree(template, folder, dirs_exist_ok=True, copy_function=shutil.copyfile, symlinks=True)
    return Project(folder)
