"""``snakemake --profile slurm`` on a real Slurm: the chain, and what goes wrong on clusters."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
from conftest import ROOT, Project
from lab import Lab, wait_until


def test_the_chain_with_a_training_on_two_nodes(chain: tuple[Project, str], lab: Lab) -> None:
    project, said = chain
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


def test_what_a_gpu_training_asks_for(project: Project, lab: Lab) -> None:
    """Nodes × GPUs by one setting, and what the partition allows; nothing of it trains again."""
    resources = {"train": {"gpus": 4, "threads": 2, "mem_mb": 9000, "runtime": 600}, "embed": {"gpus": 1}}
    gpu = {"partition": "gpu", "type": "a100", "max_hours": 0.5}
    shell = {"scratch": f"{project.folder}/scratch/$USER", "setup": "export SETUP_BY=site.yaml\n"}
    project.configure({"gpu": gpu, "warning_seconds": 60, **shell}, resources=resources)
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
    project.assert_trained([run])


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
    wait_until(lambda: [*saved.glob("state-*/common-*.pt")], "it saved its state, long before it would have", 30)
    project.processes(hung)[1].suspend()

    def warned() -> bool:
        return all(is_pending(each, signal.SIGUSR1) for each in frozen)

    wait_until(warned, "Slurm warns before the time limit", 120)
    for each in frozen:
        with suppress(psutil.NoSuchProcess):
            each.resume()
    wait_until(lambda: number not in project.jobs(limited), "the first job is over", 60)
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
    assert "NODE_FAIL" in said


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

    assert "--unlock" in project.finish(project.start(project.target(run)), status=1), "locked by the one that died"
    project.finish(project.start("--unlock"))
    process = project.start(project.target(run))
    wait_until(lambda: "waiting for 1 of an earlier call" in project.said.read_text(), "it waits", 60)
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
