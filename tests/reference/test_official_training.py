"""Twenty steps of this project's training against a transcription of the authors', with the same draws, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.distributed as dist
import yaml
from tests.reference.official_training import Draws, OfficialTraining, iresnet, warp

from aroface.datasets.loader import Batch
from aroface.distributed.process_group import ProcessGroup
from aroface.models.iresnet import IResNetShape
from aroface.models.registry import ARCHITECTURES, _iresnet
from aroface.planning.config import lay_over
from aroface.training import trainer as trainer_module
from aroface.training.data_parallel import split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import Recipe, RunRecipe
from gloo import run_ranks

STEPS, BATCH, CLASSES, DIMENSION = 20, 16, 12, 16
STRIDES = (2, 2)
TINY = IResNetShape((2, 1), (6, 10), stem_stride=8, strides=STRIDES)
HEADS = {
    "arcface": {"name": "arcface", "s": 64, "m": 0.5, "gradient": "straight_through", "guard": False},
    "cosface": {"name": "cosface", "s": 64, "m": 0.4},
}


class NoiseBatches:
    """Noise on one process, and the labels of a toy set; the noise of each step is the same for whoever asks."""

    batches_per_epoch = STEPS // 2

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def batch(self, step: int) -> Batch:
        draw = np.random.default_rng([step, self.rank])
        images = torch.from_numpy(draw.integers(0, 256, (self.size, 112, 112, 3), np.uint8))
        labels = torch.from_numpy(draw.integers(0, CLASSES, self.size))
        return Batch(images, labels, np.arange(self.size), torch.zeros(self.size, dtype=torch.bool))


def images_of(batch: Batch, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return batch.images.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1


def _in_double(batch: Batch, device: torch.device, channels_last: bool = False) -> torch.Tensor:
    return images_of(batch)


@contextmanager
def double() -> Iterator[None]:
    """Let the project compute in float64 where it says float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with (
            patch.object(torch.Tensor, "float", torch.Tensor.double),
            patch.object(trainer_module, "to_network", _in_double),
        ):
            yield
    finally:
        torch.set_default_dtype(before)


def tiny_network() -> Any:
    """A context in which there is the architecture ``tiny``."""
    return patch.dict(ARCHITECTURES, tiny=_iresnet("tiny", TINY))


def close(value: torch.Tensor, expected: torch.Tensor, name: str, tolerance: float) -> None:
    """Compare two tensors, with a message that names them."""
    torch.testing.assert_close(value, expected, atol=tolerance, rtol=tolerance, msg=lambda text: f"{name}: {text}")


def recipe_of(head: str, **changes: Any) -> Recipe:
    """The recipe ``released512`` of the rows with the adversary, on a tiny network."""
    recipes = yaml.safe_load(Path("workflow/registries/recipes.yaml").read_text())
    recipe = lay_over(recipes["page2048"]["recipe"], recipes["released512"]["recipe"])
    tiny: dict[str, Any] = {"arch": "tiny", "embedding_size": DIMENSION, "batch_size": BATCH, "epochs": 2}
    tiny |= {"precision": "fp32", "gradient_compression": "none", "cpu_threads": 1}
    tiny |= {"adversary": {"kind": "gradient"}, "head": HEADS[head]}
    with patch("aroface.training.recipe.validate"):  # which does not know the tiny network
        return Recipe.from_mapping(lay_over(lay_over(recipe, tiny), changes))


def trainer_of(recipe: Recipe, group: ProcessGroup) -> trainer_module.Trainer:
    run = RunRecipe("toy", {"seed": 3}, recipe, "", {}, 0, {})
    execution = ExecutionOptions()
    split = split_batch(recipe, execution, group)
    return trainer_module.Trainer(run, CLASSES, NoiseBatches.batches_per_epoch, split, execution, group)


def draws_of(trainer: trainer_module.Trainer, count: int) -> Draws:
    """Draws that the project's adversary is about to make, in its order."""
    generator = trainer.streams.generator("adversary", trainer.step)
    kept = torch.randperm(count, generator=generator)[: int(0.75 * count)]
    warped = torch.randperm(count, generator=generator)[: count - int(0.75 * count)]
    steps = 0.1 + 0.001 * torch.randn(3, generator=generator)
    scale = 1 + 0.01 * torch.randn(count, generator=generator)
    theta = 0.01 * torch.randn(count, generator=generator)
    return Draws(steps, scale, theta, 0.01 * torch.randn(count, 2, generator=generator), kept, warped)


def project(rank: int, recipe: Recipe, world: int) -> dict[str, Any]:
    """Train by the project; returns what it started from, drew and came to."""
    group = ProcessGroup(torch.device("cpu"), rank, world, dist.group.WORLD if world > 1 else None)
    with double(), tiny_network():
        trainer = trainer_of(recipe, group)
        batches = NoiseBatches(rank, trainer.split.per_rank)
        start = {name: value.clone() for name, value in trainer.backbone.state_dict().items()}
        found: dict[str, Any] = {"start": start, "classes": trainer.classifier.weight.detach().clone()}
        found |= {"draws": [], "losses": []}
        for step in range(STEPS):
            batch = batches.batch(step)
            found["draws"].append(draws_of(trainer, len(batch.labels)))
            found["losses"].append(float(trainer.train_step(batch).loss))
            trainer.step += 1
        found["end"] = {name: value.detach().clone() for name, value in trainer.backbone.state_dict().items()}
        found["classes_end"] = trainer.classifier.weight.detach().clone()
    return found


