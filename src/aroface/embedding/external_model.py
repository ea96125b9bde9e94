"""Any model as an embedder: an ONNX file, a checkpoint that others released, or a finished run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.device import choose_device
from aroface.embedding.embedder import Embedder, embedder_of, load_embedder
from aroface.embedding.onnx_network import Declared, input_form, open_program
from aroface.errors import InputError
from aroface.files import HASH_DIGITS, sha256_file
from aroface.models.checkpoint import load_released
from aroface.models.import_released import RELEASED, UNKNOWN, describe_released
from aroface.models.layouts import holds_weights
from aroface.models.registry import build
from aroface.models.run_folder import INPUT, read_checkpoint
from aroface.onnx_program import SUFFIX, TIME_LIMIT, joint_hash

__all__ = ["Declared", "Model", "open_model"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model, ready to embed, and who it is.

    Attributes:
        name: Name for people.
        embedder: Function from images to embeddings.
        checkpoint: Content of ``checkpoint.json`` of a run, or its equivalent for another model.
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
    time_limit: float = TIME_LIMIT,
    batch_size: int | None = None,
) -> Model:
    """Open whatever lies at ``path``: a run folder, an ``.onnx`` file, or else a released checkpoint or its folder.

    Args:
        path: Path of the folder or file.
        name: Name of the model; by default that of the folder or file.
        declared: Declaration of its input; runs and checkpoints know most of it themselves.
        device: Device of torch or onnxruntime; by default the GPU if there is one that can be used.
        threads: Number of threads of onnxruntime; its own choice by default.
        time_limit: Longest time in seconds that one batch of an ONNX model may take.
        batch_size: Number of images of a batch that an ONNX model will get, and is tried on as far as that fits the
            device; a larger one is tried when it comes.

    Raises:
        InputError: Nothing is there, it is of no such kind or damaged, it takes or gives something else than images and
            embeddings, or the declaration does not fit it.
    """
    file, declared = Path(path), declared or Declared()
    if declared.std is not None and not 0 < declared.std < math.inf:
        raise InputError(f"std {declared.std}", expected="a finite number above 0")
    if declared.mean is not None and not math.isfinite(declared.mean):
        raise InputError(f"mean {declared.mean}", expected="a finite number")
    label = name or (file.stem if file.is_file() else file.resolve().name)
    if file.is_dir() and not holds_weights(file):
        return _open_run(file, label, declared, device)
    if file.suffix.lower() == SUFFIX and not file.is_dir():
        return _open_onnx(file, label, declared, device, threads, time_limit, batch_size)
    return _open_checkpoint(file, label, declared, device)


def _open_run(folder: Path, name: str, declared: Declared, device: str | None) -> Model:
    for option in ("color", "mean", "std", "size", "output", "crop"):
        if getattr(declared, option) is not None:
            remedy = f"leave --{option} out"
            raise InputError(f"a run says itself what its {option} is", file=folder, remedy=remedy)
    return Model(name, load_embedder(folder, device), read_checkpoint(folder))


def _open_checkpoint(path: Path, name: str, declared: Declared, device: str | None) -> Model:
    if declared.size not in (None, INPUT["size"]) or declared.output is not None or declared.crop is not None:
        raise InputError(
            "--size, --output and --crop are for ONNX models", file=path, expected=f"a side of {INPUT['size']} pixels"
        )
    released = load_released(path, declared.color)
    network = build(released.arch, released.embedding_size)
    network.load_state_dict(released.state)
    torch_device = choose_device(device)
    network.eval().requires_grad_(False).to(torch_device)
    # Weights for BGR have been turned round: what was loaded takes RGB.
    form = input_form(
        Declared(INPUT["color"], declared.mean, declared.std, INPUT["size"]),
        {"mean": released.mean, "std": released.std},
    )
    embedder = Embedder(
        network, torch_device, form["size"], form["color"], form["mean"], form["std"], dimension=released.embedding_size
    )
    return Model(
        name,
        embedder,
        _describe(released.file, released.arch, form, released.embedding_size, sha256_file(released.file)),
    )


def _open_onnx(
    path: Path,
    name: str,
    declared: Declared,
    device: str | None,
    threads: int | None,
    time_limit: float,
    batch_size: int | None,
) -> Model:
    opened = open_program(path, declared, device, threads, time_limit)
    embedder = embedder_of(opened)
    opened.network.try_batch(min(batch_size or embedder.batch_size, embedder.batch_size))  # a larger one may never come
    return Model(name, embedder, _describe(path, opened.arch, opened.form, opened.dimension, joint_hash(opened.files)))


def _describe(path: Path, arch: str, form: Mapping[str, Any], dimension: int, sha256: str) -> dict[str, Any]:
    experiment = {"method": RELEASED, "dataset": UNKNOWN, "arch": arch, "seed": 0}
    weights = {"file": path.name, "sha256": sha256}
    return describe_released(f"{path.stem}-{sha256[:HASH_DIGITS]}", experiment, weights, form, dimension)
