"""IResNet: the residual networks of ArcFace (Deng et al., arXiv 1801.07698) and small ones of the same family.

Parameter names, layer counts and initialisation are those of insightface's ``arcface_torch``, so that its checkpoints
load into the networks built here with ``strict=True``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from aroface.models.module_contexts import full_precision
from aroface.models.options import BackboneOptions
from aroface.models.prelu import PReLU
from aroface.models.recompute import recomputed

Activation = Literal["prelu", "relu"]


@dataclass(frozen=True, slots=True)
class IResNetShape:
    """Properties by which IResNets differ.

    Attributes:
        blocks: Numbers of residual blocks per stage.
        widths: Numbers of channels per stage; the stem has as many as the first stage.
        stem_kernel: Side of the stem's square kernel, odd.
        stem_stride: Stride of the stem.
        strides: Stride of each stage's first block.
        activation: PReLU with a slope per channel, or ReLU, which on a CPU is far cheaper to differentiate.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem_kernel: int = 3
    stem_stride: int = 1
    strides: tuple[int, ...] = (2, 2, 2, 2)
    activation: Activation = "prelu"

    def map_side(self, input_size: int) -> int:
        """Side in pixels of the last feature map for square images of side ``input_size``."""
        side = input_size
        for stride in (self.stem_stride, *self.strides):
            side = -(-side // stride)
        return side


class Subsample(nn.Sequential):
    """A shortcut that takes every ``stride``-th pixel, with the state of a convolution and a batch norm that do so.

    Args:
        channels: Number of channels of input and output.
        stride: Stride of the block.
    """

    def __init__(self, channels: int, stride: int) -> None:
        convolution, norm = nn.Conv2d(channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        super().__init__(convolution, norm)
        self.stride = stride
        self.requires_grad_(False)

    def fix(self) -> None:
        """Let the state say what the module does."""
        convolution, norm = self.children()
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
        nn.init.dirac_(convolution.weight)  # type: ignore[arg-type]
        norm.running_var.fill_(1 - norm.eps)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, ceil(H / stride), ceil(W / stride))."""
        return maps[:, :, :: self.stride, :: self.stride]


class Block(nn.Module):
    """The pre-normalised residual block of IResNet: BN, conv, BN, activation, conv, BN, plus the shortcut."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, activation: Activation, *, identity: bool = False
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.prelu = _activation(activation, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Sequential | None = None
        if identity and stride != 1 and channels_in == channels_out:
            self.downsample = Subsample(channels_in, stride)
        elif stride != 1 or channels_in != channels_out:
            projection = nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels_out))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        residual = self.prelu(self.bn2(self.conv1(self.bn1(maps))))
        out: Tensor = self.bn3(self.conv2(residual)) + shortcut
        return out


class IResNet(nn.Module):
    """A residual face-recognition backbone.

    The convolutional part runs in whatever precision the caller's autocast asks for; the fully connected layer and
    the last batch norm run in float32, as in insightface's mixed-precision training, unless :attr:`output_in_autocast`.

    Args:
        shape: Block counts, widths and strides.
        embedding_size: Number of features per face.
        input_size: Side of the square input images in pixels.
        options: Options of the backbone, see :class:`BackboneOptions`.

    Attributes:
        output_in_autocast: Use of the caller's autocast in the last two layers as well, as in AdaFace's training.
    """

    def __init__(
        self,
        shape: IResNetShape,
        embedding_size: int = 512,
        input_size: int = 112,
        options: BackboneOptions | None = None,
    ) -> None:
        super().__init__()
        options = options or BackboneOptions()
        self._recompute = False
        self._dropout = options.dropout
        self.output_in_autocast = False
        width = shape.widths[0]
        self.conv1 = nn.Conv2d(3, width, shape.stem_kernel, shape.stem_stride, shape.stem_kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = _activation(shape.activation, width)
        self._stages = [f"layer{number}" for number, _ in enumerate(shape.blocks, start=1)]
        for name, blocks, channels, stride in zip(self._stages, shape.blocks, shape.widths, shape.strides, strict=True):
            self.add_module(name, _stage(width, channels, blocks, stride, shape.activation, options))
            width = channels
        self.bn2 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * shape.map_side(input_size) ** 2, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        self.features.weight.requires_grad_(False)
        self.features.bias.requires_grad_(not options.plain_features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and options.initialisation == "normal":
                nn.init.normal_(module.weight, 0.0, 0.1)
            elif isinstance(module, nn.Conv2d | nn.Linear) and options.initialisation == "kaiming":
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Subsample):
                module.fix()

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map (N, C, h, w) of images (N, 3, H, W) in [-1, 1]."""
        maps = self.prelu(self.bn1(self.conv1(images)))
        recompute = self._recompute and torch.is_grad_enabled()
        for name in self._stages:
            for block in self.get_submodule(name).children():
                maps = recomputed(block, maps) if recompute else block(maps)
        out: Tensor = self.bn2(maps)
        return out

    def checkpoint_activations(self, on: bool = True) -> None:
        """Recompute each residual block in the backward pass and keep only its input (activation checkpointing)."""
        self._recompute = on

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, H, W), RGB in [-1, 1], as float32 (N, embedding_size), not normalised."""
        maps = self.feature_map(images)
        if self._dropout and self.training:
            maps = nn.functional.dropout(maps, self._dropout)
        if self.output_in_autocast:
            return cast(Tensor, self.features(self.fc(maps.flatten(1)))).float()
        with full_precision(images.device):
            out: Tensor = self.features(self.fc(maps.float().flatten(1)))
        return out


def _stage(
    channels_in: int, channels_out: int, blocks: int, stride: int, activation: Activation, options: BackboneOptions
) -> nn.Sequential:
    first = Block(channels_in, channels_out, stride, activation, identity=options.identity_shortcut)
    return nn.Sequential(first, *(Block(channels_out, channels_out, 1, activation) for _ in range(1, blocks)))


def _activation(kind: Activation, channels: int) -> nn.Module:
    return PReLU(channels) if kind == "prelu" else nn.ReLU(inplace=True)
