"""Device code on a device that is strict about devices: results are the CPU's, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import second_device
import training_runs
from aroface.adversary.alignment import AlignmentAdversary
from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.loader import Batch, to_network
from aroface.distributed.process_group import ProcessGroup
from aroface.embedding.embedder import Embedder
from aroface.embedding.pairs import decode_numbers
from aroface.embedding.worst_case import misalign
from aroface.errors import InputError
from aroface.evaluation.validation import pair_validation
from aroface.faces.augment import LowQualityOptions, low_quality
from aroface.files import read_json
from aroface.heads.batch_losses.base import PassedBatch
from aroface.heads.batch_losses.registry import BATCH_LOSSES
from aroface.heads.batch_losses.registry import build as build_batch_loss
from aroface.heads.pair_terms.base import MoreNegatives
from aroface.heads.pair_terms.registry import PAIR_TERMS
from aroface.heads.pair_terms.registry import build as build_pair_term
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build as build_head
from aroface.models import prelu
from aroface.models.checkpoint import read_weights
from aroface.models.module_contexts import frozen_statistics
from aroface.training import divergence
from aroface.training.dry_run import dry_run
from aroface.training.execution import ExecutionOptions, Interrupted
from aroface.training.loop import TrainingLoop
from aroface.training.recipe import read_run
from aroface.training.row_sgd import _update_rows
from aroface.training.train import train
from aroface.training.trainer import Trainer
from embedding_runs import network as embedding_network
from external_models import face_pairs
from gloo import run_ranks
from second_device import NAME, device_process, run_there
from training_runs import stop_after, training_loop, write_data, write_recipe

IMAGES = 24
GRADIENT = {"kind": "gradient", "profile": "clean", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 0}
OFFICIAL = {**GRADIENT, "profile": "official"}
ADAFACE = {"name": "adaface", "s": 64, "m": 0.4, "h": 0.333, "alpha": 0.01, "gradient": "exact", "norm_stats": "local"}
RECIPES: dict[str, dict[str, Any]] = {
    "clean adversary, magnitudes": {"head": ADAFACE, "adversary": GRADIENT},
    "official in bfloat16": {"precision": "bf16", "adversary": OFFICIAL},
    "attack in bfloat16": {"adversary": {**GRADIENT, "precision": "bf16", "statistics": "running"}},
    "random, low quality": {
        "adversary": {**GRADIENT, "kind": "random"},
        "low_quality": {"crop": 0.5, "resolution": 0.5, "photometric": 0.5, "grey": "bgr"},
    },
    "negative pairs, topology": {
        "pairs": {"kind": "unpg", "in_attack": True, "whisker": 1.5, "reference_batch": 512},
        "batch_loss": {"kind": "topology", "weight": 0.1, "distances": "euclidean", "hardness": "exact"},
        "adversary": GRADIENT,
    },
    "learned threshold, triplets": {
        "head": {"name": "uniface", "s": 64, "m": 0.4, "negatives": 1},
        "pairs": {
            "kind": "triplet",
            "in_attack": False,
            "weight": 1,
            "class_weight": 1,
            "margin": 0.2,
            "negatives": "violating",
        },
        "images_per_identity": 2,
        "adversary": GRADIENT,
    },
}
HEADS: dict[str, dict[str, Any]] = {
    "arcface": {},
    "arcface guarded": {"guard": True},
    "cosface": {},
    "adaface": {},
    "adaface global": {"norm_stats": "global"},
    "curricularface": {},
    "elasticface": {},
    "elasticface plus": {"plus": True},
    "elasticface cos": {"variant": "cos"},
    "sface": {},
    "magface": {},
    "softmax": {},
    "combined": {"filter_above": 0.1},
    "circle": {},
    "mvsoftmax": {},
    "uniface": {},
}
TERMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("unpg", {"reference_batch": 512}),
    ("triplet", {"negatives": "violating"}),
    ("circle", {"softplus": False}),
    ("topology", {"distances": "cosine", "hardness": "exact"}),
)
ADVERSARIES: dict[str, dict[str, Any]] = {
    "clean": {},
    "random": {"kind": "random"},
    "none": {"kind": "none"},
    "uniform start": {"start": "uniform"},
    "two steps in a budget": {"steps": 2, "landmark_budget_px": 3.0},
    "subset": {"adversary_on": "subset"},
    "running statistics": {"statistics": "running"},
    "moved statistics": {"update_batch_norm": True},
    "padded": {"fill": "pad", "clip": "released", "mix": "independent"},
    "bfloat16": {"precision": "bf16"},
}


@pytest.fixture(scope="module")
def there() -> Iterator[Callable[..., Any]]:
    with device_process() as run:
        yield run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_runs, "IMAGES", IMAGES)
        return write_data(tmp_path_factory.mktemp("toy"))


def same(one: Any, other: Any) -> bool:
    """Tell whether two results have the same bits, wherever they are."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one.detach().cpu(), other.detach().cpu())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


