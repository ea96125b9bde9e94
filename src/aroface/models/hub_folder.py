"""A run as a folder for model hubs: weights, description, a network in plain PyTorch, and the model card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from aroface.errors import InputError
from aroface.files import check_place, read_json, replacing_folder, write_json, write_text
from aroface.models import plain_networks
from aroface.models.layouts import MODEL_TYPE
from aroface.models.plain_networks import load_network
from aroface.models.registry import ARCHITECTURES
from aroface.models.run_folder import load_backbone, weights_of
from aroface.results import CHECKPOINT, WEIGHTS

CONFIG, NETWORK, CARD = "config.json", "network.py", "README.md"
_CHECKED = 2  # images
_TOLERANCE = 1e-4  # of the largest value


def hub_config(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Content of ``config.json``: what `aroface.models.plain_networks` needs, and what the run is called."""
    experiment, form = checkpoint["experiment"], checkpoint["input"]
    shape = ARCHITECTURES[experiment["arch"]].shape
    network = {"family": "mobilefacenet"} if shape is None else {"family": "iresnet", **asdict(shape)}
    return {
        "model_type": MODEL_TYPE,
        "run": checkpoint["run"],
        "architecture": experiment["arch"],
        "network": network,
        "num_features": checkpoint["embedding_size"],
        "input_size": form["size"],
        "color_space": form["color"],
        "mean": form["mean"],
        "std": form["std"],
    }


def write_hub_folder(
    run_dir: str | PathLike[str],
    out: str | PathLike[str],
    card: Callable[[Mapping[str, Any], Mapping[str, Any]], str],
) -> Path:
    """Write ``model.safetensors``, ``config.json``, ``network.py``, ``checkpoint.json`` and ``README.md``.

    The weights are the run's, byte for byte, so that their sha256 is that of its records; the folder is a run folder.
    ``network.py`` is tried: it must compute what the run's network computes.

    Args:
        run_dir: ``results/runs/{run}``.
        out: Folder, which appears when it is complete; one that this function wrote is replaced.
        card: Function from the checkpoint and ``config.json`` to the text of the model card.

    Raises:
        InputError: No such run, or one of an ONNX program; or something else stands at ``out``.
    """
    _refuse_other(Path(out), Path(run_dir))
    backbone, checkpoint = load_backbone(run_dir)
    config = hub_config(checkpoint)
    with replacing_folder(Path(out)) as folder:
        weights = folder / WEIGHTS
        shutil.copyfile(weights_of(run_dir, checkpoint), weights)
        write_json(folder / CONFIG, config)
        write_json(folder / CHECKPOINT, {**checkpoint, "weights": {**checkpoint["weights"], "file": WEIGHTS}})
        shutil.copyfile(plain_networks.__file__, folder / NETWORK)
        write_text(folder / CARD, card(checkpoint, config))
        _check(folder, backbone, config, Path(out))
    return Path(out)


def _refuse_other(out: Path, run_dir: Path) -> None:
    """Refuse a place where anything but such a folder, or an empty one, stands."""
    if out.is_dir() and (run_dir.resolve() == out.resolve() or any(out.iterdir())):
        config = read_json(out / CONFIG) if (out / CONFIG).is_file() else None
        own = isinstance(config, dict) and config.get("model_type") == MODEL_TYPE
        if not own or run_dir.resolve() == out.resolve():
            raise InputError("a folder of something else", file=out, where="--out", remedy="name a new one")
    else:
        check_place(out / CONFIG)


def _check(folder: Path, backbone: torch.nn.Module, config: Mapping[str, Any], out: Path) -> None:
    size = config["input_size"]
    crops = torch.randint(256, (_CHECKED, size, size, 3), generator=torch.Generator().manual_seed(0))
    network = load_network(folder)
    with torch.inference_mode():
        images = network.normalise(crops)
        found, expected = network(images), backbone(images)
    if not float((found - expected).abs().max()) <= _TOLERANCE * float(expected.abs().max()):  # NaN is no match
        raise InputError(f"{NETWORK} computes something else than the run; nothing is left of it", file=out)
