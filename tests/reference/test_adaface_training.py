"""Steps of the recipe ``adaface_official`` against a transcription of AdaFace's code, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.distributed as dist
import yaml
from tests.reference.adaface_training import AdaFaceTraining
from tests.reference.test_official_training import (
    CLASSES,
    DIMENSION,
    STRIDES,
    TINY,
    NoiseBatches,
    close,
    double,
    images_of,
    tiny_network,
)

from aroface.datasets.loader import Batch
from aroface.distributed.process_group import ProcessGroup
from aroface.planning.config import lay_over
from aroface.training import trainer as trainer_module
from aroface.training.data_parallel import split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import Recipe, RunRecipe
from gloo import run_ranks

STEPS, BATCH, SIDE = 12, 16, 4
LAST = 6  # images of each process in an epoch's last batch


class Epochs(NoiseBatches):
    """Noise whose epochs end with a smaller batch."""

    batches_per_epoch = STEPS // 2

    def batch(self, step: int) -> Batch:
        size, self.size = self.size, LAST if (step + 1) % self.batches_per_epoch == 0 else self.size
        try:
            return super().batch(step)
        finally:
            self.size = size


def mask_of(step: int, rank: int, count: int) -> torch.Tensor:
    kept = np.random.default_rng([step, rank, 7]).random((count, TINY.widths[-1], SIDE, SIDE)) >= 0.4
    return torch.from_numpy(kept).double()


def recipe_of(world: int) -> Recipe:
    recipes = yaml.safe_load(Path("workflow/registries/recipes.yaml").read_text())
    methods = yaml.safe_load(Path("workflow/registries/methods.yaml").read_text())
    recipe = lay_over(recipes["page2048"]["recipe"], recipes["adaface_official"]["recipe"])
    tiny: dict[str, Any] = {"arch": "tiny", "embedding_size": DIMENSION, "batch_size": BATCH, "epochs": 2}
    tiny |= {"images_per_pass": BATCH // world, "precision": "fp32", "cpu_threads": 1}
    tiny |= {"schedule": {"milestones": [1]}, "head": methods["adaface"]["head"], "low_quality": None}
    with patch("aroface.training.recipe.validate"):  # which does not know the tiny network
        return Recipe.from_mapping(lay_over(recipe, tiny))


def project(rank: int, world: int) -> dict[str, Any]:
    """Train by the project; returns what it started from and came to."""
    group = ProcessGroup(torch.device("cpu"), rank, world, dist.group.WORLD if world > 1 else None)
    step = 0

    def dropout(maps: torch.Tensor, p: float) -> torch.Tensor:
        return maps * mask_of(step, rank, len(maps)) / (1 - p)

    recipe = recipe_of(world)
    run = RunRecipe("toy", {"seed": 3}, recipe, "", {}, 0, {})
    with double(), tiny_network(), patch("torch.nn.functional.dropout", dropout):
        execution = ExecutionOptions()
        split = split_batch(recipe, execution, group)
        batches = Epochs(rank, split.per_rank)
        trainer = trainer_module.Trainer(run, CLASSES, batches.batches_per_epoch, split, execution, group)
        found: dict[str, Any] = {
            "start": {name: value.clone() for name, value in trainer.backbone.state_dict().items()},
            "classes": trainer.classifier.weight.detach().clone(),
        }
        losses = []
        for step in range(STEPS):
            losses.append(float(trainer.train_step(batches.batch(step)).loss))
            trainer.step += 1
        found["losses"] = losses
        found["end"] = {name: value.detach().clone() for name, value in trainer.backbone.state_dict().items()}
        found["classes_end"] = trainer.classifier.weight.detach().clone()
        found["norms"] = [value.clone() for value in trainer.classifier.head.buffers()]
    return found


@pytest.mark.parametrize("world", [1, 2])
def test_the_steps_are_adafaces(world: int) -> None:
    found = [project(0, 1)] if world == 1 else run_ranks(world, project, world)
    kernel = torch.cat([each["classes"] for each in found])
    official = AdaFaceTraining(found[0]["start"], kernel, world, [STEPS // 2], TINY.stem_stride, STRIDES)
    losses = []
    for step in range(STEPS):
        batches = [Epochs(rank, BATCH // world).batch(step) for rank in range(world)]
        masks = [mask_of(step, rank, len(batch.labels)) for rank, batch in enumerate(batches)]
        losses.append(official.step([images_of(each) for each in batches], [each.labels for each in batches], masks))
    absent = [name for name in found[0]["start"] if name.startswith(("features.weight", "layer1.0.downsample"))]
    for rank, own in enumerate(found):
        assert own["losses"] == pytest.approx(losses, abs=1e-11)
        for name, value in {**official.parameters, **official.buffers[rank]}.items():
            if name != "kernel" and name not in absent:
                close(own["end"][name], value, name, 1e-11)
        for name in absent:
            assert torch.equal(own["end"][name], own["start"][name])
        torch.testing.assert_close(own["norms"], official.running[rank], atol=1e-11, rtol=1e-11)
    classes = torch.cat([each["classes_end"] for each in found])
    torch.testing.assert_close(classes, official.parameters["kernel"].detach(), atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(kernel.norm(dim=1), torch.ones(CLASSES).double())
