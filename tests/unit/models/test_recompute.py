"""Activation checkpointing against plain passes: the same outputs, gradients and running statistics, bit for bit."""

from contextlib import nullcontext

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from aroface.models.iresnet import IResNet, IResNetShape
from aroface.models.module_contexts import frozen_statistics
from aroface.models.registry import build

SIZE = 32


def _make(arch):
    torch.manual_seed(0)
    if arch == "prelu":  # blocks with and without a projection, PReLU
        return IResNet(IResNetShape((2, 1), (8, 16), strides=(2, 2)), 6, SIZE)
    return build(arch, 6, input_size=SIZE)


def _images():
    return torch.rand(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def _two_steps(model, *, frozen=False):
    """Outputs and gradients of two steps, the statistics that remain, and the images' gradient."""
    images = _images().requires_grad_()
    outputs = []
    for _ in range(2):
        with frozen_statistics(model) if frozen else nullcontext():
            outputs.append(model(images))
        outputs[-1].pow(2).sum().backward()
    gradients = {name: each.grad for name, each in model.named_parameters() if each.requires_grad}
    return outputs, gradients, dict(model.named_buffers()), images.grad


@pytest.mark.parametrize("arch", ["r8s4", "prelu", "mbf"])
@pytest.mark.parametrize("mode", ["train", "eval", "frozen"])
def test_everything_is_as_without(arch, mode):
    plain, thrifty = _make(arch), _make(arch)
    thrifty.checkpoint_activations(True)
    plain.train(mode != "eval")
    thrifty.train(mode != "eval")
    expected, found = (_two_steps(model, frozen=mode == "frozen") for model in (plain, thrifty))
    assert all(torch.equal(*pair) for pair in zip(expected[0], found[0], strict=True))
    for part in (1, 2):
        assert expected[part].keys() == found[part].keys()
        assert all(torch.equal(value, found[part][name]) for name, value in expected[part].items())
    assert torch.equal(expected[3], found[3])
    counts = {int(value) for name, value in found[2].items() if name.endswith("num_batches_tracked")}
    assert counts == {2 if mode == "train" else 0}


def test_the_buffers_and_flags_are_the_same_objects_afterwards():
    model = _make("prelu")
    model.checkpoint_activations()
    before = {name: id(value) for name, value in model.named_buffers()}
    _two_steps(model)
    assert {name: id(value) for name, value in model.named_buffers()} == before
    assert all(part.track_running_stats for part in model.modules() if hasattr(part, "track_running_stats"))


def _kept_bytes(model):
    kept = 0

    def pack(tensor):
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model(_images())
    return kept


def test_less_is_kept_until_the_backward_pass():
    model = _make("prelu")
    plain = _kept_bytes(model)
    model.checkpoint_activations(True)
    assert _kept_bytes(model) < plain / 2
    model.checkpoint_activations(False)
    assert _kept_bytes(model) == plain


def test_the_switch_is_no_part_of_the_weights():
    model = _make("prelu")
    names = set(model.state_dict())
    model.checkpoint_activations(True)
    assert set(model.state_dict()) == names


def test_under_autocast_the_gradients_are_as_without():
    plain, thrifty = _make("prelu"), _make("prelu")
    thrifty.checkpoint_activations(True)
    for model in (plain, thrifty):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(_images())
        out.pow(2).sum().backward()
    expected = {name: each.grad for name, each in plain.named_parameters() if each.requires_grad}
    assert all(torch.equal(expected[name], each.grad) for name, each in thrifty.named_parameters() if name in expected)
