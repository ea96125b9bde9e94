"""``history.json``: the curves of a finished training, thinned to be kept and drawn."""

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
_POSITION = {"step", "epoch"}


def write_history(
    run: RunRecipe, run_dir: Path, steps: int, steps_per_epoch: int, displacements: Mapping[str, Any] | None
) -> Path:
    """Write ``history.json`` from the log of a training that has ended.

    Args:
        run: Run that was trained.
        run_dir: Folder with the log, which takes the file.
        steps: Number of steps of the whole training.
        steps_per_epoch: Number of steps of an epoch.
        displacements: Description by :func:`aroface.training.displacements.describe`; None without an adversary, and
            where the counts of a part of the training were lost.

    Returns:
        Path of the file.
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
    """Thin a curve to at most ``points`` points: means over equal intervals of the training.

    There are as many intervals as logged steps, but no more than ``points``; one without a logged step gives no point.
    A step that was logged twice counts once, as it was logged last.

    Args:
        entries: Lines of the log with ``step``, ``loss`` and ``lr``.
        steps: Number of steps of the whole training.
        points: Largest number of points.

    Returns:
        Columns ``step`` (mean of the steps), ``loss``, ``lr`` and ``logged`` (number of steps of each mean).
    """
    logged = {entry["step"]: entry for entry in entries}
    intervals: dict[int, list[Mapping[str, Any]]] = {}
    for step, entry in sorted(logged.items(), key=lambda item: item[0]):
        intervals.setdefault(step * min(points, len(logged)) // steps, []).append(entry)
    curve: dict[str, list[float]] = {
        key: [_rounded(fmean(entry[key] for entry in interval)) for interval in intervals.values()]
        for key in ("step", "loss", "lr")
    }
    return {**curve, "logged": [len(interval) for interval in intervals.values()]}


def _validation(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List the validations after epochs; one that was repeated counts once."""
    measured = {entry["epoch"]: entry for entry in entries if "loss" not in entry}
    return [
        {
            "epoch": epoch + 1,
            "step": entry["step"] + 1,
            "metrics": {name: value for name, value in entry.items() if name not in _POSITION},
        }
        for epoch, entry in sorted(measured.items())
    ]


def _entries(path: Path) -> Iterable[dict[str, Any]]:
    for line in whole_lines(path):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # a damaged line must not cost a training its end
            continue
        if isinstance(entry, dict) and {*entry} >= _POSITION and ("loss" not in entry or "lr" in entry):
            yield entry


def _rounded(value: float) -> float:
    """Seven digits, more than a float32 has."""
    return float(f"{value:.7g}")
