"""Golden loss curves: of recipes that were written before an option existed, and of each head and adversary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import yaml

from aroface.datasets.loader import Batch
from aroface.datasets.manifest import manifest_hash
from aroface.distributed.process_group import ProcessGroup
from aroface.files import sha256_file, write_json
from aroface.models.iresnet import IResNetShape
from aroface.models.registry import ARCHITECTURES, _iresnet
from aroface.planning.config import lay_over
from aroface.training.data_parallel import split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import Recipe, RunRecipe, recipe_hash
from aroface.training.train import train
from aroface.training.trainer import Trainer
from repository import GOLDEN
from training_runs import IDENTITY, write_data

EXPECTED = GOLDEN / "curves.json"
STEP_CURVES = GOLDEN / "step_curves.json"
"""Losses of 50 steps on noise, by the names of `VARIANTS`."""
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 2e-2}
"""Relative, for the first steps: another processor takes sums in another order, and later steps magnify that."""
FIRST = 4


def write_run(folder: Path, recipe: dict[str, Any]) -> Path:
    """The recipe file of a run, with nothing in it but what is given."""
    hash_ = recipe_hash(recipe, manifest_hash(IDENTITY), 5, 1)
    run = f"toy-toy-r8s4-s5-{hash_[:8]}"
    entry = {"run": run, "experiment": {"method": "toy", "dataset": "toy", "arch": "r8s4", "seed": 5}}
    entry |= {"recipe": recipe, "recipe_hash": hash_, "semantics": 1}
    entry |= {"data": {"name": "toy", "manifest_hash": manifest_hash(IDENTITY)}}
    path = folder / f"{run}.json"
    write_json(path, entry)
    return path


def course(folder: Path, recipe: dict[str, Any], data: Path) -> tuple[list[float], str]:
    """Losses of a training, and the hash of its weights."""
    execution = ExecutionOptions(log_every=1, loader_threads=1)
    checkpoint = train(write_run(folder, recipe), data, folder / "run", folder / "state", execution)
    lines = (folder / "run" / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines], sha256_file(checkpoint.parent / "model.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize("name", [*json.loads(EXPECTED.read_text())])
def test_a_recipe_of_before_trains_as_before(name: str, data: Path, tmp_path: Path) -> None:
    golden = json.loads(EXPECTED.read_text())[name]
    losses, _ = course(tmp_path, golden["recipe"], data)
    tolerance = TOLERANCE[golden["recipe"]["precision"]]
    assert losses[:FIRST] == pytest.approx(golden["losses"][:FIRST], rel=tolerance)


STEPS, SIZE, CLASSES = 50, 6, 12
TINY = IResNetShape((1, 1), (6, 10), stem_stride=8, strides=(2, 2))
CLEAN = {"kind": "gradient", "profile": "clean", "warmup_epochs": 1}
OFFICIAL = {**CLEAN, "profile": "official"}
SOFTMAX = {"name": "softmax", "s": 64}
VARIANTS: dict[str, dict[str, Any]] = {
    "arcface": {"adversary": CLEAN},
    "cosface": {"head": {"name": "cosface"}, "adversary": CLEAN},
    "adaface": {"head": {"name": "adaface", "norm_stats": "local"}, "adversary": CLEAN},
    "curricularface": {"head": {"name": "curricularface"}, "adversary": CLEAN},
    "elasticface": {"head": {"name": "elasticface"}, "adversary": CLEAN},
    "sface": {"head": {"name": "sface"}, "adversary": CLEAN},
    "magface": {"head": {"name": "magface"}, "adversary": CLEAN},
    "softmax": {"head": SOFTMAX, "adversary": CLEAN},
    "combined": {"head": {"name": "combined"}, "adversary": CLEAN},
    "circle": {"head": {"name": "circle"}, "adversary": CLEAN},
    "mvsoftmax": {"head": {"name": "mvsoftmax"}, "adversary": CLEAN},
    "uniface": {"head": {"name": "uniface"}, "adversary": CLEAN},
    "unpg": {"pairs": {"kind": "unpg"}, "adversary": CLEAN},
    "triplet": {"pairs": {"kind": "triplet", "in_attack": True, "class_weight": 0.0}, "adversary": OFFICIAL},
    "circle of pairs": {"pairs": {"kind": "circle", "class_weight": 0.5}, "adversary": CLEAN},
    "topology": {"batch_loss": {"kind": "topology", "hardness": "exact"}, "adversary": CLEAN},
    "diversion": {"batch_loss": {"kind": "diversion", "margin": 1.5}, "adversary": CLEAN},
    "symmetry": {"batch_loss": {"kind": "symmetry"}, "adversary": CLEAN},
    "no adversary": {"adversary": {"kind": "none"}},
    "official adversary": {"adversary": OFFICIAL},
    "random adversary": {"adversary": {**CLEAN, "kind": "random"}},
    "subset attacked": {"adversary": {**CLEAN, "adversary_on": "subset"}},
    "running statistics": {"adversary": {**CLEAN, "statistics": "running"}},
    "two steps in a budget": {"adversary": {**CLEAN, "start": "uniform", "steps": 2, "landmark_budget_px": 6.0}},
    "attack in bf16": {"adversary": {**CLEAN, "precision": "bf16"}},
    "bf16": {"precision": "bf16", "adversary": OFFICIAL},
    "fp16": {"precision": "fp16", "adversary": {**OFFICIAL, "scale_loss": False}},
    "classes per pass": {"sample_rate": 0.5, "class_draw": "pass", "class_update": "all", "adversary": OFFICIAL},
    "classes per step": {"sample_rate": 0.5, "batch_norm": "averaged", "adversary": CLEAN},
    "passes": {"images_per_pass": 3, "sample_rate": 0.5, "adversary": CLEAN},
    "low quality": {"low_quality": {"crop": 0.5, "resolution": 0.5, "photometric": 0.5, "grey": "bgr"}},
    "milestones": {"schedule": {"kind": "step", "milestones": [2, 3], "factor": 0.1, "warmup_epochs": 1}},
    "adaface training": {
        "head": {"name": "adaface", "norm_stats": "local"},
        "backbone": {"dropout": 0.4, "initialisation": "kaiming", "plain_features": True, "identity_shortcut": True},
        "optimiser": {"decay_batch_norm": False, "clip_norm": None},
        "class_weights": "unit",
        "batch_norm": "broadcast",
        "autocast": "everything",
    },
}


class NoiseBatches:
    """The same noise for each step, whoever asks."""

    batches_per_epoch = STEPS // 5

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for number in range(start, self.batches_per_epoch):
            draw = np.random.default_rng([epoch, number])
            images = torch.from_numpy(draw.integers(0, 256, (SIZE, 112, 112, 3), np.uint8))
            labels = torch.from_numpy(draw.integers(0, CLASSES, SIZE))
            yield Batch(images, labels, np.arange(SIZE), torch.zeros(SIZE, dtype=torch.bool))


def tiny_recipe(changes: dict[str, Any]) -> Recipe:
    """The paper's recipe on a tiny network, with some changes."""
    recipe = yaml.safe_load(Path("workflow/registries/recipes.yaml").read_text())["page2048"]["recipe"]
    tiny: dict[str, Any] = {"arch": "tiny", "embedding_size": 16, "batch_size": SIZE, "epochs": 5}
    tiny |= {"precision": "fp32", "cpu_threads": 1, "adversary": {"kind": "none"}, "optimiser": {"lr": 0.05}}
    if "head" in changes:
        recipe = {**recipe, "head": {}}
    with patch("aroface.training.recipe.validate"):  # which does not know the tiny network
        return Recipe.from_mapping(lay_over(lay_over({**recipe, "adversary": {}}, tiny), changes))


