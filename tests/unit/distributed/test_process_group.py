"""Several processes train what one would, go on with what others left, and stop together."""

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist

import training_runs
from aroface.cli.main import main
from aroface.distributed import process_group as module
from aroface.distributed.process_group import (
    ProcessGroup,
    process_group,
)
from aroface.errors import InputError
from aroface.files import read_json
from aroface.models.checkpoint import read_weights
from aroface.models.registry import build
from aroface.training.execution import ExecutionOptions, Interrupted
from aroface.training.recipe import read_run
from aroface.training.sync_batchnorm import SharedBatchNorm, share_batch_norm
from aroface.training.train import train
from gloo import run_ranks
from training_runs import BATCH, stop_after, training_loop, write_data, write_recipe

ADAFACE = {"name": "adaface", "s": 64, "m": 0.4, "h": 0.333, "alpha": 0.01, "gradient": "exact"}
HEADS = {"arcface": {}, "adaface": {"head": {**ADAFACE, "norm_stats": "global"}}}
GRADIENT = {"kind": "gradient", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 0}
EPOCHS = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set for six steps an epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_runs, "IMAGES", 6 * BATCH)
        return write_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recipes whose curve does not depend on the number of processes, and one whose does."""
    folder = tmp_path_factory.mktemp("recipes")
    common = {"epochs": EPOCHS, "batch_norm": "synchronised"}
    found = {name: write_recipe(folder / name, **common, **head) for name, head in HEADS.items()}
    official = {"adversary": {"profile": "official", **GRADIENT}, "gradient_compression": "fp16"}
    found["official"] = write_recipe(folder, epochs=EPOCHS, **official)
    return found


def losses(run_dir: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run_dir / "log.jsonl").read_text().splitlines()]


def train_all(rank: int, recipes: dict[str, Path], data: Path, folder: Path, **execution: Any) -> dict[str, float]:
    """Train each recipe on these processes; returns a sum over each one's weights."""
    sums = {}
    for name, recipe in recipes.items():
        done = ExecutionOptions(log_every=1, check_every=3, save_every=5, loader_threads=1, **execution)
        checkpoint = train(recipe, data, folder / name, folder / f"{name}-state", done)
        if dist.is_initialized():
            dist.barrier()
        weights, _ = read_weights(checkpoint.parent / "model.safetensors")
        sums[name] = float(sum(value.double().sum() for value in weights.values()))
    return sums


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, recipes: dict[str, Path], data: Path) -> Path:
    folder = tmp_path_factory.mktemp("one")
    train_all(0, recipes, data, folder)
    return folder


