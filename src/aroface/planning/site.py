"""Settings of a cluster in ``slurm/site.yaml``, for its Snakemake profile and for forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aroface.schemas import read_yaml, validate

SITE_FILE = Path("slurm/site.yaml")
"""File of the settings in the repository."""


def read_site(path: Path) -> dict[str, Any]:
    """Read the settings that the file states; none where there is no such file.

    A key without a value, as it stays when the lines below it are deleted, states nothing.

    Raises:
        InputError: The file is malformed; one line with file and key.
    """
    settings: dict[str, Any] = _without_blanks((read_yaml(path) or {}) if path.exists() else {})
    validate(settings, "site", file=path)
    return settings


def _without_blanks(settings: Any) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {key: _without_blanks(value) for key, value in settings.items() if value is not None}
