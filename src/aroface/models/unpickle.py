"""Reading files of ``torch.save`` from anywhere without executing anything in them."""

from __future__ import annotations

import re
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from aroface.errors import InputError


def read_torch_file(path: str | PathLike[str]) -> Any:
    """Read a file of ``torch.save`` with torch's restricted unpickler.

    Classes and functions that the file names and that unpickler does not know (Lightning stores the classes of its
    callbacks) become inert objects; torch refuses ``os``, ``sys`` and the like all the same.

    Raises:
        InputError: the file is missing, or damaged, or no file of ``torch.save``.
    """
    if not Path(path).exists():
        raise InputError("no such file", file=path)
    try:
        with safe_globals(_stand_ins(path)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on formats that it reads all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the unpickler raise errors of any kind
        # Torch's own text begins with the advice to switch the restriction off; only what it found is passed on.
        found = re.search(r"WeightsUnpickler error: .*|unsupported GLOBAL \S+", str(error))
        reason = (
            found[0].rstrip(": ") if found else re.split(r"\n|\. ", str(error), maxsplit=1)[0] or type(error).__name__
        )
        raise InputError(f"cannot be read safely ({reason})", file=path, expected="a file of torch.save") from None


def _stand_ins(path: str | PathLike[str]) -> list[Any]:
    try:
        names = get_unsafe_globals_in_checkpoint(Path(path))
    except ValueError:  # the format of torch before 1.6, which torch.load still reads
        return []
    return [(_inert_class(name), name) for name in names]


def _inert_class(name: str) -> type:
    """A class that takes any arguments and any state and does nothing with them."""

    def ignore(self: object, *arguments: object) -> None:
        pass

    def make(kind: type, *arguments: object) -> object:
        return object.__new__(kind)

    return type(name.rpartition(".")[2], (), {"__new__": make, "__init__": ignore, "__setstate__": ignore})
