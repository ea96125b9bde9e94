"""Names of runs and benchmarks are promises: a change of the code must not move them, unless it means to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aroface import result_versions
from aroface.planning.config import read_configuration, read_experiments
from aroface.planning.plan import make_plan
from aroface.training.recipe import recipe_hash
from repository import GOLDEN

EXPECTED = GOLDEN / "hashes.json"
CONFIGS = Path("workflow/configs")
OVERLAYS = ("ablations", "everything", "paper_all", "released512")  # to be laid over config.yaml
UNPLANNED = ("folder",)  # needs photographs; its recipes need none
DATA = "0" * 64


def files_of(name: str) -> list[Path]:
    """The files of a configuration by its name."""
    own = Path("config.yaml") if name == "config" else CONFIGS / f"{name}.yaml"
    return [Path("config.yaml"), own] if name in OVERLAYS else [own]


def names() -> list[str]:
    """All configurations but the defaults, which are none of their own."""
    return ["config", *sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "defaults")]


def found(name: str, folder: Path) -> dict[str, Any]:
    """Hashes of recipes on data with a constant hash; names of runs and benchmarks on sets that are not there."""
    paths = {"paths": {"data": str(folder / "data"), "results": str(folder / "results")}}
    recipes = {
        "-".join([*experiment.key, f"s{seed}"]): recipe_hash(experiment.recipe, DATA, seed, result_versions.TRAINING)
        for experiment in read_experiments(read_configuration(files_of(name), paths))
        if experiment.recipe is not None
        for seed in experiment.seeds
    }
    if name in UNPLANNED:
        return {"recipes": recipes}
    plan = make_plan(files_of(name), paths)
    return {
        "recipes": recipes,
        "runs": sorted(plan.runs),
        "benchmarks": sorted(benchmark.file.name for benchmark in plan.benchmarks.values()),
    }


@pytest.mark.parametrize("name", names())
def test_names_of_runs_and_benchmarks_stay(name: str, tmp_path: Path) -> None:
    assert found(name, tmp_path) == json.loads(EXPECTED.read_text())[name]
