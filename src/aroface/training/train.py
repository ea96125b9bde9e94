"""Training of a run: from its recipe file to a finished run folder."""

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
from aroface.distributed.process_group import ProcessGroup, process_group
from aroface.environment_lock import lock_state
from aroface.errors import InputError
from aroface.files import FULL_DISK, read_json, sha256_file, write_json, writing
from aroface.models.checkpoint import save_weights
from aroface.models.run_folder import INPUT
from aroface.provenance import git_commit, hardware, versions
from aroface.results import CHECKPOINT, WEIGHTS
from aroface.training import displacements
from aroface.training.data_parallel import BatchSplit, split_batch
from aroface.training.execution import ExecutionOptions, Validate
from aroface.training.history import write_history
from aroface.training.loop import BEST, TrainingLoop
from aroface.training.recipe import Recipe, RunRecipe, read_run
from aroface.training.run_lock import locked
from aroface.training.trainer import Trainer

SCHEMA = 1


def train(
    recipe: Path,
    data: Path,
    run_dir: Path,
    state_dir: Path,
    execution: ExecutionOptions,
    validate: Validate | None = None,
) -> Path:
    """Train the run that ``recipe`` describes, resuming from its newest saved state.

    Under torchrun each process trains its share. A finished run is left alone. ``history.json`` and the weights are
    written first and ``checkpoint.json``, which names the weights' hash, last: a folder with a ``checkpoint.json`` is
    complete.

    Args:
        recipe: Recipe file, ``results/recipes/{run}.json``.
        data: Folder with the training set and its ``manifest.json``.
        run_dir: Folder of the run, ``results/runs/{run}``.
        state_dir: Folder of the resumable state, ``results/state/{run}``.
        execution: Execution options.
        validate: Function that measures a backbone after each epoch; None for no validation.

    Returns:
        Path of ``checkpoint.json``.

    Raises:
        InputError: The recipe is wrong, the training set is another one, or the CUDA device does not exist.
        Interrupted: A signal asked to stop; the same call resumes.
        NoRoomError: The disk is full; the same call with more room resumes.
    """
    run = read_run(recipe)
    checkpoint, weights = run_dir / CHECKPOINT, run_dir / WEIGHTS
    if checkpoint.exists() and weights.exists() and read_json(checkpoint)["recipe_hash"] == run.recipe_hash:
        return checkpoint
    choose_device(execution.device)
    check_data(run, data)
    with process_group(execution.device) as group, locked(state_dir) if group.first else nullcontext():
        environment = describe_environment(run.recipe, group.device)
        training_set = TrainingSet.open(data, execution.reader)
        split = split_batch(run.recipe, execution, group)
        loader = _loader(run, training_set, split, execution, group)
        trainer = Trainer(run, training_set.num_classes, loader.batches_per_epoch, split, execution, group)
        loop = TrainingLoop(trainer, loader, run_dir, state_dir, validate)
        with writing(run_dir), _writers_quiet(), _losing_others(run.name):
            loop.run()
        skipped = [image for share in group.gather([asdict(image) for image in loop.skipped]) for image in share]
        images = loader.images_per_epoch
        histograms = gather_displacements(loop, images)
        if group.first:
            write_history(run, run_dir, trainer.steps, trainer.steps_per_epoch, histograms)
            save_weights(weights, trainer.backbone, {"arch": run.recipe.arch, "run": run.name})
            write_json(checkpoint, _describe(loop, images, weights, environment) | {"skipped_images": skipped})
        group.wait()
    return checkpoint


@contextmanager
def _writers_quiet() -> Iterator[None]:
    """Suppress the traceback of TensorBoard's thread on a full disk, which the training reports by itself."""
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
    """Report in one line that another process of the training has ended, which has reported the cause."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo/transport" not in str(error):
            raise
        remedy = "see what it said, or whether its node is down; start again to go on from the last saved step"
        raise InputError("another process of this training has ended", file=run, remedy=remedy) from error


def _loader(
    run: RunRecipe, training_set: TrainingSet, split: BatchSplit, execution: ExecutionOptions, group: ProcessGroup
) -> BatchLoader:
    return BatchLoader(
        training_set,
        split.per_rank,
        run.seed,
        group.rank,
        group.world_size,
        threads=execution.loader_threads,
        flip=run.recipe.flip,
        pin_memory=group.device.type != "cpu",
        on_corrupt=execution.on_corrupt,
        max_corrupt_fraction=execution.max_corrupt_fraction,
        keep_last=run.recipe.last_batch == "kept",
        images_per_identity=run.recipe.images_per_identity,
    )


def gather_displacements(loop: TrainingLoop, images: int) -> dict[str, Any] | None:
    """Describe the adversary's warps on all processes; called on each of them.

    Args:
        loop: Training that has ended.
        images: Number of images of an epoch, over all processes.

    Returns:
        Description for ``history.json``; None without an adversary, or where the counts of a process were lost.
    """
    trainer, histograms = loop.trainer, loop.displacements
    shares = trainer.group.gather(None if histograms is None else histograms.counts.tolist())
    counts = [torch.tensor(share) for share in shares if share is not None]
    if len(counts) < len(shares):
        return None
    options = trainer.adversary.options
    return displacements.describe(torch.stack(counts).sum(0), options, trainer.recipe.epochs * images, images)


def size_of(run: RunRecipe, data: Path | None) -> tuple[int, int]:
    """Return the numbers of identities and images of the set in ``data``, else of the run's set by the registry.

    Raises:
        InputError: The registry does not know the set, or not its size.
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
        InputError: It is another one, or its files differ from its manifest.
    """
    hash_ = data_hash(data)
    if hash_ != run.data["manifest_hash"]:
        raise InputError(
            f"training set {hash_}",
            file=data,
            expected=f"{run.data['manifest_hash']} ({run.data['name']}) for run {run.name}",
            remedy="plan again: the data changed after this recipe was written",
        )


def describe_environment(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """Collect commit, versions and hardware; call it before a training, while they are those of its start."""
    machine = {**hardware(), **gpu_facts(device, tf32=recipe.tf32)}
    software = {"git_commit": git_commit(), "versions": versions(), "lock": lock_state()}
    return {**software, "hardware": machine, "threads": recipe.cpu_threads}


def _describe(loop: TrainingLoop, images: int, weights: Path, environment: dict[str, Any]) -> dict[str, Any]:
    trainer, run = loop.trainer, loop.trainer.run
    return {
        "schema": SCHEMA,
        "run": run.name,
        "experiment": run.experiment,
        "recipe": run.source,
        "recipe_hash": run.recipe_hash,
        "weights": {"file": weights.name, "sha256": sha256_file(weights)},
        "input": {**INPUT},
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
            "processes": trainer.group.world_size,
            "images_per_pass": trainer.split.per_pass,
            "compiled": trainer.execution.compile,
        },
        "validation": {"last": loop.validation, "best": loop.best and {"file": BEST, **loop.best}},
        "cost": {
            "wall_s": round(loop.seconds, 1),
            "device_hours": round(loop.seconds * trainer.group.world_size / 3600, 4),
        },
    }
