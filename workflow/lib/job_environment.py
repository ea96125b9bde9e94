"""Environment variables by which jobs find Python and this package, whatever environment they activate."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aroface.errors import InputError


def offer_package(root: Path) -> None:
    """Let jobs find the Python that runs this process, and this package.

    Args:
        root: Folder of the repository.

    Raises:
        InputError: The path of one of these folders holds the separator of such lists.
    """
    extend("PATH", Path(sys.executable).parent, first=True)
    extend("PYTHONPATH", root.resolve() / "src", first=False)


def extend(variable: str, folder: Path, *, first: bool) -> None:
    """Put a folder into a variable that lists folders, before all others or after them.

    Raises:
        InputError: Its path holds the separator of such lists.
    """
    if os.pathsep in str(folder):
        problem = f"{folder}: a path with {os.pathsep!r} cannot stand in {variable}"
        raise InputError(problem, remedy="rename the folder or move the repository")
    others = [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry]
    os.environ[variable] = os.pathsep.join([str(folder), *others] if first else [*others, str(folder)])
