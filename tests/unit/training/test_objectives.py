"""Objectives of pairs, learned scalars and batches, trained by two processes as by one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from aroface.datasets.formats.training_set import TrainingSet
from aroface.distributed.process_group import process_group
from aroface.errors import InputError
from aroface.training.data_parallel import check_equal, split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import read_run
from aroface.training.train import _loader
from aroface.training.trainer import Trainer
from gloo import run_ranks
from training_runs import write_data, write_recipe

STEPS = 3
BASE: dict[str, Any] = {"batch_norm": "synchronised", "gradient_compression": "none", "flip": 0.5}
UNIFACE = {"name": "uniface", "s": 64, "m": 0.4, "negatives": 1}
TRIPLET = {"kind": "triplet", "in_attack": True, "weight": 1, "class_weight": 0.1, "margin": 0.9}
RECIPES: dict[str, dict[str, Any]] = {
    "learned threshold": {"head": UNIFACE},
    "unpg": {
        "pairs": {"kind": "unpg", "in_attack": True, "whisker": 1.5, "reference_batch": None},
        "images_per_identity": 2,
    },
    "triplets": {"pairs": {**TRIPLET, "negatives": "semi_hard"}, "images_per_identity": 4},
    "triplets alone": {
        "pairs": {**TRIPLET, "class_weight": 0, "negatives": "violating"},
        "images_per_identity": 4,
    },
    "diversion": {"batch_loss": {"kind": "diversion", "weight": 5, "margin": 1.5, "pixels": 7}},
    "halves": {"batch_loss": {"kind": "symmetry", "weight": 5}},
    "topology": {"batch_loss": {"kind": "topology", "weight": 0.1, "distances": "cosine", "hardness": "exact"}},
}
LOCAL = ("topology",)
"""Batch losses of each process's own images, which are others on two processes."""


def losses(rank: int, recipes: dict[str, Path], data: Path) -> dict[str, Any]:
    """Losses of the first steps of each recipe; the processes' weights are equal after them."""
    found = {}
    for name, recipe in recipes.items():
        run = read_run(recipe)
        with process_group("cpu") as group:
            training_set, execution = TrainingSet.open(data), ExecutionOptions(loader_threads=1)
            split = split_batch(run.recipe, execution, group)
            loader = _loader(run, training_set, split, execution, group)
            trainer = Trainer(run, training_set.num_classes, loader.batches_per_epoch, split, execution, group)
            found[name] = []
            for batch in islice(loader.epoch(0), STEPS):
                found[name].append(float(trainer.train_step(batch).loss))
                trainer.step += 1
            for module in (trainer.backbone, trainer.classifier.head):
                check_equal(module, group, run.name, trainer.step)
            found[f"{name}, may grow"] = [trainer.loss_may_grow]
            found[f"{name}, scalars"] = [float(scalar.detach()) for scalar in trainer.classifier.head.parameters()]
    return found


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    recipes = {
        name: write_recipe(tmp_path / str(number), **BASE, **changes)
        for number, (name, changes) in enumerate(RECIPES.items())
    }
    alone = losses(0, recipes, data)
    first, second = run_ranks(2, losses, recipes, data)
    assert first == second
    for name, expected in alone.items():
        if name not in LOCAL:
            assert first[name] == pytest.approx(expected, rel=1e-3), name
    growing = {name for name in RECIPES if alone[f"{name}, may grow"] == [True]}
    assert growing == {"triplets", "triplets alone"}
    assert len({*alone["learned threshold"]}) == STEPS
    assert alone["learned threshold, scalars"] != pytest.approx([4.382], abs=1e-6), "log 80 where it starts"


def test_a_last_batch_cannot_have_whole_identities(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    run = read_run(write_recipe(tmp_path, batch_size=12, images_per_identity=2, last_batch="kept"))
    with process_group("cpu") as group, pytest.raises(InputError, match="last_batch: a last batch of 4 images with"):
        execution = ExecutionOptions()
        _loader(run, TrainingSet.open(data), split_batch(run.recipe, execution, group), execution, group)


def test_batches_hold_the_images_of_each_identity(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    run = read_run(write_recipe(tmp_path, images_per_identity=4))
    with process_group("cpu") as group:
        execution = ExecutionOptions()
        split = split_batch(run.recipe, execution, group)
        loader = _loader(run, TrainingSet.open(data), split, execution, group)
        batches = [batch.labels.clone() for batch in loader.epoch(2)]
        resumed = [batch.labels.clone() for batch in loader.epoch(2, 5)]
    assert len(batches) == 8
    for labels in batches:
        assert torch.bincount(labels).unique().tolist() in ([0, 4], [4])
    assert all(torch.equal(one, other) for one, other in zip(batches[5:], resumed, strict=True))
