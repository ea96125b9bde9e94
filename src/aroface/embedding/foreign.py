"""Any model as an embedder: an ONNX file, a checkpoint that others released, or a finished run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from aroface.device import choose_device
from aroface.embedding.embedder import Embedder, load_embedder
from aroface.errors import InputError
from aroface.files import HASH_DIGITS, sha256_file
from aroface.models.checkpoint import Color, load_foreign
from aroface.models.registry import build
from aroface.models.released import RELEASED, UNKNOWN
from aroface.models.run_folder import read_checkpoint

SIZE, MEAN, STD = 112, 127.5, 127.5
COLOR: Color = "RGB"
"""What the input is taken for where neither the file nor the user says: insightface's."""

_FLOATS: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_SILENT = 4  # onnxruntime would print what is raised as well
_PROBE = 2  # images that a model for any number of them is tried on


@dataclass(frozen=True, slots=True)
class Declared:
    """What a user says of a model's input and output; None leaves it to the file, or to the defaults above.

    Attributes:
        color: order of the channels.
        mean: subtracted from pixel values in 0..255.
        std: what they are divided by afterwards.
        size: side of the square images in pixels; only where an ONNX file leaves it open.
        output: name of an ONNX file's output; by default the first that has one row an image.
    """

    color: Color | None = None
    mean: float | None = None
    std: float | None = None
    size: int | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model, ready to embed, and who it is.

    Attributes:
        name: for people.
        embedder: from images to embeddings.
        checkpoint: what ``checkpoint.json`` of a run says, or would say of it.
    """

    name: str
    embedder: Embedder
    checkpoint: Mapping[str, Any]


def open_model(
    path: str | PathLike[str],
    *,
    name: str | None = None,
    declared: Declared | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Model:
    """Open whatever lies at ``path``: a run folder, an ``.onnx`` file, or else a released checkpoint.

    Args:
        path: the folder or file.
        name: by default that of the folder or file.
        declared: what is said of its input; runs and checkpoints know most of it themselves.
        device: torch device, or where onnxruntime computes; by default the GPU if there is one that can be used.
        threads: of onnxruntime; its own choice by default.

    Raises:
        InputError: nothing is there, it is of no such kind or damaged, it takes or gives something else than images and
            embeddings, or what is declared does not fit it.
    """
    place, said = Path(path), declared or Declared()
    if said.std is not None and not said.std > 0:
        raise InputError(f"std {said.std}", expected="more than 0")
    label = name or (place.stem if place.is_file() else place.resolve().name)
    if place.is_dir():
        return _open_run(place, label, said, device)
    if place.suffix == ".onnx":
        return _open_onnx(place, label, said, device, threads)
    return _open_checkpoint(place, label, said, device)


def _open_run(folder: Path, name: str, said: Declared, device: str | None) -> Model:
    for option in ("color", "mean", "std", "size", "output"):
        if getattr(said, option) is not None:
            remedy = f"leave --{option} out"
            raise InputError(f"a run says itself what its {option} is", file=folder, remedy=remedy)
    return Model(name, load_embedder(folder, device), read_checkpoint(folder))


def _open_checkpoint(path: Path, name: str, said: Declared, device: str | None) -> Model:
    if said.size not in (None, SIZE) or said.output is not None:
        raise InputError("--size and --output are for ONNX models", file=path, expected=f"a side of {SIZE} pixels")
    found = load_foreign(path, said.color)
    network = build(found.arch, found.embedding_size)
    network.load_state_dict(found.state)
    place = choose_device(device)
    network.eval().requires_grad_(False).to(place)
    # Weights for BGR have been turned round: what was loaded takes RGB.
    form = _form(Declared(COLOR, said.mean, said.std, SIZE), {})
    embedder = Embedder(
        network, place, form["size"], form["color"], form["mean"], form["std"], dimension=found.embedding_size
    )
    return Model(name, embedder, _describe(path, found.arch, form, found.embedding_size, sha256_file(path)))


def _open_onnx(path: Path, name: str, said: Declared, device: str | None, threads: int | None) -> Model:
    files = _onnx_files(path)
    session = _session(path, device, threads)
    metadata = session.get_modelmeta().custom_metadata_map
    own = json.loads(metadata.get("aroface.input", "{}"))
    given = _input_of(session, path)
    if None not in (given.size, said.size) and given.size != said.size:
        raise InputError(f"takes {given.size}×{given.size} pixels", file=path, expected=f"{said.size} as --size says")
    form = _form(said, {**own, **({"size": given.size} if given.size else {})})
    output, dimension, batch = _output_of(session, given, form["size"], said.output, path)
    network = OnnxNetwork(session, given.name, output, batch, given.dtype, path)
    place = torch.device("cpu")  # onnxruntime copies what it needs elsewhere
    embedder = Embedder(network, place, form["size"], form["color"], form["mean"], form["std"], dimension)
    described = _describe(path, json.loads(metadata.get("aroface.arch", '"onnx"')), form, dimension, _joint_hash(files))
    return Model(name, embedder, described)


def _form(said: Declared, own: Mapping[str, Any]) -> dict[str, Any]:
    """Size, colour order and normalisation: as declared, else as the file says, else the defaults."""
    defaults = {"size": SIZE, "color": COLOR, "mean": MEAN, "std": STD}
    declared = {key: getattr(said, key) for key in defaults if getattr(said, key) is not None}
    return {**defaults, **{key: own[key] for key in defaults if key in own}, **declared}


def _describe(path: Path, arch: str, form: Mapping[str, Any], dimension: int, sha256: str) -> dict[str, Any]:
    return {
        "run": f"{path.stem}-{sha256[:HASH_DIGITS]}",
        "experiment": {"method": RELEASED, "dataset": UNKNOWN, "arch": arch, "seed": 0},
        "recipe": None,
        "recipe_hash": None,
        "weights": {"file": path.name, "sha256": sha256},
        "input": dict(form),
        "embedding_size": dimension,
        "data": {"name": UNKNOWN, "manifest_hash": None},
        "source": RELEASED,
    }


def _joint_hash(files: Sequence[Path]) -> str:
    """The hash of one file, or of all of a model whose weights lie beside it."""
    hashes = [sha256_file(file) for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _onnx_files(path: Path) -> list[Path]:
    """An ONNX file and those beside it that hold its weights, all there."""
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except Exception as error:  # protobuf's, which have no base of their own
        raise InputError(f"no ONNX model ({_first_line(error)})", file=path) from None
    places = {
        entry.value
        for tensor in graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for place in sorted(places):
        if not (path.parent / place).is_file():
            remedy = "copy it from where the model was exported; the two belong together"
            raise InputError(f"its weights lie in {place!r}, which is not there", file=path, remedy=remedy)
    return [path, *(path.parent / place for place in sorted(places))]


def _session(path: Path, device: str | None, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads or 0
    known = onnxruntime.get_available_providers()
    cuda = "CUDAExecutionProvider" in known
    if device == "cuda" and not cuda:
        remedy = "pip install onnxruntime-gpu, or choose the device cpu"
        raise InputError("this onnxruntime computes on CPUs only", file=path, remedy=remedy)
    providers = (["CUDAExecutionProvider"] if cuda and device != "cpu" else []) + ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise InputError(f"onnxruntime cannot load it ({_first_line(error)})", file=path) from None


@dataclass(frozen=True, slots=True)
class _Input:
    """An ONNX model's input: batch and side are None where the file leaves them open."""

    name: str
    batch: int | None
    size: int | None
    dtype: type[np.floating[Any]]


