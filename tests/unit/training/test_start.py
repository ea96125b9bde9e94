"""A recipe may start from a finished run, and from the classifier that was released with its backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from aroface.distributed.process_group import ProcessGroup
from aroface.errors import InputError
from aroface.files import read_json, write_json
from aroface.models.import_released import import_checkpoint
from aroface.models.registry import build
from aroface.training.data_parallel import split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import read_run
from aroface.training.start import start_from
from aroface.training.train import train
from aroface.training.trainer import Trainer
from training_runs import CLASSES, write_data, write_recipe

EXECUTION = ExecutionOptions(log_every=1, sheet_every=100, loader_threads=1)


@pytest.fixture
def released(tmp_path: Path) -> dict[str, Any]:
    """``checkpoint.json`` of an imported run with a classifier for the toy set's classes."""
    torch.manual_seed(1)
    state = build("r8s4", 16).state_dict()
    kernel = torch.randn(16, CLASSES)
    torch.save(
        {"state_dict": {**{f"model.{k}": v for k, v in state.items()}, "head.kernel": kernel}}, tmp_path / "a.pt"
    )
    return read_json(import_checkpoint(tmp_path / "a.pt", tmp_path / "runs/released"))


def trainer_of(recipe: Path, classes: int = CLASSES) -> Trainer:
    run, group = read_run(recipe), ProcessGroup(torch.device("cpu"), 0, 1, None)
    return Trainer(run, classes, 4, split_batch(run.recipe, EXECUTION, group), EXECUTION, group)


def test_backbone_and_classifier_are_those_of_the_run(tmp_path: Path, released: dict[str, Any]) -> None:
    weights, classifier = released["weights"]["sha256"], released["classifier"]["sha256"]
    both = trainer_of(write_recipe(tmp_path, start={"weights": weights, "classifier": classifier}))
    start_from(both, tmp_path / "runs")
    kept = load_file(tmp_path / "runs/released/model.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in both.backbone.state_dict().items())
    rows = load_file(tmp_path / "runs/released/classifier.safetensors")["weight"]
    assert torch.equal(both.classifier.weight, rows)
    alone = trainer_of(write_recipe(tmp_path, start={"weights": weights}))
    new = alone.classifier.weight.clone()
    start_from(alone, tmp_path / "runs")
    assert torch.equal(alone.backbone.state_dict()["conv1.weight"], kept["conv1.weight"])
    assert torch.equal(alone.classifier.weight, new), "without its hash the classifier is new"


def test_a_training_goes_on_from_there_and_its_hash_says_so(tmp_path: Path, released: dict[str, Any]) -> None:
    data = write_data(tmp_path / "data")
    start = {"weights": released["weights"]["sha256"], "classifier": released["classifier"]["sha256"]}
    recipe = write_recipe(tmp_path, start=start, optimiser={"lr": 1e-12})
    checkpoint = read_json(train(recipe, data, tmp_path / "runs/tuned", tmp_path / "state", EXECUTION))
    assert checkpoint["recipe"]["start"] == start
    assert checkpoint["recipe_hash"] != read_run(write_recipe(tmp_path, optimiser={"lr": 1e-12})).recipe_hash
    before, after = (load_file(tmp_path / "runs" / name / "model.safetensors") for name in ("released", "tuned"))
    torch.testing.assert_close(after["conv1.weight"], before["conv1.weight"], rtol=0, atol=1e-6)


def test_what_is_missing_or_does_not_fit_is_one_line(tmp_path: Path, released: dict[str, Any]) -> None:
    weights, classifier = released["weights"]["sha256"], released["classifier"]["sha256"]
    with pytest.raises(InputError, match=r"runs: start: no run with weights 0{64}; aroface model import makes it"):
        start_from(trainer_of(write_recipe(tmp_path, start={"weights": "0" * 64})), tmp_path / "runs")
    with pytest.raises(InputError, match=r"no run with weights .* and classifier 0{64}"):
        start_from(
            trainer_of(write_recipe(tmp_path, start={"weights": weights, "classifier": "0" * 64})), tmp_path / "runs"
        )
    both = write_recipe(tmp_path, start={"weights": weights, "classifier": classifier})
    with pytest.raises(InputError, match=rf"classifier\.safetensors: {CLASSES} classes of 16 .*expected 9 of 16, the"):
        start_from(trainer_of(both, classes=9), tmp_path / "runs")
    with pytest.raises(InputError, match="embedding_size 16; expected 32, which is trained"):
        start_from(trainer_of(write_recipe(tmp_path, start={"weights": weights}, embedding_size=32)), tmp_path / "runs")
    path = tmp_path / "runs/released/checkpoint.json"
    write_json(path, {**released, "input": {**released["input"], "mean": 0.0, "std": 255.0}})
    with pytest.raises(InputError, match=r"checkpoint\.json: input .*expected .*127\.5"):
        start_from(trainer_of(both), tmp_path / "runs")
