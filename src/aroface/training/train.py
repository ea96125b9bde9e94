"""From a recipe file to a finished run folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.identity import data_hash
from aroface.datasets.loader import BatchLoader
from aroface.datasets.registry import find_entry
from aroface.device import choose_device, gpu_facts
from aroface.distributed.process_group import ProcessGroup, process_group, share_of
from aroface.environment_lock import lock_state
from aroface.errors import InputError
from aroface.files import FULL_DISK, read_json, sha256_file, write_json, writing
from aroface.models.checkpoint import save_weights
from aroface.provenance import git_commit, hardware, versions
from aroface.training import displacements
from aroface.training.execution import ExecutionOptions, Validate
from aroface.training.history import write_history
from aroface.training.recipe import Recipe, RunRecipe, read_run
from aroface.training.run_lock import locked
from aroface.training.trainer import BEST, Trainer

SCHEMA = 1
WEIGHTS = "model.safetensors"


def train(
    recipe: Path,
    data: Path,
    run_dir: Path,
    state_dir: Path,
    execution: ExecutionOptions,
    validate: Validate | None = None,
) -> Path:
    """Train the run that ``recipe`` describes, going on from its newest saved state.

    Under torchrun each process trains its share. A finished run is left alone. ``history.json`` and the weights are
    written first and ``checkpoint.json``, which names the weights' hash, last: a folder with a ``checkpoint.json`` is
    complete.

    Args:
        recipe: ``results/recipes/{run}.json``.
        data: folder with the training set and its ``manifest.json``.
        run_dir: ``results/runs/{run}``.
        state_dir: ``results/state/{run}``.
        execution: how to carry it out.
        validate: what a backbone is worth, asked after each epoch.

    Returns:
        The path of ``checkpoint.json``.

    Raises:
        InputError: a wrong recipe, a training set other than the recipe's, or no CUDA device where one is asked for.
        Interrupted: a signal asked to stop; start again to go on.
        NoRoomError: the disk is full; start again with more room to go on.
    """
    run = read_run(recipe)
    checkpoint, weights = run_dir / "checkpoint.json", run_dir / WEIGHTS
    if checkpoint.exists() and weights.exists() and read_json(checkpoint)["recipe_hash"] == run.recipe_hash:
        return checkpoint
    choose_device(execution.device)
    check_data(run, data)
    with process_group(execution.device) as ranks, locked(state_dir) if ranks.first else nullcontext():
        environment = describe_environment(run.recipe, ranks.device)
        training_set = TrainingSet.open(data, execution.reader)
        loader = _loader(run, training_set, execution, ranks)
        trainer = Trainer(run, training_set.num_classes, loader, run_dir, state_dir, execution, ranks, validate)
        with writing(run_dir), _writers_quiet(), _losing_others(run.name):
            trainer.train()
        skipped = [each for share in ranks.gather([asdict(each) for each in trainer.skipped]) for each in share]
        images = loader.images_per_epoch
        moved = _displacements(trainer, images)
        if ranks.first:
            write_history(run, run_dir, trainer.steps, trainer.steps_per_epoch, moved)
            save_weights(weights, trainer.backbone, {"arch": run.recipe.arch, "run": run.name})
            write_json(checkpoint, _describe(run, trainer, images, weights, environment) | {"skipped_images": skipped})
        ranks.wait()
    return checkpoint


@contextmanager
def _writers_quiet() -> Iterator[None]:
    """Leave a full disk to the training's own error: TensorBoard's thread would print its traceback as well."""
    before = threading.excepthook

    def hook(thrown: threading.ExceptHookArgs) -> None:
        if not (isinstance(thrown.exc_value, OSError) and thrown.exc_value.errno in FULL_DISK):
            before(thrown)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def _losing_others(run: str) -> Iterator[None]:
    """Say in one line that another process of the training has ended, which has said why."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo/transport" not in str(error):
            raise
        remedy = "see what it said, or whether its node is down; start again to go on from the last saved step"
        raise InputError("another process of this training has ended", file=run, remedy=remedy) from error


