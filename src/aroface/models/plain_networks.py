"""IResNet and MobileFaceNet for inference, in PyTorch alone: exported folders hold a copy of this file.

    network = load_network(".")             # the folder with config.json and model.safetensors
    features = network(normalise(crops))    # crops: uint8 (N, S, S, 3), RGB, aligned

Needs torch and safetensors. Parameter names are those of insightface's ``arcface_torch``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def load_network(folder: str | Path) -> PlainNetwork:
    """Build the network of ``config.json`` and fill it with the weights beside it, in evaluation mode."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    network = PlainNetwork(config)
    network.backbone.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return network.eval()


class PlainNetwork(nn.Module):
    """A backbone, and the pixels that it takes.

    Args:
        config: Content of ``config.json``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        shape, size, features = config["network"], config["input_size"], config["num_features"]
        family = _PlainIResNet if shape["family"] == "iresnet" else _PlainMobileFaceNet
        self.backbone = family(shape, size, features)
        self.mean, self.std = float(config["mean"]), float(config["std"])

    def normalise(self, crops: Any) -> Tensor:
        """Make images (N, 3, S, S) of RGB crops, uint8 (N, S, S, 3), as an array or a tensor."""
        return (torch.as_tensor(crops).permute(0, 3, 1, 2).float() - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, S, S) as features (N, D), not normalised; compare them by their cosine."""
        features: Tensor = self.backbone(images)
        return features


class _Block(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, activation: str) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.prelu = _activation(activation, outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.downsample = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.prelu(self.bn2(self.conv1(self.bn1(maps))))
        out: Tensor = self.bn3(self.conv2(residual)) + self.downsample(maps)
        return out


class _PlainIResNet(nn.Sequential):
    """Modules run in the order of their definition."""

    def __init__(self, shape: Mapping[str, Any], side: int, features: int) -> None:
        super().__init__()
        width, kernel, activation = shape["widths"][0], shape["stem_kernel"], shape["activation"]
        self.conv1 = nn.Conv2d(3, width, kernel, shape["stem_stride"], kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = _activation(activation, width)
        side = -(-side // shape["stem_stride"])
        stages: Sequence[tuple[int, int, int]] = [*zip(shape["blocks"], shape["widths"], shape["strides"], strict=True)]
        for number, (blocks, outer, stride) in enumerate(stages, start=1):
            parts = [_Block(width, outer, stride, activation)]
            parts += [_Block(outer, outer, 1, activation) for _ in range(1, blocks)]
            self.add_module(f"layer{number}", nn.Sequential(*parts))
            width, side = outer, -(-side // stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(width * side**2, features)
        self.features = nn.BatchNorm1d(features)


class _Layers(nn.Module):
    """Modules below the name ``layers``, with the input added to their output where ``residual``."""

    def __init__(self, *layers: nn.Module, residual: bool = False) -> None:
        super().__init__()
        self.layers, self.residual = nn.Sequential(*layers), residual

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.layers(maps)
        return maps + out if self.residual else out


class _PlainMobileFaceNet(nn.Sequential):
    """Modules run in the order of their definition."""

    def __init__(self, shape: Mapping[str, Any], side: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _unit(3, 128, 3, stride=2, padding=1),
            _unit(128, 128, 3, padding=1, groups=64),
            _bottleneck(128, 128, 128, stride=2),
            _Layers(*(_bottleneck(128, 128, 128) for _ in range(4))),
            _bottleneck(128, 256, 256, stride=2),
            _Layers(*(_bottleneck(256, 256, 256) for _ in range(6))),
            _bottleneck(256, 256, 512, stride=2),
            _Layers(*(_bottleneck(256, 256, 256) for _ in range(2))),
        )
        self.conv_sep = _unit(256, 512)
        whole = _unit(512, 512, -(-side // 16), groups=512, linear=True)
        self.features = _Layers(whole, nn.Flatten(), nn.Linear(512, features, bias=False), nn.BatchNorm1d(features))


def _unit(
    inner: int, outer: int, kernel: int = 1, *, stride: int = 1, padding: int = 0, groups: int = 1, linear: bool = False
) -> _Layers:
    convolution = nn.Conv2d(inner, outer, kernel, stride, padding, groups=groups, bias=False)
    return _Layers(convolution, nn.BatchNorm2d(outer), *(() if linear else (nn.PReLU(outer),)))


def _bottleneck(inner: int, outer: int, expanded: int, *, stride: int = 1) -> _Layers:
    filtered = _unit(expanded, expanded, 3, stride=stride, padding=1, groups=expanded)
    parts = _unit(inner, expanded), filtered, _unit(expanded, outer, linear=True)
    return _Layers(*parts, residual=stride == 1)


def _activation(kind: str, channels: int) -> nn.Module:
    return nn.PReLU(channels) if kind == "prelu" else nn.ReLU()
