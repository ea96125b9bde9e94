"""Layouts of released weights: keys of a training's state, prefixes of wrappers, config files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from aroface.errors import InputError
from aroface.files import read_json
from aroface.models.unpickle import InertObject
from aroface.results import CHECKPOINT, WEIGHTS
from aroface.schemas import read_yaml

Color = Literal["RGB", "BGR"]

MODEL_TYPE = "aroface"
"""Word in the ``config.json`` of a folder that this project exported."""

_MARKS = (
    "layer1.0.conv1.weight",  # IResNet
    "layers.0.layers.0.weight",  # MobileFaceNet
    "body.0.res_layer.1.weight",  # IR networks of AdaFace, TFace and CVLface
)
"""Names that a backbone of each family has; what stands before them is a wrapper's prefix."""

_LIGHTNING_PREFIX = "model."
_MAGFACE_PART = "features"  # of a prefix: MagFace's classifier network calls its backbone so
_HEADS = ("head", "header", "classifier", "partial_fc", "margin", "loss", "criterion")
"""First parts of names that stand beside those of a backbone without a prefix and are no part of it."""

_OPTIMISER = ("optim", "momentum", "scheduler")  # in keys of what is no weight
_DEEPEST = 4  # levels of dictionaries in a training's state
_AVERAGED = ("ema", "averaged", "teacher", "swa")
_WEIGHTS = ("pretrained_model/model.pt", WEIGHTS, "model.pt", "pytorch_model.bin", "backbone.pth")
_CONFIGS = ("config.json", "model.yaml", "pretrained_model/model.yaml")
_LARGEST_CONFIG = 1 << 20
_EXPECTED = "a state dict: tensors by name"
_OTHER_FAMILIES = {
    "attn.qkv": "a vision transformer (CVLface's ViT and KP-RPE, TransFace, timm)",
    "relative_position_bias_table": "a Swin transformer (PETALface, SwinFace)",
}
"""Networks by a part of their parameters' names, for the error line."""

_FAMILIES = "names of insightface's IResNet or MobileFaceNet, or of AdaFace's IR networks"


@dataclass(frozen=True, slots=True)
class Backbone:
    """A backbone found in a file.

    Attributes:
        tensors: Tensors by their names without a prefix.
        left_out: Names of the file's other tensors beside them.
        others: Matrices elsewhere in the file, by their keys and names with dots between; a classifier is one of them.
        lightning: Layout of AdaFace's checkpoints by Lightning.
        magface: Layout of MagFace's checkpoints, whose batch norms have another epsilon.
        place: Keys and prefix that lead to it, with dots between.
        averages: Places of the copies that a training averages beside it, which are not taken.
        where: Keys that lead to its dictionary.
    """

    tensors: dict[str, Tensor]
    left_out: tuple[str, ...] = ()
    lightning: bool = False
    magface: bool = False
    place: str = ""
    averages: tuple[str, ...] = ()
    others: Mapping[str, Tensor] = field(default_factory=dict)
    where: tuple[str, ...] = ()

    def place_names(self, names: Iterable[str]) -> set[str]:
        """Names of ``others`` without the keys that lead to the backbone, as ``left_out`` has them."""
        before = "".join(f"{key}." for key in self.where)
        return {name.removeprefix(before) for name in names}


def weights_in(path: str | PathLike[str]) -> Path:
    """The file of weights: the path itself, or the one in a folder as of Hugging Face.

    Raises:
        InputError: A folder without weights.
    """
    location = Path(path)
    if not location.is_dir():
        return location
    for name in _WEIGHTS:
        if (location / name).is_file():
            return location / name
    raise InputError("a folder without weights", file=path, expected=f"a finished run, or {', '.join(_WEIGHTS)} in it")


def holds_weights(folder: Path) -> bool:
    """Tell whether a folder holds released weights and is not that of a run."""
    return not (folder / CHECKPOINT).exists() and any((folder / name).is_file() for name in _WEIGHTS)


def of_cvlface(file: Path) -> bool:
    """Tell whether a config beside the weights, or in the folder above, is as CVLface writes it."""
    for name in (folder / name for folder in _config_folders(file) for name in _CONFIGS):
        try:
            config = _read_config(name)
        except InputError:  # told where the order of the channels is asked for
            continue
        inner = config.get("conf")
        if {"color_space", "output_dim"} <= (inner if isinstance(inner, Mapping) else config).keys():
            return True
    return False


