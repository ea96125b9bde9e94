"""What alignment errors cost a model, measured on small sets and on made-up losses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from aroface.embedding.alignment_sweep import Variant, draw_directions, error_matrices
from aroface.embedding.embedder import Embedder
from aroface.embedding.external_model import Model, open_model
from aroface.embedding.feature_store import open_features
from aroface.embedding.worst_case import misalign
from aroface.errors import InputError
from aroface.evaluation.robustness import (
    COLUMNS,
    CORRUPTION_LEVELS,
    MAPS,
    Perturbation,
    Quantity,
    Sweep,
    SweepGrid,
    coarse,
    measure_robustness,
    remaining_work,
    table,
    tolerated,
)
from aroface.faces.geometry import similarity_matrix
from embedding_runs import make_run
from external_models import face_pairs, write_onnx
from repository import ROOT

GRID = SweepGrid(
    qualities=("hq", 16),
    scale=(0.2,),
    degrees=(10, 30),
    shift=(0.15,),
    joint=(1.0,),
    metrics=("tar_strict_at_far_1e-1", "auc"),
    worst_case=True,
)
METRIC = GRID.metrics[0]
PAIRS = 24


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run and an ONNX model on the same pairs, and where their features are."""
    folder = tmp_path_factory.mktemp("robustness")
    models = [
        open_model(make_run(folder, 0), name="run", device="cpu"),
        open_model(write_onnx(folder / "quarters.onnx")),
    ]
    pairs = face_pairs(folder / "pairs.bin", PAIRS)
    return models, pairs, folder / "out", measure_robustness(models, pairs, folder / "out", GRID)


def test_the_default_grid_is_the_registered_benchmarks():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    (options,) = (each["options"] for each in config["benchmarks"] if isinstance(each, dict) and each["name"] == "fae")
    grid = SweepGrid()
    assert {name: [*getattr(grid, name)] for name in ("qualities", "scale", "degrees", "shift", "joint")} == {
        name: value for name, value in options.items() if name not in ("metric", "order")
    }
    assert grid.order == options["order"]
    assert [*grid.metrics] == options["metric"]


def test_every_condition_is_measured_for_every_model(measured):
    _, _, _, found = measured
    run, quarters = found.sweeps
    singles, maps = 1 + 2 + 1 + 1, len(MAPS) * 2
    assert len(quarters.measured) == 2 * (1 + singles + maps)
    assert len(run.measured) == len(quarters.measured) + 2  # the worst case at either quality
    assert "No worst case of quarters" in found.notes[0]
    assert found.counts["pairs"] == PAIRS
    assert run.description.startswith("r8s4, 8 features, 112×112 RGB")


def test_corruptions_have_features_of_their_own(measured, tmp_path):
    models, pairs, _, found = measured
    grid = replace(GRID, corruptions=True, worst_case=False, qualities=("hq",), max_pairs=10)
    once = measure_robustness(models[1:], pairs, tmp_path, grid)
    (sweep,) = once.sweeps
    assert {kind: tuple(sweep.levels("hq", kind)) for kind in CORRUPTION_LEVELS} == CORRUPTION_LEVELS
    assert np.isfinite(sweep.drop(Perturbation("hq", "noise", 50.0), METRIC).interval).all()
    assert remaining_work(models[1:], pairs, tmp_path, grid) == (0, 0.0)
    assert not {each.factor for each in found.sweeps[1].measured} & {*CORRUPTION_LEVELS}


def test_the_norms_of_all_models_are_measured(measured):
    found = measured[3]
    assert {*found.norms} == {"run", "quarters"}
    for responses in found.norms.values():
        assert len(responses) == 2 * 5 and {each.probes for each in responses} == {PAIRS}
        assert all(0 <= each.recognised <= 1 and each.ratio > 0 for each in responses)


def test_errors_of_size_zero_are_none(measured):
    sweep = measured[3].sweeps[1]
    assert sweep.value(Perturbation("hq", "scale", 0.0, "rotation", 0.0), METRIC) is sweep.value(
        Perturbation("hq"), METRIC
    )
    alone = sweep.value(Perturbation("hq", "rotation", 30.0), METRIC)
    assert sweep.value(Perturbation("hq", "scale", 0.0, "rotation", 30.0), METRIC) is alone
    assert sweep.value(Perturbation("hq", "rotation", 30.0, "shift", 0.0), METRIC) is alone


