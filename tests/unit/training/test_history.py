"""What a training leaves of its course: a thinned curve, validations, and counts of what the adversary did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aroface.adversary.alignment import Warped
from aroface.adversary.options import AdversaryOptions
from aroface.adversary.warp import Similarity, landmark_displacement
from aroface.distributed.process_group import process_group
from aroface.faces.geometry import TEMPLATE
from aroface.files import read_json
from aroface.models.checkpoint import read_weights
from aroface.schemas import validate
from aroface.training.displacements import BINS, QUANTITIES, Displacements, describe, measures
from aroface.training.execution import ExecutionOptions, Interrupted
from aroface.training.history import POINTS, thin, write_history
from aroface.training.recipe import read_run
from aroface.training.train import gather_displacements, train
from gloo import run_ranks
from training_runs import BATCH, IMAGES, stop_after, training_loop, write_data, write_recipe

EPOCHS = 3
STEPS = EPOCHS * IMAGES // BATCH
WARPED_A_STEP = BATCH // 4
OFFICIAL = {"kind": "gradient", "profile": "official", "step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), adversary=OFFICIAL, epochs=EPOCHS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recipe: Path, data: Path) -> Path:
    """Folder of a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    execution = ExecutionOptions(log_every=1, save_every=5, loader_threads=1)
    return train(recipe, data, folder / "run", folder / "state", execution).parent


def some_warps(count: int, seed: int = 0) -> Warped:
    """Warps of all sizes, some beyond the histograms."""
    draw = torch.Generator().manual_seed(seed)
    scale, theta = 1 + 0.3 * torch.randn(count, generator=draw), 0.5 * torch.randn(count, generator=draw)
    warps = Similarity(scale.clamp(min=0.3), theta, 0.2 * torch.randn((count, 2), generator=draw))
    distances = landmark_displacement(warps, 112, "exact")
    return Warped(torch.zeros(count, 3, 112, 112), torch.arange(count), warps, distances, torch.zeros(count).long())


def naive_thin(entries: list[dict[str, float]], steps: int, points: int) -> list[tuple[float, float, float, int]]:
    """The same by the book: for each part of the training, what lies within."""
    last = {entry["step"]: entry for entry in entries}
    count = min(points, len(last))
    found = []
    for part in range(count):
        inside = [entry for step, entry in last.items() if part <= step * count / steps < part + 1]
        if inside:
            sums = [sum(entry[key] for entry in inside) / len(inside) for key in ("step", "loss", "lr")]
            found.append((*sums, len(inside)))
    return found


@pytest.mark.parametrize(("steps", "every", "points"), [(1000, 1, 512), (1000, 50, 512), (999, 7, 10), (3, 1, 512)])
def test_a_curve_is_thinned_to_the_means_of_equal_parts(steps, every, points):
    draw = np.random.default_rng(steps)
    logged = [step for step in range(steps) if step % every == 0 or step == steps - 1]
    entries = [{"step": step, "loss": draw.normal(), "lr": 0.1 - 0.1 * step / steps} for step in logged]
    again = [{**entry, "loss": entry["loss"] + 1} for entry in entries[::3]]  # as after a kill
    curve = thin([*entries, *again], steps, points)
    expected = naive_thin([*entries, *again], steps, points)
    assert len(expected) <= points
    for number, key in enumerate(("step", "loss", "lr", "logged")):
        assert curve[key] == pytest.approx([point[number] for point in expected], rel=1e-6, abs=1e-9)
    assert sum(curve["logged"]) == len(logged)


def test_a_long_training_leaves_no_more_than_so_many_points():
    curve = thin(({"step": step, "loss": 1.0, "lr": 0.1} for step in range(0, 40_000, 10)), 40_000)
    assert {len(column) for column in curve.values()} == {POINTS}


