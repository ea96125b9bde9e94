"""A Slurm for all these tests, and a project for each; they run only when asked for: ``make test-slurm``, as root."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import psutil
import pytest
import yaml

import slurm_lab as lab_module
from aroface.training.state import _whole
from slurm_lab import Lab, wait_until

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TINY = "workflow/configs/tiny.yaml"
LIMIT_S = 600
IMPATIENT = """
if "--profile" in sys.argv:  # of tests: ask for states again and again, not ever more rarely
    import snakemake_executor_plugin_slurm as plugin

    plugin.Executor.next_seconds_between_status_checks = property(lambda self: 3, lambda self, seconds: None)
"""
STEPS = 200  # 50 epochs of 4 batches: long enough to be hit, soon done afterwards
SITE = {"nodes": 2, "cpu": {"partition": "cpu"}, "gpu": {"partition": "gpu", "type": "a100"}, "poll_seconds": 2}


def pytest_sessionstart(session: pytest.Session) -> None:
    """End as on Ctrl-C, taking everything down, when told to end in another way."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A running Slurm; nothing of it stays."""
    if os.geteuid() != 0:
        pytest.exit("these tests start a Slurm of their own and need to be root", 2)
    before = _outside()
    folder = Path(tempfile.mkdtemp(prefix="slurm-lab-"))
    lab = Lab(folder)
    try:
        lab.up()
        yield lab
    except RuntimeError as error:
        pytest.exit(str(error), 2)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one Ctrl-C is enough
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert _outside() == before
    wait_until(lambda: not lab.strays(), "nothing of it runs any more", 30)


def _outside() -> tuple[str, list[str]]:
    """What tests change outside their folders while they run."""
    slurm = [str(path) for path in lab_module.ETC.glob("*.conf") if path.is_symlink()]
    return Path("/etc/hosts").read_text(), sorted(slurm)


