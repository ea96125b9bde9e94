"""From an ONNX file that others released to a run folder like that of a training."""

from __future__ import annotations

import json
import struct
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from aroface.embedding.onnx_network import Declared, OpenProgram, open_program
from aroface.errors import InputError
from aroface.files import atomic_path, write_json
from aroface.models.checkpoint import save_tensors
from aroface.models.import_released import (
    RELEASED,
    SCHEMA,
    UNKNOWN,
    clear_import,
    describe_released,
    environment,
    hashed,
    refuse_trained,
)
from aroface.models.registry import arch_of_convolutions, check_arch
from aroface.onnx_program import UNKNOWN_ARCH, convolutions, joint_hash, reason
from aroface.results import CHECKPOINT, PROGRAM, WEIGHTS, check_names

_SMALL = 1024  # bytes of a tensor that stays in the program: shapes and constants, which onnxruntime wants there
_MOST_BYTES = (2**31) - 1  # of a program without its weights, which protobuf can write


def import_program(
    file: str | PathLike[str],
    out: str | PathLike[str],
    declared: Declared | None = None,
    *,
    arch: str | None = None,
    name: str | None = None,
    method: str = RELEASED,
    dataset: str = UNKNOWN,
) -> Path:
    """Write ``model.safetensors``, ``model.onnx`` and, last, ``checkpoint.json``: a finished run for everything else.

    The program keeps its graph; its weights go to ``model.safetensors``, where it finds them. Memory grows with the
    weights. Measures that need gradients, such as the worst case of ``robustness``, cannot use such a run.

    Args:
        file: ONNX file; weights may lie beside it.
        out: Run folder; one that an import made is made again.
        declared: Declaration of its input and output; what is left open is found in the file or by trial.
        arch: Architecture for the rows of tables, ``onnx`` for one that cannot be built here. One that is not known,
            or whose convolutions are those of another, is refused.
        name: Name of the run; by default the folder's.
        method: Training method, for the rows of tables.
        dataset: Training set, for the rows of tables.

    Returns:
        The path of ``checkpoint.json``.

    Raises:
        InputError: See :func:`aroface.embedding.onnx_network.open_program`; or the file has another architecture; or
            the folder holds a trained run.
    """
    if arch is not None:
        check_arch(arch, UNKNOWN_ARCH)
    path, folder = Path(file), Path(out)
    refuse_trained(folder)
    run = name or folder.resolve().name
    check_names(run, {"method": method, "dataset": dataset, "arch": arch or RELEASED})
    opened = open_program(path, declared or Declared(), "cpu")
    model = _read_whole(path)
    counted = arch_of_convolutions(convolutions(model))
    if arch is not None and counted not in (None, arch):
        raise InputError(f"holds the convolutions of {counted}", file=path, expected=arch)
    experiment = {"method": method, "dataset": dataset, "arch": arch or counted or opened.arch, "seed": 0}
    check_names(run, experiment, file=path)  # its metadata may name any
    clear_import(folder)
    _write_program(model, folder, run)
    described = describe_released(run, experiment, hashed(folder / WEIGHTS), opened.form, opened.dimension)
    program = {**hashed(folder / PROGRAM), "output": opened.output}
    facts = {"program": program, "released": _origin(opened), "environment": environment()}
    write_json(folder / CHECKPOINT, {"schema": SCHEMA, **described, **facts})
    return folder / CHECKPOINT


def _origin(opened: OpenProgram) -> dict[str, Any]:
    file = opened.files[0]
    return {
        "file": file.name,
        "size": file.stat().st_size,
        "sha256": joint_hash(opened.files),
        "layout": "onnx",
        "color": opened.form["color"],
    }


def _read_whole(path: Path) -> Any:
    import onnx

    try:
        return onnx.load(path)
    except Exception as error:  # onnx's and protobuf's, which have no base of their own
        raise InputError(f"its weights cannot be read ({reason(error)})", file=path) from None


def _write_program(model: Any, folder: Path, run: str) -> None:
    """Write the large tensors as safetensors, and the graph with their places in that file."""
    import onnx

    large = {
        f"{number}": initializer
        for number, initializer in enumerate(model.graph.initializer)
        if _bytes_of(initializer) > _SMALL
    }
    values = {key: _content(tensor) for key, tensor in large.items()}
    save_tensors(folder / WEIGHTS, values, {"run": run, "content": f"weights of {PROGRAM}, as bytes"})
    for key, (offset, length) in _places(folder / WEIGHTS).items():
        tensor = large[key]
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        for word, value in (("location", WEIGHTS), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=word, value=str(value))
    if model.ByteSize() > _MOST_BYTES:
        raise InputError("larger than 2 GB without its weights", file=folder / PROGRAM)
    content = model.SerializeToString()
    with atomic_path(folder / PROGRAM, len(content)) as temporary:
        temporary.write_bytes(content)


def _content(tensor: Any) -> torch.Tensor:
    """The bytes of a tensor as a program has them."""
    from onnx import numpy_helper

    raw = tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.to_array(tensor).tobytes()
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8)


def _bytes_of(tensor: Any) -> int:
    """Bytes of a tensor that is in a file as it is; 0 of texts, which stay where they are."""
    import onnx
    from onnx import helper

    if tensor.data_type == onnx.TensorProto.STRING:
        return 0
    count = 1
    for side in tensor.dims:
        count *= side
    return int(count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Offset and length of each tensor's bytes in a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    tensors = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    return {name: (8 + length + start, end - start) for name, (start, end) in tensors.items()}
