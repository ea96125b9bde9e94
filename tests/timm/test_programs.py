"""Networks of timm, exported by timm's own Python, as runs of this project."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from aroface.embedding.embedder import load_embedder
from aroface.embedding.import_program import import_program
from aroface.errors import InputError
from aroface.files import read_json
from aroface.models.checkpoint import load_released

pytestmark = pytest.mark.timm
PYTHON = os.environ.get("TIMM_PYTHON", ".venv-timm/bin/python")
NAMES = ("resnet10t", "test_vit")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timm")
    subprocess.run([PYTHON, str(Path(__file__).with_name("make_programs.py")), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_timm_embeds_as_timm_does(made: Path, tmp_path: Path, name: str) -> None:
    run = import_program(made / f"{name}.onnx", tmp_path / "run", method="timm", dataset="none").parent
    assert read_json(run / "checkpoint.json")["experiment"]["arch"] == "onnx"
    expected = np.load(made / f"{name}.npz")
    images = np.ascontiguousarray(expected["pixels"].transpose(0, 2, 3, 1))
    found = load_embedder(run, "cpu").embed(images, flip=False)
    np.testing.assert_allclose(found, expected["embeddings"], rtol=0, atol=1e-5 * abs(expected["embeddings"]).max())


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_timm_are_told_from_those_of_a_known_layout(made: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}\.pth: .*expected names of insightface's IResNet"):
        load_released(made / f"{name}.pth")
