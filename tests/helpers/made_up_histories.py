"""Courses of trainings that never were, for the tests of the paper room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aroface.files import digest, write_json

# Lower and upper edge of the bins, start, budget.
QUANTITIES = {
    "scale": (0.5, 1.5, [0.98, 1.02], [0.9, 1.1]),
    "rotation": (-50.0, 50.0, [-1.1, 1.1], [-5.7, 5.7]),
    "shift_x": (-0.2, 0.2, [-0.01, 0.01], [-0.05, 0.05]),
    "shift_y": (-0.2, 0.2, [-0.01, 0.01], [-0.05, 0.05]),
    "landmarks": (0.0, 40.0, [0.5, 2.3], [5.4, 11.3]),
}


def write_history(
    folder: Path,
    method: str,
    *,
    dataset: str = "ms1mv2",
    arch: str = "r100",
    seed: int = 0,
    adversary: str = "none",
    counted: bool = True,
    recorded: bool = True,
    epochs: int = 20,
    floor: float = 5.0,
    validated: bool = True,
    run: str | None = None,
) -> Path:
    """Write a finished run and, if it was ``recorded``, its valid history; returns the path of the latter.

    The run is named as a plan would name it, unless it has a name already.
    """
    hash_ = digest([method, dataset, arch, seed])
    run = run or f"{method}-{dataset}-{arch}-s{seed}-{hash_[:8]}"
    experiment = {"method": method, "dataset": dataset, "arch": arch, "seed": seed}
    checkpoint = {"run": run, "experiment": experiment, "recipe": {"adversary": {"kind": adversary}}}
    write_json(folder / run / "checkpoint.json", checkpoint)
    per_epoch, draw = 100, np.random.default_rng([seed, len(method)])
    step = np.linspace(0, epochs * per_epoch - 1, 400)
    loss = floor + (40 - floor) * np.exp(-4 * step / step[-1]) + draw.normal(0, 0.6, 400)
    accuracy = 0.98 - 0.4 * np.exp(-np.arange(1, epochs + 1) / 4) + 0.004 * seed
    content: dict[str, Any] = {
        "schema": 1,
        "run": run,
        "experiment": experiment,
        "recipe_hash": hash_,
        "epochs": epochs,
        "steps": epochs * per_epoch,
        "steps_per_epoch": per_epoch,
        "batch_size": 8,
        "adversary": adversary,
        "curve": {
            "step": step.tolist(),
            "loss": loss.tolist(),
            "lr": (0.2 * (1 - step / step[-1])).tolist(),
            "logged": [5] * 400,
        },
        "validation": [
            {"epoch": epoch + 1, "step": (epoch + 1) * per_epoch, "metrics": {"lfw": value, "cfp_fp": value - 0.04}}
            for epoch, value in enumerate(accuracy.tolist())
        ],
        "displacements": _displacements(adversary, draw) if counted and adversary != "none" else None,
    }
    if not validated:
        content["validation"] = []
    path = folder / run / "history.json"
    if recorded:
        write_json(path, content)
    return path


def _displacements(kind: str, draw: np.random.Generator) -> dict[str, Any]:
    quantities = {}
    for name, (low, high, start, budget) in QUANTITIES.items():
        sides = draw.choice(budget, 4000, p=[0.4, 0.6]) + draw.normal(0, (start[1] - start[0]) / 4, 4000)
        table: dict[str, Any] = {"low": low, "high": high, "start": start, "budget": budget}
        for part, values in (("whole", sides), ("last_epoch", sides[:200])):
            counts = np.histogram(values, 200, (low, high))[0].tolist()
            table[part] = {"below": 0, "counts": counts, "above": len(values) - sum(counts)}
        quantities[name] = table
    images = {"whole": 16000, "last_epoch": 800}
    return {"kind": kind, "images": images, "warped": {"whole": 4000, "last_epoch": 200}, "quantities": quantities}