# -- the device itself ------------------------------------------------------------------------------------------------
def refusals() -> dict[str, str]:
    here, there = torch.ones(4), torch.ones(4, device=NAME)
    attempts: dict[str, Callable[[], Any]] = {
        "sum": lambda: here + there,
        "cat": lambda: torch.cat([here, there]),
        "rows": lambda: here[there.long()],
        "numpy": there.numpy,
        "generator": lambda: torch.rand(4, device=NAME, generator=torch.Generator()),
        "other generator": lambda: torch.rand(4, generator=torch.Generator(NAME)),
        "network": lambda: nn.Linear(4, 2)(there),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            found[name] = "taken"
        except (RuntimeError, TypeError) as error:
            found[name] = type(error).__name__
    assert same(there[here.long() * 0], here)  # as CUDA takes it
    assert same(there * torch.tensor(2.0), here * 2)
    return found


def test_the_device_refuses_what_cuda_refuses(there):
    assert "taken" not in there(refusals).values()


def race(wait: bool) -> list[float]:
    source = torch.zeros(4, pin_memory=True)
    copied = source.to(NAME, non_blocking=True)
    back = torch.zeros(4, pin_memory=True).copy_(copied, non_blocking=True)
    early: list[float] = back.tolist()
    event = torch.cuda.Event()
    event.record()
    if wait:
        event.synchronize()
    source.fill_(1)
    torch.cuda.synchronize()
    return early + back.tolist()


def test_a_copy_is_under_way_until_it_is_waited_for(there):
    found = there(race, True)
    assert found[4:] == [0.0] * 4
    assert 0.0 not in found[:4]
    with pytest.raises(RuntimeError, match="changed while it was copied"):
        there(race, False)


# -- training ---------------------------------------------------------------------------------------------------------
def execution(device: str, **changes: Any) -> ExecutionOptions:
    return ExecutionOptions(device=device, **{"log_every": 1, "loader_threads": 1, "sheet_every": 2, **changes})


def train_on(device: str, recipe: Path, data: Path, folder: Path) -> dict[str, Any]:
    """Train; what remains of it, and what the device was asked for."""
    second_device.calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prelu, "_is_traced", lambda: True)  # PyTorch's PReLU on the CPU as well: other sums else
        checkpoint = train(recipe, data, folder / "run", folder / "state", execution(device))
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    timed = ("images_per_s", "data_wait")
    return {
        "weights": read_weights(folder / "run" / "model.safetensors")[0],
        "log": [{key: value for key, value in line.items() if key not in timed} for line in lines],
        "history": read_json(folder / "run" / "history.json"),
        "hardware": read_json(checkpoint)["environment"]["hardware"],
        "calls": dict(second_device.calls),
    }


def both_ways(recipe: Path, data: Path, folder: Path) -> list[dict[str, Any]]:
    return [train_on(device, recipe, data, folder / device) for device in ("cpu", NAME)]


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_is_the_cpus(there, tmp_path, data, name):
    cpu, device = there(both_ways, write_recipe(tmp_path, **RECIPES[name]), data, tmp_path)
    assert same(cpu["weights"], device["weights"])
    assert cpu["log"] == device["log"]
    assert cpu["history"] == device["history"]
    assert device["hardware"] == {**cpu["hardware"], "gpu": "second device", "tf32": False}
    assert device["calls"]["pin"] > 0
    assert cpu["calls"] == {}, "a training on the CPU of a machine with a GPU leaves that alone"


def loop_on(device: str, recipe: Path, data: Path, folder: Path, **changes: Any) -> TrainingLoop:
    return training_loop(
        read_run(recipe), data, folder, execution(device, **changes), ProcessGroup(torch.device(device))
    )


def interrupted(recipe: Path, data: Path, folder: Path) -> list[Any]:
    """Weights and watch of a training in one go, and of one that was stopped after its second step."""
    whole = loop_on(NAME, recipe, data, folder / "whole")
    whole.run()
    first = loop_on(NAME, recipe, data, folder / "parts")
    stop_after(first, 2)
    with pytest.raises(Interrupted):
        first.run()
    second = loop_on(NAME, recipe, data, folder / "parts")
    second.run()
    return [(dict(loop.trainer.backbone.cpu().state_dict()), loop.divergence.recent) for loop in (whole, second)]


