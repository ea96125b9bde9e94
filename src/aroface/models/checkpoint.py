"""Weights on disk: our own in safetensors, and what other projects released."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from aroface.errors import InputError
from aroface.files import atomic_path, canonical
from aroface.models.adaface import is_adaface, to_iresnet
from aroface.models.registry import ARCHITECTURES, build
from aroface.models.unpickle import read_torch_file

StateDict = dict[str, Tensor]
Layout = Literal["insightface", "adaface"]
Color = Literal["RGB", "BGR"]

COLOR_OF: dict[Layout, Color] = {"insightface": "RGB", "adaface": "BGR"}
"""Order of the input channels that each project trains on."""

_HEADER_KEY = "aroface"
_INSIGHTFACE_STATE = "state_dict_backbone"  # in the states that insightface's trainings write
_PROGRAMS = (".onnx", ".pt2")
_FIRST_CONVOLUTION = ("conv1.weight", "layers.0.layers.0.weight")


def save_weights(path: str | PathLike[str], model: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the parameters and buffers of ``model`` atomically as safetensors.

    Args:
        path: the file.
        model: on any device; the file does not remember which.
        metadata: words kept in the file's header; ``arch`` names the architecture for error lines of
            :func:`load_weights`.

    Raises:
        InputError: the file cannot be written (no room, no permission); what stood at ``path`` is left alone.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    # One header entry only: safetensors writes several in an order that changes from call to call.
    header = {_HEADER_KEY: canonical({**metadata}).decode()}
    try:
        with atomic_path(path, sum(value.nbytes for value in state.values())) as temporary:
            mode = temporary.stat().st_mode
            save_file(state, temporary, header)
            temporary.chmod(mode)  # safetensors makes a file of its own, which nobody else may read
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be written ({why})", file=path, remedy="free some space and start again") from None


def read_weights(path: str | PathLike[str]) -> tuple[StateDict, dict[str, str]]:
    """Read a safetensors file: tensors by name, and its metadata.

    Raises:
        InputError: the file is missing, or truncated or otherwise no safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_HEADER_KEY, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise InputError(f"no safetensors ({error})", file=path) from None


def load_weights(path: str | PathLike[str], model: nn.Module, arch: str | None = None) -> dict[str, str]:
    """Fill ``model`` from a safetensors file, strictly.

    Args:
        path: a file of :func:`save_weights`.
        model: takes the weights, on its own device.
        arch: what ``model`` is, for the error line.

    Returns:
        The file's metadata.

    Raises:
        InputError: no such file, or a name or shape that ``model`` does not have or that it misses; the line names the
            first of them and ``model`` is left as it was.
    """
    state, metadata = read_weights(path)
    check_fit(state, model.state_dict(), path, arch or type(model).__name__, metadata.get("arch"))
    model.load_state_dict(state)
    return metadata