def test_counts_are_those_of_a_naive_histogram():
    counted, every = Displacements(torch.device("cpu")), []
    for step in range(6):
        warped = some_warps(50, step)
        counted.count(warped, last=step >= 4)
        shift = warped.warps.shift.double().numpy()
        landmarks = np.mean([naive_displacement(warped.warps, i) for i in range(50)], axis=1)
        rotation = np.degrees(warped.warps.theta.numpy())
        every.append([warped.warps.scale.numpy(), rotation, shift[:, 0] / 2, shift[:, 1] / 2, landmarks])
        assert measures(warped)[4].numpy() == pytest.approx(landmarks, abs=1e-4)
    values = np.concatenate(every, axis=1)
    beyond = 0
    for number, (low, high) in enumerate(QUANTITIES.values()):
        edges = np.linspace(low, high, BINS + 1)
        for part, chosen in enumerate((values[number, :200], values[number, 200:])):
            inside = np.histogram(chosen, edges)[0]
            ends = [(chosen < low).sum(), (chosen >= high).sum()]
            found = counted.counts[part, number].numpy()
            # What lies on an edge to seven digits may fall on either side of it.
            assert np.abs(found[1:-1] - inside).sum() <= 2, list(QUANTITIES)[number]
            assert [found[0], found[-1]] == ends
            assert found.sum() == len(chosen)
            beyond += sum(ends)
    assert beyond > 0


def naive_displacement(warps: Similarity, row: int) -> list[float]:
    """How far each landmark moves, from the definition: where the output shows the input's landmark."""
    scale, theta = float(warps.scale[row]), float(warps.theta[row])
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    source = (2 * TEMPLATE.astype(float) + 1) / 112 - 1
    target = (source - warps.shift[row].double().numpy()) @ np.linalg.inv(scale * turn).T
    return [*np.linalg.norm(((target + 1) * 112 - 1) / 2 - TEMPLATE, axis=1)]


def test_what_is_counted_has_the_marks_of_the_adversarys_options():
    counted = Displacements(torch.device("cpu"))
    counted.count(some_warps(8), last=True)
    options = AdversaryOptions.profile("clean", step_shift=0, start="uniform", start_sd_theta=0.1, steps=2)
    found = describe(counted.counts, options, images=64, images_last=32)
    assert (found["images"], found["warped"]) == ({"whole": 64, "last_epoch": 32}, {"whole": 8, "last_epoch": 8})
    tables = found["quantities"]
    assert tables["scale"]["budget"] == pytest.approx([0.8, 1.2])
    assert tables["shift_x"]["budget"] == [0, 0]
    assert tables["rotation"]["start"][1] == pytest.approx(np.degrees(0.1 * 3**0.5), abs=1e-4)
    low, high = tables["landmarks"]["budget"]
    assert 0 < low < high
    limited = describe(counted.counts, AdversaryOptions.profile("clean", landmark_budget_px=6.0), 64, 32)
    assert limited["quantities"]["landmarks"]["budget"][1] == 6