def test_finished_parts_are_kept(measured, monkeypatch):
    models, pairs, out, found = measured

    def fail(*_, **__):
        raise AssertionError("embedded again")

    monkeypatch.setattr(Embedder, "embed", fail)
    again = measure_robustness(models, pairs, out, GRID)
    for one, other in zip(found.sweeps, again.sweeps, strict=True):
        assert {place: each[METRIC].value for place, each in one.measured.items()} == {
            place: each[METRIC].value for place, each in other.measured.items()
        }
    with pytest.raises(AssertionError, match="embedded again"):
        measure_robustness(models, pairs, out, replace(GRID, qualities=("hq", 20)))


def test_what_is_left_to_embed_is_told_before(measured):
    models, pairs, out, _ = measured
    assert remaining_work(models, pairs, out, GRID) == (0, 0.0)
    count, seconds = remaining_work(models, pairs, out.with_name("elsewhere"), GRID)
    rows = [
        len(open_features(index.parent).values) for index in out.rglob("index.json") if "-" not in index.parent.name
    ]
    assert (count, seconds > 0) == (sum(rows), True)
    more, _ = remaining_work(models, pairs, out, replace(GRID, qualities=(*GRID.qualities, 8)))
    assert more == sum(rows) / len(GRID.qualities)


def test_models_of_equal_weights_do_not_differ(tmp_path):
    path = write_onnx(tmp_path / "model.onnx")
    models = [open_model(path, name=name) for name in ("a", "b")]
    grid = SweepGrid(qualities=(16,), scale=(0.2,), degrees=(10,), shift=(0.1,), joint=(1.0,), max_pairs=20)
    found = measure_robustness(models, face_pairs(tmp_path / "pairs.bin", 40), tmp_path / "out", grid)
    rows = [row for row in table(found, 1.0) if row["model"] == "b - a"]
    assert len(rows) == 3 * len(found.sweeps[0].measured)
    assert {(row["value"], row["low"], row["high"], row["significant"]) for row in rows} == {(0.0, 0.0, 0.0, False)}
    assert found.counts["pairs"] == 20


def test_the_table_holds_all_numbers(measured):
    found = measured[3]
    rows = [*table(found, 2.5)]
    assert {key for row in rows for key in row} == {*COLUMNS}
    loss = next(row for row in rows if row["factor"] == "shift" and row["level"] == 0.15)
    clean = next(row for row in rows if row["factor"] is None and row["quality"] == loss["quality"])
    assert loss["drop_points"] == pytest.approx(100 * (clean["value"] - loss["value"]))
    limits = [row for row in rows if str(row["metric"]).startswith("tolerated_error_at_2.5_points_of_")]
    assert len(limits) == 2 * 2 * 4 * 2


def test_two_factors_at_once_are_one_similarity():
    directions = draw_directions(6, 0)
    variant = Variant(None, "rotation", 10.0, ("shift", 0.1))
    found = error_matrices(variant, directions, {"scale": 0.1, "degrees": 10, "shift": 0.1}, 112)
    right, down = 0.1 * np.cos(directions.bearing), 0.1 * np.sin(directions.bearing)
    np.testing.assert_allclose(found, similarity_matrix(1.0, 10 * directions.rotation, right, down))


def made_up(drops, spread=0.0):
    """A sweep whose rotation costs ``drops`` at 5, 10, 20 degrees; the spread is common to all."""
    noise = np.random.default_rng(0).normal(0, 1, 1000)
    measured = {Perturbation("hq"): {METRIC: Quantity(0.9, np.full(1000, 0.9))}}
    for level, drop in zip((5.0, 10.0, 20.0), drops, strict=True):
        measured[Perturbation("hq", "rotation", level)] = {
            METRIC: Quantity(0.9 - drop, 0.9 - drop * (1 + spread * noise))
        }
    return Sweep("made up", "", measured)


