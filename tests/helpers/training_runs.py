"""A toy training set and recipes for it, for the tests of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import yaml

from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.loader import BatchLoader
from aroface.datasets.manifest import manifest_hash, write_manifest
from aroface.distributed.process_group import ProcessGroup
from aroface.files import write_json
from aroface.planning.config import lay_over
from aroface.training.data_parallel import split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.loop import TrainingLoop
from aroface.training.recipe import RunRecipe, recipe_hash
from aroface.training.trainer import Trainer

IDENTITY = {"files": {"train.rec": {}}}
IMAGES, CLASSES, BATCH = 64, 8, 8

BASE = {
    "arch": "r8s4",
    "embedding_size": 16,
    "adversary": {"kind": "none"},
    "optimiser": {"lr": 0.05},
    "epochs": 1,
    "batch_size": BATCH,
    "precision": "fp32",
    "gradient_compression": "fp16",
    "cpu_threads": 1,
}


def jpeg(seed: int) -> bytes:
    """A JPEG of noise."""
    return simplejpeg.encode_jpeg(np.random.default_rng(seed).integers(0, 255, (112, 112, 3), np.uint8))


def write_data(folder: Path) -> Path:
    """A training set of noise with its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [(i * CLASSES // IMAGES, jpeg(i)) for i in range(IMAGES)]
    write_training_set(folder, items, CLASSES)
    sign(folder)
    return folder


def sign(folder: Path, identity: dict[str, Any] = IDENTITY) -> None:
    """Write the manifest for whatever lies in the folder."""
    write_manifest(folder, name="toy", kind="training", identity=identity, counts={"images": IMAGES})


def write_recipe(folder: Path, **changes: Any) -> Path:
    """The recipe of a run on the toy set: the paper's, made small, with changes."""
    recipe = yaml.safe_load(Path("workflow/registries/recipes.yaml").read_text())["page2048"]["recipe"]
    recipe = lay_over(lay_over({**recipe, "adversary": {}}, BASE), changes)
    hash_ = recipe_hash(recipe, manifest_hash(IDENTITY), 5, 1)
    run = f"toy-toy-r8s4-s5-{hash_[:8]}"
    entry = {"run": run, "experiment": {"method": "toy", "dataset": "toy", "arch": "r8s4", "seed": 5}}
    entry |= {"recipe": recipe, "recipe_hash": hash_, "semantics": 1}
    entry |= {"data": {"name": "toy", "manifest_hash": manifest_hash(IDENTITY)}}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run}.json"
    write_json(path, entry)
    return path


def training_loop(
    run: RunRecipe, data: Path, folder: Path, execution: ExecutionOptions, group: ProcessGroup
) -> TrainingLoop:
    """The loop of a run on this process; its folders are ``run`` and ``state`` in ``folder``."""
    training_set, split = TrainingSet.open(data), split_batch(run.recipe, execution, group)
    pinned = group.device.type != "cpu"
    position = (run.seed, group.rank, group.world_size)
    loader = BatchLoader(training_set, split.per_rank, *position, threads=1, pin_memory=pinned)
    trainer = Trainer(run, training_set.num_classes, loader.batches_per_epoch, split, execution, group)
    return TrainingLoop(trainer, loader, folder / "run", folder / "state")


def stop_after(loop: TrainingLoop, step: int) -> None:
    """Let a loop get SIGTERM in the course of its ``step``-th step."""
    observe = loop.on_step

    def signalled(*arguments: Any) -> None:
        observe(*arguments)
        if loop.trainer.step + 1 == step:
            loop.stop.number = 15

    loop.on_step = signalled  # type: ignore[method-assign]