def step_losses(changes: dict[str, Any], steps: int = STEPS) -> list[float]:
    """Losses of the first steps; the learning rate is that of a training of `STEPS` steps."""
    run = RunRecipe("toy", {"seed": 3}, tiny_recipe(changes), "", {}, 0, {})
    with patch.dict(ARCHITECTURES, tiny=_iresnet("tiny", TINY)):
        group = ProcessGroup(torch.device("cpu"))
        execution, steps_per_epoch = ExecutionOptions(), NoiseBatches.batches_per_epoch
        split = split_batch(run.recipe, execution, group)
        trainer = Trainer(run, CLASSES, steps_per_epoch, split, execution, group)
    assert trainer.steps == STEPS
    everything = (batch for epoch in range(trainer.recipe.epochs) for batch in NoiseBatches().epoch(epoch))
    losses = []
    for batch in islice(everything, steps):
        losses.append(float(trainer.train_step(batch).loss))
        trainer.step += 1
    return losses


@pytest.mark.parametrize("name", VARIANTS)
def test_each_head_and_adversary_trains_as_before(name: str) -> None:
    expected = json.loads(STEP_CURVES.read_text())[name]
    losses = step_losses(VARIANTS[name], FIRST)
    tolerance = TOLERANCE[VARIANTS[name].get("precision", "fp32")]
    assert len(expected) == STEPS
    assert losses == pytest.approx(expected[:FIRST], rel=tolerance)
