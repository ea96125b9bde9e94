"""A backbone that is trained as AdaFace's is, as a model, an IResNet like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from aroface.errors import InputError
from aroface.models.checkpoint import read_weights, save_weights
from aroface.models.iresnet import IResNet, IResNetShape
from aroface.models.options import INSIGHTFACE, BackboneOptions
from aroface.models.registry import build

SHAPE = IResNetShape((2, 1), (6, 10), stem_stride=4, strides=(2, 2))
ADAFACE = BackboneOptions(dropout=0.4, initialisation="kaiming", plain_features=True, identity_shortcut=True)


def _trained(options: BackboneOptions) -> IResNet:
    """A small network after a few steps."""
    torch.manual_seed(0)
    network = IResNet(SHAPE, 8, 32, options).train()
    optimiser = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.05)
    for _ in range(3):
        network(torch.rand(6, 3, 32, 32)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    return network


@pytest.mark.parametrize(
    "options", [ADAFACE, INSIGHTFACE, *(BackboneOptions(**{name: value}) for name, value in {
        "dropout": 0.4, "initialisation": "kaiming", "plain_features": True, "identity_shortcut": True
    }.items())], ids=str
)  # fmt: skip
def test_trained_weights_are_those_of_a_plain_network(options: BackboneOptions, tmp_path: Path) -> None:
    trained = _trained(options).eval()
    save_weights(tmp_path / "model.safetensors", trained, {"arch": "tiny"})
    weights, _ = read_weights(tmp_path / "model.safetensors")
    plain = IResNet(SHAPE, 8, 32).eval()
    plain.load_state_dict(weights, strict=True)
    images = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(plain(images), trained(images), rtol=1e-5, atol=1e-5)


def test_the_start_is_adafaces() -> None:
    torch.manual_seed(0)
    network = build("r18", options=ADAFACE)
    assert isinstance(network, IResNet)
    spread = {name: float(value.detach().std()) for name, value in network.named_parameters() if value.ndim > 1}
    assert spread["conv1.weight"] == pytest.approx(0.0587, rel=0.05)
    assert spread["layer4.1.conv2.weight"] == pytest.approx(0.0208, rel=0.05)
    assert spread["fc.weight"] == pytest.approx(0.0625, rel=0.05)
    assert not network.fc.bias.any()
    frozen = {name for name, value in network.named_parameters() if not value.requires_grad}
    shortcut = {f"layer1.0.downsample.{name}" for name in ("0.weight", "1.weight", "1.bias")}
    assert frozen == {"features.weight", "features.bias", *shortcut}


def test_a_plain_network_starts_as_before() -> None:
    torch.manual_seed(0)
    before = build("r8s4", 16).state_dict()
    torch.manual_seed(0)
    after = build("r8s4", 16, options=BackboneOptions()).state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert float(before["layer1.0.conv1.weight"].std()) == pytest.approx(0.1, rel=0.05)


def test_dropout_acts_in_training_only() -> None:
    network = _trained(BackboneOptions(dropout=0.5))
    images = torch.rand(4, 3, 32, 32)
    assert not torch.equal(network(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


def test_the_output_may_follow_autocast() -> None:
    network = _trained(INSIGHTFACE)
    kinds: list[torch.dtype] = []
    network.fc.register_forward_hook(lambda module, given, out: kinds.append(out.dtype))
    for inside in (False, True):
        network.output_in_autocast = inside
        with torch.autocast("cpu", torch.bfloat16):
            assert network(torch.rand(4, 3, 32, 32)).dtype == torch.float32
    assert kinds == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_wrong_share_of_dropout(dropout: float) -> None:
    with pytest.raises(InputError, match="dropout is"):
        BackboneOptions(dropout=dropout)


def test_only_an_iresnet_has_options() -> None:
    with pytest.raises(InputError, match="options of the backbone mbf; expected none, or one of r18"):
        build("mbf", options=ADAFACE)
    assert isinstance(build("mbf", options=BackboneOptions()), nn.Module)
