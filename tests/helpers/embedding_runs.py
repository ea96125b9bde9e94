"""Run folders of untrained networks, for the tests of the embedding."""

from __future__ import annotations

from pathlib import Path

import torch

from aroface.files import sha256_file, write_json
from aroface.models.checkpoint import save_weights
from aroface.models.registry import Backbone, build

ARCH, DIMENSION = "r8s4", 8


def network(seed: int) -> Backbone:
    """The network that the run of ``seed`` holds."""
    torch.manual_seed(seed)
    return build(ARCH, DIMENSION).eval()


def make_run(folder: Path, seed: int) -> Path:
    """Write weights and ``checkpoint.json`` into ``folder`` as a finished training does."""
    weights = folder / "model.safetensors"
    save_weights(weights, network(seed), {"arch": ARCH})
    checkpoint = {
        "run": f"arcface-synthetic-{ARCH}-s{seed}-00000000",
        "experiment": {"method": "arcface", "dataset": "synthetic", "arch": ARCH, "seed": seed},
        "recipe": {"epochs": 1},
        "recipe_hash": "0" * 64,
        "weights": {"file": weights.name, "sha256": sha256_file(weights)},
        "input": {"size": 112, "color": "RGB", "mean": 127.5, "std": 127.5},
        "embedding_size": DIMENSION,
        "data": {"name": "synthetic", "manifest_hash": "1" * 64},
        "source": "trained",
    }
    write_json(folder / "checkpoint.json", checkpoint)
    return folder