def test_a_training_leaves_its_course(whole: Path):
    history = read_json(whole / "history.json")
    validate(history, "history", file=whole / "history.json")
    logged = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert history["curve"]["step"] == [*range(STEPS)]
    assert history["curve"]["loss"] == pytest.approx([entry["loss"] for entry in logged], rel=1e-6)
    assert (history["steps"], history["adversary"], history["validation"]) == (STEPS, "gradient", [])
    moved = history["displacements"]
    assert moved["images"] == {"whole": EPOCHS * IMAGES, "last_epoch": IMAGES}
    assert moved["warped"] == {"whole": WARPED_A_STEP * STEPS, "last_epoch": WARPED_A_STEP * STEPS // EPOCHS}
    for table in moved["quantities"].values():
        for part in ("whole", "last_epoch"):
            assert table[part]["below"] + sum(table[part]["counts"]) + table[part]["above"] == moved["warped"][part]
    # After the warm-up, one step of .1 from a start within some hundredths.
    last = np.array(moved["quantities"]["scale"]["last_epoch"]["counts"])
    assert (last[:60] == 0).all()
    assert (last[90:110] == 0).all()
    assert last[70:90].sum() + last[110:130].sum() == last.sum()


def train_until(rank: int, recipe: Path, data: Path, folder: Path, stop: int | None) -> dict[str, Any] | None:
    """Train until after a step, or to the end; returns the history that there is then."""
    run = read_run(recipe)
    with process_group("cpu") as group:
        execution = ExecutionOptions(log_every=1, save_every=100, loader_threads=1)
        loop = training_loop(run, data, folder, execution, group)
        if stop is not None:
            stop_after(loop, stop)
        try:
            loop.run()
        except Interrupted:
            assert stop is not None
        histograms = gather_displacements(loop, IMAGES)
        group.wait()
        if not group.first:
            return None
        path = write_history(run, folder / "run", STEPS, STEPS // EPOCHS, histograms)
    history: dict[str, Any] = read_json(path)
    return history


def make_old(state_dir: Path) -> None:
    """Let states be as they were before anything was counted."""
    for path in state_dir.glob("state-*/rank-*.pt"):
        content = torch.load(path, weights_only=True)
        del content["displacements"]
        torch.save(content, path)


def test_interruptions_change_nothing_of_it(tmp_path, recipe, data, whole):
    for stop in (3, 9, 20, None):
        last = train_until(0, recipe, data, tmp_path, stop)
    assert last == read_json(whole / "history.json")


def test_a_state_without_counts_goes_on_and_says_so(tmp_path, recipe, data, whole):
    train_until(0, recipe, data, tmp_path, 5)
    make_old(tmp_path / "state")
    history = train_until(0, recipe, data, tmp_path, None)
    expected = read_json(whole / "history.json")
    assert history == {**expected, "displacements": None}
    validate(history, "history")
    assert history["adversary"] == "gradient"


def test_processes_add_up_whatever_their_number(tmp_path, recipe, data):
    """Two processes, then one, then two again: every warped image is counted once."""
    run_ranks(2, train_until, recipe, data, tmp_path, 7)
    before = train_until(0, recipe, data, tmp_path, 15)
    assert before["displacements"]["warped"]["whole"] == 15 * WARPED_A_STEP
    history = run_ranks(2, train_until, recipe, data, tmp_path, None)[0]
    assert history["displacements"]["warped"]["whole"] == STEPS * WARPED_A_STEP
    assert history["displacements"]["warped"]["last_epoch"] == STEPS // EPOCHS * WARPED_A_STEP


def test_counting_leaves_the_weights_alone(tmp_path, recipe, data, whole, monkeypatch):
    monkeypatch.setattr(Displacements, "count", lambda self, warped, *, last: None)
    execution = ExecutionOptions(log_every=1, save_every=5, loader_threads=1)
    other = train(recipe, data, tmp_path / "run", tmp_path / "state", execution).parent
    weights, uncounted = (read_weights(folder / "model.safetensors")[0] for folder in (whole, other))
    assert weights.keys() == uncounted.keys()
    assert all(torch.equal(weights[name], uncounted[name]) for name in weights)


def test_a_run_of_an_earlier_version_is_not_trained_again(tmp_path, recipe, data, whole):
    before = read_json(whole / "checkpoint.json")
    course = (whole / "history.json").read_bytes()
    (whole / "history.json").unlink()
    try:
        execution = ExecutionOptions(log_every=1, save_every=5, loader_threads=1)
        train(recipe, data, whole, tmp_path / "state", execution)
        assert read_json(whole / "checkpoint.json") == before
        assert not (whole / "history.json").exists()
        assert not (tmp_path / "state").exists()
    finally:
        (whole / "history.json").write_bytes(course)


def test_validations_are_in_it_once_and_damaged_lines_are_not(tmp_path, recipe):
    lines = [
        {"step": 0, "epoch": 0, "loss": 3.0, "lr": 0.1},
        {"step": 7, "epoch": 0, "lfw": 0.5},
        {"step": 7, "epoch": 0, "lfw": 0.75},
        {"step": 15, "epoch": 1, "lfw": 0.9},
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "log.jsonl").write_text(f'{text}{{"step": 16,\n{{"step": 17, "epo')
    history = read_json(write_history(read_run(recipe), tmp_path, STEPS, STEPS // EPOCHS, None))
    validate(history, "history")
    assert history["curve"] == {"step": [0], "loss": [3], "lr": [0.1], "logged": [1]}
    assert history["validation"] == [
        {"epoch": 1, "step": 8, "metrics": {"lfw": 0.75}},
        {"epoch": 2, "step": 16, "metrics": {"lfw": 0.9}},
    ]