def test_a_training_that_was_stopped_goes_on_with_the_same_bits(there, tmp_path, data):
    whole, parts = there(interrupted, write_recipe(tmp_path, adversary=GRADIENT), data, tmp_path)
    assert same(whole, parts)


def lost(recipe: Path, data: Path, folder: Path, device: str) -> tuple[str, int]:
    loop = loop_on(device, recipe, data, folder / device, log_every=1000)
    with pytest.raises(InputError) as caught:
        loop.run()
    return str(caught.value), loop.trainer.step


def test_a_loss_that_is_lost_ends_the_training_a_few_steps_later(there, tmp_path, data):
    recipe = write_recipe(tmp_path, optimiser={"lr": 1e30}, epochs=4)
    (words, seen), (others, later) = (there(lost, recipe, data, tmp_path, device) for device in ("cpu", NAME))
    assert words == others
    assert later == seen + divergence.LAG


def dry(recipe: Path) -> tuple[dict[str, Any], bool]:
    updated = []
    step = Trainer.train_step

    def spy(trainer: Trainer, *arguments: Any) -> Any:
        found = step(trainer, *arguments)
        updated.append(len(trainer.optimiser.state) > 0)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_step", spy)
        report = dry_run(read_run(recipe), 8, 16, execution(NAME))
    assert report is not None
    return report, all(updated)


def test_a_dry_run_in_half_precision_updates_the_weights(there, tmp_path):
    report, updated = there(dry, write_recipe(tmp_path, precision="fp16", batch_size=4))
    assert updated
    assert report["device"] == "second device"


# -- two processes ----------------------------------------------------------------------------------------------------
def several(rank: int, device: str, recipes: dict[str, Path], data: Path, folder: Path) -> list[Any]:
    """Train each recipe; the losses, and whether the ranks' weights are one (which `check_every` looks at)."""
    for name, recipe in recipes.items():
        train(recipe, data, folder / name / "run", folder / name / "state", execution(device, check_every=1))
    return [
        [json.loads(line)["loss"] for line in (folder / name / "run" / "log.jsonl").read_text().splitlines()]
        for name in recipes
    ]


def synchronised_attack(rank: int) -> tuple[bool, list[bool]]:
    """SyncBatchNorm while its statistics are kept still, in half precision: its output, and what it remembers."""
    torch.manual_seed(rank)
    norm = nn.SyncBatchNorm(4).to(NAME)
    maps = torch.randn(3, 4, 5, 5).to(NAME).half().requires_grad_()
    before = {name: value.clone() for name, value in norm.named_buffers()}
    with frozen_statistics(norm), torch.autocast(NAME, torch.float16):
        frozen = norm(maps)
        (gradient,) = torch.autograd.grad(frozen.float().square().sum(), maps)
    still = [torch.equal(value, before[name]) for name, value in norm.named_buffers()]
    with torch.autocast(NAME, torch.float16):
        usual = norm(maps)
    return torch.equal(frozen, usual) and bool(gradient.isfinite().all()), still


def everything_on_two(rank: int, recipes: dict[str, Path], data: Path, folder: Path) -> tuple[Any, Any]:
    return synchronised_attack(rank), several(rank, NAME, recipes, data, folder)


def test_two_processes(tmp_path, data):
    """Gradients, classes and batch norm between processes; SyncBatchNorm's place on a CPU is taken by plain sums."""
    shared = {"batch_norm": "synchronised", "adversary": GRADIENT}
    recipes = {
        "compressed": write_recipe(tmp_path / "a", gradient_compression="fp16", batch_norm="averaged"),
        "half": write_recipe(tmp_path / "b", precision="bf16", **shared),
    }
    found = run_ranks(2, run_there, everything_on_two, recipes, data, tmp_path / "device")
    expected = run_ranks(2, several, "cpu", recipes, data, tmp_path / "cpu")
    for (equal, still), losses in found:
        assert equal
        assert all(still)
        assert losses[0] == pytest.approx(expected[0][0], rel=1e-3)
        assert losses[1] == pytest.approx(expected[0][1], rel=0.05)


