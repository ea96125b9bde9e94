"""Start of a fine-tuning: backbone, and classifier if asked for, of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from aroface.errors import InputError
from aroface.files import read_json_if_there
from aroface.models.run_folder import INPUT, classifier_of, load_backbone
from aroface.results import CHECKPOINT
from aroface.training.trainer import Trainer


def start_from(trainer: Trainer, runs: Path) -> None:
    """Load what ``start`` of a recipe names into a trainer; called on each process, which takes its own classes.

    Args:
        trainer: Trainer before its first step.
        runs: Folder of finished runs, one of which has the weights, trained or imported.

    Raises:
        InputError: No run there has these weights or this classifier, or they do not fit the recipe or the training
            set.
    """
    start = trainer.recipe.start
    if start is None:
        return
    folder, described = _find(runs, start)
    expected = {"arch": trainer.recipe.arch, "embedding_size": trainer.recipe.embedding_size, "input": {**INPUT}}
    actual = {
        "arch": described["experiment"]["arch"],
        "embedding_size": described["embedding_size"],
        "input": described["input"],
    }
    for key, value in expected.items():
        if actual[key] != value:
            raise InputError(f"{key} {actual[key]}", file=folder / CHECKPOINT, expected=f"{value}, which is trained")
    backbone, _ = load_backbone(folder)
    trainer.backbone.load_state_dict(backbone.state_dict())
    if "classifier" in start:
        _load_classes(trainer, folder, described)


def _find(runs: Path, start: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    for path in sorted(runs.glob(f"*/{CHECKPOINT}")):
        described = read_json_if_there(path)
        if not isinstance(described, dict) or described.get("weights", {}).get("sha256") != start["weights"]:
            continue
        if start.get("classifier") in (None, described.get("classifier", {}).get("sha256")):
            return path.parent, described
    what = f"no run with weights {start['weights']}"
    what += f" and classifier {start['classifier']}" if "classifier" in start else ""
    remedy = "aroface model import makes it, and prints the hashes"
    raise InputError(what, file=runs, where="start", remedy=remedy)


def _load_classes(trainer: Trainer, folder: Path, described: Mapping[str, Any]) -> None:
    path, own = classifier_of(folder, described), trainer.classifier.rows
    assert path is not None, "the classifier's hash was found in the run"
    with safe_open(path, framework="pt") as file:
        rows = file.get_slice("weight")
        expected = [trainer.num_classes, trainer.recipe.embedding_size]
        if rows.get_shape() != expected:
            what = f"{rows.get_shape()[0]:,} classes of {rows.get_shape()[1]} features"
            wanted = f"{expected[0]:,} of {expected[1]}, the training set's in its order"
            raise InputError(what, file=path, expected=wanted, remedy="leave start.classifier out for a new one")
        with torch.no_grad():
            trainer.classifier.weight.copy_(rows[own.start : own.stop])
