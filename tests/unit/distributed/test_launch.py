"""The command line on several processes: exit statuses and signals reach whoever started it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from aroface.cli.main import main
from aroface.distributed.launch import first_host, nodes_of_step
from aroface.errors import InputError
from aroface.files import read_json
from aroface.training.train import _losing_others
from training_runs import write_data, write_recipe

DEADLINE_S = 180
STEPS = 24  # 3 epochs of 64 images in batches of 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def command(recipe: Path, data: Path, folder: Path) -> list[str]:
    words = [sys.executable, "-m", "aroface", "train", "--recipe", recipe, "--data", data, "--device", "cpu"]
    words += ["--processes", 2, "--run-dir", folder / "run", "--state-dir", folder / "state"]
    return [str(word) for word in [*words, "--log-every", 1, "--save-every", 100, "--loader-threads", 1]]


def steps(folder: Path) -> list[int]:
    log = folder / "run" / "log.jsonl"
    *whole, _ = log.read_text().split("\n") if log.exists() else [""]
    return [json.loads(line)["step"] for line in whole]


def test_a_signal_stops_all_processes_and_none_of_their_work_is_lost(tmp_path, data):
    adversary = {"kind": "gradient", "profile": "official", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 0}
    recipe = write_recipe(tmp_path, epochs=3, adversary=adversary)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    first = subprocess.run(command(recipe, data, whole), timeout=DEADLINE_S, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == [str(whole / "run" / "checkpoint.json")], "said once, not by every process"
    process = subprocess.Popen(command(recipe, data, parts), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + DEADLINE_S
    while len(steps(parts)) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)  # as a cluster's warning before the time limit
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 75, said
    assert said.count("start again to go on") == 1
    done = len(steps(parts))
    assert 5 <= done < STEPS
    assert [path.name for path in parts.glob("state/state-*")] == [f"state-{done:09d}"]
    subprocess.run(command(recipe, data, parts), timeout=DEADLINE_S, check=True, capture_output=True)
    assert steps(parts) == [*range(STEPS)]
    weights = [read_json(folder / "run" / "checkpoint.json")["weights"] for folder in (whole, parts)]
    assert weights[0] == weights[1]


def test_bad_input_in_a_process_has_the_status_of_bad_input(tmp_path, data, capfd):
    recipe = write_recipe(tmp_path, batch_size=9)
    words = command(recipe, data, tmp_path)[3:]
    assert main(words) == 2
    assert (
        "a batch of 9 images on 2 processes; expected a number of processes that divides it" in capfd.readouterr().err
    )


def test_a_dry_run_needs_no_data_and_leaves_nothing(tmp_path, data, capsys):
    recipe = write_recipe(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["train", "--recipe", str(recipe), "--data", str(data), "--dry-run", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "8 classes" in said
    assert "8 steps" in said
    assert "images/s" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": {"momentum": 0.0}},
        {"optimiser": {"momentum": 0.0}, "precision": "fp16"},
        {"optimiser": {"momentum": 0.0, "weight_decay": 0.0, "clip_norm": None}, "sample_rate": 0.5},
    ],
)
def test_a_dry_run_counts_updates_of_an_optimiser_without_state(tmp_path, data, capsys, changes):
    recipe = write_recipe(tmp_path, **changes)
    words = ["train", "--recipe", str(recipe), "--data", str(data), "--dry-run", "--device", "cpu"]
    assert main(words) == 0, capsys.readouterr().err


def test_a_dry_run_without_an_update_is_refused(tmp_path, data, capsys, monkeypatch):
    monkeypatch.setattr("torch.amp.GradScaler.step", lambda *_: None)  # as where every gradient overflows
    words = ["train", "--recipe", str(write_recipe(tmp_path)), "--data", str(data), "--dry-run", "--device", "cpu"]
    assert main(words) == 2
    assert "no step of the dry run updated the weights" in capsys.readouterr().err


def test_a_dry_run_of_a_set_of_unknown_size_asks_for_it(tmp_path, capsys):
    assert main(["train", "--recipe", str(write_recipe(tmp_path)), "--dry-run", "--device", "cpu"]) == 2
    assert "no set 'toy'" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["lfw", "=file", "lfw="])
def test_a_validation_set_has_a_name_and_a_file(tmp_path, data, word, capsys):
    words = ["train", "--recipe", str(write_recipe(tmp_path)), "--data", str(data), "--device", "cpu"]
    assert main([*words, "--run-dir", "r", "--state-dir", "s", "--validate", word]) == 2
    assert "expected NAME=FILE" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["lfw=a.bin", "lfw=b.bin"], ["x=a.bin", "lfw=b.bin", "lfw=b.bin"]])
def test_two_validation_sets_of_one_name_are_refused(tmp_path, data, words, capsys):
    start = ["train", "--recipe", str(write_recipe(tmp_path)), "--data", str(data), "--device", "cpu"]
    assert main([*start, "--run-dir", "r", "--state-dir", "s", "--validate", *words]) == 2
    assert "--validate: two files are called 'lfw'" in capsys.readouterr().err


def test_what_a_training_needs_is_asked_for_by_name(tmp_path, capsys):
    assert main(["train", "--recipe", str(write_recipe(tmp_path))]) == 2
    assert "--data: not given" in capsys.readouterr().err


STEP = {
    "SLURM_JOB_ID": "12345",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[003-004]",
    "SLURM_NODEID": "1",
}


def test_nodes_of_a_slurm_step():
    assert nodes_of_step({}) is None
    assert nodes_of_step(STEP | {"SLURM_STEP_NUM_NODES": "1"}) is None
    nodes = nodes_of_step(STEP)
    assert nodes is not None
    assert (nodes.count, nodes.rank, nodes.head) == (2, 1, "gpu003")
    assert nodes.port == 20345


def test_each_node_starts_its_processes_once():
    with pytest.raises(InputError, match=r"8 tasks on 2 nodes.*--ntasks-per-node=1"):
        nodes_of_step(STEP | {"SLURM_STEP_NUM_TASKS": "8"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[1-2]", "n1"),
        ("gpu[003,005-009]", "gpu003"),
        ("rack[2-3]node[07,09]-ib,other", "rack2node07-ib"),
    ],
)
def test_the_first_host_of_a_list(nodes, first):
    assert first_host(nodes) == first


def test_two_nodes_meet_and_lose_nothing_when_all_their_processes_are_signalled(tmp_path, data):
    """As Slurm does it before a time limit: launchers and processes of all nodes, at once."""
    recipe = write_recipe(tmp_path, epochs=3)
    environment = os.environ | STEP | {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost,other"}

    def start() -> list["subprocess.Popen[str]"]:
        nodes = [environment | {"SLURM_NODEID": str(number)} for number in range(2)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return [subprocess.Popen(command(recipe, data, tmp_path), env=node, **pipes) for node in nodes]

    launchers = start()
    deadline = time.monotonic() + DEADLINE_S
    while len(steps(tmp_path)) < 5 and time.monotonic() < deadline and all(each.poll() is None for each in launchers):
        time.sleep(0.01)
    workers = [child for launcher in launchers for child in psutil.Process(launcher.pid).children(recursive=True)]
    for each in [*launchers, *workers]:
        each.send_signal(signal.SIGUSR1)
    said = [launcher.communicate(timeout=DEADLINE_S)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [75, 75], said
    done = len(steps(tmp_path))
    assert [path.name for path in tmp_path.glob("state/state-*")] == [f"state-{done:09d}"]
    launchers = start()
    said = [launcher.communicate(timeout=DEADLINE_S)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], said
    assert steps(tmp_path) == [*range(STEPS)]
    assert read_json(tmp_path / "run" / "checkpoint.json")["execution"]["processes"] == 2


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"),
        torch.distributed.DistBackendError("NCCL error"),
    ],
)
def test_a_process_that_loses_another_says_so_in_one_line(error):
    said = "some run: another process of this training has ended; see what it said"
    with pytest.raises(InputError, match=said), _losing_others("some run"):
        raise error


def test_other_errors_of_torch_are_not_taken_for_a_lost_process():
    with pytest.raises(RuntimeError, match="shapes"), _losing_others("some run"):
        raise RuntimeError("shapes cannot be multiplied")
