"""Folders of tests that need more than the environment run only when asked for, by folder or marker."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
ON_REQUEST = {"latex": "latex_matrix", "mxnet": "mxnet", "slurm": "slurm", "timm": "timm"}
"""Markers of such folders."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for name, marker in ON_REQUEST.items():
        folder = HERE / name
        if marker in config.option.markexpr or any(_inside(argument, folder, config) for argument in config.args):
            continue
        left_out = [item for item in items if item.path.is_relative_to(folder)]
        items[:] = [item for item in items if not item.path.is_relative_to(folder)]
        config.hook.pytest_deselected(items=left_out)


def _inside(argument: str, folder: Path, config: pytest.Config) -> bool:
    return (config.invocation_params.dir / argument.split("::")[0]).resolve().is_relative_to(folder)