@pytest.mark.parametrize(("world", "names"), [(2, ["arcface", "adaface", "official"]), (4, ["adaface"])])
def test_several_processes_follow_the_curve_of_one(tmp_path, world, names, recipes, data, alone):
    sums = run_ranks(world, train_all, {name: recipes[name] for name in names}, data, tmp_path)
    assert all(each == sums[0] for each in sums)
    for name in {*names} & {*HEADS}:
        assert losses(tmp_path / name) == pytest.approx(losses(alone / name), rel=2e-3)
        assert losses(tmp_path / name)[:4] == pytest.approx(losses(alone / name)[:4], rel=3e-4)
    if "official" in names:  # local batch norm, and an adversary that draws on each process for itself: another curve
        assert len(losses(tmp_path / "official")) == len(losses(alone / "official"))
        assert losses(tmp_path / "official") != pytest.approx(losses(alone / "official"), rel=1e-3)
    done = read_json(tmp_path / "adaface" / "checkpoint.json")
    assert done["execution"] == {"processes": world, "images_per_pass": BATCH // world, "compiled": False}


def train_until(rank: int, recipe: Path, data: Path, folder: Path, step: int | None) -> list[float]:
    """Train, or a part of it: the processes stop after a step as by a signal that only one of them has got."""
    run = read_run(recipe)
    with process_group("cpu") as group:
        execution = ExecutionOptions(log_every=1, save_every=100, loader_threads=1)
        loop = training_loop(run, data, folder, execution, group)
        if step is not None and group.rank == group.world_size - 1:
            stop_after(loop, step)
        try:
            loop.run()
        except Interrupted:
            assert step is not None
        group.wait()
    return losses(folder / "run")


def test_a_training_goes_on_with_another_number_of_processes(tmp_path, recipes, data, alone):
    """Four processes, then two, then one: weights, momentum and the shards of the classifier find each other again."""
    run_ranks(4, train_until, recipes["adaface"], data, tmp_path, 3)
    reached = len(losses(tmp_path / "run"))
    assert 3 <= reached <= 5, "all processes stop at one step, soon after one of them was told"
    run_ranks(2, train_until, recipes["adaface"], data, tmp_path, 9)
    found = train_until(0, recipes["adaface"], data, tmp_path, None)
    assert len(found) == len(losses(alone / "adaface"))
    assert found == pytest.approx(losses(alone / "adaface"), rel=2e-3)


def test_shared_batch_norm_keeps_the_names_of_the_state():
    ranks = ProcessGroup(torch.device("cpu"), 0, 2)
    plain, shared = build("r8s4", 16), build("r8s4", 16)
    share_batch_norm(shared, ranks)
    assert any(isinstance(part, SharedBatchNorm) for part in shared.modules())
    assert [*plain.state_dict()] == [*shared.state_dict()]
    trains = {name: part.requires_grad for name, part in plain.named_parameters()}
    assert {name: part.requires_grad for name, part in shared.named_parameters()} == trains


def test_a_process_too_many_for_the_gpus_is_one_line(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="process 3 of this machine has no GPU"), process_group("cuda"):
        pass


PATIENCE_S = 3.0


def slow_work(rank: int, how: str) -> str:
    """Outcome for the others while the first process works for longer than they would wait."""
    silent = how == "silent" and rank == 0
    module.PATIENCE, module.BEAT_S = timedelta(seconds=PATIENCE_S), 1000.0 if silent else 0.1
    with process_group("cpu") as ranks:
        try:
            if rank == 0:
                with ranks.at_work():
                    if how == "dead":  # a process that ends leaves its connections like this
                        for each in psutil.Process().net_connections("tcp"):
                            if each.status == psutil.CONN_ESTABLISHED:
                                socket.socket(fileno=os.dup(each.fd)).shutdown(socket.SHUT_RDWR)
                    time.sleep(2 * PATIENCE_S)
            ranks.wait()
        except RuntimeError as error:
            return str(error)
        return str(ranks.gather(rank))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[str]]:
    """What the processes come to in each case; all cases wait at the same time."""
    cases = ("alive", "dead", "silent")
    with ThreadPoolExecutor(len(cases)) as pool:
        return dict(zip(cases, pool.map(lambda how: run_ranks(2, slow_work, how), cases), strict=True))


def test_processes_wait_for_one_at_work_as_long_as_it_lives(outcomes):
    assert outcomes["alive"] == ["[0, 1]", "[0, 1]"]


@pytest.mark.parametrize("how", ["dead", "silent"])
def test_processes_give_up_one_at_work_that_is_dead_or_stands_still(how, outcomes):
    said = outcomes[how][1]
    assert "Connection closed by peer" in said or "Timed out" in said


@pytest.mark.parametrize(("asked", "images", "started"), [(4, 4, 2), (2, 4, 2), (4, None, 4), (3, 8, 1), (4, 2, 4)])
def test_no_more_processes_are_started_than_the_recipe_has_passes_for(
    tmp_path, monkeypatch, capsys, asked, images, started
):
    found = []
    monkeypatch.setattr("aroface.distributed.launch.launch", lambda processes, words: found.append(processes) or 0)
    monkeypatch.setattr("aroface.training.train.train", lambda *arguments: found.append(1))
    changes = {} if images is None else {"images_per_pass": images}
    words = ["--recipe", str(write_recipe(tmp_path, **changes)), "--data", "d", "--run-dir", "r", "--state-dir", "s"]
    assert main(["train", *words, "--processes", str(asked), "--device", "cpu"]) == 0
    assert found == [started]
    told = f"{started} of {asked} processes: the recipe takes {images} images at once, of a batch of {BATCH}"
    assert (told in capsys.readouterr().err) == (started < asked)