# -- heads and adversaries --------------------------------------------------------------------------------------------
def head_on(device: str, name: str, options: dict[str, Any]) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    embeddings = (10 * torch.randn(12, 16, generator=generator)).to(device).requires_grad_()
    labels = (torch.arange(12) * 5 % 40).to(device)
    head = build_head(name.split()[0], **options)
    classifier = Classifier(40, 16, head, seed=3, device=device).train()
    found: list[Any] = []
    for weight_gradient in (False, True):
        loss = classifier(
            embeddings,
            labels,
            update_statistics=weight_gradient,
            weight_gradient=weight_gradient,
            checked=weight_gradient,
            generator=torch.Generator(device).manual_seed(2),
        )
        loss.backward()
        found.append(float(loss))
    found += [embeddings.grad, classifier.weight.grad, dict(head.state_dict())]
    return [each.cpu() if isinstance(each, torch.Tensor) else each for each in found]


def sampled_on(device: str) -> list[Any]:
    """Some of the classes: the forward pass, and the update of the rows that have a gradient."""
    labels = (torch.arange(12) % 10).to(device)
    classifier = Classifier(40, 16, build_head("cosface"), seed=3, sample_rate=0.5, device=device).train()
    classifier.choose(labels, torch.Generator(device).manual_seed(2))
    embeddings = torch.randn(12, 16, generator=torch.Generator().manual_seed(1)).to(device).requires_grad_()
    loss = classifier(embeddings, labels, weight_gradient=False)
    loss.backward()
    rows, weight = classifier._chosen, classifier.weight.detach()
    momentum = torch.zeros_like(weight)
    gradient = Rows(rows, torch.ones(len(rows), 16, device=device))
    for _ in range(2):
        _update_rows(weight, gradient, momentum, {"momentum": 0.9, "weight_decay": 5e-4, "lr": 0.1})
    return [float(loss), embeddings.grad, weight, momentum]


class Rows:
    """A gradient that is sparse over rows, as far as the optimiser looks at it."""

    def __init__(self, rows: torch.Tensor, values: torch.Tensor) -> None:
        self._indices, self._values = lambda: rows[None], lambda: values


def heads_on_both() -> dict[str, bool]:
    found = {name: same(head_on("cpu", name, each), head_on(NAME, name, each)) for name, each in HEADS.items()}
    return {**found, "sampled classes": same(sampled_on("cpu"), sampled_on(NAME))}


def test_every_head_is_the_cpus(there):
    assert [name for name, equal in there(heads_on_both).items() if not equal] == []


def term_on(device: str, name: str, options: dict[str, Any]) -> list[Any]:
    draws = torch.Generator().manual_seed(1)
    embeddings = torch.randn(12, 16, generator=draws).to(device).requires_grad_()
    images, matrix = (
        torch.randn(12, 3, 4, 4, generator=draws).to(device),
        torch.randn(48, 16, generator=draws).to(device),
    )
    labels, rows = (torch.arange(12) % 5).to(device), torch.arange(12).to(device)
    if name in PAIR_TERMS:
        term = build_pair_term(name, **options)
        features = nn.functional.normalize(embeddings)
        value = term(features, labels, 16.0) if isinstance(term, MoreNegatives) else term(features, labels)
    else:
        losses = embeddings.square().sum(1)
        passed = PassedBatch(images, images, rows, labels, embeddings, losses, lambda faces: faces.flatten(1) @ matrix)
        value = build_batch_loss(name, **options)(passed)
    value.backward()
    assert embeddings.grad is not None
    return [float(value.detach()), embeddings.grad.cpu()]


def terms_on_both() -> dict[str, bool]:
    torch.use_deterministic_algorithms(False)  # which a training has set: for CUDA images are enlarged otherwise then
    return {
        f"{name} {options}": same(term_on("cpu", name, options), term_on(NAME, name, options))
        for name, options in (*[(name, {}) for name in (*PAIR_TERMS, *BATCH_LOSSES)], *TERMS)
    }


def test_every_term_of_a_batch_is_the_cpus(there):
    assert [name for name, equal in there(terms_on_both).items() if not equal] == []


