"""Downloaded files are opened before they are trusted: a cut file, a web page or a pointer is no checkpoint."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.preparation.archive import RefusedFileError
from aroface.datasets.preparation.shards.lmdb_reader import LmdbReader
from aroface.errors import InputError
from aroface.file_content import refuse_placeholder, unreadable

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number that torch.save wrote until 2020
_TORCH = (".pt", ".pth", ".ckpt")


def check_received(path: Path) -> None:
    """Check that a file can have the type of its name, as far as possible without running anything.

    Args:
        path: File that was downloaded, no archive to unpack.

    Raises:
        RefusedFileError: It is empty, a web page, a Git LFS pointer, or a checkpoint or network that is not whole.
    """
    try:
        refuse_placeholder(path)
    except InputError as error:
        raise RefusedFileError(str(error)) from None
    with open(path, "rb") as file:
        start = file.read(len(_LEGACY_TORCH))
    if path.suffix in _TORCH and not start.startswith(_LEGACY_TORCH):
        _check_torch(path)
    if path.suffix == ".safetensors":
        _check_safetensors(path)
    if path.suffix == ".onnx":
        _check_onnx(path)
    if path.suffix == ".lmdb":
        _check_lmdb(path)


def _check_torch(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as packed:
            if any(name.endswith(("data.pkl", "constants.pkl")) for name in packed.namelist()):
                return
            what = "a zip archive without the parts of a PyTorch file"
    except (zipfile.BadZipFile, ValueError, RuntimeError, EOFError) as error:  # RuntimeError: a kind that zipfile lacks
        what = unreadable("no whole PyTorch file", path, str(error))
    raise RefusedFileError(f"the file is {what}", file=path)


def _check_safetensors(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length < min(size, 100 << 20) else b""
    try:
        tensors = [tensor for name, tensor in json.loads(text).items() if name != "__metadata__"]
        whole = 8 + length + max(tensor["data_offsets"][1] for tensor in tensors) == size
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise RefusedFileError("the file is no whole safetensors file", file=path)


def check_pair_file(path: Path) -> None:
    """Check that a downloaded file holds labelled pairs.

    Raises:
        RefusedFileError: It is none, or not whole.
    """
    try:
        read_pairs(path)
    except InputError as error:
        raise RefusedFileError(str(error)) from None


def _check_lmdb(path: Path) -> None:
    try:
        LmdbReader(path)
    except InputError as error:
        raise RefusedFileError(str(error)) from None


def _check_onnx(path: Path) -> None:
    import onnx

    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except Exception as error:  # whatever protobuf makes of it
        raise RefusedFileError("the file is no whole ONNX file", file=path) from error
    if not model.graph.node:
        raise RefusedFileError("the file is an ONNX file without a network", file=path)
