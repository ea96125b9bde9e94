"""Memory that is freed and taken again; what float32 means."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn

from aroface.device import exact_float32, set_tf32
from aroface.embedding.embedder import Embedder
from aroface.embedding.worst_case import misalign
from aroface.files import read_json
from aroface.models.registry import build
from aroface.training.execution import ExecutionOptions
from aroface.training.train import train
from training_runs import write_data, write_recipe

FAULTS = """
import json, resource, torch
from aroface.device import keep_freed_memory
kept = {keep}
for _ in range(12):  # slivers of aligned blocks stay aside at first
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(10_000_000)
print(json.dumps([kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def test_freed_memory_is_used_again_without_the_kernel() -> None:
    (kept, faults), (_, usual) = (
        json.loads(
            subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, check=True).stdout
        )
        for keep in ("keep_freed_memory()", "False")
    )
    assert kept == (platform.libc_ver()[0] == "glibc")
    assert faults < usual / 10 if kept else faults <= 2 * usual


def tf32() -> tuple[bool, bool]:
    """Settings of TF32 for convolutions and matrix products."""
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def during_convolutions(monkeypatch) -> list[tuple[bool, bool]]:
    """Settings in each forward pass of the first convolution; PyTorch's defaults hold before and after."""
    found, convolve = [], nn.Conv2d.forward

    def spy(module, images):
        if images.shape[1] == 3:
            found.append(tf32())
        return convolve(module, images)

    monkeypatch.setattr(nn.Conv2d, "forward", spy)
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


@pytest.mark.parametrize(("changes", "allowed"), [({}, False), ({"tf32": False}, False), ({"tf32": True}, True)])
def test_a_training_in_float32_rounds_to_tf32_only_where_the_recipe_says_so(
    tmp_path, during_convolutions, changes, allowed
):
    adversary = {"kind": "gradient", "profile": "clean", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 0}
    recipe = write_recipe(tmp_path, batch_size=64, adversary=adversary, **changes)
    checkpoint = train(recipe, write_data(tmp_path / "toy"), tmp_path / "run", tmp_path / "state", ExecutionOptions())
    assert during_convolutions == [(allowed, False)] * 2, "of the attack and of the training itself"
    assert "tf32" not in read_json(checkpoint)["environment"]["hardware"], "a CPU has none"


def test_embeddings_and_worst_cases_are_float32(during_convolutions):
    set_tf32(True)
    network = build("r8s4", 8).eval()
    embedder = Embedder(network, torch.device("cpu"), 112, "RGB", 127.5, 127.5, 8)
    images = torch.randint(0, 256, (2, 112, 112, 3), dtype=torch.uint8).numpy()
    rows = embedder.embed(images, flip=False)
    misalign(embedder, images, rows[::-1], rows[:, 0] > 0, 1.0, {"scale": 0.1, "degrees": 10.0, "shift": 0.06})
    assert during_convolutions == [(False, False)] * 2
    assert tf32() == (True, False)


def test_an_error_restores_what_float32_meant():
    set_tf32(True)
    with pytest.raises(RuntimeError, match="inside"), exact_float32():
        raise RuntimeError("inside")
    assert tf32() == (True, False)
    set_tf32(False)
    assert tf32() == (False, False)
