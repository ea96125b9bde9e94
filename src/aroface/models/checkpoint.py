"""Weights on disk: our own in safetensors, and what other projects released."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from aroface.errors import InputError, remark
from aroface.file_content import refuse_placeholder, unreadable
from aroface.files import NoRoomError, atomic_path, canonical
from aroface.models.adaface_keys import is_adaface, is_short, to_iresnet
from aroface.models.classifier import ReleasedClassifier, find_classifier
from aroface.models.layouts import (
    Backbone,
    Color,
    described_color,
    exported_normalisation,
    find_backbone,
    matrices_in,
    of_cvlface,
    weights_in,
    with_counters,
)
from aroface.models.registry import ARCHITECTURES, build
from aroface.models.unpickle import read_torch_file

StateDict = dict[str, Tensor]
Layout = Literal["insightface", "adaface"]

_HEADER_KEY = "aroface"
_WORDS = 200  # characters of another library's message that are passed on
_PROGRAMS = (".onnx", ".pt2")
_LARGEST_VIEW = 2**27  # values of a tensor that may be repetitions; the largest of a backbone has 2²⁴
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNTERS = (torch.int32, torch.int64)
_MAGFACE_EPSILON = 2e-5
_EPSILON = 1e-5  # of batch norm here
_SQUEEZES = ("res_layer.5.fc1.weight", ".se_block.fc1.weight", ".attn.fc1.weight")
_MAGFACE_INPUT = (0.0, 255.0)
_USUAL_INPUT = (127.5, 127.5)
_FIRST_CONVOLUTION = ("conv1.weight", "layers.0.layers.0.weight")


def save_weights(path: str | PathLike[str], model: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the parameters and buffers of ``model`` atomically as safetensors.

    Args:
        path: Path of the file.
        model: Network on any device; the file does not record the device.
        metadata: Words kept in the file's header; ``arch`` names the architecture for error lines of
            :func:`load_weights`.

    Raises:
        InputError: The file cannot be written (no room, no permission); what stood at ``path`` is left alone.
    """
    save_tensors(path, {name: value.detach().cpu() for name, value in model.state_dict().items()}, metadata)


