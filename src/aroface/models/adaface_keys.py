"""AdaFace's released backbones as IResNets.

AdaFace (Kim et al., arXiv 2204.00964) trains the IR networks of face.evoLVe on BGR images. They compute what an IResNet
of the same depth computes: the parameters have other names, the first block's shortcut is a subsampled identity, which
a 1x1 convolution can express, and the last batch norm has no weight and bias. So the conversion is exact but for
rounding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

StateDict = dict[str, Tensor]

_EPSILON = 1e-5  # of batch norm
_WIDEST = 4096  # channels of a first block; the comparison with the architectures refuses what has more
_STEM = {"0": "conv1", "1": "bn1", "2": "prelu"}
_RESIDUAL = {"0": "bn1", "1": "conv1", "2": "bn2", "3": "prelu", "4": "conv2", "5": "bn3"}
_SHORTCUT = {"0": "downsample.0", "1": "downsample.1"}
_OUTPUT = {"0": "bn2", "3": "fc", "4": "features"}
_NAME = re.compile(r"(input_layer|output_layer|body\.(\d+)\.(res_layer|shortcut_layer))\.(\d+)\.(\w+)")


def is_adaface(state: Mapping[str, Tensor]) -> bool:
    """Tell whether these are the names of AdaFace's backbone (without Lightning's prefix ``model.``)."""
    return all(
        name in state and state[name].ndim == 4 for name in ("input_layer.0.weight", "body.0.res_layer.4.weight")
    )


def to_iresnet(state: Mapping[str, Tensor]) -> StateDict:
    """Translate AdaFace's state dict into that of the IResNet of the same depth, for input in the same channel order.

    Args:
        state: Tensors by AdaFace's names, without a prefix. Names that are not AdaFace's are passed through, for the
            comparison with the architecture to find.

    Returns:
        Tensors by insightface's names.
    """
    places = _places(state)
    converted = {_translate(name, places): value for name, value in state.items()}
    width = converted["layer1.0.conv2.weight"].shape[0]
    if width <= _WIDEST:
        converted |= _identity_shortcut(width)
    if "features.running_mean" in converted:
        mean = converted["features.running_mean"]
        converted |= {"features.weight": torch.ones_like(mean), "features.bias": torch.zeros_like(mean)}
    return converted


def _places(state: Mapping[str, Tensor]) -> dict[str, str]:
    """IResNet's name of each block: a new stage begins where the width changes."""
    places: dict[str, str] = {}
    stage, position, width = 0, 0, torch.Size()
    for block in range(len(state)):
        weight = state.get(f"body.{block}.res_layer.4.weight")
        if weight is None:
            break
        stage, position = (stage, position + 1) if weight.shape[:1] == width else (stage + 1, 0)
        width = weight.shape[:1]
        places[str(block)] = f"layer{stage}.{position}"
    return places


def _translate(name: str, places: Mapping[str, str]) -> str:
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    part, block, branch, index, leaf = match.groups()
    if block is None:
        stem = (_STEM if part == "input_layer" else _OUTPUT).get(index)
    else:
        inner = (_RESIDUAL if branch == "res_layer" else _SHORTCUT).get(index)
        stem = f"{places[block]}.{inner}" if inner and block in places else None
    return f"{stem}.{leaf}" if stem else name


def _identity_shortcut(width: int) -> StateDict:
    """A 1x1 convolution and a batch norm that together change nothing."""
    identity = {
        "0.weight": torch.eye(width).view(width, width, 1, 1),
        "1.weight": torch.ones(width),
        "1.bias": torch.zeros(width),
        "1.running_mean": torch.zeros(width),
        "1.running_var": torch.full((width,), 1 - _EPSILON),
        "1.num_batches_tracked": torch.tensor(0),
    }
    return {f"layer1.0.downsample.{name}": value for name, value in identity.items()}
