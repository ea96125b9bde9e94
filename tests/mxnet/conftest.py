"""Tests against MXNet run only when asked for, by folder or by ``-m mxnet``; where it is missing they then fail."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def python() -> Path:
    """MXNet's Python."""
    path = Path(os.environ.get("MXNET_PYTHON") or ROOT / ".venv-mxnet" / "bin" / "python")
    remedy = "`make test-mxnet` makes an environment with it; MXNET_PYTHON names the Python of another"
    if not path.exists():
        pytest.fail(f"these tests need MXNet, and there is no {path}: {remedy}", pytrace=False)
    done = subprocess.run([path, "-c", "import mxnet.recordio"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        pytest.fail(f"these tests need MXNet, which {path} cannot import ({reason}): {remedy}", pytrace=False)
    return path


Oracle = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def oracle(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """Ask MXNet: tasks ``(verb, *arguments)`` of `oracle.py` in one process; returns the answers."""

    def ask(*tasks: tuple[Any, ...]) -> list[Any]:
        folder = tmp_path_factory.mktemp("oracle")
        questions, answers = folder / "tasks.json", folder / "answers.json"
        questions.write_text(json.dumps([[verb, arguments] for verb, *arguments in tasks], default=str))
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONNOUSERSITE": "1"}
        command = [python, HERE / "oracle.py", questions, answers]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        found: list[Any] = json.loads(answers.read_text())
        return found

    return ask
