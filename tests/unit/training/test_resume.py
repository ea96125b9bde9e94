"""A run that is killed at any moment and started again ends with the weights of one that was never killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aroface.datasets.manifest import manifest_hash
from aroface.files import read_json
from training_runs import IDENTITY, sign, write_data, write_recipe

DEADLINE_S = 120
OTHER = {"files": {"other.rec": {}}}
STEPS = 24  # 3 epochs of 64 images in batches of 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    head = {"name": "adaface", "m": 0.4, "s": 64, "h": 0.333, "alpha": 0.01, "gradient": "exact", "norm_stats": "local"}
    adversary = {"kind": "gradient", "profile": "official", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 1}
    return write_recipe(tmp_path_factory.mktemp("recipes"), head=head, adversary=adversary, epochs=3)


class Training:
    """A training in a process of its own, in a folder of its own."""

    def __init__(self, folder: Path, recipe: Path, data: Path) -> None:
        self.run_dir, self.state_dir = folder / "run", folder / "state"
        self.command = [sys.executable, "-m", "aroface", "train", "--recipe", recipe, "--data", data, "--device", "cpu"]
        self.command += [
            "--run-dir",
            self.run_dir,
            "--state-dir",
            self.state_dir,
            "--save-every",
            "5",
            "--log-every",
            "1",
        ]

    def finish(self) -> None:
        subprocess.run(self.command, check=True, timeout=DEADLINE_S, capture_output=True)

    def weights(self) -> str:
        return read_json(self.run_dir / "checkpoint.json")["weights"]["sha256"]

    def history(self) -> Any:
        return read_json(self.run_dir / "history.json")

    def times(self) -> dict[Path, int]:
        files = (*self.run_dir.rglob("*"), *self.state_dir.rglob("state-*"))
        return {path: path.stat().st_mtime_ns for path in files if path.is_file()}

    def interrupt(self, number: int, when_logged: int) -> int:
        """Send a signal as soon as the log has so many lines; returns the exit status."""
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + DEADLINE_S
            while len(self.steps()) < when_logged and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            process.send_signal(number)
            return process.wait(DEADLINE_S)
        finally:
            process.kill()

    def steps(self) -> list[int]:
        log = self.run_dir / "log.jsonl"
        *whole, _ = log.read_text().split("\n") if log.exists() else [""]  # the last line may be half-written
        return [json.loads(line)["step"] for line in whole]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, recipe: Path, data: Path) -> Training:
    training = Training(tmp_path_factory.mktemp("reference"), recipe, data)
    training.finish()
    assert training.steps() == [*range(STEPS)]
    assert (training.run_dir / "sheets" / "step_00000000.png").exists()
    assert any((training.run_dir / "tensorboard").glob("events.*"))
    return training


def test_killed_again_and_again_gives_the_same_bits(tmp_path, recipe, data, reference):
    training = Training(tmp_path, recipe, data)
    for logged in (3, 6, 13, 22):  # before the first state, right after it, in the second epoch, before the end
        assert training.interrupt(signal.SIGKILL, logged) == -signal.SIGKILL
        assert not (training.run_dir / "checkpoint.json").exists()
    training.finish()
    assert training.weights() == reference.weights()
    assert training.steps() == [*range(STEPS)], "every step is in the log once, in order"
    assert training.history() == reference.history()


def test_polite_signals_lose_no_step_and_ask_for_another_try(tmp_path, recipe, data, reference):
    training = Training(tmp_path, recipe, data)
    for number, logged in ((signal.SIGTERM, 3), (signal.SIGINT, 8), (signal.SIGUSR1, 16)):
        assert training.interrupt(number, logged) == 75
        newest = max(path.name for path in training.state_dir.glob("state-*"))
        assert newest == f"state-{len(training.steps()):09d}"
    training.finish()
    assert training.weights() == reference.weights()
    assert training.history() == reference.history()


def test_a_finished_run_is_left_alone(reference):
    before = reference.times()
    reference.finish()
    assert reference.times() == before


def test_data_other_than_the_recipes_is_refused(tmp_path, recipe, data):
    shutil.copytree(data, tmp_path / "data")
    sign(tmp_path / "data", OTHER)
    training = Training(tmp_path, recipe, tmp_path / "data")
    done = subprocess.run(training.command, timeout=DEADLINE_S, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert manifest_hash(OTHER) in done.stderr
    assert manifest_hash(IDENTITY) in done.stderr


LISTEN = """
import sys, time
from aroface.distributed.signals import StopRequest
stop = StopRequest()
with stop.listening():
    print("listens", flush=True)
    for _ in range(600):
        time.sleep(0.1)
        if stop.number:
            print("saves", stop.number, flush=True)
            time.sleep(float(sys.argv[1]))
            sys.exit(75)
"""


def test_a_signal_that_a_container_passes_on_is_no_second_one():
    """All processes of a Slurm step get it, and one in a container gets it from that once more."""
    for pauses, saves_s, status in (((0.0, 0.2), 2.0, 75), ((0.0, 1.6), DEADLINE_S, -signal.SIGUSR1)):
        command = [sys.executable, "-c", LISTEN, str(saves_s)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "listens\n"
            for pause in pauses:
                time.sleep(pause)
                process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == f"saves {int(signal.SIGUSR1)}\n"
            assert process.wait(DEADLINE_S) == status
