"""What is known of a run's or a file's weights, and of the architectures, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.files import sha256_file
from aroface.models.checkpoint import Color, load_foreign
from aroface.models.registry import ARCHITECTURES, measure
from aroface.models.released import UNKNOWN
from aroface.models.run_folder import read_checkpoint, weights_of

LABEL_WIDTH = 15
_LAYOUTS = {"insightface": "insightface's parameter names", "adaface": "AdaFace's parameter names"}


def describe(path: str | PathLike[str], color: Color | None = None) -> list[str]:
    """Lines on a run folder, or on a file that others released.

    Args:
        path: folder with ``checkpoint.json``, or a file as :func:`aroface.models.checkpoint.load_foreign` reads it.
        color: order of the channels that the file's weights take; by default that of its layout.

    Raises:
        InputError: neither of both, or damaged.
    """
    return _run_lines(Path(path)) if Path(path).is_dir() else _file_lines(Path(path), color)


def _run_lines(folder: Path) -> list[str]:
    checkpoint = read_checkpoint(folder)
    weights = weights_of(folder, checkpoint)
    form = checkpoint["input"]
    network = _network_lines(checkpoint["experiment"]["arch"], checkpoint["embedding_size"], form["size"])
    return [
        _line("run", checkpoint["run"]),
        *network,
        _line("input", f"{form['size']}×{form['size']}, {form['color']}, (pixel − {form['mean']}) / {form['std']}"),
        _line("weights", f"{weights}, {_bytes(weights)}"),
        _line("", f"sha256 {checkpoint['weights']['sha256']}"),
        *_origin_lines(checkpoint),
    ]


def _origin_lines(checkpoint: Mapping[str, Any]) -> list[str]:
    experiment = checkpoint["experiment"]
    trained = f"{experiment['method']} on {checkpoint['data']['name']}"
    if checkpoint["source"] == "trained":
        steps = checkpoint.get("progress", {}).get("steps")
        lines = [_line("trained", f"{trained}, seed {experiment['seed']}" + (f", {steps:,} steps" if steps else ""))]
        return [*lines, _line("", f"recipe {checkpoint['recipe_hash']}")]
    released = checkpoint["released"]
    order = released["color"]
    turned = "" if order == "RGB" else ", so the input channels were reversed here"
    return [
        *([] if checkpoint["data"]["name"] == UNKNOWN else [_line("trained", f"{trained}, by others")]),
        _line("released", f"{released['file']}, {released['size']:,} bytes"),
        _line("", f"sha256 {released['sha256']}"),
        _line("", f"{_LAYOUTS[released['layout']]}; trained on {order}{turned}"),
    ]


def _file_lines(file: Path, color: Color | None) -> list[str]:
    found = load_foreign(file, color)
    order = f"{found.color}, as said" if color else f"{found.color}, as this layout's are (--color says otherwise)"
    return [
        *_network_lines(found.arch, found.embedding_size),
        _line("input", f"112×112, {order}"),
        _line("layout", _LAYOUTS[found.layout]),
        _line("file", f"{file}, {_bytes(file)}"),
        _line("", f"sha256 {sha256_file(file)}"),
    ]


def _network_lines(arch: str, embedding_size: int, input_size: int = 112) -> list[str]:
    measures = measure(arch, embedding_size, input_size=input_size)
    return [
        _line("architecture", f"{arch} ({ARCHITECTURES[arch].summary})"),
        _line("parameters", f"{measures.parameters:,}"),
        _line("multiply-adds", f"{measures.multiply_adds:,} an image"),
        _line("embedding", f"{embedding_size} features"),
    ]


def architectures() -> list[str]:
    """A line for each architecture, below a line of headings: name, parameters, multiply-adds, what it is."""
    rows = [("name", "parameters", "multiply-adds", "what it is, with 512 features of a 112×112 image")]
    for name, architecture in ARCHITECTURES.items():
        measures = measure(name)
        rows.append((name, f"{measures.parameters:,}", f"{measures.multiply_adds:,}", architecture.summary))
    return [f"{name:6} {parameters:>12} {products:>15}  {summary}" for name, parameters, products, summary in rows]


def _line(label: str, text: str) -> str:
    return f"{label:{LABEL_WIDTH}}{text}"


def _bytes(file: Path) -> str:
    return f"{file.stat().st_size:,} bytes"
