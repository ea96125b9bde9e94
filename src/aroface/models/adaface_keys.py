"""IR networks of AdaFace, TFace, CVLface, CurricularFace and face.evoLVe as IResNets.

AdaFace (Kim et al., arXiv 2204.00964) trains IR networks on BGR images. They compute what an IResNet of the same depth
computes: the parameters have other names, the first block's shortcut is a subsampled identity, which a 1x1 convolution
can express, and the last batch norm has no weight and bias. Blocks of face.evoLVe's older networks, which
CurricularFace (Huang et al., arXiv 2004.00288) trains, have no batch norm between the first convolution and PReLU: one
that changes nothing takes its place. So the conversion is exact but for rounding.
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
_SHORT_RESIDUAL = {"0": "bn1", "1": "conv1", "2": "prelu", "3": "conv2", "4": "bn3"}  # of face.evoLVe's older blocks
_SHORTCUT = {"0": "downsample.0", "1": "downsample.1"}
_OUTPUT = {"0": "bn2", "3": "fc", "4": "features"}
_NAME = re.compile(r"(input_layer|output_layer|body\.(\d+)\.(res_layer|shortcut_layer))\.(\d+)\.(\w+)")


def is_adaface(state: Mapping[str, Tensor]) -> bool:
    """Tell whether these are the names of an IR network (without a prefix such as Lightning's ``model.``)."""
    convolution = "body.0.res_layer.3.weight" if is_short(state) else "body.0.res_layer.4.weight"
    return all(name in state and state[name].ndim == 4 for name in ("input_layer.0.weight", convolution))


def is_short(state: Mapping[str, Tensor]) -> bool:
    """Tell whether the blocks of an IR network have no batch norm between their first convolution and PReLU."""
    third = state.get("body.0.res_layer.3.weight")
    return third is not None and third.ndim == 4


def to_iresnet(state: Mapping[str, Tensor]) -> StateDict:
    """Translate AdaFace's state dict into that of the IResNet of the same depth, for input in the same channel order.

    Args:
        state: Tensors by AdaFace's names, without a prefix. Names that are not AdaFace's are passed through, for the
            comparison with the architecture to find.

    Returns:
        Tensors by insightface's names.
    """
    places, short = _places(state), is_short(state)
    inner = _SHORT_RESIDUAL if short else _RESIDUAL
    converted = {_translate(name, places, inner): value for name, value in state.items()}
    for block in places.values() if short else ():
        width = converted[f"{block}.conv1.weight"].shape[0] if f"{block}.conv1.weight" in converted else 0
        converted |= _identity_norm(f"{block}.bn2", width) if 0 < width <= _WIDEST else {}
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


def _translate(name: str, places: Mapping[str, str], residual: Mapping[str, str]) -> str:
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    section, block, branch, index, leaf = match.groups()
    if block is None:
        stem = (_STEM if section == "input_layer" else _OUTPUT).get(index)
    else:
        inner = (residual if branch == "res_layer" else _SHORTCUT).get(index)
        stem = f"{places[block]}.{inner}" if inner and block in places else None
    return f"{stem}.{leaf}" if stem else name


def _identity_shortcut(width: int) -> StateDict:
    """A 1x1 convolution and a batch norm that together change nothing."""
    convolution = {"layer1.0.downsample.0.weight": torch.eye(width).view(width, width, 1, 1)}
    return convolution | _identity_norm("layer1.0.downsample.1", width)


def _identity_norm(name: str, width: int) -> StateDict:
    """A batch norm that changes nothing."""
    return {
        f"{name}.weight": torch.ones(width),
        f"{name}.bias": torch.zeros(width),
        f"{name}.running_mean": torch.zeros(width),
        f"{name}.running_var": torch.full((width,), 1 - _EPSILON),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }
