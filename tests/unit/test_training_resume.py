"""A run that is killed at any moment and started again ends with the weights of one that was never killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from aroface.datasets.manifest import manifest_hash, write_manifest
from aroface.datasets.training_set import write_training_set
from aroface.files import read_json, write_json
from aroface.training.recipe import recipe_hash

DEADLINE_S = 120
IDENTITY = {"name": "toy", "files": {}}
OTHER = {"name": "other", "files": {}}
STEPS = 24  # 3 epochs of 128 images in batches of 16


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    items = [(i % 8, simplejpeg.encode_jpeg(rng.integers(0, 255, (112, 112, 3), np.uint8))) for i in range(128)]
    write_training_set(folder, sorted(items, key=lambda item: item[0]), 8)
    write_manifest(folder, name="toy", kind="training", identity=IDENTITY, counts={"images": 128})
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = {
        "arch": "r8s4",
        "embedding_size": 16,
        "head": {
            "name": "adaface",
            "m": 0.4,
            "s": 64,
            "h": 0.333,
            "alpha": 0.01,
            "gradient": "exact",
            "norm_stats": "local",
        },
        "adversary": {
            "kind": "gradient",
            "profile": "official",
            "step_mean": 0.1,
            "warped_ratio": 0.25,
            "warmup_epochs": 1,
        },
        "optimiser": {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "decay_norm_and_bias": True, "clip_norm": 5.0},
        "schedule": {"kind": "polynomial", "power": 1, "warmup_epochs": 0},
        "epochs": 3,
        "batch_size": 16,
        "precision": "fp32",
        "flip": 0.5,
        "cpu_threads": 1,
        "deterministic": True,
    }
    name = recipe_hash(recipe, manifest_hash(IDENTITY), 5, 1)
    run = f"adaface_aroface-toy-r8s4-s5-{name[:8]}"
    path = tmp_path_factory.mktemp("recipes") / f"{run}.json"
    experiment = {"method": "adaface_aroface", "dataset": "toy", "arch": "r8s4", "seed": 5}
    data = {"name": "toy", "manifest_hash": manifest_hash(IDENTITY)}
    write_json(
        path,
        {
            "schema": 1,
            "run": run,
            "experiment": experiment,
            "recipe": recipe,
            "recipe_hash": name,
            "data": data,
            "semantics": 1,
        },
    )
    return path


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
        return [json.loads(line)["step"] for line in log.read_text().splitlines()] if log.exists() else []


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


def test_polite_signals_lose_no_step_and_ask_for_another_try(tmp_path, recipe, data, reference):
    training = Training(tmp_path, recipe, data)
    for number, logged in ((signal.SIGTERM, 3), (signal.SIGINT, 8), (signal.SIGUSR1, 16)):
        assert training.interrupt(number, logged) == 75
        newest = max(path.name for path in training.state_dir.glob("state-*.pt"))
        assert newest == f"state-{len(training.steps()):09d}.pt"
    training.finish()
    assert training.weights() == reference.weights()


def test_a_finished_run_is_left_alone(reference):
    before = reference.times()
    reference.finish()
    assert reference.times() == before


def test_data_other_than_the_recipes_is_refused(tmp_path, recipe, data):
    shutil.copytree(data, tmp_path / "data")
    write_manifest(tmp_path / "data", name="toy", kind="training", identity=OTHER, counts={"images": 128})
    training = Training(tmp_path, recipe, tmp_path / "data")
    done = subprocess.run(training.command, timeout=DEADLINE_S, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert manifest_hash(OTHER) in done.stderr
    assert manifest_hash(IDENTITY) in done.stderr
