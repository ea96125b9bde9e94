"""The folder of a finished run: what its ``checkpoint.json`` says, and the weights that it names."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import read_json, sha256_file
from aroface.models.checkpoint import load_weights
from aroface.models.registry import Backbone, build
from aroface.results import CHECKPOINT, check_names

INPUT: Mapping[str, Any] = {"size": TEMPLATE_SIZE, "color": "RGB", "mean": 127.5, "std": 127.5}
"""Input of a network that is trained here, and of a released one that says nothing else."""

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