def project_all(rank: int, recipes: dict[str, Recipe], world: int) -> dict[str, dict[str, Any]]:
    """Train each recipe on the same processes."""
    return {name: project(rank, recipe, world) for name, recipe in recipes.items()}


@pytest.fixture(scope="module", params=[1, 2])
def trained(request: pytest.FixtureRequest) -> dict[str, list[dict[str, Any]]]:
    """What each process came to, by head."""
    recipes, world = {head: recipe_of(head) for head in HEADS}, request.param
    ranks = [project_all(0, recipes, 1)] if world == 1 else run_ranks(world, project_all, recipes, world)
    return {head: [each[head] for each in ranks] for head in HEADS}


def transcription(found: list[dict[str, Any]], head: str, lr: float) -> tuple[OfficialTraining, list[float]]:
    """Train by the transcription, from the same start with the same draws."""
    network = partial(iresnet, stem_stride=TINY.stem_stride, strides=STRIDES, fc_dtype=torch.float64)
    classes = torch.cat([each["classes"] for each in found])
    official = OfficialTraining(found[0]["start"], classes, network, head, lr, STEPS, len(found))
    losses = []
    for step in range(STEPS):
        batches = [NoiseBatches(rank, BATCH // len(found)).batch(step) for rank in range(len(found))]
        images, labels = [images_of(each) for each in batches], [each.labels for each in batches]
        losses.append(official.step(images, labels, [each["draws"][step] for each in found]))
    return official, losses


@pytest.mark.parametrize("head", [*HEADS])
def test_twenty_steps_are_the_official_ones(head: str, trained: dict[str, list[dict[str, Any]]]) -> None:
    found = trained[head]
    official, losses = transcription(found, head, recipe_of(head).optimiser.lr)
    for own, buffers in zip(found, official.buffers, strict=True):
        for name, value in {**official.parameters, **buffers}.items():
            close(own["end"][name], value, name, 1e-12)
        assert own["losses"] == pytest.approx(losses, abs=1e-11)
    classes = torch.cat([each["classes_end"] for each in found])
    torch.testing.assert_close(classes, official.weight, atol=1e-12, rtol=1e-12)
    moved = (classes - torch.cat([each["classes"] for each in found])).abs().max()
    assert moved > 1e-3, "nothing was trained"


def _fit(trainer: trainer_module.Trainer, batch: Batch, network: Any, draws: Draws) -> None:
    """Give each image a class of its own, with a weight near the feature that the attack starts from: an easy batch."""
    batch.labels = torch.arange(len(batch.labels))
    state = {name: value.clone() for name, value in trainer.backbone.state_dict().items()}
    with torch.no_grad():
        start = warp(images_of(batch, torch.float32), draws.scale, draws.theta, draws.shift)
        features = torch.nn.functional.normalize(network(state, start))
        noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
        trainer.classifier.weight.copy_(features + 0.3 * torch.nn.functional.normalize(noise))


@pytest.mark.parametrize("scale_loss", [False, True])
def test_under_fp16_the_unscaled_attack_underflows_as_released(scale_loss: bool) -> None:
    def half(state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.float16):
            return iresnet(state, images, stem_stride=TINY.stem_stride, strides=STRIDES, fc_dtype=torch.float32)

    changes: dict[str, Any] = {"precision": "fp16", "embedding_size": 64, "adversary": {"scale_loss": scale_loss}}
    recipe = recipe_of("arcface", **changes)
    with tiny_network(), patch(f"{__name__}.CLASSES", BATCH):
        trainer = trainer_of(recipe, ProcessGroup(torch.device("cpu")))
    batch = NoiseBatches(0, BATCH).batch(0)
    draws = draws_of(trainer, BATCH)
    _fit(trainer, batch, half, draws)
    start = {name: value.clone() for name, value in trainer.backbone.state_dict().items()}
    factor = 65536.0 if scale_loss else 256.0  # enough for the attack, or without overflow in the step
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=factor)
    official = OfficialTraining(
        start, trainer.classifier.weight.detach().clone(), half, "arcface", recipe.optimiser.lr, STEPS, 1, factor
    )
    numbers = trainer.train_step(batch).numbers()
    official.step([images_of(batch, torch.float32)], [batch.labels], [draws])
    assert official.zero_signs[0] > 0.9
    if scale_loss:
        assert numbers["zero_signs"] < 0.1
        return
    assert numbers["zero_signs"] == pytest.approx(official.zero_signs[0], abs=0.02)
    ours = torch.cat([(value.detach() - start[name]).flatten() for name, value in trainer.backbone.named_parameters()])
    theirs = torch.cat([(official.parameters[name].detach() - start[name]).flatten() for name in official.parameters])
    assert (ours - theirs).norm() < 0.05 * theirs.norm()


def test_the_recipes_of_the_paper_say_what_was_released() -> None:
    assert not recipe_of("arcface").adversary["scale_loss"]
    assert recipe_of("arcface").growth_interval == 100
