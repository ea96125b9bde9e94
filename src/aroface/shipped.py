"""Files of the repository that the installed package carries: the registries and the configuration's defaults."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
_CARRIED = {"workflow/registries": "_registries", "workflow/configs": "_configs"}


def shipped(path: Path) -> Path:
    """A file of the user's, or where there is none the package's own of that name.

    Args:
        path: File below ``workflow/registries`` or ``workflow/configs`` of the current folder or of a clone.

    Returns:
        ``path`` if it is there, or if the package carries no such file.
    """
    if path.exists():
        return path
    for folder, carried in _CARRIED.items():
        if path.parent.as_posix().endswith(folder):
            places = (PACKAGE / carried / path.name, PACKAGE.parents[1] / folder / path.name)
            return next((each for each in places if each.exists()), path)
    return path