class Project:
    """A copy of the workflow in a folder of its own, on a shared disk of all nodes.

    Attributes:
        folder: where it is.
        lab: the Slurm that its jobs go to.
        results: what it computes.
        undisturbed: the sha256 of weights of trainings to which nothing happened, by run.
    """

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.folder, self.lab = folder, lab
        self.results = folder / "results" / "tiny"
        self.said = folder / "snakemake.log"
        self.undisturbed: dict[str, str] = {}
        self._calls: list[subprocess.Popen[bytes]] = []
        for name in ("Snakefile", "config.yaml", "CITATION.cff"):
            shutil.copy(ROOT / name, folder)
        for name in ("profiles", "workflow", "paper_tables", "slurm"):
            shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
        with open(folder / "workflow" / "lib" / "slurm.py", "a") as file:
            file.write(IMPATIENT)
        self.configure()

    def configure(self, site: dict[str, Any] | None = None, **changes: Any) -> None:
        """Write the user's two files: what is special about the site, and about the configuration."""
        config: dict[str, Any] = {
            "experiments": [{"method": "arcface", "dataset": "synthetic", "overrides": {"epochs": STEPS // 4}}],
            "training": {"processes": 2, "device": "cpu", "log_every": 1},
            "resources": {"train": {"retries": 4}},
            "benchmarks": [{"name": "pairs_clean", "data": "clean"}],
            "tables": ["paper_tables/specs/demo/lfw.yaml"],
            "figures": [],
        }
        (self.folder / "mine.yaml").write_text(yaml.safe_dump({**config, **changes}))
        (self.folder / "slurm" / "site.yaml").write_text(yaml.safe_dump({**SITE, **(site or {})}))

    def start(self, *arguments: str, profile: bool = True) -> subprocess.Popen[bytes]:
        """Start ``snakemake --profile slurm``, or one that computes here."""
        where = ["--profile", "slurm"] if profile else ["--cores", "2"]
        command = [sys.executable, "-m", "snakemake", *where, *arguments]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**self.lab.environment, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "USER": getpass.getuser()}
        with open(self.said, "wb") as file:
            process = subprocess.Popen(
                [*command, "--configfile", TINY, "mine.yaml"],
                cwd=self.folder,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._calls.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes], status: int = 0) -> str:
        """Wait for a call; returns what it said, which must have ended with this status."""
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {LIMIT_S} s:\n{self._all_said()}") from None
        assert process.returncode == status, self._all_said()
        return self.said.read_text()

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._calls:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        subprocess.run(["scancel", "--user", str(os.getuid())], env=self.lab.environment, check=False)

    def runs(self) -> list[str]:
        """The runs of the configuration, by seed."""
        process = self.start("--dry-run")
        said = self.finish(process)
        runs = {*re.findall(r"wildcards: run=([\w-]+)$", said, re.MULTILINE)}
        return sorted(runs, key=lambda run: run.split("-")[3])

    def target(self, run: str) -> str:
        """What asks for one training and nothing after it."""
        return f"results/tiny/runs/{run}/checkpoint.json"

    def steps(self, run: str) -> list[int]:
        """The steps in the log of a training."""
        log = self.results / "runs" / run / "log.jsonl"
        *whole, _ = log.read_text().split("\n") if log.exists() else [""]
        return [json.loads(line)["step"] for line in whole]

    def lines(self, run: str, count: int) -> list[str]:
        """The log of the first steps of a training; each has its own speed, so that a step done again has another."""
        return (self.results / "runs" / run / "log.jsonl").read_text().splitlines()[:count]

    def saved(self, run: str) -> int:
        """The step of the newest whole state of a training; 0 if there is none."""
        folder = self.results / "state" / run
        return max((state.step for state in _whole(folder)), default=0) if folder.exists() else 0

    def weights(self, run: str) -> str:
        """The sha256 of what a training came to."""
        checkpoint = json.loads((self.results / "runs" / run / "checkpoint.json").read_text())
        return str(checkpoint["weights"]["sha256"])

    def wait_for_steps(self, run: str, count: int = 10) -> None:
        """Wait until a training has done some steps."""
        wait_until(lambda: len(self.steps(run)) >= count, f"{run} has done {count} steps", 300)

    def jobs(self, run: str) -> list[str]:
        """Numbers of the jobs of a training that Slurm has in its queue."""
        lines = self.lab.run("squeue", "--noheader", "--format=%i|%k").splitlines()
        return [line.split("|")[0] for line in lines if line.endswith(run)]

    def processes(self, run: str) -> list[psutil.Process]:
        """The processes that do the steps of a training, first rank first."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            words, environment = process.info["cmdline"] or [], process.info["environ"] or {}
            if "RANK" in environment and any(f"state/{run}" in word for word in words):
                found.append((int(environment["RANK"]), process))
        return [process for _, process in sorted(found, key=lambda pair: pair[0])]

    def log(self, run: str) -> str:
        """What the last attempt of a training said."""
        return (self.results / "logs" / "train" / f"{run}.log").read_text()

    def failed_logs(self, run: str) -> str:
        """What the attempts of a training said that did not end well."""
        files = sorted((self.results / "logs" / "train").glob(f"{run}-*.log"))
        return "".join(file.read_text() for file in files)

    def assert_trained(self, runs: Sequence[str], processes: int = 2) -> None:
        """Every step of these trainings is in its log once, in order, and what came of them is whole."""
        for run in runs:
            assert self.steps(run) == [*range(STEPS)], f"{run}\n{self._all_said()}"
            checkpoint = json.loads((self.results / "runs" / run / "checkpoint.json").read_text())
            assert checkpoint["execution"]["processes"] == processes
            assert not (self.results / "state" / run / "owner.json").exists()
            if run in self.undisturbed and processes == 2:
                assert self.weights(run) == self.undisturbed[run]

    def _all_said(self) -> str:
        logs = [self.said, *self.folder.glob(".snakemake/slurm_logs/**/*.log"), *self.results.glob("logs/**/*.log")]
        return "".join(f"\n== {log.relative_to(self.folder)}\n{log.read_text()[-3000:]}" for log in logs)


class Chain(NamedTuple):
    """The whole chain, done in two ways.

    Attributes:
        project: where Slurm's jobs did it.
        said: what Snakemake said meanwhile.
        plain: where it was done without Slurm.
    """

    project: Project
    said: str
    plain: Project


@pytest.fixture(scope="session")
def chain(lab: Lab) -> Iterator[Chain]:
    """Two projects in which everything has been done."""
    projects = []
    for name in ("chain", "plain"):
        (lab.shared / name).mkdir()
        projects.append(Project(lab.shared / name, lab))
    project, plain = projects
    try:
        calls = project.start(), plain.start(profile=False)
        said, _ = project.finish(calls[0]), plain.finish(calls[1])
        yield Chain(project, said, plain)
    finally:
        for each in projects:
            each.end()


@pytest.fixture
def project(chain: Chain, lab: Lab, request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project that has its data and nothing else."""
    folder = lab.shared / request.node.name
    folder.mkdir()
    project = Project(folder, lab)
    done = chain.project
    project.undisturbed = {path.name: done.weights(path.name) for path in (done.results / "runs").iterdir()}
    for part in ("data", "plan"):
        shutil.copytree(done.results / part, project.results / part)
    try:
        yield project
    finally:
        project.end()
        lab.wait_for_nodes()
