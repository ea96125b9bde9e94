"""A state can be saved after any number of steps, also none; a run resumed from it equals the undisturbed one."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.loader import BatchLoader
from aroface.distributed.process_group import process_group
from aroface.training.data_parallel import split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.loop import TrainingLoop
from aroface.training.recipe import read_run
from aroface.training.state import CheckpointWriter
from aroface.training.trainer import Trainer
from gloo import run_ranks
from training_runs import write_data, write_recipe

ATTACK = {"kind": "gradient", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 1}
ADAFACE = {"name": "adaface", "s": 64, "m": 0.4, "h": 0.333, "alpha": 0.01, "gradient": "exact", "norm_stats": "local"}
UNIFACE = {"name": "uniface", "s": 64, "m": 0.4, "negatives": 1}
RECIPES: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp16": {"precision": "fp16"},
    "official adversary": {"adversary": {"profile": "official", **ATTACK}},
    "fp16 with an adversary": {"precision": "fp16", "adversary": {"profile": "clean", **ATTACK}},
    "fp16 with sampled classes": {"precision": "fp16", "sample_rate": 0.5},
    "sampled classes": {"sample_rate": 0.5, "batch_norm": "averaged"},
    "without momentum": {"optimiser": {"momentum": 0.0}},
    "fp16 without momentum": {"precision": "fp16", "optimiser": {"momentum": 0.0, "decay_norm_and_bias": False}},
    "running statistics of the head": {"head": ADAFACE, "precision": "fp16"},
    "learned scalar of the head": {"head": UNIFACE},
    "learned scalar under fp16": {"head": UNIFACE, "precision": "fp16"},
    "identities": {"images_per_identity": 4},
}
MOMENTS = (0, 1, 3, 6)
STEPS = 6
SCALES = {"arcface": 2.0**81, "adaface": 2.0**85, "uniface": 2.0**81}
"""First factors of the loss: at first gradients overflow in float32, as under fp16, whose own arithmetic is slow."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("toy"))


def steps(rank: int, recipe: Path, data: Path, folder: Path, save_at: tuple[int, ...], until: int = STEPS) -> Any:
    """Resume from the newest state and do steps; returns how many were done before, and weights and momenta."""
    run = read_run(recipe)
    with process_group("cpu") as group, patch("torch.autocast", lambda *_, **__: nullcontext()):
        training_set = TrainingSet.open(data)
        execution = ExecutionOptions()
        split = split_batch(run.recipe, execution, group)
        place = (split.per_rank, run.seed, group.rank, group.world_size)
        identities = run.recipe.images_per_identity
        loader = BatchLoader(training_set, *place, threads=1, images_per_identity=identities)
        trainer = Trainer(run, training_set.num_classes, loader.batches_per_epoch, split, execution, group)
        loop = TrainingLoop(trainer, loader, folder / "run", folder)
        scale = SCALES[run.recipe.head["name"]]
        trainer.scaler = type(trainer.scaler)("cpu", init_scale=scale, enabled=trainer.scaler.is_enabled())
        writer = CheckpointWriter(folder, group.rank, group.world_size, keep=100)
        loop.resume()
        before = trainer.step
        for batch_ in [*loader.epoch(0, before), None][: until - before + 1]:
            if trainer.step in save_at:
                writer.save(trainer.step, *loop.state_dict())
                writer.wait()
            if batch_ is not None and trainer.step < until:
                trainer.train_step(batch_)
                trainer.step += 1
        writer.close()
        common, own = loop.state_dict()
        return before, {**flat(common), **flat(own)} | {"seconds": 0}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return {key: value.detach().clone() if isinstance(value, Tensor) else value for key, value in found.items()}


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_resume_after_any_number_of_steps(tmp_path, data, changes):
    recipe = write_recipe(tmp_path, **changes)
    _, expected = steps(0, recipe, data, tmp_path / "whole", MOMENTS)
    momentum = changes.get("optimiser", {}).get("momentum") != 0
    assert isinstance(expected["weight_momentum"], Tensor) == momentum, "some step is an update"
    left_out = changes.get("precision") == "fp16"
    for moment in MOMENTS:
        (tmp_path / f"{moment}").mkdir()
        (tmp_path / "whole" / f"state-{moment:09d}").rename(tmp_path / f"{moment}" / f"state-{moment:09d}")
        before, found = steps(0, recipe, data, tmp_path / f"{moment}", ())
        assert before == moment
        if moment == 1:
            state = torch.load(tmp_path / "1" / "state-000000001" / "rank-000-of-001.pt", weights_only=True)
            assert (state["weight_momentum"] is None) == (left_out or not momentum)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.equal(found[key], value) if isinstance(value, Tensor) else found[key] == value, (moment, key)


def test_resume_before_the_first_update_on_another_number_of_processes(tmp_path, data):
    recipe = write_recipe(tmp_path, precision="fp16", batch_norm="synchronised")
    run_ranks(2, steps, recipe, data, tmp_path, (1,), 1)
    assert steps(0, recipe, data, tmp_path, (), 1)[1]["weight_momentum"] is None, "the first step overflows"
    before, found = steps(0, recipe, data, tmp_path, ())
    assert before == 1
    assert isinstance(found["weight_momentum"], Tensor)
