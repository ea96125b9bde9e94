"""``snakemake --profile slurm`` on a real Slurm: the chain, and what goes wrong on clusters."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from tests.slurm.conftest import ROOT, Chain, Project

from slurm_lab import Lab, wait_until
from small_disk import Disk


def test_the_chain_with_a_training_on_two_nodes(chain: Chain, lab: Lab) -> None:
    project, said = chain.project, chain.said
    assert "100%" in said
    table = (project.results / "tables/lfw.tex").read_text()
    assert "ArcFace" in table
    [run] = [path.name for path in (project.results / "runs").iterdir()]
    project.assert_trained([run])
    number = re.search(rf"rule_train/{run}/(\d+)\.log", said)
    assert number is not None
    job = lab.run("scontrol", "show", "job", number[1])
    assert "NodeList=n[1-2]" in job
    assert f"Comment=rule_train_wildcards_{run}" in job
    assert "Partition=cpu" in job
    assert "(8 on each of 2 cpu)" in project.log(run)
    assert "localrule table_lfw:" in said, "rendering takes no place in the queue"
    assert "Nothing to be done" in project.finish(project.start())


def test_tables_are_those_of_a_call_without_slurm(chain: Chain) -> None:
    tables = [{path.name: path.read_bytes() for path in (each.results / "tables").iterdir()} for each in chain[::2]]
    assert tables[0].keys() == {"lfw.tex"}
    assert tables[0] == tables[1]
    [run] = [path.name for path in (chain.plain.results / "runs").iterdir()]
    assert chain.plain.weights(run) == chain.project.weights(run), "two nodes or one"


def test_what_a_gpu_training_asks_for(project: Project, lab: Lab) -> None:
    """Nodes × GPUs by one setting, and what the partition allows; nothing of it trains again."""
    resources = {"train": {"gpus": 4, "threads": 2, "mem_mb": 9000, "runtime": 600}, "embed": {"gpus": 1}}
    gpu = {"partition": "gpu", "type": "a100", "max_hours": 0.5}
    shell = {"scratch": f"{project.folder}/scratch/$USER", "setup": "export SETUP_BY=site.yaml\n"}
    training = {"processes": 4, "device": "cpu", "log_every": 1}
    project.configure({"gpu": gpu, "warning_seconds": 60, **shell}, resources=resources, training=training)
    [run] = project.runs()
    process = project.start(project.target(run))
    project.wait_for_steps(run, 1)
    job = lab.run("scontrol", "--details", "show", "job", *project.jobs(run))
    for wanted in ("Partition=gpu", "NumNodes=2", "TresPerNode=gres:gpu:a100:2", "MinMemoryNode=9000M"):
        assert wanted in job
    assert "CPUs/Task=2" in job
    assert "TimeLimit=00:30:00" in job
    environment = project.processes(run)[0].environ()
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert environment["SETUP_BY"] == "site.yaml"
    scratch = Path(environment["TMPDIR"])
    assert scratch.parent == project.folder / "scratch" / "root"
    assert scratch.is_dir()
    project.finish(process)
    assert not scratch.exists()
    project.assert_trained([run], processes=4)


def test_time_limit_cancellation_and_hang(project: Project, lab: Lab) -> None:
    """Three trainings at once, each hit in its own way; each goes on from where it was."""
    project.configure({"warning_seconds": 30, "hang_minutes": 0.75}, seeds=[0, 1, 2])
    limited, cancelled, hung = runs = project.runs()
    process = project.start(*(project.target(run) for run in runs))
    for run in runs:
        project.wait_for_steps(run)

    # The time limit comes nearer while the training stands still, and is near when it goes on.
    [number] = project.jobs(limited)
    frozen = project.processes(limited)
    for each in frozen:
        each.suspend()
    before = len(project.steps(limited))
    minutes = int(lab.run("squeue", "--noheader", f"--job={number}", "--format=%M").split(":")[0])
    lab.run("scontrol", "update", f"JobId={number}", f"TimeLimit={minutes + 2}")
    lab.run("scancel", *project.jobs(cancelled))
    saved = project.results / "state" / cancelled
    wait_until(lambda: [*saved.glob("state-*/common-*.pt")], "it saved its state, long before it would have", 120)
    project.processes(hung)[1].suspend()

    def warned() -> bool:
        return all(is_pending(each, signal.SIGUSR1) for each in frozen)

    wait_until(warned, "Slurm warns before the time limit", 180)
    for each in frozen:
        with suppress(psutil.NoSuchProcess):
            each.resume()
    wait_until(lambda: number not in project.jobs(limited), "the first job is over", 180)
    states = sorted(path.name for path in (project.results / "state" / limited).glob("state-*"))
    assert states[-1] >= f"state-{before:09d}", "saved after the warning"

    said = project.finish(process)
    project.assert_trained(runs)
    for run in runs:
        assert len({*re.findall(rf"rule_train/{run}/(\d+)\.log\)", said)}) == 2, "one failure, one more job"
    assert f"SLURM-job '{number}' failed, SLURM status is: 'FAILED'" in said, "it ended before its time was up"
    assert "the state is saved; the next attempt goes on from there" in project.failed_logs(limited)
    assert "no step in 45 s" in project.failed_logs(hung)


def is_pending(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a process that stands still was sent a signal."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return True  # Slurm lets go on whom it signals
    pending = re.search(r"^ShdPnd:\s*(\w+)$", status, re.MULTILINE)
    return pending is not None and bool(int(pending[1], 16) >> (number - 1) & 1)


def test_a_node_dies_and_the_controller_restarts(project: Project, lab: Lab) -> None:
    project.configure(training={"processes": 2, "device": "cpu", "log_every": 1, "save_every": 10})
    [run] = project.runs()
    process = project.start(project.target(run))
    project.wait_for_steps(run, 25)
    lab.stop_controller()
    time.sleep(5)
    assert process.poll() is None
    lab.kill_node("n2")
    saved = max(path.name for path in (project.results / "state" / run).glob("state-*"))
    assert saved >= "state-000000010"
    lab.start_controller()
    wait_until(lambda: "State=DOWN" in lab.run("scontrol", "show", "node", "n2"), "n2 is missed", 90)
    lab.start_node("n2")
    said = project.finish(process)
    project.assert_trained([run])
    assert re.search(r"Slurm job \d+: NODE_FAIL", said)


def test_snakemake_is_killed(project: Project, lab: Lab) -> None:
    """The training runs on; a second one is refused; Snakemake started again waits for it and trains nothing anew."""
    project.configure({"nodes": 1})
    [run] = project.runs()
    process = project.start(project.target(run))
    project.wait_for_steps(run)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    frozen = project.processes(run)[1]
    frozen.suspend()  # so that it lasts
    [number] = project.jobs(run)

    words = ["train", "--recipe", f"results/tiny/recipes/{run}.json", "--device", "cpu", "--processes", "2"]
    [folder] = [each.parent for each in project.results.glob("data/synthetic-*/train/manifest.json")]
    words += [
        "--data",
        str(folder),
        "--run-dir",
        f"results/tiny/runs/{run}",
        "--state-dir",
        f"results/tiny/state/{run}",
    ]
    rival = subprocess.run(
        ["srun", "--ntasks=1", "--mem=4000", sys.executable, "-m", "aroface", *words],
        cwd=project.folder,
        env={**lab.environment, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert rival.returncode == 2, rival.stderr
    assert f"another process is training this run: Slurm job {number}" in rival.stderr

    killed = process.pid
    process = project.start(project.target(run))
    wait_until(lambda: "waiting for 1 of an earlier call" in project.said.read_text(), "it waits", 120)
    assert f"going on from what process {killed} on " in project.said.read_text(), "nobody unlocks anything"
    assert project.jobs(run) == [number]
    frozen.resume()
    said = project.finish(process)
    assert f"{number} running rule_train_wildcards_{run}" in said
    assert "has been submitted" not in said
    project.assert_trained([run])


def test_want_of_memory_is_called_that(project: Project, lab: Lab) -> None:
    large = {"method": "arcface", "dataset": "synthetic", "arch": "r100"}
    project.configure({"nodes": 1}, experiments=[large], resources={"train": {"mem_mb": 1200, "retries": 0}})
    [run] = project.runs()
    project.finish(project.start(project.target(run)), status=1)
    assert "killed for want of memory" in project.log(run)
    assert "resources.train.mem_mb" in project.log(run)


def test_preemption(project: Project, lab: Lab) -> None:
    """By a partition that takes the nodes, in both ways in which sites have it; the job is submitted again."""
    training = {"processes": 2, "device": "cpu", "log_every": 1, "save_every": 10}
    project.configure({"cpu": {"partition": "spare"}}, training=training)
    [run] = project.runs()
    process = project.start(project.target(run))
    hit: list[str] = []
    for mode in ("REQUEUE", "CANCEL"):
        lab.run("scontrol", "update", "PartitionName=spare", f"PreemptMode={mode}")
        project.wait_for_steps(run, project.saved(run) + 15)
        [number] = project.jobs(run)
        known = len(project.steps(run))
        lab.run("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
        wait_until(lambda number=number: number not in project.jobs(run), "the job had to go", 120)
        assert "JobState=PREEMPTED" in lab.run("scontrol", "show", "job", number)
        saved = project.saved(run)
        assert saved >= known, "it saved when it was told to end"
        kept = project.lines(run, saved)
        hit.append(number)
        wait_until(lambda: project.jobs(run), "it is submitted again", 120)
        wait_until(lambda saved=saved: len(project.steps(run)) > saved, "it goes on", 300)
        assert project.lines(run, saved) == kept, "no step is done again"
    said = project.finish(process)
    project.assert_trained([run])
    for number in hit:
        assert f"Slurm job {number}: PREEMPTED" in said
    assert len({*re.findall(rf"rule_train/{run}/(\d+)\.log\)", said)}) == 3
    assert "DUE TO PREEMPTION" in project.failed_logs(run)


def test_a_shared_disk_that_shows_files_a_minute_late(project: Project, lab: Lab) -> None:
    """Jobs see their own folder, out of which a file comes into Snakemake's a minute after it was written."""
    [run] = project.runs()
    place, nodes_own = project.folder / "results", project.folder / "as-nodes-see-it"
    shutil.copytree(place, nodes_own)
    lab.mount_on_nodes(nodes_own, place)
    mirror = Mirror(nodes_own, place, LATE_S)
    mirror.start()
    try:
        process = project.start(project.target(run))
        done = nodes_own / "tiny" / "runs" / run / "checkpoint.json"
        wait_until(done.exists, "the training has ended", 300)
        ended = time.monotonic()
        assert not (project.results / "runs" / run / done.name).exists()
        project.finish(process)
        assert time.monotonic() - ended > LATE_S - 5
    finally:
        mirror.end()
        lab.unmount_on_nodes(place)
    project.assert_trained([run])


