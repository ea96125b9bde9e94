"""Weights of TorchScript programs, read without loading or executing a program."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aroface.errors import InputError

_STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}
_DEEPEST = 32  # modules in modules
_REMEDY = "save the state_dict() of the model that it was made from, or export that to ONNX"


class _Module:
    """Attributes of a scripted module, or of whatever else a program holds; no code."""

    def __new__(cls, *arguments: object) -> _Module:
        return object.__new__(cls)

    def __init__(self, *arguments: object) -> None:
        self.attributes: dict[object, object] = {}

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _Reader(pickle._Unpickler):
    """Unpickler that makes tensors, plain containers and `_Module` only.

    It is the one in Python: that in C makes room for as many objects as a damaged file says it has.
    """

    def __init__(self, content: bytes, storage: Callable[[str, torch.dtype], Tensor]) -> None:
        super().__init__(io.BytesIO(content))
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """Map every name of the file to something harmless."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return _STORAGES.get(name, _Module) if module == "torch" else _Module

    def persistent_load(self, identity: Any) -> Tensor:
        """Load the values that a tensor is a view of."""
        kind, dtype, key, *_ = identity
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("no storage")
        return self._storage(key, dtype)


def _tensor(values: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> Tensor:
    """A view of a storage; torch refuses one that reaches beyond it."""
    return torch.as_strided(values, size, stride, offset)


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Read the parameters and buffers of a TorchScript program by the names of its modules.

    Args:
        path: File of ``torch.jit.save``.

    Raises:
        InputError: The file is damaged, or holds no named weights (a frozen program has them in its code).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            folder = member.removesuffix("data.pkl")

            @cache
            def storage(key: str, dtype: torch.dtype) -> Tensor:
                return torch.frombuffer(bytearray(archive.read(f"{folder}data/{key}")), dtype=dtype)

            root = _Reader(archive.read(member), storage).load()
        state = dict(_named(root, "", 0))
    except Exception as error:  # damaged bytes make an unpickler raise errors of any kind
        what = f"a TorchScript program that cannot be read ({type(error).__name__})"
        raise InputError(what, file=path, remedy=_REMEDY) from None
    if not state:
        what, expected = "a TorchScript program, without named weights", "weights below the names of its modules"
        raise InputError(what, file=path, expected=expected, remedy=_REMEDY)
    return state


def _named(value: object, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(value, _Module) or depth > _DEEPEST:
        return
    for name, attribute in value.attributes.items():
        if isinstance(attribute, Tensor):
            yield f"{prefix}{name}", attribute
        else:
            yield from _named(attribute, f"{prefix}{name}.", depth + 1)
