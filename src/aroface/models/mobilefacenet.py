"""MobileFaceNet (Chen et al., arXiv 1804.07573) in the version that insightface trains.

Matches the ``mbf`` backbone of insightface's ``arcface_torch`` (scale 2, blocks 1-4-6-2): the same parameter names and
shapes, the first 3x3 convolution after the stem in 64 groups rather than depthwise, a global depthwise convolution and
a linear layer without bias at the end, Kaiming initialisation (fan out).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aroface.models.module_contexts import full_precision
from aroface.models.prelu import PReLU
from aroface.models.recompute import recomputed


class StridedDepthwise(nn.Conv2d):
    """A depthwise convolution with a stride, in float32 under a CPU's autocast.

    Towards its input oneDNN has only a naive gradient for it in bfloat16, 50 to 100 times slower than in float32: three
    of these layers took a third of an attack's time.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H', W'), of the type that autocast gives a convolution."""
        if maps.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(maps)
        with full_precision(maps.device):
            out = super().forward(maps.float())
        return out.to(torch.get_autocast_dtype("cpu"))


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm and, unless ``linear``, PReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        kind = StridedDepthwise if stride > 1 and groups == channels_in else nn.Conv2d
        convolution = kind(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
        activation = () if linear else (PReLU(channels_out),)
        self.layers = nn.Sequential(convolution, nn.BatchNorm2d(channels_out), *activation)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H', W')."""
        out: Tensor = self.layers(maps)
        return out


class Bottleneck(nn.Module):
    """Expand by a 1x1 convolution, filter depthwise, project linearly; plus the input where ``residual``."""

    def __init__(self, channels_in: int, channels_out: int, expanded: int, *, stride: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            ConvUnit(channels_in, expanded),
            ConvUnit(expanded, expanded, 3, stride=stride, padding=1, groups=expanded),
            ConvUnit(expanded, channels_out, linear=True),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.layers(maps)
        return maps + out if self.residual else out


class Bottlenecks(nn.Module):
    """A run of residual bottlenecks of one width."""

    def __init__(self, channels: int, expanded: int, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(Bottleneck(channels, channels, expanded, stride=1, residual=True) for _ in range(count))
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        out: Tensor = self.layers(maps)
        return out


class GlobalDepthwise(nn.Module):
    """The output layer: one depthwise kernel as large as the map, a linear layer and batch norm."""

    def __init__(self, channels: int, side: int, embedding_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvUnit(channels, channels, side, groups=channels, linear=True),
            nn.Flatten(),
            nn.Linear(channels, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, channels, side, side) to (N, embedding_size)."""
        out: Tensor = self.layers(maps)
        return out


class MobileFaceNet(nn.Module):
    """A light backbone for faces.

    The convolutions run in the precision of the caller's autocast, ``conv_sep`` and the output layer always in float32,
    as in insightface's mixed-precision training.

    Args:
        embedding_size: Number of features per face.
        input_size: Side of the square input images in pixels.
    """

    def __init__(self, embedding_size: int = 512, input_size: int = 112) -> None:
        super().__init__()
        self._recompute = False
        narrow, wide, last = 128, 256, 512
        self.layers = nn.ModuleList(
            [
                ConvUnit(3, narrow, 3, stride=2, padding=1),
                ConvUnit(narrow, narrow, 3, padding=1, groups=64),
                Bottleneck(narrow, narrow, 128, stride=2, residual=False),
                Bottlenecks(narrow, 128, 4),
                Bottleneck(narrow, wide, 256, stride=2, residual=False),
                Bottlenecks(wide, 256, 6),
                Bottleneck(wide, wide, 512, stride=2, residual=False),
                Bottlenecks(wide, 256, 2),
            ]
        )
        self.conv_sep = ConvUnit(wide, last)
        self.features = GlobalDepthwise(last, -(-input_size // 16), embedding_size)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map (N, 512, h, w) in float32 of images (N, 3, H, W) in [-1, 1]."""
        maps, recompute = images, self._recompute and torch.is_grad_enabled()
        for layer in self.layers:
            maps = recomputed(layer, maps) if recompute else layer(maps)
        with full_precision(images.device):
            out: Tensor = self.conv_sep(maps.float())
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Embed images (N, 3, H, W), RGB in [-1, 1], as float32 (N, embedding_size), not normalised."""
        maps = self.feature_map(images)
        with full_precision(images.device):
            out: Tensor = self.features(maps)
        return out

    def checkpoint_activations(self, on: bool = True) -> None:
        """Recompute each stage in the backward pass and keep only its input (activation checkpointing)."""
        self._recompute = on
