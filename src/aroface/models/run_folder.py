"""The folder of a finished run: what its ``checkpoint.json`` says, and the weights that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.errors import InputError, printable
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import read_json, sha256_file
from aroface.models.checkpoint import load_weights
from aroface.models.registry import Backbone, build
from aroface.results import CHECKPOINT

INPUT: Mapping[str, Any] = {"size": TEMPLATE_SIZE, "color": "RGB", "mean": 127.5, "std": 127.5}
"""Input of a network that is trained here, and of a released one that says nothing else."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAME_BYTES = 255  # that file systems take of a folder's name
_KEYS = {"run", "experiment", "recipe", "recipe_hash", "weights", "input", "embedding_size", "data", "source"}


def read_checkpoint(run_dir: str | PathLike[str]) -> dict[str, Any]:
    """Read ``checkpoint.json`` of a finished run.

    Raises:
        InputError: The run is not finished, or the file is of something else.
    """
    path = Path(run_dir) / CHECKPOINT
    checkpoint = read_json(path)
    if not isinstance(checkpoint, dict) or not checkpoint.keys() >= _KEYS:
        raise InputError("no checkpoint of a run", file=path, expected=f"keys {', '.join(sorted(_KEYS))}")
    experiment = checkpoint["experiment"]
    check_names(checkpoint["run"], experiment if isinstance(experiment, dict) else {}, file=path)
    return checkpoint


def check_names(run: Any, experiment: Mapping[str, Any], *, file: str | PathLike[str] | None = None) -> None:
    """Check the names of a run that records, their folders and tables hold, before anything is computed with it.

    Args:
        run: Name of the run, which is that of a folder.
        experiment: Method, data set and architecture.
        file: File that has them, for messages.

    Raises:
        InputError: A name is missing or blank, or holds control characters; or the run's can be no folder's.
    """
    for key, name in {"run": run, **{key: experiment.get(key) for key in ("method", "dataset", "arch")}}.items():
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{name!r} is no name", file=file, where=key, remedy="choose one that can be read")
        if _CONTROL.search(name):
            raise InputError(
                f"{name!a:.100} holds a control character", file=file, where=key, expected="printable text"
            )
    if "/" in run or run in (".", "..") or len(run.encode()) > _NAME_BYTES:
        expected = f"the name of a folder: no /, at most {_NAME_BYTES} bytes"
        raise InputError(f"{printable(run, 40)!r} cannot name a run", file=file, where="run", expected=expected)


def load_backbone(run_dir: str | PathLike[str]) -> tuple[Backbone, dict[str, Any]]:
    """The backbone of a finished run on the CPU, in evaluation mode, and what its ``checkpoint.json`` says.

    Raises:
        InputError: The run is not finished, or its weights are not those that the checkpoint names or fit another
            architecture, or it is an ONNX program.
    """
    checkpoint = read_checkpoint(run_dir)
    if "program" in checkpoint:
        remedy = "take a run of weights: gradients and export need a network that is built here"
        raise InputError("an ONNX program", file=run_dir, expected="weights of a backbone", remedy=remedy)
    weights = weights_of(run_dir, checkpoint)
    arch = checkpoint["experiment"]["arch"]
    model = build(arch, checkpoint["embedding_size"], input_size=checkpoint["input"]["size"])
    load_weights(weights, model, arch)
    return model.eval(), checkpoint


def weights_of(run_dir: str | PathLike[str], checkpoint: Mapping[str, Any]) -> Path:
    """The file that a checkpoint names.

    Raises:
        InputError: It is missing, or has changed since the checkpoint was written.
    """
    return _unchanged(Path(run_dir), checkpoint["weights"])


def program_of(run_dir: str | PathLike[str], checkpoint: Mapping[str, Any]) -> Path:
    """The ONNX file of an imported program, whose weights lie beside it.

    Raises:
        InputError: It or its weights are missing, or have changed since the checkpoint was written.
    """
    weights_of(run_dir, checkpoint)
    return _unchanged(Path(run_dir), checkpoint["program"])


def classifier_of(run_dir: str | PathLike[str], checkpoint: Mapping[str, Any]) -> Path | None:
    """The file of the classifier that was released with an imported backbone; None if there was none.

    Raises:
        InputError: It is missing, or has changed since the checkpoint was written.
    """
    return _unchanged(Path(run_dir), checkpoint["classifier"]) if "classifier" in checkpoint else None


def _unchanged(folder: Path, described: Mapping[str, Any]) -> Path:
    path = folder / str(described["file"])
    if not path.exists():
        raise InputError("no such file", file=path, remedy="copy it from where the run was made")
    digest, expected = sha256_file(path), described["sha256"]
    if digest != expected:
        raise InputError(
            f"sha256 {digest}",
            file=path,
            expected=f"{expected} as in {CHECKPOINT}",
            remedy="the file was changed or cut short: copy it again, or make the run again",
        )
    return path