LATE_S = 60


class Mirror(threading.Thread):
    """Copies files out of one folder into another when they have been there for some time."""

    def __init__(self, source: Path, target: Path, delay_s: float) -> None:
        super().__init__(daemon=True)
        self.source, self.target, self.delay_s = source, target, delay_s
        self.copied = dict(self._files())
        self.ended = threading.Event()

    def run(self) -> None:
        waiting: dict[tuple[Path, tuple[int, int]], float] = {}
        while not self.ended.wait(0.5):
            now = time.monotonic()
            for version in self._files():
                if self.copied.get(version[0]) != version:
                    waiting.setdefault(version, now)
            for (path, stamp), since in [*waiting.items()]:
                if now - since < self.delay_s:
                    continue
                del waiting[path, stamp]
                with suppress(FileNotFoundError):
                    other = self.target / path.relative_to(self.source)
                    other.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, other.with_name(f".{other.name}.late"))
                    other.with_name(f".{other.name}.late").replace(other)
                self.copied[path] = stamp

    def _files(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for path in self.source.rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file():
                    found = path.stat()
                    yield path, (found.st_mtime_ns, found.st_size)

    def end(self) -> None:
        """Copy no more."""
        self.ended.set()
        self.join()


def test_a_disk_that_is_full_of_states(project: Project, lab: Lab) -> None:
    """Both attempts say so in one line, the second at once; with more room the same command goes on."""
    training = {"processes": 2, "device": "cpu", "log_every": 1, "save_every": 10}
    project.configure(training=training, resources={"train": {"retries": 1}})
    [run] = project.runs()
    disk = Disk(project.results / "state", 6_000_000)
    try:
        project.finish(project.start(project.target(run)), status=1)
        saved, steps = project.saved(run), project.steps(run)
        assert saved >= 10
        assert steps == [*range(len(steps))]
        attempts = sorted((project.results / "logs" / "train").glob(f"{run}-*.log"))
        lines = [[line for line in log.read_text().splitlines() if "no room" in line] for log in attempts]
        assert len(lines) == 2
        for line in lines[0][:1] + lines[1][:1]:
            assert re.search(
                r"aroface: error: .*/state/.*no room \(No space left on device: .* needed, .* free\)", line
            )
        assert not any("Traceback" in log.read_text() for log in attempts), "the other process has lost this one"
        kept = project.lines(run, saved)
        disk.resize(60_000_000)
        project.finish(project.start(project.target(run)))
        assert project.lines(run, saved) == kept
        project.assert_trained([run])
    finally:
        project.end()
        disk.end()


def test_states_asked_for_by_sacct(project: Project, lab: Lab) -> None:
    """With accounts; the training is cancelled once, which Snakemake would miss by itself."""
    lab.start_accounts()
    try:
        project.configure({"status": "sacct", "nodes": 1})
        [run] = project.runs()
        process = project.start(project.target(run))
        project.wait_for_steps(run)
        [number] = project.jobs(run)
        lab.run("scancel", number)
        said = project.finish(process)
        project.assert_trained([run])
        assert re.search(rf"Slurm job {number}: CANCELLED by \d+", said)
        assert len({*re.findall(rf"rule_train/{run}/(\d+)\.log\)", said)}) == 2
        states = lab.run("sacct", "-X", "--noheader", "--parsable2", "--format=State").split("\n")
        assert "COMPLETED" in states[-1]
    finally:
        project.end()
        lab.stop_accounts()
