"""AdaFace's released backbones, rebuilt here layer by layer, against the IResNet that their checkpoints load into."""

import pytest
import torch
from torch import nn

from aroface.errors import InputError
from aroface.models.checkpoint import load_released
from aroface.models.registry import build


class _Block(nn.Module):
    def __init__(self, channels, depth, stride):
        super().__init__()
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride)
            if channels == depth
            else nn.Sequential(nn.Conv2d(channels, depth, 1, stride, bias=False), nn.BatchNorm2d(depth))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, depth, 3, 1, 1, bias=False),
            nn.BatchNorm2d(depth),
            nn.PReLU(depth),
            nn.Conv2d(depth, depth, 3, stride, 1, bias=False),
            nn.BatchNorm2d(depth),
        )

    def forward(self, maps):
        return self.res_layer(maps) + self.shortcut_layer(maps)


class _AdaFaceBackbone(nn.Module):
    """IR-18 of AdaFace; takes BGR."""

    def __init__(self, embedding_size):
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        blocks, channels = [], 64
        for depth in (64, 128, 256, 512):
            blocks += [_Block(channels, depth, 2), _Block(depth, depth, 1)]
            channels = depth
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(512 * 49, embedding_size),
            nn.BatchNorm1d(embedding_size, affine=False),
        )

    def forward(self, images):
        return self.output_layer(self.body(self.input_layer(images)))


class _Callback:
    """Stands for the class of a Lightning callback, which is a key of its checkpoints."""


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    model = _AdaFaceBackbone(8)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return model.eval()


def _lightning(state):
    return {
        "epoch": 25,
        "callbacks": {_Callback: {"best_model_path": "x"}},
        "state_dict": {**{f"model.{name}": value for name, value in state.items()}, "head.kernel": torch.zeros(8, 2)},
    }


def test_embeddings_are_the_same_on_rgb(tmp_path, backbone):
    torch.save(_lightning(backbone.state_dict()), tmp_path / "adaface.ckpt")
    found = load_released(tmp_path / "adaface.ckpt")
    assert (found.arch, found.layout, found.color) == ("r18", "adaface", "BGR")
    model = build(found.arch, 8)
    model.load_state_dict(found.state)
    rgb = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        found, expected = model.eval()(rgb), backbone(rgb.flip(1))
    assert float((found - expected).norm() / expected.norm()) < 1e-6


def test_a_backbone_of_its_kind_that_was_trained_on_rgb_keeps_its_channels(tmp_path, backbone):
    torch.save(backbone.state_dict(), tmp_path / "rgb.pt")
    found = load_released(tmp_path / "rgb.pt", "RGB")
    assert (found.layout, found.color) == ("adaface", "RGB")
    assert torch.equal(found.state["conv1.weight"], backbone.input_layer[0].weight)


def test_a_missing_layer_is_named_as_it_is_called_here(tmp_path, backbone):
    state = backbone.state_dict()
    del state["body.3.res_layer.4.weight"]
    torch.save(_lightning(state), tmp_path / "adaface.ckpt")
    with pytest.raises(InputError, match=r"adaface\.ckpt: layer2\.1\..*: missing; expected a checkpoint of r18"):
        load_released(tmp_path / "adaface.ckpt")
