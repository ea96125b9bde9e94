"""Backbones by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from aroface.errors import InputError
from aroface.humanize import one_of
from aroface.models.iresnet import IResNet, IResNetShape
from aroface.models.mobilefacenet import MobileFaceNet
from aroface.models.options import BackboneOptions

Backbone = IResNet | MobileFaceNet


@dataclass(frozen=True, slots=True)
class Architecture:
    """A backbone that can be built by name.

    Attributes:
        summary: Description in a few words.
        make: Function that builds it from (embedding size, input size).
        shape: Shape of an IResNet; None for other architectures.
    """

    summary: str
    make: Callable[[int, int], Backbone]
    shape: IResNetShape | None = None


@dataclass(frozen=True, slots=True)
class Measures:
    """Computed facts of a backbone.

    Attributes:
        parameters: Number of parameters, frozen ones included.
        multiply_adds: Number of multiplications of one image's forward pass.
        feature_map: Channels, height and width of the last feature map.
        embedding_size: Number of features per face.
    """

    parameters: int
    multiply_adds: int
    feature_map: tuple[int, int, int]
    embedding_size: int


def _iresnet(summary: str, shape: IResNetShape) -> Architecture:
    return Architecture(summary, partial(IResNet, shape), shape)


ARCHITECTURES: dict[str, Architecture] = {
    "r18": _iresnet("IResNet-18", IResNetShape((2, 2, 2, 2))),
    "r34": _iresnet("IResNet-34", IResNetShape((3, 4, 6, 3))),
    "r50": _iresnet("IResNet-50", IResNetShape((3, 4, 14, 3))),
    "r100": _iresnet("IResNet-100, the paper's", IResNetShape((3, 13, 30, 3))),
    "r200": _iresnet("IResNet-200", IResNetShape((6, 26, 60, 6))),
    "mbf": Architecture("MobileFaceNet", MobileFaceNet),
    "r8s4": _iresnet(
        "for CPUs: stride-4 stem, ReLU, three narrow stages",
        IResNetShape((1, 1, 1), (24, 48, 96), stem_kernel=5, stem_stride=4, strides=(2, 2, 1), activation="relu"),
    ),
    "r8s4w": _iresnet(
        "for CPUs: as r8s4, a third wider",
        IResNetShape((1, 1, 1), (32, 64, 128), stem_kernel=5, stem_stride=4, strides=(2, 2, 1), activation="relu"),
    ),
}


def build(
    arch: str, embedding_size: int = 512, *, input_size: int = 112, options: BackboneOptions | None = None
) -> Backbone:
    """Make a freshly initialised backbone from torch's global generator.

    Args:
        arch: Key of :data:`ARCHITECTURES`.
        embedding_size: Number of features per face.
        input_size: Side of the square input images in pixels.
        options: Options of an IResNet's training; None for insightface's.

    Returns:
        A module that maps images (N, 3, input_size, input_size), RGB in [-1, 1], to embeddings
        (N, embedding_size), not normalised.

    Raises:
        InputError: Unknown architecture, or options of one that is no IResNet.
    """
    check_arch(arch)
    if options is None or options == BackboneOptions():
        return ARCHITECTURES[arch].make(embedding_size, input_size)
    shape = ARCHITECTURES[arch].shape
    if shape is None:
        known = ", ".join(name for name, each in ARCHITECTURES.items() if each.shape is not None)
        raise InputError(f"options of the backbone {arch}", where="backbone", expected=f"none, or one of {known}")
    return IResNet(shape, embedding_size, input_size, options)


def check_arch(arch: str, *more: str) -> None:
    """Refuse the name of an architecture that is not known.

    Args:
        arch: Name.
        more: Names that may stand in place of a key of :data:`ARCHITECTURES`.

    Raises:
        InputError: It is neither.
    """
    if arch not in (*ARCHITECTURES, *more):
        raise InputError(f"unknown architecture {arch!r:.100}", expected=one_of((*ARCHITECTURES, *more), arch))


def arch_of_convolutions(counts: Mapping[tuple[int, ...], int]) -> str | None:
    """The architecture that has these convolutions, counted by the shapes of their weights; None if none has."""
    for name in ARCHITECTURES:
        with torch.device("meta"):
            modules = [module for module in build(name).modules() if isinstance(module, torch.nn.Conv2d)]
        if Counter(tuple(module.weight.shape) for module in modules) == counts:
            return name
    return None


def measure(arch: str, embedding_size: int = 512, *, input_size: int = 112) -> Measures:
    """Count parameters and multiplications of ``arch`` without allocating or computing anything.

    Raises:
        InputError: Unknown architecture.
    """
    with torch.device("meta"), torch.no_grad():
        model = build(arch, embedding_size, input_size=input_size).eval()
        image = torch.empty(1, 3, input_size, input_size)
        _, channels, height, width = model.feature_map(image).shape
        with FlopCounterMode(display=False) as counter:
            model(image)
    return Measures(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        multiply_adds=counter.get_total_flops() // 2,
        feature_map=(channels, height, width),
        embedding_size=embedding_size,
    )