@pytest.mark.parametrize(
    ("drops", "points", "expected"),
    [
        ((0.02, 0.05, 0.20), 1.0, 2.5),
        ((0.02, 0.05, 0.20), 3.5, 7.5),
        ((0.00, 0.00, 0.05), 1.0, 12.0),
        ((-0.01, 0.01, 0.00), 0.5, 8.75),
        ((0.00, 0.01, 0.02), 5.0, math.inf),
    ],
)
def test_tolerated_errors_are_interpolated_between_levels(drops, points, expected):
    found = tolerated(made_up(drops), "hq", "rotation", METRIC, points)
    assert found.value == pytest.approx(expected)
    assert found.interval == pytest.approx((expected, expected))


def test_the_interval_of_a_tolerated_error_is_that_of_its_draws():
    found = tolerated(made_up((0.02, 0.05, 0.20), spread=0.1), "hq", "rotation", METRIC, 1.0)
    low, high = found.interval
    assert low == pytest.approx(2.5 / (1 + 1.96 * 0.1), rel=0.03)
    assert high == pytest.approx(2.5 / (1 - 1.96 * 0.1), rel=0.03)
    open_ended = tolerated(made_up((0.0, 0.005, 0.01), spread=0.5), "hq", "rotation", METRIC, 0.9).interval
    assert math.isfinite(open_ended[0]) and math.isinf(open_ended[1])


def test_significance_is_an_interval_without_zero():
    samples = np.linspace(0.01, 0.03, 1000)
    assert Quantity(0.02, samples).significant and Quantity(-0.02, -samples).significant
    assert not Quantity(0.0, samples - 0.02).significant
    assert not (Quantity(0.02, samples) - Quantity(0.02, samples)).significant


def test_maps_are_coarse():
    assert coarse([1, 2]) == [1, 2]
    assert coarse([1, 2, 3, 4, 5, 6]) == [2, 4, 6]
    assert coarse([1, 2, 3, 4]) == [1, 3, 4]


class Window(nn.Module):
    """The picture at 8×8 pixels as the embedding: every warp changes it smoothly."""

    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)


def test_the_worst_case_is_worse_than_random_directions(tmp_path):
    embedder = Embedder(Window(), torch.device("cpu"), 112, "RGB", 127.5, 127.5, 192)
    rng = np.random.default_rng(0)
    coarse_pictures = torch.from_numpy(rng.uniform(0, 255, (16, 3, 6, 6))).float()
    smooth = nn.functional.interpolate(coarse_pictures, size=112, mode="bicubic").clamp(0, 255)
    images = smooth.byte().permute(0, 2, 3, 1).numpy()
    partners = embedder.embed(images, flip=False)
    same = np.arange(16) % 2 == 0
    partners[~same] = np.roll(partners[~same], 1, axis=0)
    maximum = {"scale": 0.1, "degrees": 10.0, "shift": 0.06}

    def similarities(pictures):
        found = embedder.embed(pictures, flip=False)
        return (found * partners).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(partners, axis=1)

    warped = misalign(embedder, images, partners, same, 0.5, maximum)
    np.testing.assert_array_equal(warped, misalign(embedder, images, partners, same, 0.5, maximum))
    np.testing.assert_array_equal(misalign(embedder, images, partners, same, 0.0, maximum), images)
    impostors = similarities(warped)[~same] - similarities(images)[~same]
    assert impostors.mean() > 0.02 and (impostors > 0).mean() > 0.8
    assert (similarities(warped)[same] < similarities(images)[same] - 0.01).all()


def test_what_cannot_be_measured_is_one_line(tmp_path):
    path, pairs = write_onnx(tmp_path / "model.onnx"), tmp_path / "pairs.bin"
    model = open_model(path)

    def measure(models: list[Model], grid: SweepGrid = GRID) -> None:
        measure_robustness(models, pairs, tmp_path / "out", grid)

    with pytest.raises(InputError, match="2 models are called 'model'; name them: NAME=PATH"):
        measure([model, model])
    with pytest.raises(InputError, match="5 models; expected 1 to 4"):
        measure([model] * 5)
    with pytest.raises(InputError, match="the worst case needs gradients"):
        measure([model])
    with pytest.raises(InputError, match="5 qualities; expected 1 to 4"):
        SweepGrid(qualities=("hq", 10, 12, 14, 16)).check()
    with pytest.raises(InputError, match="scale"):
        SweepGrid(scale=(2.0,)).check()
    with pytest.raises(InputError, match="no level of joint"):
        SweepGrid(joint=()).check()
