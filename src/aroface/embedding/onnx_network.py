"""ONNX models as networks: their input and output, found by declaration or by trial."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aroface.errors import InputError, remark
from aroface.models.layouts import Color
from aroface.models.run_folder import INPUT
from aroface.onnx_program import (
    TIME_LIMIT,
    UNKNOWN_ARCH,
    Program,
    TimeLimitError,
    agree,
    normalises_itself,
    read_graph,
    sample_of,
    trial_images,
    weight_files,
)

_PIXELS = "tensor(uint8)"
_FLOATS: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_ROUNDING = {np.float32: 1e-3, np.float16: 1e-2}  # of embeddings, as a share of the largest value
_TRIAL = 3  # images that a model is tried on first, and of each batch alone
_LARGEST_SIDE = 4096  # of an image that a model may take, in pixels
_LONGEST = 4096  # numbers that an embedding has at most; scores of classes have more
_AS_THEY_ARE = {"mean": 0.0, "std": 1.0}  # pixels of a program that normalises them itself

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Declared:
    """Declaration of a model's input and output; None leaves it to the file, or to `INPUT` where that is silent.

    Attributes:
        color: Order of the channels.
        mean: Value subtracted from pixel values in 0..255.
        std: Divisor of the differences.
        size: Side of the square images in pixels; only where an ONNX file leaves it open.
        output: Name of an ONNX file's output; by default one that has a row of several numbers for each image.
        crop: Height and width of the middle part that an ONNX model takes of each image, as SphereFace's take 112×96.
    """

    color: Color | None = None
    mean: float | None = None
    std: float | None = None
    size: int | None = None
    output: str | None = None
    crop: tuple[int, int] | None = None


def input_form(declared: Declared, own: Mapping[str, Any]) -> dict[str, Any]:
    """Size, colour order and normalisation: as declared, else as in the file, else the defaults."""
    given = {key: getattr(declared, key) for key in INPUT if getattr(declared, key) is not None}
    return {**INPUT, **{key: own[key] for key in INPUT if key in own}, **given}


@dataclass(frozen=True, slots=True)
class OpenProgram:
    """An ONNX model, ready to embed.

    Attributes:
        network: Function from normalised images to embeddings.
        form: Size, colour order, normalisation and, where there is one, crop of its input.
        dimension: Number of features of a face.
        output: Name of the output that holds them.
        arch: Architecture that the file's metadata name, ``onnx`` for other files.
        files: The file, and those of weights beside it.
    """

    network: OnnxNetwork
    form: dict[str, Any]
    dimension: int
    output: str
    arch: str
    files: tuple[Path, ...]


def open_program(
    path: Path,
    declared: Declared,
    device: str | None = None,
    threads: int | None = None,
    time_limit: float = TIME_LIMIT,
) -> OpenProgram:
    """Open an ONNX file and try it on images.

    Args:
        path: Path of the file.
        declared: Declaration of its input and output.
        device: Device of onnxruntime; by default the GPU if there is one that can be used.
        threads: Number of threads of onnxruntime; its own choice by default.
        time_limit: Longest time in seconds that one batch may take.

    Raises:
        InputError: No such file, it is damaged, it takes or gives something else than images and embeddings, or the
            declaration does not fit it.
    """
    model = read_graph(path)
    files = (path, *weight_files(path, model))
    program = Program(path, device=device, threads=threads, time_limit=time_limit)
    own, arch = _own_words(program.session.get_modelmeta().custom_metadata_map, path)
    given = _input_of(program.session, declared.crop, path)
    if None not in (given.size, declared.size) and given.size != declared.size:
        raise InputError(
            f"takes {given.size}×{given.size} pixels", file=path, expected=f"{declared.size} as --size says"
        )
    if given.pixels:
        own = {**own, **_AS_THEY_ARE}
        if declared.mean is not None or declared.std is not None:
            raise InputError("takes uint8 pixels as they are", file=path, remedy="leave out --mean and --std")
    elif normalises_itself(model) and "mean" not in own and declared.mean is None and declared.std is None:
        remark(f"{path}: it normalises pixels itself: they come as 0 to 255 (--mean 0 --std 1)")
        own = {**own, **_AS_THEY_ARE}
    form = input_form(declared, {**own, **({"size": given.size} if given.size else {})})
    if given.crop is not None:
        if max(given.crop) > form["size"]:
            size = f"{form['size']}×{form['size']}"
            raise InputError(f"a crop of {_times(given.crop)} of images of {size}", file=path, remedy="see --size")
        form["crop"] = [*given.crop]
    trial = partial(_trial_batch, form, given)
    output = _output_of(program, given, trial(given.batch or _TRIAL), declared.output, path)
    return OpenProgram(
        OnnxNetwork(program, given, output, trial, path), form, output.dimension, output.name, arch, files
    )


def _own_words(metadata: Mapping[str, str], path: Path) -> tuple[dict[str, Any], str]:
    """Input options and architecture in an exported run's metadata; empty and ``onnx`` for any other file.

    Raises:
        InputError: The metadata are of another form.
    """
    nothing: dict[str, Any] = {}
    form = _metadata(metadata, "aroface.input", nothing, path)
    arch = _metadata(metadata, "aroface.arch", UNKNOWN_ARCH, path)
    checks: dict[str, Callable[[Any], bool]] = {
        "size": lambda value: type(value) is int and 0 < value <= _LARGEST_SIDE,
        "color": lambda value: value in ("RGB", "BGR"),
        "mean": _is_number,
        "std": lambda value: _is_number(value) and value > 0,
    }
    for key, fits in checks.items():
        if key in form and not fits(form[key]):
            raise InputError(f"{key} is {form[key]!r:.40}", file=path, where="metadata aroface.input", remedy=_AGAIN)
    return form, arch


_AGAIN = "export the run again"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _metadata(metadata: Mapping[str, str], key: str, default: Item, path: Path) -> Item:
    if key not in metadata:
        return default
    try:
        value = json.loads(metadata[key])
    except (ValueError, RecursionError):
        raise InputError("no JSON", file=path, where=f"metadata {key}", remedy=_AGAIN) from None
    if not isinstance(value, type(default)):
        what = f"{type(value).__name__} instead of {type(default).__name__}"
        raise InputError(what, file=path, where=f"metadata {key}", remedy=_AGAIN)
    return value


@dataclass(frozen=True, slots=True)
class _Input:
    """An ONNX model's input: batch and side are None where the file leaves them open.

    Attributes:
        pixels: True if it takes uint8 (N, S, S, 3), with the preprocessing inside.
    """

    name: str
    batch: int | None
    size: int | None
    dtype: type[np.floating[Any] | np.uint8]
    crop: tuple[int, int] | None = None
    pixels: bool = False

    def taken(self, images: NDArray[Any]) -> NDArray[Any]:
        """Images (N, 3, S, S) as the model takes them."""
        cut = _cropped(images, self.crop)
        if self.pixels:
            cut = np.rint(cut).clip(0, 255).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(cut, dtype=self.dtype)


def _input_of(session: Any, crop: tuple[int, int] | None, path: Path) -> _Input:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise InputError(f"{len(inputs)} inputs ({names})", file=path, expected="one: images")
    (only,) = inputs
    pixels = only.type == _PIXELS and len(only.shape) == 4 and only.shape[3] == 3 and crop is None
    axes = [only.shape[axis] for axis in (0, 3, 1, 2)] if pixels else only.shape
    batch, channels, height, width = dims = [*axes, *[None] * 4][:4]
    if len(only.shape) != 4 or (isinstance(channels, int) and channels != 3):
        shape = _times(only.shape) or "a scalar"
        raise InputError(f"takes {shape}", file=path, where=only.name, expected="N×3×S×S: square colour images")
    if only.type not in _FLOATS and not pixels:
        raise InputError(f"takes {only.type}", file=path, where=only.name, expected=" or ".join(_FLOATS))
    fixed = [side if isinstance(side, int) else None for side in (height, width)]
    known = dims[0] if isinstance(batch, int) else None
    dtype = np.uint8 if pixels else _FLOATS[only.type]
    if crop is not None:
        if any(side not in (None, cut) for side, cut in zip(fixed, crop, strict=True)):
            raise InputError(f"takes {_times(dims[2:])}", file=path, expected=f"{_times(crop)} as --crop says")
        return _Input(only.name, known, None, dtype, crop)
    sides = {side for side in fixed if side is not None}
    if len(sides) > 1:
        remedy = (
            f"--crop {fixed[0]}x{fixed[1]} gives it the middle of each aligned image, as SphereFace's networks take"
        )
        what = f"takes {_times(only.shape)}"
        raise InputError(what, file=path, where=only.name, expected="N×3×S×S: square images", remedy=remedy)
    return _Input(only.name, known, sides.pop() if sides else None, dtype, pixels=pixels)


def _times(shape: Sequence[object]) -> str:
    return "×".join(map(str, shape))


@dataclass(frozen=True, slots=True)
class _Output:
    """An ONNX model's output, and how images have to be given for it.

    Attributes:
        name: Name of the output.
        dimension: Length of an embedding.
        batch: Number of images that a call takes; None for any number.
        apart: True if only one of a batch may count, the rest being copies of it.
    """

    name: str
    dimension: int
    batch: int | None
    apart: bool = False


def _trial_batch(form: Mapping[str, Any], given: _Input, count: int) -> NDArray[Any]:
    """Different images as the model takes them."""
    pixels = trial_images(count, form["size"]).astype(np.float32).transpose(0, 3, 1, 2)
    return given.taken((pixels - form["mean"]) / form["std"])


def _cropped(images: NDArray[Any], crop: tuple[int, int] | None) -> NDArray[Any]:
    """The middle (height, width) of images (N, 3, S, S)."""
    if crop is None:
        return images
    top, left = ((side - cut) // 2 for side, cut in zip(images.shape[2:], crop, strict=True))
    return images[:, :, top : top + crop[0], left : left + crop[1]]


def _output_of(program: Program, given: _Input, images: NDArray[Any], wanted: str | None, path: Path) -> _Output:
    """The output that holds embeddings, and how images have to be given to the model.

    A model is tried on different images: files often declare nothing about their outputs. One that claims to take any
    number of images and fails on three, or gives for three something else than for each of them, gets one at a time.
    """
    names = [each.name for each in program.session.get_outputs()]
    if wanted is not None and wanted not in names:
        raise InputError(f"no output {wanted!r}", file=path, expected=f"one of {', '.join(names)}")
    chosen = [wanted] if wanted else names
    try:
        outputs = program.run(chosen, {given.name: images})
    except TimeLimitError:
        raise
    except InputError:
        if given.batch is not None:
            raise
        return _output_of(program, replace(given, batch=1), images[:1], wanted, path)
    number = _choose_output(chosen, outputs, len(images), path)
    together = _rows(outputs[number])
    output = _Output(chosen[number], together.shape[1], given.batch)
    if not _are_mixed(program, given, output.name, images, together, path):
        return output
    return replace(output, batch=1) if given.batch is None else replace(output, apart=True)


def _are_mixed(
    program: Program, given: _Input, name: str, images: NDArray[Any], together: NDArray[Any], path: Path
) -> bool:
    """Tell whether a model mixes the images of a batch, by some of them alone; if it does, print that.

    Raises:
        InputError: The same image gets another embedding each time.
    """
    sample = sample_of(len(images), _TRIAL)
    rounding = _ROUNDING[together.dtype.type]

    def alone() -> NDArray[Any]:
        return np.concatenate([_alone(program, given, name, images[number]) for number in sample])

    first = alone()
    if agree(together[sample], first, rounding):
        return False
    if not agree(alone(), first, rounding):
        remedy = "export it for inference: model.eval(), without dropout or noise"
        raise InputError("the same image gets another embedding each time", file=path, remedy=remedy)
    remark(f"{path}: an image's embedding depends on the others of its batch: one image at a time")
    return True


def _alone(program: Program, given: _Input, name: str, image: NDArray[Any]) -> NDArray[Any]:
    """The embedding (1, D) of one image (3, H, W), which fills a batch of a fixed number of images."""
    batch = np.repeat(image[None], given.batch or 1, axis=0)
    return _rows(program.run([name], {given.name: batch})[0])[:1]


def _rows(value: NDArray[Any]) -> NDArray[Any]:
    """An output N×D as it is, and one N×D×1×1 as N×D."""
    return value.reshape(value.shape[:2]) if value.ndim > 2 and set(value.shape[2:]) == {1} else value


def _choose_output(names: Sequence[str], outputs: Sequence[NDArray[Any]], tried: int, path: Path) -> int:
    """Number of the output that is embeddings by its shape; of several the first that is not as long as scores are."""
    fitting = [
        number
        for number, value in enumerate(map(_rows, outputs))
        if value.ndim == 2 and len(value) == tried and value.shape[1] > 1 and value.dtype in (np.float16, np.float32)
    ]
    if not fitting:
        shapes = ", ".join(f"{name} {_times(value.shape)}" for name, value in zip(names, outputs, strict=True))
        expected = f"an output {tried}×D of floats, D above 1: embeddings"
        raise InputError(f"{tried} images give {shapes}", file=path, expected=expected)
    taken = min(fitting, key=lambda number: _rows(outputs[number]).shape[1] > _LONGEST)
    if len(fitting) > 1:
        others = ", ".join(f"{names[number]} {_times(outputs[number].shape)}" for number in fitting if number != taken)
        remark(f"{path}: embeddings are taken from {names[taken]}, not from {others} (--output)")
    return taken


class OnnxNetwork:
    """An ONNX model as a function from normalised images to embeddings.

    Args:
        program: Model in onnxruntime.
        given: Description of its input.
        output: Description of its output, and of the images that it takes at once.
        trial: Function from a number to as many different images, as the model takes them.
        path: Path of its file.
    """

    def __init__(
        self, program: Program, given: _Input, output: _Output, trial: Callable[[int], NDArray[Any]], path: Path
    ) -> None:
        self._program, self._given, self._output = program, given, output
        self._trial, self._path, self._tried = trial, path, _TRIAL

    @property
    def at_once(self) -> int | None:
        """Number of images that a call of the model embeds, None for any number."""
        return 1 if self._output.apart else self._output.batch

    def try_batch(self, count: int) -> None:
        """Try a model for any number of images on so many; if it mixes them, it gets one at a time from now on.

        A batch that is no larger than one it was tried on is not tried again.

        Raises:
            InputError: Onnxruntime fails, or the same image gets another embedding each time.
        """
        if self._output.batch is not None or count <= self._tried:
            return
        images = self._trial(count)
        if _are_mixed(self._program, self._given, self._output.name, images, self._run(images), self._path):
            self._output = replace(self._output, batch=1)
        self._tried = count

    @property
    def on_gpu(self) -> bool:
        """True if a GPU computes, although images and embeddings are on the CPU."""
        return bool(self._program.provider != "CPUExecutionProvider")

    def __call__(self, images: Tensor) -> Tensor:
        """Map float (N, 3, size, size) to float32 (N, dimension), on the CPU.

        Raises:
            InputError: Onnxruntime fails.
        """
        values = self._given.taken(images.cpu().numpy())
        self.try_batch(len(values))
        step = self.at_once or max(len(values), 1)
        batches = [self._run(values[start : start + step]) for start in range(0, len(values), step)]
        return torch.from_numpy(np.concatenate(batches).astype(np.float32, copy=False))

    def _run(self, values: NDArray[Any]) -> NDArray[Any]:
        count = len(values)
        if self._output.batch is not None and count < self._output.batch:
            # Copies of the last image fill the batch.
            values = np.concatenate([values, np.repeat(values[-1:], self._output.batch - count, axis=0)])
        return _rows(self._program.run([self._output.name], {self._given.name: values})[0])[:count]
