"""``history.json``: the course of a finished training, small enough to be kept and drawn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from aroface.files import write_json
from aroface.results import HISTORY, LOG
from aroface.training.log import whole_lines
from aroface.training.recipe import RunRecipe

SCHEMA = 1
POINTS = 512
_SAID = {"step", "epoch"}


def write_history(
    run: RunRecipe, run_dir: Path, steps: int, steps_per_epoch: int, displacements: Mapping[str, Any] | None
) -> Path:
    """Write ``history.json`` from the log of a training that has ended.

    Args:
        run: what was trained.
        run_dir: has the log and takes the file.
        steps: of the whole training.
        steps_per_epoch: of an epoch.
        displacements: as :func:`aroface.training.displacements.describe` says it; None without an adversary, and where
            the counts of a part of the training were lost.

    Returns:
        The file.
    """
    entries = [*_entries(run_dir / LOG)]
    content = {
        "schema": SCHEMA,
        "run": run.name,
        "experiment": run.experiment,
        "recipe_hash": run.recipe_hash,
        "epochs": run.recipe.epochs,
        "steps": steps,
        "steps_per_epoch": steps_per_epoch,
        "batch_size": run.recipe.batch_size,
        "adversary": run.recipe.adversary["kind"],
        "curve": thin((entry for entry in entries if "loss" in entry), steps),
        "validation": _validation(entries),
        "displacements": displacements,
    }
    zeros = {entry["step"]: entry["zero_signs"] for entry in entries if "zero_signs" in entry}
    if zeros:
        content["zero_signs"] = _rounded(fmean(zeros.values()))
    path = run_dir / HISTORY
    write_json(path, content)
    return path


def thin(entries: Iterable[Mapping[str, Any]], steps: int, points: int = POINTS) -> dict[str, list[float]]:
    """A curve of at most ``points`` points: the training is cut into equal parts, each of which gives its mean.

    There are as many parts as logged steps, but no more than ``points``; one in which nothing was logged gives no
    point. A step that was logged twice counts once, as it was logged last.

    Args:
        entries: lines of the log with ``step``, ``loss`` and ``lr``.
        steps: of the whole training.
        points: most points.

    Returns:
        Columns ``step`` (mean of the steps), ``loss``, ``lr`` and ``logged`` (how many steps the point is the mean of).
    """
    logged = {entry["step"]: entry for entry in entries}
    parts: dict[int, list[Mapping[str, Any]]] = {}
    for step, entry in sorted(logged.items(), key=lambda each: each[0]):
        parts.setdefault(step * min(points, len(logged)) // steps, []).append(entry)
    curve: dict[str, list[float]] = {
        key: [_rounded(fmean(entry[key] for entry in part)) for part in parts.values()]
        for key in ("step", "loss", "lr")
    }
    return {**curve, "logged": [len(part) for part in parts.values()]}


def _validation(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was measured after epochs; one that was measured twice counts once."""
    measured = {entry["epoch"]: entry for entry in entries if "loss" not in entry}
    return [
        {
            "epoch": epoch + 1,
            "step": entry["step"] + 1,
            "metrics": {name: value for name, value in entry.items() if name not in _SAID},
        }
        for epoch, entry in sorted(measured.items())
    ]


def _entries(path: Path) -> Iterable[dict[str, Any]]:
    for line in whole_lines(path):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # a damaged line must not cost a training its end
            continue
        if isinstance(entry, dict) and {*entry} >= _SAID and ("loss" not in entry or "lr" in entry):
            yield entry


def _rounded(value: float) -> float:
    """Seven digits, more than a float32 has."""
    return float(f"{value:.7g}")