def exported_normalisation(file: Path) -> tuple[float, float] | None:
    """Mean and divisor of pixels by the config of a folder that this project exported; None beside other weights.

    Raises:
        InputError: The config has no such numbers.
    """
    try:
        config = _read_config(file.parent / "config.json")
    except InputError:  # told where the order of the channels is asked for
        return None
    if config.get("model_type") != MODEL_TYPE:
        return None
    mean, std = config.get("mean"), config.get("std")
    for key, value in (("mean", mean), ("std", std)):
        if isinstance(value, bool) or not isinstance(value, int | float) or (key == "std" and value <= 0):
            raise InputError(
                f"{value!r:.40}", file=file.parent / "config.json", where=key, expected="a number of pixels"
            )
    return float(mean), float(std)  # type: ignore[arg-type]


def described_color(file: Path) -> tuple[Color, str] | None:
    """The order of the channels by a config beside the weights or in the folder above, and that config's name.

    Raises:
        InputError: The config is malformed, or names another colour space.
    """
    for folder in _config_folders(file):
        for name in _CONFIGS:
            config = _read_config(folder / name)
            inner = config.get("conf")
            for section in (config, inner if isinstance(inner, Mapping) else {}):
                if "color_space" in section:
                    return _named_color(section["color_space"], folder / name), f"as {name} says"
    return None


def _config_folders(file: Path) -> list[Path]:
    return [file.parent, *([file.parent.parent] if file.parent.name == "pretrained_model" else [])]


def _named_color(value: object, config: Path) -> Color:
    if value == "RGB":
        return "RGB"
    if value == "BGR":
        return "BGR"
    raise InputError(f"{str(value)[:40]!r}", file=config, where="color_space", expected="RGB or BGR")


def _read_config(path: Path) -> Mapping[str, object]:
    """A config, empty where there is none."""
    if not path.is_file() or path.stat().st_size > _LARGEST_CONFIG:
        return {}
    try:
        config = read_json(path) if path.suffix == ".json" else read_yaml(path)
    except InputError as error:
        raise InputError(str(error), remedy="mend it, or remove it: it may say the order of the channels") from None
    return config if isinstance(config, Mapping) else {}


def find_backbone(loaded: object, path: Path) -> Backbone:
    """The backbone in what a file held, whatever it is wrapped in.

    Raises:
        InputError: No state dict, several backbones, or quantised weights.
    """
    if isinstance(loaded, InertObject):
        what = f"a pickled object of {loaded.class_name[:80]}, which would have to be executed"
        raise InputError(what, file=path, expected=_EXPECTED, remedy="save its state_dict() instead")
    dictionaries = dict(_tensor_dictionaries(loaded, (), set()))
    every = {(where, prefix): tensors for where, tensors in dictionaries.items() for prefix in _prefixes(tensors)}
    backbones = {key: tensors for key, tensors in every.items() if not _is_average(*key)} or every
    if not backbones:
        _refuse(loaded, dictionaries, path)
    if len(backbones) > 1:
        names = " and ".join(repr(_dotted(*each)) for each in list(backbones)[:3])
        raise InputError(f"holds several backbones: {names}", file=path, remedy="save the one that is meant alone")
    (((where, prefix), tensors),) = backbones.items()
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    inside = {name: value for name, value in inside.items() if not _stands_beside(name)}
    _refuse_quantised(inside, _names_of(loaded, where), path)
    left_out = tuple(sorted(tensors.keys() - {f"{prefix}{name}" for name in inside}))
    lightning = where[-1:] == ("state_dict",) and prefix == _LIGHTNING_PREFIX
    averages = tuple(_dotted(*each) for each in every if each not in backbones)
    magface = _MAGFACE_PART in prefix.split(".")
    return Backbone(inside, left_out, lightning, magface, _dotted(where, prefix), averages, matrices_in(loaded), where)


def matrices_in(loaded: object) -> dict[str, Tensor]:
    """Matrices of a file that are no part of a backbone, by their keys and names with dots between."""
    dictionaries = dict(_tensor_dictionaries(loaded, (), set()))
    taken = {
        id(value)
        for tensors in dictionaries.values()
        for prefix in _prefixes(tensors)
        for name, value in tensors.items()
        if name.startswith(prefix) and not _stands_beside(name.removeprefix(prefix))
    }
    return dict(_matrices(dictionaries, taken))


