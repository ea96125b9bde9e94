"""Reading files of ``torch.save`` from anywhere without executing anything in them."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from aroface.errors import InputError
from aroface.file_content import kind_of_file, refuse_placeholder
from aroface.humanize import bytes_text
from aroface.models.torchscript import read_torchscript

_EXPECTED = "a PyTorch checkpoint (a file of torch.save)"
_WORDS = 200  # characters of torch's message that are passed on
_MAX_RATIO = 20  # of the content of a zip to the file; torch does not compress, so that its files have about 1
_SMALL_BYTES = 16 << 20  # that a zip may always hold: of small files the ratio says little
_MOST_CONTAINERS = 16  # classes of dictionaries and lists in one file
_CONTAINER = re.compile(r"Can only (SETITEMS?|append to|extend).* but got (<class '.*?'>)")
_FOUND = re.compile(r"WeightsUnpickler error: .*|unsupported GLOBAL \S+")


class InertObject:
    """Stand-in for an object whose class is not loaded; it takes any arguments and state and ignores them.

    Attributes:
        class_name: Name of the class in the file.
    """

    class_name = ""

    def __init__(self, *arguments: object) -> None:
        pass

    def __new__(cls, *arguments: object) -> InertObject:
        """Make an object, whatever the arguments."""
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


def read_torch_file(path: str | PathLike[str]) -> Any:
    """Read a file of ``torch.save`` with torch's restricted unpickler, and of ``torch.jit.save`` the weights.

    Classes and functions that the file names and that unpickler does not know (Lightning stores the classes of its
    callbacks) become inert objects, those of dictionaries (Lightning's ``AttributeDict``) and lists plain ones; torch
    refuses ``os``, ``sys`` and the like all the same.

    Raises:
        InputError: The file is missing, or damaged, or no file of ``torch.save``, or a TorchScript program without
            named weights, or it unfolds to many times its size.
    """
    refuse_placeholder(path, _EXPECTED)
    members = _members(Path(path))
    _check_unfolded(Path(path), sum(member.file_size for member in members))
    if any(member.filename.endswith("/constants.pkl") for member in members):
        return read_torchscript(Path(path))
    containers: dict[str, type] = {}
    while True:
        stand_ins = _stand_ins(path, containers)
        try:
            with safe_globals(stand_ins), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch remarks on formats that it reads all the same
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged bytes make the unpickler raise errors of any kind
            name, kind = _container(str(error), stand_ins)
            if name is None or name in containers or len(containers) >= _MOST_CONTAINERS:
                other = kind_of_file(path)
                what = f"it seems to be {other}" if other else f"cannot be read safely ({_reason(error)})"
                raise InputError(what, file=path, expected=_EXPECTED) from None
            containers[name] = kind


def _reason(error: Exception) -> str:
    """Cause in torch's message, without its advice to switch the restriction off."""
    match = _FOUND.search(str(error))
    cause = match[0].rstrip(": ") if match else re.split(r"\n|\. ", str(error), maxsplit=1)[0] or type(error).__name__
    return cause if len(cause) <= _WORDS else f"{cause[:_WORDS]} …"


def _members(path: Path) -> list[zipfile.ZipInfo]:
    """Members of a zip; none where the file is no readable one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError):
        return []


def _check_unfolded(path: Path, size: int) -> None:
    """Refuse a zip whose members are said to be far larger than the file, since torch reads them into memory."""
    packed = path.stat().st_size if size else 0
    most = max(_SMALL_BYTES, _MAX_RATIO * packed)
    if size > most:
        what = f"of {bytes_text(packed)} unfolds to {bytes_text(size)}"
        raise InputError(what, file=path, expected=f"at most {bytes_text(most)}; torch.save does not compress")


def _stand_ins(path: str | PathLike[str], containers: dict[str, type]) -> list[Any]:
    try:
        names = get_unsafe_globals_in_checkpoint(Path(path))
    except Exception:  # the format of torch before 1.6, which torch.load still reads, or a damaged file
        return []
    return [(_stand_in(f"Inert{number}", name, containers.get(name)), name) for number, name in enumerate(names)]


def _stand_in(known_as: str, name: str, container: type | None) -> type:
    """An inert class, or one whose instances are plain dictionaries or lists, which the unpickler lets be filled.

    A file may name its classes by any text, so that no class here can have that name.
    """
    if container is None:
        return type(known_as, (InertObject,), {"class_name": name})

    def make(_: type, *arguments: object) -> object:
        return container()

    return type(known_as, (), {"__new__": make})


def _container(message: str, stand_ins: list[Any]) -> tuple[str | None, type]:
    """The class that turns out to be one of dictionaries or of lists, by torch's refusal to fill it."""
    match = _CONTAINER.search(message)
    for kind, name in stand_ins:
        if match and match[2] == str(kind):
            return name, OrderedDict if match[1].startswith("SETITEM") else list
    return None, OrderedDict
