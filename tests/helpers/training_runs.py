"""A toy training set and recipes for it, for the tests of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import yaml

from aroface.datasets.formats.training_set import write_training_set
from aroface.datasets.manifest import manifest_hash, write_manifest
from aroface.files import write_json
from aroface.planning.config import lay_over
from aroface.training.recipe import recipe_hash

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
