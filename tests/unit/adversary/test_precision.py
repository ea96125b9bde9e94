"""The attack in a lower precision than the training."""

import pytest
import torch
from torch import nn

from aroface.adversary.alignment import AlignmentAdversary
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build as build_head
from aroface.models.registry import build
from aroface.training.execution import ExecutionOptions
from aroface.training.train import train
from training_runs import write_data, write_recipe

CLASSES, SIZE = 8, 32


def _batch(count=32):
    images = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return images, torch.arange(count) % CLASSES


def _generator():
    return torch.Generator().manual_seed(3)


class Spy:
    """A network, and the types in which its convolution and its classifier worked."""

    def __init__(self):
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 16)
        )
        self.classifier = Classifier(CLASSES, 16, build_head("arcface"), seed=0)
        self.inputs, self.convolutions, self.losses = [], [], []
        self.network[0].register_forward_pre_hook(lambda module, args: self.inputs.append(args[0].dtype))
        self.network[0].register_forward_hook(lambda module, args, out: self.convolutions.append(out.dtype))

    def loss(self, images, labels):
        loss = self.classifier(self.network(images), labels)
        self.losses.append(loss.dtype)
        return loss

    def attack(self, **changes):
        images, labels = _batch()
        adversary = AlignmentAdversary("clean", warped_ratio=1.0, **changes)
        return adversary.augment(images, labels, self.loss, self.network, _generator())


@pytest.mark.parametrize(("precision", "kind"), [("same", torch.float32), ("bf16", torch.bfloat16)])
def test_only_the_attack_is_cast_and_what_is_switched_off_inside_stays_off(precision, kind):
    spy = Spy()
    mixed = spy.attack(precision=precision, steps=2)
    assert spy.inputs == [torch.float32] * 2
    assert spy.convolutions == [kind] * 2
    assert spy.losses == [torch.float32] * 2
    spy.loss(mixed.images, mixed.labels).backward()
    assert spy.convolutions[-1] == torch.float32
    assert {mixed.images.dtype, mixed.warped.warps.scale.dtype, spy.network[0].weight.grad.dtype} == {torch.float32}


def test_nearly_all_signs_are_those_of_full_precision():
    full, low = (Spy().attack(precision=precision).warped for precision in ("same", "bf16"))
    moved = [torch.stack([warps.scale, warps.theta, *warps.shift.unbind(1)]) for warps in (full.warps, low.warps)]
    agree = float(((moved[0] - moved[1]).abs() < 0.1).float().mean())
    assert agree > 0.9


def test_the_callers_own_autocast_is_left_as_it_was():
    """Autocast keeps casts of weights by weight alone: a bfloat16 one must not reach the caller's float16 region."""
    spy = Spy()
    images, labels = _batch()
    with torch.autocast("cpu", torch.float16):
        spy.loss(images, labels)
        mixed = spy.attack(precision="bf16")
        spy.loss(mixed.images, mixed.labels).backward()
        assert torch.get_autocast_dtype("cpu") == torch.float16
    assert spy.convolutions == [torch.float16, torch.bfloat16, torch.float16]
    assert (spy.network[0].weight.grad != 0).any()


@pytest.mark.parametrize("arch", ["mbf", "r18"])
def test_this_projects_backbones_run_in_it(arch):
    network, kinds = build(arch).train(), set()
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(lambda module, args, out: kinds.add((type(module), out.dtype)))
    classifier = Classifier(CLASSES, 512, build_head("arcface"), seed=0)
    images, labels = torch.rand(4, 3, 112, 112) * 2 - 1, torch.arange(4)
    AlignmentAdversary("clean", precision="bf16")(images, labels, lambda x, y: classifier(network(x), y), network)
    assert (nn.Conv2d, torch.bfloat16) in kinds
    assert (nn.Linear, torch.float32) in kinds
    assert (nn.Linear, torch.bfloat16) not in kinds


def test_the_training_of_a_recipe_obeys(tmp_path, monkeypatch):
    """In the very loop of the recipes: the attack in bfloat16, the training itself in float32."""
    kinds = []
    convolve = nn.Conv2d.forward

    def spy(module, images):
        out = convolve(module, images)
        if images.shape[1] == 3:
            kinds.append(out.dtype)
        return out

    monkeypatch.setattr(nn.Conv2d, "forward", spy)
    adversary = {"kind": "gradient", "profile": "clean", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 0}
    recipe = write_recipe(tmp_path, adversary={**adversary, "precision": "bf16"})
    train(
        recipe, write_data(tmp_path / "toy"), tmp_path / "run", tmp_path / "state", ExecutionOptions(loader_threads=1)
    )
    assert kinds == [torch.bfloat16, torch.float32] * 8