def _input_of(session: onnxruntime.InferenceSession, path: Path) -> _Input:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise InputError(f"{len(inputs)} inputs ({names})", file=path, expected="one: images")
    (only,) = inputs
    batch, channels, height, width = dims = [*only.shape, *[None] * 4][:4]
    fixed = [side for side in (height, width) if isinstance(side, int)]
    if len(only.shape) != 4 or (isinstance(channels, int) and channels != 3) or len({*fixed}) > 1:
        shape = "×".join(str(side) for side in only.shape) or "a scalar"
        raise InputError(f"takes {shape}", file=path, record=only.name, expected="N×3×S×S: square colour images")
    if only.type not in _FLOATS:
        raise InputError(f"takes {only.type}", file=path, record=only.name, expected=" or ".join(_FLOATS))
    size = fixed[0] if fixed else None
    return _Input(only.name, dims[0] if isinstance(batch, int) else None, size, _FLOATS[only.type])


def _output_of(
    session: onnxruntime.InferenceSession, given: _Input, size: int, wanted: str | None, path: Path
) -> tuple[str, int, int | None]:
    """The output that holds embeddings, their length, and the number of images that has to be given at once.

    A model is tried on black images: what a file says of its outputs is often nothing. One that claims to take any
    number of images and fails on two is given one at a time.
    """
    names = [each.name for each in session.get_outputs()]
    if wanted is not None and wanted not in names:
        raise InputError(f"no output {wanted!r}", file=path, expected=f"one of {', '.join(names)}")
    chosen = [wanted] if wanted else names
    batch = given.batch
    tried = _PROBE if batch is None else batch
    try:
        found = session.run(chosen, {given.name: np.zeros((tried, 3, size, size), given.dtype)})
    except Exception as error:  # onnxruntime's errors have no base of their own
        if batch is not None:
            raise InputError(f"does not run ({_first_line(error)})", file=path) from None
        single = _Input(given.name, 1, given.size, given.dtype)
        return _output_of(session, single, size, wanted, path)
    for name, value in zip(chosen, found, strict=True):
        if value.ndim == 2 and len(value) == tried:
            return name, value.shape[1], batch
    shapes = ", ".join(f"{name} {'×'.join(map(str, value.shape))}" for name, value in zip(chosen, found, strict=True))
    raise InputError(f"{tried} images give {shapes}", file=path, expected=f"an output {tried}×D: embeddings")


class OnnxNetwork:
    """An ONNX model as a function from normalised images to embeddings.

    Args:
        session: of onnxruntime.
        source: name of the input.
        output: name of the output.
        batch: images that it takes at once; None for any number.
        dtype: of the input.
        path: its file, for error lines.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        source: str,
        output: str,
        batch: int | None,
        dtype: type[np.floating[Any]],
        path: Path,
    ) -> None:
        self._session, self._source, self._output = session, source, output
        self._batch, self._dtype, self._path = batch, dtype, path

    def __call__(self, images: Tensor) -> Tensor:
        """Map float (N, 3, size, size) to float32 (N, dimension), on the CPU.

        Raises:
            InputError: onnxruntime fails.
        """
        values = np.ascontiguousarray(images.cpu().numpy(), dtype=self._dtype)
        step = self._batch or max(len(values), 1)
        parts = [self._run(values[start : start + step], step) for start in range(0, len(values), step)]
        return torch.from_numpy(np.concatenate(parts).astype(np.float32, copy=False))

    def _run(self, values: NDArray[Any], step: int) -> NDArray[Any]:
        count = len(values)
        if count < step and self._batch is not None:
            values = np.concatenate([values, np.zeros((step - count, *values.shape[1:]), values.dtype)])
        try:
            found: NDArray[Any] = self._session.run([self._output], {self._source: values})[0]
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise InputError(f"onnxruntime fails ({_first_line(error)})", file=self._path) from None
        return found[:count]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