def check_fit(
    state: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    path: str | PathLike[str],
    expected: str,
    found: str | None = None,
) -> None:
    """Compare names and shapes of ``state`` with those of ``wanted``, in the order of ``wanted``.

    Args:
        state: what was read.
        wanted: the state dict of the model to be filled.
        path: where ``state`` was read.
        expected: architecture of the model.
        found: architecture that the file claims, if it does.

    Raises:
        InputError: the first name or shape that differs.
    """
    words = f"a checkpoint of {expected}" + (f", not of {found}" if found and found != expected else "")
    for name, value in wanted.items():
        if name not in state:
            raise InputError("missing", file=path, record=name, expected=words)
        if state[name].shape != value.shape:
            shape, other = tuple(state[name].shape), tuple(value.shape)
            raise InputError(f"shape {shape} instead of {other}", file=path, record=name, expected=words)
    for name in state:
        if name not in wanted:
            raise InputError("not part of the model", file=path, record=name, expected=words)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A backbone that another project released.

    Attributes:
        arch: key in the registry of architectures.
        embedding_size: features per face.
        state: what ``build(arch, embedding_size).load_state_dict`` takes strictly, for RGB images in [-1, 1].
        layout: whose parameter names the file has.
        color: order of the channels that the file's own weights take.
    """

    arch: str
    embedding_size: int
    state: StateDict
    layout: Layout
    color: Color


def load_foreign(path: str | PathLike[str], color: Color | None = None) -> Foreign:
    """Read the backbone that another project released.

    Understood are plain state dicts of insightface and ARoFace (``model.pt``, ``backbone.pth``, also as safetensors),
    insightface's training states (``checkpoint_gpu_0.pt``), either also with the prefix ``module.`` of
    DistributedDataParallel, and AdaFace's Lightning checkpoints (``.ckpt``), which are translated exactly. Nothing in
    the file is executed. The architecture is the registered one whose names and shapes are exactly the file's; the
    embedding size is that of the last batch norm.

    Args:
        path: the file.
        color: order of the channels that the weights were trained on; by default BGR for AdaFace's layout and RGB for
            insightface's. For BGR the input channels of the first convolution are reversed.

    Raises:
        InputError: the file is missing, damaged, of another kind, or fits no architecture.
    """
    tensors = _backbone(_read(path), path)
    layout: Layout = "adaface" if is_adaface(tensors) else "insightface"
    state = to_iresnet(tensors) if layout == "adaface" else tensors
    embedding_size = _embedding_size(state, path)
    arch = _architecture(state, embedding_size, path)
    _check_finite(state, path)
    order = color or COLOR_OF[layout]
    return Foreign(arch, embedding_size, state if order == "RGB" else _reversed_input(state), layout, order)


def _read(path: str | PathLike[str]) -> object:
    suffix = Path(path).suffix
    if suffix in _PROGRAMS and Path(path).exists():
        remedy = "import the weights that it was made from"
        raise InputError("a program, not weights", file=path, expected="a state dict", remedy=remedy)
    return read_weights(path)[0] if suffix == ".safetensors" else read_torch_file(path)


def _architecture(state: StateDict, embedding_size: int, path: str | PathLike[str]) -> str:
    candidates = {name: _shapes(name, embedding_size) for name in ARCHITECTURES}
    shapes = {name: value.shape for name, value in state.items()}
    for arch, wanted in candidates.items():
        if shapes == {name: value.shape for name, value in wanted.items()}:
            return arch
    nearest = max(candidates, key=lambda arch: _overlap(state, candidates[arch]))
    check_fit(state, candidates[nearest], path, nearest)
    raise AssertionError("unreachable: the shapes differ and the comparison found no difference")


def _check_finite(state: StateDict, path: str | PathLike[str]) -> None:
    for name, value in state.items():
        if not bool(value.isfinite().all()):
            raise InputError("not finite", file=path, record=name, remedy="the file is damaged: get it again")


def _reversed_input(state: StateDict) -> StateDict:
    name = next(each for each in _FIRST_CONVOLUTION if each in state)
    return {**state, name: state[name].flip(1)}


def _backbone(loaded: object, path: str | PathLike[str]) -> StateDict:
    """The backbone's tensors in what a file held: a plain state dict, or one inside a training's state."""
    if isinstance(loaded, dict) and isinstance(loaded.get(_INSIGHTFACE_STATE), dict):
        loaded = loaded[_INSIGHTFACE_STATE]
    elif isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        inner = loaded["state_dict"]
        loaded = {str(name).removeprefix("model."): inner[name] for name in inner if str(name).startswith("model.")}
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise InputError("holds more than tensors", file=path, expected="a state dict: tensors by name")
    state = {str(name).removeprefix("module."): value for name, value in loaded.items()}
    if not state:
        raise InputError("holds no tensor", file=path, expected="a state dict: tensors by name")
    return state


def _embedding_size(state: StateDict, path: str | PathLike[str]) -> int:
    for name in ("features.bias", "features.layers.3.bias"):
        if name in state:
            return state[name].numel()
    expected = "names of insightface's IResNet or MobileFaceNet, or of AdaFace's IR networks"
    raise InputError("no last batch norm", file=path, record="features.bias", expected=expected)


def _shapes(arch: str, embedding_size: int) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dict(build(arch, embedding_size).state_dict())


def _overlap(state: StateDict, wanted: Mapping[str, Tensor]) -> int:
    agreeing = sum(name in state and state[name].shape == value.shape for name, value in wanted.items())
    return 2 * agreeing - len(wanted)
