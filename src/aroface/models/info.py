"""Facts about the weights of a run or file, and about the architectures, as lines for a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.errors import escaped, printable
from aroface.files import sha256_file
from aroface.models.checkpoint import ReleasedCheckpoint, load_released
from aroface.models.import_released import UNKNOWN
from aroface.models.layouts import Color, holds_weights
from aroface.models.registry import ARCHITECTURES, arch_of_convolutions, measure
from aroface.models.run_folder import program_of, read_checkpoint, weights_of
from aroface.onnx_program import SUFFIX, convolutions, normalises_itself, read_graph, weight_files

LABEL_WIDTH = 15
_METADATA = 120  # characters of an entry that are shown
_DEPTH = re.compile(r"(?<![a-z0-9])(?:ir|i?res(?:net)?|r)[-_]?(18|34|50|100|101|200)(?![0-9])")
_ARCH_DEPTH = re.compile(r"r(\d{2,3})")
_LAYOUTS = {
    "insightface": "insightface's parameter names",
    "adaface": "parameter names of AdaFace's, TFace's and CVLface's IR networks",
    "onnx": "ONNX program",
}


def describe(path: str | PathLike[str], color: Color | None = None) -> list[str]:
    """Lines on a run folder, or on a file that others released.

    Args:
        path: Folder with ``checkpoint.json``, an ONNX file, or what :func:`aroface.models.checkpoint.load_released`
            reads.
        color: Order of the channels that the file's weights take; by default that of its layout.

    Raises:
        InputError: Neither of both, or damaged.
    """
    location = Path(path)
    if location.suffix.lower() == SUFFIX and not location.is_dir():
        return _onnx_lines(location)
    return _run_lines(location) if location.is_dir() and not holds_weights(location) else _file_lines(location, color)


def _run_lines(folder: Path) -> list[str]:
    checkpoint = read_checkpoint(folder)
    weights = program_of(folder, checkpoint) if "program" in checkpoint else weights_of(folder, checkpoint)
    form, arch = checkpoint["input"], checkpoint["experiment"]["arch"]
    if "program" in checkpoint:
        description = f"ONNX program, {_convolutions(read_graph(weights))}"
        network = [_line("architecture", description), _line("embedding", f"{checkpoint['embedding_size']} features")]
    else:
        network = _network_lines(arch, checkpoint["embedding_size"], form["size"])
    return [
        _line("run", checkpoint["run"]),
        *network,
        _line("input", f"{form['size']}×{form['size']}, {form['color']}, (pixel − {form['mean']}) / {form['std']}"),
        _line("weights", f"{weights}, {_bytes(weights)}"),
        _line("", f"sha256 {checkpoint['program' if 'program' in checkpoint else 'weights']['sha256']}"),
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
    how = "images are turned" if "program" in checkpoint else "the input channels were reversed here"
    turned = "" if order == "RGB" else f", so {how}"
    return [
        *([] if checkpoint["data"]["name"] == UNKNOWN else [_line("trained", f"{trained}, by others")]),
        _line("released", f"{released['file']}, {released['size']:,} bytes"),
        _line("", f"sha256 {released['sha256']}"),
        _line("", f"{_LAYOUTS[released['layout']]}; trained on {order}{turned}"),
        *([_line("", released["release"])] if released.get("release") else []),
        *(_kept(checkpoint["classifier"]) if "classifier" in checkpoint else []),
    ]


def _kept(classifier: Mapping[str, Any]) -> list[str]:
    description = f"{classifier['classes']:,} classes in {classifier['file']}, of {', '.join(classifier['from'])}"
    return [_line("classifier", description), _line("", f"sha256 {classifier['sha256']}")]


def _file_lines(path: Path, color: Color | None) -> list[str]:
    released = load_released(path, color, look=True)
    left = f"{len(released.left_out)} tensors that are no part of the backbone: {', '.join(released.left_out[:3])}"
    return [
        *_network_lines(released.arch, released.embedding_size),
        *_name_lines(path, released.arch),
        _line("input", f"112×112, {released.color}, {released.color_source}"),
        _line("", f"(pixel − {released.mean:g}) / {released.std:g}, as those who release this layout have it"),
        _line("layout", f"{_LAYOUTS[released.layout]}; {released.release}"),
        *_classifier_lines(released),
        *([_line("left out", left)] if released.left_out else []),
        _line("file", f"{released.file}, {_bytes(released.file)}"),
        _line("", f"sha256 {sha256_file(released.file)}"),
    ]


def _classifier_lines(released: ReleasedCheckpoint) -> list[str]:
    if released.classifier is None:
        return []
    name = printable(released.classifier.names[0], _METADATA)
    return [_line("classifier", f"{released.classifier.classes:,} classes, {name}; import keeps it for fine-tuning")]


def _name_lines(path: Path, arch: str) -> list[str]:
    """A line where the name of a file or folder says another depth than its tensors."""
    named = _DEPTH.search(path.resolve().name.lower())
    counted = _ARCH_DEPTH.fullmatch(arch)
    if named is None or counted is None or named[1].replace("101", "100") == counted[1]:
        return []
    return [_line("", f"as counted from the tensors, though the name says {named[0]}")]


def _onnx_lines(file: Path) -> list[str]:
    """Declarations of an ONNX file, which running it may contradict."""
    model = read_graph(file)
    weights = weight_files(file, model)
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in held]
    opsets = ", ".join(f"{each.domain or 'ai.onnx'} {each.version}" for each in model.opset_import)
    made_by = printable(f"{model.producer_name} {model.producer_version}", _METADATA)
    producer = f", by {made_by}" if model.producer_name else ""
    own = "pixels from 0 to 255, which it normalises itself" if normalises_itself(model) else "(pixel − 127.5) / 127.5"
    told = any(each.key == "aroface.input" for each in model.metadata_props)
    return [
        _line("architecture", f"ONNX program of {len(model.graph.node):,} nodes, opset {opsets}{producer}"),
        _line("", _convolutions(model)),
        *_name_lines(file, arch_of_convolutions(convolutions(model)) or ""),
        *(_line("input", _declared(each)) for each in inputs),
        _line("", "as its metadata say" if told else f"{own}, RGB, if it is so: see --mean, --std and --color"),
        *(_line("output", _declared(each)) for each in model.graph.output),
        *(_line("metadata", printable(f"{each.key} {each.value}", _METADATA)) for each in model.metadata_props),
        *(_line("weights", f"{each}, {_bytes(each)}") for each in weights),
        _line("file", f"{file}, {_bytes(file)}"),
        _line("", f"sha256 {sha256_file(file)}"),
    ]


def _convolutions(model: Any) -> str:
    """Depth of a program, by its convolutions."""
    counts = convolutions(model)
    arch = arch_of_convolutions(counts)
    if arch is None:
        return f"{sum(counts.values())} convolutions, of no architecture that is known here"
    return f"its {sum(counts.values())} convolutions are those of {arch} ({ARCHITECTURES[arch].summary})"


def _declared(value: Any) -> str:
    """Name, shape and type of an input or output of an ONNX file."""
    import onnx

    kind = value.type.tensor_type
    sides = [str(axis.dim_value) if axis.HasField("dim_value") else axis.dim_param or "?" for axis in kind.shape.dim]
    shape = "×".join(sides) if kind.HasField("shape") else "a shape that is not declared"
    name, shape = printable(value.name, _METADATA), printable(shape, _METADATA)
    return f"{name}: {shape}, {onnx.TensorProto.DataType.Name(kind.elem_type).lower()}"


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
    return f"{label:{LABEL_WIDTH}}{escaped(text)}"


def _bytes(file: Path) -> str:
    return f"{file.stat().st_size:,} bytes"
