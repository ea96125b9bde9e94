"""From a checkpoint that others released to a run folder like that of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from aroface.environment_lock import lock_state
from aroface.errors import InputError
from aroface.files import read_json, sha256_file, write_json
from aroface.models.checkpoint import ReleasedCheckpoint, load_released, read_classifier, save_tensors, save_weights
from aroface.models.classifier import ReleasedClassifier
from aroface.models.layouts import Color
from aroface.models.registry import build, check_arch
from aroface.models.run_folder import INPUT
from aroface.omissions import Omissions
from aroface.provenance import git_commit, hardware, versions
from aroface.results import CHECKPOINT, CLASSIFIER, PROGRAM, WEIGHTS, check_names

SCHEMA = 1
RELEASED = "released"
UNKNOWN = "unknown"


def import_checkpoint(
    file: str | PathLike[str],
    out: str | PathLike[str],
    *,
    color: Color | None = None,
    mean: float | None = None,
    std: float | None = None,
    arch: str | None = None,
    name: str | None = None,
    method: str = RELEASED,
    dataset: str = UNKNOWN,
    classifiers: Sequence[str | PathLike[str]] = (),
) -> Path:
    """Write ``model.safetensors`` and, last, ``checkpoint.json``: everything downstream takes them for a finished run.

    The weights written take RGB, whatever the file's take; what was found and done is in ``released``. A classifier
    that comes with the backbone is written to ``classifier.safetensors`` as ``weight`` (classes, embedding size) and
    described in ``classifier``, for fine-tuning. Memory grows with the file: a classifier of 2 M classes has 4 GB.

    Args:
        file: File that :func:`aroface.models.checkpoint.load_released` reads.
        out: Run folder; one that an import made is made again.
        color: Order of the channels that the weights were trained on; by default that of the file's layout.
        mean: Value subtracted from pixel values in 0..255; by default that of the file's layout, 127.5 for most.
        std: Divisor of the pixel values after subtraction of the mean; by default likewise.
        arch: Architecture that the file must hold; any if not given.
        name: Name of the run; by default the folder's.
        method: Training method, for the rows of tables.
        dataset: Training set, for the rows of tables.
        classifiers: Files of the classifier where it was released apart, in the order of their classes.

    Returns:
        The path of ``checkpoint.json``.

    Raises:
        InputError: No such checkpoint (see :func:`aroface.models.checkpoint.load_released`), or one of another
            architecture; a file of ``classifiers`` holds none; or the folder holds a trained run.
    """
    if arch is not None:
        check_arch(arch)
    folder = Path(out)
    refuse_trained(folder)
    run = name or folder.resolve().name
    check_names(run, {"method": method, "dataset": dataset, "arch": arch or RELEASED})
    released = load_released(file, color)
    if arch not in (None, released.arch):
        raise InputError(f"holds {released.arch}", file=file, expected=arch)
    omissions = Omissions()
    omissions.extend("tensors that are no part of the backbone", released.left_out)
    omissions.tell()
    classifier = read_classifier(classifiers, released.embedding_size) if classifiers else released.classifier
    form = {**INPUT, "mean": released.mean if mean is None else mean, "std": released.std if std is None else std}
    model = build(released.arch, released.embedding_size)
    model.load_state_dict(released.state)
    clear_import(folder)
    save_weights(folder / WEIGHTS, model, {"arch": released.arch, "run": run})
    experiment = {"method": method, "dataset": dataset, "arch": released.arch, "seed": 0}
    described = describe_released(run, experiment, hashed(folder / WEIGHTS), form, released.embedding_size)
    kept = {} if classifier is None else {"classifier": _keep(classifier, folder, run)}
    facts = {"released": _origin(released), "environment": environment(), **kept}
    write_json(folder / CHECKPOINT, {"schema": SCHEMA, **described, **facts})
    return folder / CHECKPOINT


def _keep(classifier: ReleasedClassifier, folder: Path, run: str) -> dict[str, Any]:
    """Write a classifier beside the backbone that it belongs to, and describe it."""
    path = folder / CLASSIFIER
    save_tensors(path, {"weight": classifier.weight.to(torch.float32)}, {"run": run})
    return {
        **hashed(path),
        "classes": classifier.classes,
        "from": [f"{file.name}: {name}" for file, name in zip(classifier.files, classifier.names, strict=True)],
    }


def refuse_trained(folder: Path) -> None:
    """Refuse a folder for an imported run that is a file, or that holds a trained run.

    Raises:
        InputError: It is.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("a file", file=folder, expected="a folder for the run", remedy="name another by --out")
    if (folder / CHECKPOINT).exists() and read_json(folder / CHECKPOINT).get("source") != RELEASED:
        raise InputError("holds a trained run", file=folder, expected="a folder of its own", remedy="choose another")


def environment() -> dict[str, Any]:
    """Software and hardware of an import, as ``checkpoint.json`` has them."""
    return {"git_commit": git_commit(), "versions": versions(), "lock": lock_state(), "hardware": hardware()}


def describe_released(
    run: str, experiment: Mapping[str, Any], weights: Mapping[str, str], form: Mapping[str, Any], embedding_size: int
) -> dict[str, Any]:
    """Part of ``checkpoint.json`` that all released models have, imported or only opened.

    Args:
        run: Name of the run.
        experiment: Method, data set, architecture and seed.
        weights: Name and sha256 of the file of weights.
        form: Size, colour order and normalisation of the input.
        embedding_size: Number of features of a face.
    """
    return {
        "run": run,
        "experiment": {**experiment},
        "recipe": None,
        "recipe_hash": None,
        "weights": {**weights},
        "input": {**form},
        "embedding_size": embedding_size,
        "data": {"name": experiment["dataset"], "manifest_hash": None},
        "source": RELEASED,
    }


def hashed(path: Path) -> dict[str, str]:
    """Name and sha256 of a file, as ``checkpoint.json`` has them."""
    return {"file": path.name, "sha256": sha256_file(path)}


def clear_import(folder: Path) -> None:
    """Remove what an earlier import wrote, ``checkpoint.json`` first, but for the weights, which are replaced."""
    for stale in (CHECKPOINT, CLASSIFIER, PROGRAM):
        (folder / stale).unlink(missing_ok=True)


def _origin(released: ReleasedCheckpoint) -> dict[str, Any]:
    return {
        **hashed(released.file),
        "size": released.file.stat().st_size,
        "layout": released.layout,
        "color": released.color,
        "release": released.release,
    }
