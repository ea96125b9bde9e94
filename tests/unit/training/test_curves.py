"""Recipes that were written before an option existed train as they did then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aroface.datasets.manifest import manifest_hash
from aroface.files import sha256_file, write_json
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import recipe_hash
from aroface.training.train import train
from repository import GOLDEN
from training_runs import IDENTITY, write_data

EXPECTED = GOLDEN / "curves.json"
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}
"""Relative, for the first steps: another processor takes sums in another order, and later steps magnify that."""
FIRST = 4


def write_run(folder: Path, recipe: dict[str, Any]) -> Path:
    """The recipe file of a run, with nothing in it but what is given."""
    hash_ = recipe_hash(recipe, manifest_hash(IDENTITY), 5, 1)
    run = f"toy-toy-r8s4-s5-{hash_[:8]}"
    entry = {"run": run, "experiment": {"method": "toy", "dataset": "toy", "arch": "r8s4", "seed": 5}}
    entry |= {"recipe": recipe, "recipe_hash": hash_, "semantics": 1}
    entry |= {"data": {"name": "toy", "manifest_hash": manifest_hash(IDENTITY)}}
    path = folder / f"{run}.json"
    write_json(path, entry)
    return path


def course(folder: Path, recipe: dict[str, Any], data: Path) -> tuple[list[float], str]:
    """Losses of a training, and the hash of its weights."""
    execution = ExecutionOptions(log_every=1, loader_threads=1)
    checkpoint = train(write_run(folder, recipe), data, folder / "run", folder / "state", execution)
    lines = (folder / "run" / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines], sha256_file(checkpoint.parent / "model.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize("name", [*json.loads(EXPECTED.read_text())])
def test_a_recipe_of_before_trains_as_before(name: str, data: Path, tmp_path: Path) -> None:
    golden = json.loads(EXPECTED.read_text())[name]
    losses, _ = course(tmp_path, golden["recipe"], data)
    tolerance = TOLERANCE[golden["recipe"]["precision"]]
    assert losses[:FIRST] == pytest.approx(golden["losses"][:FIRST], rel=tolerance)