def _loader(run: RunRecipe, training_set: TrainingSet, execution: ExecutionOptions, ranks: ProcessGroup) -> BatchLoader:
    return BatchLoader(
        training_set,
        share_of(run.recipe.batch_size, ranks, execution.micro_batch)[0],
        run.seed,
        ranks.rank,
        ranks.world_size,
        threads=execution.loader_threads,
        flip=run.recipe.flip,
        pin_memory=ranks.device.type != "cpu",
        on_corrupt=execution.on_corrupt,
        max_corrupt_fraction=execution.max_corrupt_fraction,
        keep_last=run.recipe.last_batch == "kept",
    )


def _displacements(trainer: Trainer, images: int) -> dict[str, Any] | None:
    """What the adversary did on all processes, if there is one and all of it was counted."""
    counted = trainer.displacements
    shares = trainer.ranks.gather(None if counted is None else counted.counts.tolist())
    whole = [torch.tensor(share) for share in shares if share is not None]
    if len(whole) < len(shares):
        return None
    options = trainer.adversary.options
    return displacements.describe(torch.stack(whole).sum(0), options, trainer.recipe.epochs * images, images)


def size_of(run: RunRecipe, data: Path | None) -> tuple[int, int]:
    """Identities and images of the run's training set: of the one in ``data``, else as the registry has them.

    Raises:
        InputError: the registry does not know the set, or not its size.
    """
    if data is not None:
        training_set = TrainingSet.open(data)
        return training_set.num_classes, len(training_set)
    name = run.data["name"]
    counts = find_entry(name).counts
    if not {"identities", "images"} <= counts.keys():
        raise InputError(f"the size of {name} is not in the registry", remedy="give its folder: --data")
    return counts["identities"], counts["images"]


def check_data(run: RunRecipe, data: Path) -> None:
    """Refuse a training set other than the one that the recipe was made for.

    Raises:
        InputError: it is another one, or its files are not as its manifest says.
    """
    found = data_hash(data)
    if found != run.data["manifest_hash"]:
        raise InputError(
            f"training set {found}",
            file=data,
            expected=f"{run.data['manifest_hash']} ({run.data['name']}) for run {run.name}",
            remedy="plan again: the data changed after this recipe was written",
        )


def describe_environment(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """Commit, versions and hardware; to be asked before a training, while they are what it started from."""
    machine = {**hardware(), **gpu_facts(device, tf32=recipe.tf32)}
    found = {"git_commit": git_commit(), "versions": versions(), "lock": lock_state()}
    return {**found, "hardware": machine, "threads": recipe.cpu_threads}


def _describe(
    run: RunRecipe, trainer: Trainer, images: int, weights: Path, environment: dict[str, Any]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "run": run.name,
        "experiment": run.experiment,
        "recipe": run.source,
        "recipe_hash": run.recipe_hash,
        "weights": {"file": weights.name, "sha256": sha256_file(weights)},
        "input": {"size": 112, "color": "RGB", "mean": 127.5, "std": 127.5},
        "embedding_size": run.recipe.embedding_size,
        "source": "trained",
        "progress": {
            "epochs": run.recipe.epochs,
            "steps": trainer.steps,
            "images": run.recipe.epochs * images,
        },
        "data": run.data,
        "environment": environment,
        "execution": {
            "processes": trainer.ranks.world_size,
            "images_per_pass": trainer.pass_images,
            "compiled": trainer.execution.compile,
        },
        "validation": {"last": trainer.validation, "best": trainer.best and {"file": BEST, **trainer.best}},
        "cost": {
            "wall_s": round(trainer.seconds, 1),
            "device_hours": round(trainer.seconds * trainer.ranks.world_size / 3600, 4),
        },
    }