def _matrices(
    dictionaries: Mapping[tuple[str, ...], Mapping[str, Tensor]], taken: set[int]
) -> Iterator[tuple[str, Tensor]]:
    """Two-dimensional tensors that are not taken and belong to no optimiser."""
    for where, tensors in dictionaries.items():
        if any(word in key.lower() for key in where for word in _OPTIMISER):
            continue
        for name, value in tensors.items():
            if id(value) not in taken and not value.is_nested and value.ndim == 2:
                yield ".".join((*where, name)), value


def _stands_beside(name: str) -> bool:
    """Tell whether a name without a backbone's prefix is a classifier's, as TopoFR's ``weight``."""
    first, _, rest = name.partition(".")
    return not rest or first in _HEADS


def _dotted(where: tuple[str, ...], prefix: str) -> str:
    return ".".join((*where, prefix)).rstrip(".")


def with_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict with the counter of every batch norm: torch before 0.4.1 had none, and evaluation needs none."""
    counters = {
        name.removesuffix("running_mean") + "num_batches_tracked": torch.tensor(0)
        for name in tensors
        if name.endswith("running_mean")
    }
    return {**counters, **tensors}


def _tensor_dictionaries(
    value: object, where: tuple[str, ...], visited: set[int]
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every dictionary with tensors in it, once, by the first keys that lead there."""
    if not isinstance(value, Mapping) or id(value) in visited:
        return
    visited.add(id(value))
    tensors = {str(name): inner for name, inner in value.items() if isinstance(inner, Tensor)}
    if tensors:
        yield where, tensors
    if len(where) < _DEEPEST:
        for name, inner in value.items():
            yield from _tensor_dictionaries(inner, (*where, str(name)), visited)


def _prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """Prefixes before the marks; of two that begin alike the shorter one, since marks recur further inside."""
    kept: list[str] = []
    for prefix in sorted({name.removesuffix(mark) for name in tensors for mark in _MARKS if _ends(name, mark)}):
        if not kept or not prefix.startswith(kept[-1]):  # those that begin alike follow one another
            kept.append(prefix)
    return kept


def _ends(name: str, mark: str) -> bool:
    """Tell whether a name is the mark, or ends in it after a dot."""
    return name == mark or name.endswith(f".{mark}")


def _is_average(where: tuple[str, ...], prefix: str) -> bool:
    """Tell whether a name means a running average of the weights."""
    words = {word for part in (*where, *prefix.split(".")) for word in part.lower().split("_")}
    return bool(words & {*_AVERAGED})


def _names_of(loaded: object, where: tuple[str, ...]) -> list[str]:
    for key in where:
        loaded = next((value for name, value in loaded.items() if str(name) == key), {})  # type: ignore[attr-defined]
    return [str(name) for name in loaded] if isinstance(loaded, Mapping) else []


def _refuse_quantised(tensors: Mapping[str, Tensor], names: list[str], path: Path) -> None:
    packed = any(name.endswith(("_packed_params", ".zero_point")) for name in names)
    if packed or any(value.is_quantized for value in tensors.values()):
        remedy = "take the weights before quantisation, or export the quantised model to ONNX"
        raise InputError("holds quantised weights", file=path, expected="floating-point weights", remedy=remedy)


def _refuse(loaded: object, dictionaries: Mapping[tuple[str, ...], Mapping[str, Tensor]], path: Path) -> None:
    """Say what a file without a known backbone holds.

    Raises:
        InputError: Always.
    """
    for where, tensors in dictionaries.items():
        _refuse_quantised(tensors, _names_of(loaded, where), path)
    if dictionaries:
        where, tensors = max(dictionaries.items(), key=lambda each: len(each[1]))
        first = ", ".join(list(tensors)[:3])[:120]
        location = f" below {'.'.join(where)[:60]!r}" if where else ""
        what = f"no backbone that is known here: {len(tensors)} tensors{location} ({first} …)"
        family = next((title for mark, title in _OTHER_FAMILIES.items() if any(mark in name for name in tensors)), None)
        remedy = f"it seems to be {family}: export it to ONNX, which is read" if family else None
        raise InputError(what, file=path, expected=_FAMILIES, remedy=remedy)
    if not isinstance(loaded, Mapping):
        raise InputError(f"holds a {type(loaded).__name__}", file=path, expected=_EXPECTED)
    _refuse_quantised({}, [str(name) for name in loaded], path)
    keys = ", ".join(str(name)[:40] for name in list(loaded)[:5])
    raise InputError(f"holds no tensor (keys: {keys or 'none'})", file=path, expected=_EXPECTED)