def attack_on(device: str, options: dict[str, Any]) -> list[Any]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(144, 5))
    network = network.to(device).train()
    images = (torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1).to(device)
    labels = (torch.arange(16) % 5).to(device)
    adversary = AlignmentAdversary("clean", black=[-1.0, -0.9, -0.8], **{"warped_ratio": 0.5, **options})

    def loss(warped: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(network(warped), labels[rows])

    mixed = adversary.augment(images, labels, loss, network, torch.Generator().manual_seed(4))
    summary = None if mixed.warped is None else mixed.warped.summary()
    return [mixed.images.cpu(), mixed.labels.cpu(), summary, dict(network.named_buffers())]


def attacks_on_both() -> dict[str, bool]:
    return {name: same(attack_on("cpu", each), attack_on(NAME, each)) for name, each in ADVERSARIES.items()}


def test_every_adversary_is_the_cpus(there):
    assert [name for name, equal in there(attacks_on_both).items() if not equal] == []


def plugged_in(device: str, labels_on: str) -> Any:
    """The adversary in somebody's own loop, which gives no generator."""
    torch.manual_seed(5)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).to(device)
    images, labels = torch.rand(8, 3, 8, 8).to(device), (torch.arange(8) % 5).to(labels_on)
    adversary = AlignmentAdversary("clean", warped_ratio=0.5)
    try:
        found = adversary(images, labels, lambda x, y: nn.functional.cross_entropy(network(x), y), network)
    except InputError as error:
        return str(error)
    return [each.cpu() for each in found]


def test_the_plug_in_is_the_cpus_and_wants_labels_beside_the_images(there):
    assert same(there(plugged_in, "cpu", "cpu"), there(plugged_in, NAME, NAME))
    message = there(plugged_in, NAME, "cpu")
    assert f"labels are on cpu, images on {NAME}:0" in message
    assert "labels.to(images.device)" in message


# -- embedding and what is made of it ---------------------------------------------------------------------------------
def embedder_on(device: str) -> Embedder:
    return Embedder(embedding_network(1).to(device), torch.device(device), 112, "BGR", 127.5, 127.5, 8)


def embed_on(device: str, pairs: Path) -> dict[str, Any]:
    images = decode_numbers(read_pairs(pairs), pairs, np.arange(0, 10, 2), 112)
    embedder = embedder_on(device)
    rows = embedder.embed(images, batch_size=3, fusion="unit_sum")
    same_person = np.array([True, False, True, False, True])
    worst = misalign(
        embedder, images, np.roll(rows, 1, axis=0), same_person, 1.0, {"scale": 0.1, "degrees": 10, "shift": 0.06}
    )
    validated = pair_validation({"pairs": pairs})(embedding_network(2).to(device))
    floats = (torch.from_numpy(images).float() / 127.5 - 1).permute(0, 3, 1, 2).to(device)
    options = LowQualityOptions(crop=0.7, resolution=0.7, photometric=0.7)
    augmented = low_quality(floats, torch.Generator().manual_seed(3), options)
    return {
        "rows": torch.from_numpy(rows),
        "worst": torch.from_numpy(worst),
        "validated": validated,
        "augmented": augmented.cpu(),
    }


def embeddings_on_both(pairs: Path) -> list[dict[str, Any]]:
    return [embed_on(device, pairs) for device in ("cpu", NAME)]


def test_embeddings_worst_cases_validation_and_augmentation_are_the_cpus(there, tmp_path):
    """The CPU's convolutions take another memory format when they embed, so that the last bits may differ."""
    cpu, device = there(embeddings_on_both, face_pairs(tmp_path / "pairs.bin", 20))
    torch.testing.assert_close(device["rows"], cpu["rows"], rtol=1e-4, atol=1e-5)
    assert (device["worst"] == cpu["worst"]).float().mean() > 0.99
    assert device["validated"] == cpu["validated"]
    assert torch.equal(device["augmented"], cpu["augmented"])


def levels(device: str) -> torch.Tensor:
    """All pixel values there are, as a network in training gets them."""
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).repeat(1, 1, 1, 3)
    batch = Batch(images, torch.zeros(1).long(), np.zeros(1, np.int64), torch.zeros(1, dtype=torch.bool))
    return to_network(batch, device).cpu().clone()


def prepared(device: str) -> torch.Tensor:
    """The same, as an embedder gives them to its network."""
    images = torch.arange(256).view(1, 1, 16, 16).repeat(1, 3, 1, 1).to(device)
    return embedder_on(device).prepare(images).cpu()


def test_every_pixel_value_is_the_cpus(there):
    values = np.arange(256, dtype=np.float32)
    for function, expected in (
        (levels, values / np.float32(127.5) - np.float32(1)),
        (prepared, (values - np.float32(127.5)) / np.float32(127.5)),
    ):
        for found in (function("cpu"), there(function, NAME)):
            assert np.array_equal(found.reshape(3, -1)[0].numpy(), expected)