def save_tensors(path: str | PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors on the CPU atomically as safetensors.

    Args:
        path: Path of the file.
        tensors: Tensors by name.
        metadata: Words kept in the file's header.

    Raises:
        InputError: The file cannot be written (no room, no permission); what stood at ``path`` is left alone.
    """
    state = {name: value.contiguous() for name, value in tensors.items()}
    # One header entry only: safetensors writes several in an order that changes from call to call.
    header = {_HEADER_KEY: canonical({**metadata}).decode()}
    try:
        with atomic_path(path, sum(value.nbytes for value in state.values())) as temporary:
            mode = temporary.stat().st_mode
            save_file(state, temporary, header)
            temporary.chmod(mode)  # safetensors makes a file of its own, which nobody else may read
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        remedy = "free some space and start again" if isinstance(error, NoRoomError) else None
        raise InputError(f"cannot be written ({why})", file=path, remedy=remedy) from None


def read_weights(path: str | PathLike[str]) -> tuple[StateDict, dict[str, str]]:
    """Read a safetensors file: tensors by name, and its metadata.

    Raises:
        InputError: The file is missing, or truncated or otherwise no safetensors.
    """
    refuse_placeholder(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_HEADER_KEY, "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise InputError(unreadable("no safetensors", path, str(error)[:_WORDS]), file=path) from None
    if not isinstance(metadata, dict):
        raise InputError(f"metadata {_HEADER_KEY} of another form", file=path, expected="words by name")
    return state, {str(name): str(value) for name, value in metadata.items()}


def load_weights(path: str | PathLike[str], model: nn.Module, arch: str | None = None) -> dict[str, str]:
    """Fill ``model`` from a safetensors file, strictly.

    Args:
        path: Path of a file of :func:`save_weights`.
        model: Model that takes the weights, on its own device.
        arch: Architecture of ``model``, for the error line.

    Returns:
        The file's metadata.

    Raises:
        InputError: No such file, or a name or shape that ``model`` does not have or that it misses; the line names the
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
        state: State dict that was read.
        wanted: State dict of the model to be filled.
        path: File of ``state``.
        expected: Architecture of the model.
        found: Architecture that the file claims, if it does.

    Raises:
        InputError: The first name or shape that differs.
    """
    requirement = f"a checkpoint of {expected}" + (f", not of {found}" if found and found != expected else "")
    for name, value in wanted.items():
        if name not in state:
            raise InputError("missing", file=path, where=name, expected=requirement)
        if state[name].shape != value.shape:
            shape, other = tuple(state[name].shape), tuple(value.shape)
            raise InputError(f"shape {shape} instead of {other}", file=path, where=name, expected=requirement)
    for name in state:
        if name not in wanted:
            raise InputError("not part of the model", file=path, where=name, expected=requirement)


@dataclass(frozen=True, slots=True)
class ReleasedCheckpoint:
    """A backbone that another project released.

    Attributes:
        arch: Key in the registry of architectures.
        embedding_size: Number of features per face.
        state: State dict for ``build(arch, embedding_size).load_state_dict(…, strict=True)``; RGB images in [-1, 1].
        layout: Convention of the file's parameter names.
        color: Order of the channels that the file's own weights take.
        file: File of the weights.
        color_source: Evidence for the order of the channels.
        left_out: Names of tensors in the file that are no part of the backbone or of the classifier.
        release: Description of the form in which such weights are released.
        mean: Value subtracted from pixel values in 0..255 by those who release this form.
        std: Divisor of the differences.
        classifier: Classifier that came with the backbone, if there is one.
    """

    arch: str
    embedding_size: int
    state: StateDict
    layout: Layout
    color: Color
    file: Path
    color_source: str
    left_out: tuple[str, ...] = ()
    release: str = ""
    mean: float = _USUAL_INPUT[0]
    std: float = _USUAL_INPUT[1]
    classifier: ReleasedClassifier | None = None


UNTOLD = "if it is so: the file does not tell, --color does"
"""In place of what says the order of the channels, where nothing does."""


def load_released(path: str | PathLike[str], color: Color | None = None, *, look: bool = False) -> ReleasedCheckpoint:
    """Read the backbone that another project released.

    Understood are state dicts with the names of insightface, ARoFace, MagFace, ElasticFace, TopoFR and CFSM (IResNet,
    MobileFaceNet) and of AdaFace, TFace, CVLface and CurricularFace (IR networks, which are translated exactly), as
    ``.pt``, ``.pth``, ``.ckpt``, ``.bin``, safetensors or TorchScript: plain, below a key of a training's state, and
    with any prefix, as wrappers leave them (``module.``, ``backbone.``, ``model.net.``, ``_orig_mod.``). A folder is
    one of Hugging Face with a ``config.json``. Nothing in a file is executed. The architecture is the registered one
    whose names and shapes are exactly the file's; the embedding size is that of the last batch norm.

    Args:
        path: Path of the file or folder.
        color: Order of the channels that the weights were trained on; by default what a ``config.json`` or
            ``model.yaml`` beside them says (``color_space``), else RGB for insightface's names and BGR for AdaFace's
            Lightning checkpoints. Other IR networks, and MagFace's files, do not tell it. For BGR the input channels of
            the first convolution are reversed.
        look: Mode of inspection, in which an unknown channel order is no error.

    Raises:
        InputError: The file is missing, damaged, of another kind, fits no architecture, or does not tell the order of
            its channels.
    """
    file = weights_in(path)
    backbone = find_backbone(_read(file), file)
    if backbone.averages:
        others = " and ".join(map(repr, backbone.averages[:3]))
        remark(f"{file}: weights are taken from {backbone.place or 'the top'!r}, not from {others}")
    layout: Layout = "adaface" if is_adaface(backbone.tensors) else "insightface"
    tensors = with_counters(backbone.tensors)
    _refuse_squeezes(tensors, file)
    _check_kind(tensors, file)
    _check_size(tensors, file)
    state = to_iresnet(tensors) if layout == "adaface" else tensors
    embedding_size = _embedding_size(state, file)
    arch = _architecture(state, embedding_size, file)
    _check_finite(state, file)
    order, source = _color(color, layout, backbone, file, look)
    state = state if order == "RGB" else _reversed_input(state)
    if backbone.magface:
        state = _with_epsilon(state, _MAGFACE_EPSILON)
    classifier = find_classifier(backbone.others, embedding_size, file, transposed=backbone.magface)
    kept = backbone.place_names(classifier.names) if classifier else set()
    return ReleasedCheckpoint(
        arch,
        embedding_size,
        state,
        layout,
        order,
        file,
        source,
        tuple(name for name in backbone.left_out if name not in kept),
        _release(backbone, layout, file),
        *(exported_normalisation(file) or (_MAGFACE_INPUT if backbone.magface else _USUAL_INPUT)),
        classifier,
    )


def _release(backbone: Backbone, layout: Layout, file: Path) -> str:
    """Description of the form in which weights are released, by what lies around and beside their names."""
    if exported_normalisation(file) is not None:
        return "exported by aroface, with its config"
    if of_cvlface(file):
        return "released by CVLface, with its config"
    if backbone.magface:
        return "released by MagFace: below features, batch norm with an epsilon of 2e-5"
    if backbone.lightning and layout == "adaface":
        return "released by AdaFace: Lightning's checkpoint"
    if layout == "adaface" and is_short(backbone.tensors):
        return "as CurricularFace and face.evoLVe release them: no batch norm before PReLU"
    if layout == "adaface":
        return "as AdaFace, TFace and CVLface have them, without a training's state"
    if "weight" in {
        name.rpartition(".")[2] for name in backbone.left_out if name.count(".") == backbone.place.count(".")
    }:
        return "as TopoFR releases them: the classifier beside the backbone"
    if backbone.place.startswith("state_dict_backbone"):
        return "state of a training by arcface_torch, as of insightface, ARoFace, TopoFR and CFSM"
    return "as insightface, ARoFace, ElasticFace, CFSM and the R100 zoo of HaiyuWu release them"


def _refuse_squeezes(state: Mapping[str, Tensor], path: Path) -> None:
    name = next((name for name in state if name.endswith(_SQUEEZES)), None)
    if name is not None:
        what, remedy = "squeeze-and-excitation, which no architecture here has", "export it to ONNX, which is read"
        raise InputError(what, file=path, where=name, remedy=remedy)


def _with_epsilon(state: StateDict, epsilon: float) -> StateDict:
    """State dict for batch norms with torch's epsilon that computes what it does with another one."""
    return {
        name: value + (epsilon - _EPSILON) if name.endswith("running_var") else value for name, value in state.items()
    }


def read_classifier(paths: Sequence[str | PathLike[str]], embedding_size: int) -> ReleasedClassifier:
    """Read a classifier that was released in files of its own, such as ElasticFace's header or Partial FC's shards.

    Args:
        paths: Paths of the files, in the order of their classes.
        embedding_size: Number of features per face.

    Raises:
        InputError: A file is missing or damaged, or holds no matrix of classes or several.
    """
    shards = []
    for path in map(Path, paths):
        shard = find_classifier(matrices_in(_read(path)), embedding_size, path, tell=False)
        if shard is None:
            expected = f"one matrix of classes × {embedding_size} or {embedding_size} × classes"
            raise InputError("no classifier", file=path, expected=expected)
        shards.append(shard)
    weight = shards[0].weight if len(shards) == 1 else torch.cat([shard.weight for shard in shards])
    return ReleasedClassifier(weight, tuple(name for shard in shards for name in shard.names), tuple(map(Path, paths)))


def _color(color: Color | None, layout: Layout, backbone: Backbone, file: Path, look: bool) -> tuple[Color, str]:
    """The order of the channels, and what says it."""
    if color is not None:
        return color, "as said"
    described = described_color(file)
    if described is not None:
        return described
    if look and (backbone.magface or (layout == "adaface" and not backbone.lightning)):
        return "RGB", UNTOLD
    if backbone.magface:
        what = "wrapped as MagFace's networks are, which take BGR and pixels from 0 to 1"
        expected = "--color BGR --mean 0 --std 255, the last two by default, or what the weights were trained on"
        raise InputError(what, file=file, expected=expected)
    if layout == "insightface":
        return "RGB", "as this layout's are (--color says otherwise)"
    if backbone.lightning:
        return "BGR", "as AdaFace's Lightning checkpoints are (--color says otherwise)"
    raise InputError(
        "an IR network, which does not tell the order of its colour channels",
        file=file,
        expected="--color BGR (AdaFace's own) or --color RGB (TFace's, most of CVLface's)",
    )


def _read(path: Path) -> object:
    if path.suffix.lower() in _PROGRAMS and path.exists():
        remedy = "import the weights that it was made from"
        raise InputError("a program, not weights", file=path, expected="a state dict", remedy=remedy)
    return read_weights(path)[0] if path.suffix.lower() == ".safetensors" else read_torch_file(path)


def _architecture(state: StateDict, embedding_size: int, path: Path) -> str:
    candidates = {name: _shapes(name, embedding_size) for name in ARCHITECTURES}
    shapes = {name: value.shape for name, value in state.items()}
    for arch, wanted in candidates.items():
        if shapes == {name: value.shape for name, value in wanted.items()}:
            return arch
    nearest = max(candidates, key=lambda arch: _overlap(state, candidates[arch]))
    check_fit(state, candidates[nearest], path, nearest)
    raise AssertionError("unreachable: the shapes differ and the comparison found no difference")


def _check_kind(state: StateDict, path: Path) -> None:
    """Refuse what cannot be copied into a network value by value: no values, other layouts, codes of a compression."""
    for name, value in state.items():
        counter = name.endswith(".num_batches_tracked")
        if value.is_nested or value.layout is not torch.strided or value.is_meta:
            kind = "a nested tensor" if value.is_nested else "without values" if value.is_meta else f"{value.layout}"
        elif value.dtype in _FLOATS or (counter and value.dtype in _COUNTERS):
            continue
        else:
            kind = f"{value.dtype}"
        what, expected = kind.removeprefix("torch."), "dense float16, bfloat16, float32 or float64"
        raise InputError(what, file=path, where=name, expected=expected, remedy="convert the weights to float32")


def _check_size(state: StateDict, path: Path) -> None:
    """Refuse tensors that are far larger than what the file holds for them: a view may repeat one value at will."""
    for name, value in state.items():
        held = value.untyped_storage().nbytes() // value.element_size()
        if value.numel() > max(held, _LARGEST_VIEW):
            what = f"claims {value.numel():,} values where the file holds {held:,}"
            raise InputError(what, file=path, where=name, remedy="the file is damaged or made up: get it again")


def _check_finite(state: StateDict, path: Path) -> None:
    for name, value in state.items():
        # An axis of stride 0 repeats what one index has: so no more is computed than the file holds.
        once = value[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in value.stride())]
        if not bool(once.isfinite().all()):
            raise InputError("not finite", file=path, where=name, remedy="the file is damaged: get it again")


def _reversed_input(state: StateDict) -> StateDict:
    name = next(each for each in _FIRST_CONVOLUTION if each in state)
    return {**state, name: state[name].flip(1)}


def _embedding_size(state: StateDict, path: Path) -> int:
    for name in ("features.bias", "features.layers.3.bias"):
        if name in state:
            return state[name].numel()
    expected = "names of insightface's IResNet or MobileFaceNet, or of AdaFace's IR networks"
    raise InputError("no last batch norm", file=path, where="features.bias", expected=expected)


@lru_cache(maxsize=64)
def _shapes(arch: str, embedding_size: int) -> Mapping[str, Tensor]:
    with torch.device("meta"):
        return MappingProxyType(dict(build(arch, embedding_size).state_dict()))


def _overlap(state: StateDict, wanted: Mapping[str, Tensor]) -> int:
    agreeing = sum(name in state and state[name].shape == value.shape for name, value in wanted.items())
    return 2 * agreeing - len(wanted)
