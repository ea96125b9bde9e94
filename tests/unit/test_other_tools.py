"""The adversary in other tools, as the documentation shows it: its examples train, and as the plain loop does."""

from __future__ import annotations

from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from aroface.adversary.alignment import AlignmentAdversary
from documentation import DOCS, blocks

CLASSES, SIZE, BATCH, BATCHES = 5, 24, 20, 12
PAGE = DOCS / "how-to/adversary-in-your-tools.md"
PLAIN = blocks(DOCS / "tutorials/adversary-in-your-loop.md", "python")[0]
EXAMPLES = blocks(PAGE, "python")


def faces(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of a few 'people', each a pattern of its own under noise, in [-1, 1]."""
    labels = torch.arange(count) % CLASSES
    patterns = _smooth(CLASSES, 6, seed=0)[labels]
    return (patterns + 0.3 * _smooth(count, 6, seed)).tanh(), labels


def _smooth(count: int, side: int, seed: int) -> Tensor:
    noise = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(noise, (SIZE, SIZE), mode="bicubic")


def network(outputs: int = CLASSES) -> nn.Module:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 12, 5, 2), nn.BatchNorm2d(12), nn.ReLU()
    return nn.Sequential(*convolution, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(12 * 16, outputs))


def parts(model: nn.Module) -> dict[str, Any]:
    """Names that the examples take for granted."""
    loader = DataLoader(TensorDataset(*faces(BATCH * BATCHES, seed=1)), batch_size=BATCH)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    names = {"model": model.train(), "criterion": nn.CrossEntropyLoss(), "loader": loader, "optimiser": optimiser}
    return {**names, "torch": torch, "device": "cpu", "classes": CLASSES, "features": 16}


def run(code: str, model: nn.Module, epochs: int = 1) -> dict[str, Any]:
    names = parts(model)
    names["loader"] = names["loader"] if epochs == 1 else [*names["loader"]] * epochs
    torch.manual_seed(0)
    exec(code, names)
    return names


def state(model: nn.Module) -> list[Tensor]:
    return [value.detach().clone().float() for value in model.state_dict().values()]


@pytest.fixture(scope="module")
def plain() -> list[Tensor]:
    """Weights after the tutorial's loop."""
    model = network()
    run(PLAIN, model)
    return state(model)


def accuracy(model: nn.Module) -> float:
    images, labels = faces(100, seed=2)
    with torch.no_grad():
        return float((model.eval()(images).argmax(1) == labels).float().mean())


def example(word: str) -> str:
    (found,) = (block for block in EXAMPLES if word in block)
    return found


def test_accelerate_trains_as_the_plain_loop(plain: list[Tensor]) -> None:
    model = network()
    names = run(example("Accelerator"), model)
    assert isinstance(names["adversary"], AlignmentAdversary)
    torch.testing.assert_close(state(model), plain, rtol=1e-4, atol=1e-5)
    assert accuracy(model) > 0.8


def test_lightning_trains_as_the_plain_loop(plain: list[Tensor], tmp_path: Any) -> None:
    model = network()
    names = run(example("LightningModule"), model)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, default_root_dir=tmp_path, **quiet)
    torch.manual_seed(0)
    trainer.fit(names["Recogniser"](), names["loader"])
    torch.testing.assert_close(state(model), plain, rtol=1e-4, atol=1e-5)


def test_accumulation_under_a_gradient_scaler() -> None:
    model = network()
    before = state(model)
    names = run(example("GradScaler"), model)
    assert BATCHES % names["accumulated"] == 0 and names["accumulated"] < BATCHES
    assert all(parameter.grad is None for parameter in model.parameters()), "the last step took all of them"
    assert not all(torch.equal(one, other) for one, other in zip(before, state(model), strict=True))
    images, labels = faces(BATCH, seed=3)
    warped, _ = names["adversary"](images, labels, names["scaled_loss"], model)
    assert sum(not torch.equal(one, other) for one, other in zip(warped, images, strict=True)) == BATCH // 4


def test_metric_learning_trains_network_and_classifier() -> None:
    model = network(outputs=16)
    before = state(model)
    names = run(example("ArcFaceLoss"), model, epochs=4)
    images, labels = faces(100, seed=2)
    with torch.no_grad():
        scores = names["objective"].get_logits(model.eval()(images))
    assert float((scores.argmax(1) == labels).float().mean()) > 0.8
    assert not torch.equal(before[0], state(model)[0])


def test_every_example_is_tried() -> None:
    assert len(EXAMPLES) == 4
