import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.images import decode
from aroface.datasets.loader import BatchLoader
from aroface.datasets.synthetic.spec import resolve_spec
from aroface.distributed.process_group import ProcessGroup
from aroface.errors import InputError
from aroface.evaluation.metrics.verification import accuracy, pair_distances
from aroface.evaluation.validation import pair_validation
from aroface.files import read_json, sha256_file
from aroface.heads.partial_fc import Classifier
from aroface.models.checkpoint import read_weights
from aroface.models.registry import build
from aroface.schemas import validate
from aroface.training import divergence
from aroface.training.data_parallel import split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import read_run
from aroface.training.train import train
from aroface.training.trainer import Trainer, _parameter_groups, _round_gradients
from generated_sets import generate_pairs
from training_runs import BATCH, IMAGES, sign, write_data, write_recipe

UNIFACE = {"name": "uniface", "s": 64, "m": 0.4, "negatives": 1}
UNPG = {"kind": "unpg", "in_attack": False, "whisker": 1.5, "reference_batch": None}
TRIPLET = {"kind": "triplet", "in_attack": True, "weight": 1, "class_weight": 0, "margin": 0.2}
TRIPLET |= {"negatives": "semi_hard"}
TOPOLOGY = {"kind": "topology", "weight": 0.1, "distances": "euclidean", "hardness": "exact"}
ADVERSARY = {"step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 0}
ADAFACE = {"name": "adaface", "s": 64, "m": 0.4, "h": 0.333, "alpha": 0.01, "gradient": "exact", "norm_stats": "local"}
STEPS = {"kind": "step", "milestones": [1], "factor": 0.1, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("toy"))


def run(tmp_path: Path, data: Path, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train; returns the checkpoint and the lines of the log."""
    recipe = write_recipe(tmp_path, **changes)
    execution = ExecutionOptions(log_every=1, sheet_every=4, loader_threads=1)
    checkpoint = train(recipe, data, tmp_path / "run", tmp_path / "state", execution)
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    return read_json(checkpoint), [json.loads(line) for line in log]


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16", "adversary": {"kind": "gradient", "profile": "official", **ADVERSARY}},
        {"head": ADAFACE, "adversary": {"kind": "gradient", "profile": "clean", **ADVERSARY}},
        {
            "adversary": {"kind": "random", "profile": "clean", **ADVERSARY},
            "schedule": STEPS,
        },
        {"optimiser": {"decay_norm_and_bias": False}},
        {"precision": "fp16", "adversary": {"kind": "gradient", "profile": "clean", **ADVERSARY}},
        {"sample_rate": 0.5, "batch_norm": "averaged", "gradient_compression": "fp16"},
        {"low_quality": {"crop": 0.5, "resolution": 0.5, "photometric": 0.5, "grey": "bgr"}},
        {"head": UNIFACE, "sample_rate": 0.5, "optimiser": {"decay_norm_and_bias": False}},
        {"pairs": UNPG, "batch_loss": TOPOLOGY, "images_per_identity": 4},
        {
            "pairs": TRIPLET,
            "images_per_identity": 2,
            "adversary": {"kind": "gradient", "profile": "clean", **ADVERSARY},
        },
        {"batch_loss": {"kind": "symmetry", "weight": 1}, "precision": "bf16"},
        {
            "sample_rate": 0.3,
            "class_update": "all",
            "class_draw": "pass",
            "gradient_compression": "fp16_always",
            "adversary": {"kind": "gradient", "profile": "official", **ADVERSARY},
        },
    ],
    ids=[
        "bf16 official",
        "adaface clean",
        "random",
        "plain",
        "fp16",
        "sampled classes",
        "low quality",
        "learned threshold",
        "pairs and topology",
        "triplets",
        "halves",
        "classes drawn",
    ],
)
def test_every_kind_of_recipe_trains(tmp_path, data, changes):
    checkpoint, log = run(tmp_path, data, **changes)
    assert checkpoint["progress"] == {"epochs": 1, "steps": IMAGES // BATCH, "images": IMAGES}
    assert checkpoint["weights"]["sha256"] == sha256_file(tmp_path / "run" / "model.safetensors")
    assert [line["step"] for line in log] == [*range(IMAGES // BATCH)]
    assert all(line["loss"] > 0 for line in log)
    if changes.get("precision") == "fp16":  # gradients overflow until the scale has come down; those steps are left out
        assert log[0]["grad_norm"] is None
        assert log[-1]["loss_scale"] < log[0]["loss_scale"]
    else:
        assert all(line["grad_norm"] > 0 for line in log)
    warped = "adversary" in changes
    assert all(("displacement_max_px" in line) == warped for line in log)
    sheets = [path.name for path in sorted((tmp_path / "run").glob("sheets/*"))]
    assert sheets == (["step_00000000.png", "step_00000004.png"] if warped else [])
    if warped:
        assert sum(log[0]["corners"]) == BATCH // 4


ADAFACE_TRAINING = {
    "head": ADAFACE,
    "backbone": {"dropout": 0.4, "initialisation": "kaiming", "plain_features": True, "identity_shortcut": True},
    "class_weights": "unit",
    "optimiser": {"decay_batch_norm": False, "clip_norm": None},
    "batch_norm": "broadcast",
    "autocast": "everything",
    "last_batch": "kept",
    "batch_size": 24,
    "images_per_pass": 12,
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adafaces_training_keeps_the_last_batch(tmp_path, data, precision):
    checkpoint, log = run(tmp_path, data, precision=precision, **ADAFACE_TRAINING)
    assert checkpoint["progress"] == {"epochs": 1, "steps": 3, "images": IMAGES}
    assert checkpoint["execution"]["images_per_pass"] == 12
    assert all(line["loss"] > 0 and line["grad_norm"] > 0 for line in log)


def test_weights_that_were_trained_as_adafaces_load_as_any(tmp_path, data):
    run(tmp_path, data, **ADAFACE_TRAINING)
    weights, _ = read_weights(tmp_path / "run" / "model.safetensors")
    build("r8s4", 16).load_state_dict(weights, strict=True)
    assert (weights["features.weight"] == 1).all()
    assert (weights["features.bias"] == 0).all()


@pytest.mark.parametrize(
    ("changes", "spared"),
    [
        ({}, set()),
        ({"decay_batch_norm": False}, {"batch norm"}),
        ({"decay_norm_and_bias": False}, {"batch norm", "slope", "bias"}),
        ({"decay_norm_and_bias": False, "decay_batch_norm": False}, {"batch norm", "slope", "bias"}),
    ],
)
def test_what_decays(tmp_path, changes, spared):
    recipe = read_run(write_recipe(tmp_path, optimiser=changes)).recipe
    network = torch.nn.ModuleDict(
        {"batch norm": torch.nn.BatchNorm2d(3), "slope": torch.nn.PReLU(3), "layer": torch.nn.Linear(3, 2)}
    )
    groups = _parameter_groups(recipe, network, torch.nn.Linear(2, 2, bias=False))
    still = {id(each) for group in groups if not group["weight_decay"] for each in group["params"]}
    found = {
        "bias" if name == "layer.bias" else name.split(".")[0]
        for name, each in network.named_parameters()
        if id(each) in still
    }
    assert found == spared


def test_a_single_process_rounds_gradients_as_a_compressed_one():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        images, gradients = torch.randn(5, 6), []
        for wrapped in (True, False):
            torch.manual_seed(0)
            network = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
            module = DistributedDataParallel(network) if wrapped else network
            if wrapped:
                module.register_comm_hook(None, fp16_compress_hook)
            (1e-3 * module(images).square()).sum().backward()
            exact = [each.grad.clone() for each in network.parameters()]
            if not wrapped:
                _round_gradients(network)
            gradients.append([each.grad for each in network.parameters()])
        assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
        assert not all(torch.equal(one, other) for one, other in zip(exact, gradients[1], strict=True))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(("compression", "rounds"), [("none", False), ("fp16", False), ("fp16_always", True)])
def test_which_compression_rounds_a_single_process(tmp_path, data, monkeypatch, compression, rounds):
    called = []
    monkeypatch.setattr("aroface.training.trainer._round_gradients", called.append)
    run(tmp_path, data, gradient_compression=compression)
    assert bool(called) == rounds


def test_the_recipe_decides_the_scaler_and_whether_the_attack_is_scaled(tmp_path, data):
    adversary = {"kind": "gradient", "profile": "official", **ADVERSARY}
    _, log = run(tmp_path, data, precision="fp16", growth_interval=1, adversary=adversary)
    scales = [line["loss_scale"] for line in log]
    assert max(scales) > min(scales)
    assert any(later > earlier for earlier, later in pairwise(scales)), "it grows after each step without an overflow"
    assert all(0 <= line["zero_signs"] <= 1 for line in log)
    history = read_json(tmp_path / "run" / "history.json")
    assert history["zero_signs"] == pytest.approx(np.mean([line["zero_signs"] for line in log]))
    validate(history, "history")


@pytest.mark.parametrize(("draw", "draws"), [("step", 1), ("pass", 2)])
def test_classes_are_drawn_once_a_step_or_for_each_pass(tmp_path, data, monkeypatch, draw, draws):
    drawn, choose = [], Classifier.choose

    def spy(classifier, labels, generator):
        choose(classifier, labels, generator)
        drawn.append(classifier._chosen)

    monkeypatch.setattr(Classifier, "choose", spy)
    adversary = {"kind": "gradient", "profile": "official", **ADVERSARY}
    run(tmp_path, data, sample_rate=0.5, class_draw=draw, adversary=adversary)
    assert len(drawn) == draws * IMAGES // BATCH


def test_the_adversary_gains_strength_over_its_warm_up(tmp_path, data):
    adversary = {"kind": "random", "profile": "clean", **ADVERSARY, "warmup_epochs": 1}
    _, log = run(tmp_path, data, adversary=adversary)
    assert [line["adversary_strength"] for line in log] == [step / 8 for step in range(8)]
    assert log[0]["displacement_max_px"] == 0
    assert log[-1]["displacement_max_px"] > 5


def test_two_runs_of_a_recipe_are_equal_and_other_seeds_are_not(tmp_path, data):
    first, _ = run(tmp_path / "a", data)
    second, _ = run(tmp_path / "b", data)
    assert first["weights"] == second["weights"]
    other, _ = run(tmp_path / "c", data, optimiser={"lr": 0.04})
    assert other["weights"] != first["weights"]


def test_a_loss_that_is_not_finite_stops_with_step_rate_and_records(tmp_path, data):
    with pytest.raises(InputError, match=r"batch of records \d+, .*: loss is (nan|inf) at step \d, learning rate"):
        run(tmp_path, data, optimiser={"lr": 1e30})
    assert not (tmp_path / "run" / "checkpoint.json").exists()


def test_a_gpu_that_is_not_there_is_one_line(tmp_path, data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device"):
        train(write_recipe(tmp_path), data, tmp_path / "run", tmp_path / "state", ExecutionOptions(device="cuda"))


def test_a_training_on_the_cpu_leaves_a_gpu_beside_it_alone(tmp_path, data, monkeypatch):
    """Pinned memory and a look at the device open a context on it, which takes memory that another job may need."""
    asked = []
    empty = torch.empty

    def watched(*words, pin_memory=False, **named):
        asked.extend(["pinned memory"] if pin_memory else [])
        return empty(*words, **named)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: asked.append("a context"))
    monkeypatch.setattr(torch, "empty", watched)
    execution = ExecutionOptions(device="cpu", sheet_every=4, loader_threads=1, save_every=3)
    checkpoint = train(write_recipe(tmp_path), data, tmp_path / "run", tmp_path / "state", execution)
    assert read_json(checkpoint)["progress"]["steps"] == IMAGES // BATCH
    assert asked == []


def test_skipped_images_are_counted_logged_and_listed_across_a_resume(tmp_path, data):
    folder = Path(shutil.copytree(data, tmp_path / "damaged"))
    content = (folder / "train.rec").read_bytes()
    first = content.index(b"\xff\xd8\xff")
    (folder / "train.rec").write_bytes(content[:first] + b"GIF" + content[first + 3 :])
    sign(folder)
    recipe = write_recipe(tmp_path)
    places = (tmp_path / "run", tmp_path / "state")
    with pytest.raises(InputError, match="the record is no JPEG"):
        train(recipe, folder, *places, ExecutionOptions(save_every=1, log_every=1))
    execution = ExecutionOptions(save_every=1, log_every=1, on_corrupt="skip", max_corrupt_fraction=0.05)
    listed = read_json(train(recipe, folder, *places, execution))["skipped_images"]
    assert [(each["position"], each["label"]) for each in listed] == [(0, 0)]
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["skipped_images"] == 1
    for name in ("checkpoint.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    assert read_json(train(recipe, folder, *places, execution))["skipped_images"] == listed  # by the saved state alone


def test_a_loss_that_runs_away_stops_too(tmp_path, data, monkeypatch):
    monkeypatch.setattr(divergence, "BEGINNING", 3)
    monkeypatch.setattr(divergence, "DIVERGED", 0.9)
    with pytest.raises(InputError, match=r"mean loss is .* times that of the beginning, at step \d+, learning rate"):
        run(tmp_path, data, epochs=6)


def trainer_of(tmp_path: Path, data: Path, execution: ExecutionOptions, **changes: Any) -> tuple[Trainer, BatchLoader]:
    described = read_run(write_recipe(tmp_path, **changes))
    training_set = TrainingSet.open(data)
    loader = BatchLoader(training_set, described.recipe.batch_size, described.seed, threads=1)
    group = ProcessGroup(torch.device("cpu"))
    split = split_batch(described.recipe, execution, group)
    trainer = Trainer(described, training_set.num_classes, loader.batches_per_epoch, split, execution, group)
    return trainer, loader


def test_gradients_of_parts_of_a_batch_add_up_to_those_of_the_whole(tmp_path, data):
    """Where batch norm does not couple the images, a step is the same in how many parts it may be done."""
    found = []
    for micro in (None, 4, 2):
        trainer, loader = trainer_of(tmp_path, data, ExecutionOptions(micro_batch=micro))
        trainer.backbone.eval()
        loss = trainer.train_step(next(loader.epoch(0))).loss
        gradients = [part.grad.clone() for part in trainer.backbone.parameters() if part.grad is not None]
        found.append((float(loss), [*gradients, trainer.classifier.weight.grad.clone()]))
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        for one, other in zip(gradients, found[0][1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_recomputed_activations_change_nothing(tmp_path, data):
    losses = []
    for again in (False, True):
        adversary = {"kind": "gradient", "profile": "official", **ADVERSARY}
        trainer, loader = trainer_of(
            tmp_path, data, ExecutionOptions(checkpoint_activations=again), adversary=adversary
        )
        for batch in loader.epoch(0):
            loss = trainer.train_step(batch).loss
        statistics = [float(buffer.double().sum()) for buffer in trainer.backbone.buffers()]
        losses.append((float(loss), *statistics))
    assert losses[0] == losses[1]


def test_validation_is_logged_and_the_best_weights_are_kept(tmp_path, data):
    worth = iter([0.5, 0.9, 0.7])

    def validate(network: torch.nn.Module) -> dict[str, float]:
        assert not network.training
        return {"lfw_accuracy": next(worth)}

    recipe = write_recipe(tmp_path, epochs=3)
    checkpoint = read_json(train(recipe, data, tmp_path / "run", tmp_path / "state", ExecutionOptions(), validate))
    assert checkpoint["validation"]["last"] == {"lfw_accuracy": 0.7}
    best = checkpoint["validation"]["best"]
    assert (best["epoch"], best["step"], best["metrics"]) == (2, 16, {"lfw_accuracy": 0.9})
    assert sha256_file(tmp_path / "run" / best["file"]) != checkpoint["weights"]["sha256"]
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["lfw_accuracy"] for line in log if "lfw_accuracy" in line] == [0.5, 0.9, 0.7]


def test_the_accuracy_of_a_validation_is_that_of_the_protocol(tmp_path):
    path = tmp_path / "small.bin"
    generate_pairs(resolve_spec("pairs", {"identities": 6, "pairs": 20}, file="test"), 3, path, workers=1)
    torch.manual_seed(0)
    network = build("r8s4", 16).eval()
    found = pair_validation({"small": path})(network)
    pairs = read_pairs(path)
    images = np.stack([decode(image) for image in pairs.images])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().sub(127.5).div(127.5)
    with torch.no_grad():
        rows = (network(pixels) + network(pixels.flip(3))).numpy()
    expected = accuracy(pair_distances(rows[0::2], rows[1::2]), pairs.same)[0].item()
    assert found == {"small_accuracy": pytest.approx(expected, abs=0.051)}, "one pair of twenty at most"


def test_the_log_says_what_the_data_cost(tmp_path, data):
    _, log = run(tmp_path, data)
    assert all(0 <= line["data_wait"] <= 1 for line in log)


def test_what_torch_cannot_compile_is_refused():
    with pytest.raises(InputError, match="compile and checkpoint_activations together"):
        ExecutionOptions(compile=True, checkpoint_activations=True)


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("error", [InputError("an image is damaged", file="lfw.bin"), OSError(5, "I/O error")])
def test_a_validation_that_fails_is_told_and_costs_nothing(tmp_path, data, capsys, error):
    recipe = write_recipe(tmp_path, epochs=2)
    expected = read_json(train(recipe, data, tmp_path / "run", tmp_path / "state", ExecutionOptions()))

    def fail(network: torch.nn.Module) -> dict[str, float]:
        assert (tmp_path / "failing/state/state-000000008/common-of-001.pt").exists()
        raise error

    folder = tmp_path / "failing"
    found = read_json(train(recipe, data, folder / "run", folder / "state", ExecutionOptions(), fail))
    assert found["weights"] == expected["weights"]
    assert found["validation"] == {"last": {}, "best": None}
    assert f"no validation after step 8: {error}" in capsys.readouterr().err


def test_a_training_that_ends_in_its_validation_does_it_again(tmp_path, data):
    """Whatever ends it: the state was saved before; log, weights and best weights are those of one that ran on."""
    recipe = write_recipe(tmp_path, epochs=3, batch_norm="averaged")
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def worth(network: torch.nn.Module) -> dict[str, float]:
        return {"accuracy": float(network(torch.ones(2, 3, 112, 112)).detach().mean())}

    expected = read_json(train(recipe, data, whole / "run", whole / "state", ExecutionOptions(log_every=1), worth))
    for _ in range(3):
        done = False

        def killed(network: torch.nn.Module) -> dict[str, float]:
            nonlocal done
            if done:
                raise KeyboardInterrupt
            done = True
            return worth(network)

        with pytest.raises(KeyboardInterrupt):
            train(recipe, data, parts / "run", parts / "state", ExecutionOptions(log_every=1), killed)
        if len(log_of(parts)) > 17:
            break
    found = read_json(train(recipe, data, parts / "run", parts / "state", ExecutionOptions(log_every=1), worth))
    assert (found["weights"], found["validation"]) == (expected["weights"], expected["validation"])
    numbers = [[(line["step"], line.get("loss"), line.get("accuracy")) for line in log_of(f)] for f in (whole, parts)]
    assert numbers[0] == numbers[1]
