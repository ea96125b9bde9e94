"""What a plan costs: the arithmetic by hand, the numbers that others measured, and what the table says of it."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from aroface.cli.main import main
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.embedding.sensitivity import open_source
from aroface.errors import InputError
from aroface.files import write_json
from aroface.models.footprint_table import find_footprint
from aroface.planning.config import lay_over
from aroface.planning.forecast.costs import (
    THROUGHPUT,
    Costs,
    adversary_factor,
    device_memory,
    devices_needed,
    feature_rows,
    plan_costs,
)
from aroface.planning.forecast.costs_text import (
    as_json,
    headline,
    notes,
    print_table,
)
from aroface.planning.plan import Plan, make_plan
from aroface.schemas import validate
from repository import ROOT
from small_sets import CONFIG as SMALLEST

CONFIG: dict[str, Any] = {
    **SMALLEST,
    "seeds": [0, 1],
    "experiments": [{"method": "arcface", "dataset": "faces"}, {"method": "arcface_aroface", "dataset": "faces"}],
}
FULL = {"experiments": [{"method": "arcface", "dataset": "ms1mv3"}, {"method": "arcface_aroface", "dataset": "ms1mv3"}],
        "recipe": "page2048", "benchmarks": ["tinyface"], "data": {}}  # fmt: skip


def planned(folder: Path, changes: dict[str, Any] | None = None, *, gpus: int = 0) -> Plan:
    paths = {"paths": {"data": str(folder / "data"), "results": str(folder / "results")}}
    resources = {"resources": {"train": {"gpus": gpus}}}
    config = lay_over({**deepcopy(CONFIG), **(changes or {}), **paths}, resources)
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(config))
    return make_plan([file], root=ROOT)


def costs_of(folder: Path, changes: dict[str, Any] | None = None, *, gpus: int = 0) -> Costs:
    return plan_costs(planned(folder, changes, gpus=gpus), root=ROOT)


def finish(plan: Plan, run: str, hours: float) -> None:
    write_json(plan.results.run(run).checkpoint, {"run": run, "cost": {"device_hours": hours}})


def test_a_small_plan_by_hand(tmp_path: Path) -> None:
    plain, attacked = costs_of(tmp_path).trainings
    assert (plain.images, plain.steps) == (64, 8)  # four whole batches of 16 from 72 images, two epochs
    parameters = find_footprint("r8s4", 16, "fp32").parameters
    assert plain.weights == 4 * parameters
    assert plain.state == 2 * 4 * (parameters + 12 * 16)  # eight steps: one state, of weights and momentum
    assert plain.features == 2 * 80 * 16 * 4
    classifier = 6 * 16 * (12 - 1000) / 0.055e12
    assert plain.images_per_s == pytest.approx(1 / (1 / 545 + classifier))
    assert plain.hours == pytest.approx(2 * 64 / plain.images_per_s / 3600)
    assert attacked.hours == pytest.approx(2.4 * plain.hours)
    assert plain.measured


def test_every_kept_state_counts(tmp_path: Path) -> None:
    one, two = (costs_of(tmp_path, {"training": {"save_every": every}}).trainings[0].state for every in (8, 7))
    assert one and two == 2 * one


@pytest.mark.parametrize("gpus", [1, 4])
def test_the_papers_recipe_by_hand(tmp_path: Path, gpus: int) -> None:
    costs = costs_of(tmp_path, {**FULL, "seeds": [0, 1, 2]}, gpus=gpus)
    plain, attacked = costs.trainings
    assert (plain.images, plain.steps) == (5_179_392, 50_580)
    seconds = 1 / 462 + 6 * 512 * (93_431 - 618_000) / 22e12
    assert plain.hours == pytest.approx(20 * 5_179_392 * seconds / 3600)
    assert attacked.hours == pytest.approx(1.75 * plain.hours)
    assert costs.longest(costs.unfinished) == pytest.approx(attacked.hours / gpus)
    assert costs.hours_of(costs.unfinished) == pytest.approx(3 * 2.75 * plain.hours)
    rows, images = -(-93_431 // gpus), 2048 // gpus
    by_hand = 65_156_160 * 14 + 12 * 512 * rows + 8 * 512 * 2048 + 12 * 2048 * 4096 + 55_923_200 * images + 3.5e9
    assert plain.memory == by_hand
    assert plain.fits_on == 2
    assert plain.features == 512 * 4 * (4443 + 153_428 + 3728)


@pytest.mark.parametrize(("gpus", "devices", "images"), [(1, 1, 256), (2, 2, 256), (4, 2, 256), (8, 2, 256)])
def test_a_recipe_may_limit_the_devices(tmp_path: Path, gpus: int, devices: int, images: int) -> None:
    """AdaFace's takes 256 images at once, of a batch of 512; another training has all GPUs."""
    experiments = [*FULL["experiments"], {"method": "adaface", "dataset": "ms1mv3", "recipe": "adaface_official"}]
    costs = costs_of(tmp_path, {**FULL, "experiments": experiments}, gpus=gpus)
    plain, _, limited = costs.trainings
    assert limited.hours is not None and limited.wall_hours == limited.hours / devices
    assert (plain.devices, limited.devices) == (gpus, devices)
    rows = -(-93_431 // devices)
    by_hand = 65_156_160 * 14 + 12 * 512 * rows + 8 * 512 * 512 + 12 * images * devices * 4096 + 3.5e9
    assert limited.memory == by_hand + find_footprint("r100", 512, "fp16").activation_bytes * images
    assert headline(costs).startswith(f"to train: 6 runs on {devices}{f' or {gpus}' if gpus > devices else ''} × A100")


def test_more_devices_than_a_recipe_keeps_busy_do_not_help() -> None:
    recipe = {"batch_size": 512, "images_per_pass": 256, "embedding_size": 512, "precision": "fp16"}
    footprint = find_footprint("r100", 512, "fp16")
    needed = {gpus: device_memory(footprint, recipe, 93_431, gpus) for gpus in (1, 2, 4)}
    assert devices_needed(footprint, recipe, 93_431, needed[2]) == 2
    assert devices_needed(footprint, recipe, 93_431, needed[4]) is None
    assert devices_needed(footprint, {**recipe, "images_per_pass": None}, 93_431, needed[4]) == 4


def test_without_a_rate_multiply_adds_and_an_assumption_decide(tmp_path: Path) -> None:
    changes = {**FULL, "training": {"gpu_type": "v100"}}
    training = costs_of(tmp_path, changes, gpus=1).trainings[0]
    multiply_adds = 12_076_761_088 + 25_088 * 512
    seconds = 6 * multiply_adds / 23e12 + 6 * 512 * 93_431 / 12e12
    assert not training.measured
    assert training.images_per_s == pytest.approx(1 / seconds)


@pytest.mark.parametrize(
    ("arch", "batch", "reported"),
    [("r50", 1024, 10.1), ("r50", 2048, 16.4), ("r50", 10240, 66.7), ("r100", 1024, 13.1)],
)
def test_memory_is_near_what_others_report_of_eight_a100(arch: str, batch: int, reported: float) -> None:
    """Reported by insightface, benchmarks/train/nvidia_a100.md: 618k classes, fp16."""
    recipe = {"batch_size": batch, "embedding_size": 512, "precision": "fp16"}
    memory = device_memory(find_footprint(arch, 512, "fp16"), recipe, 618_000, 8, classes_at_once=618_000)
    assert memory == pytest.approx(reported * 1e9, rel=0.12)


@pytest.mark.parametrize(
    ("device", "precision", "reported"),
    [("a100", "fp16", 7780 / 8), ("v100", "fp16", 4921 / 8), ("v100", "fp32", 2607 / 8), ("rtx3090", "fp16", 4680 / 8)],
)
def test_the_assumed_speeds_are_near_what_others_report(
    tmp_path: Path, device: str, precision: str, reported: float
) -> None:
    """Reported by insightface, benchmarks/train: IResNet-50, 618k classes, of one of eight GPUs."""
    experiment = {"method": "arcface", "dataset": "webface12m", "arch": "r50", "overrides": {"precision": precision}}
    changes = {**FULL, "experiments": [experiment], "training": {"gpu_type": device}}
    training = costs_of(tmp_path, changes, gpus=1).trainings[0]
    assert training.images_per_s == pytest.approx(reported, rel=0.15)


def test_what_more_passes_of_a_batch_loss_cost(tmp_path: Path) -> None:
    methods = ("arcface_exact", "arcface_exact_aroface", "symmetric_halves", "symmetric_halves_aroface", "topofr")
    experiments = [{"method": method, "dataset": "ms1mv3"} for method in methods]
    trainings = costs_of(tmp_path, {**FULL, "experiments": experiments}, gpus=1).trainings
    plain, attacked, halves, both, topology = (1 / training.images_per_s for training in trainings)
    assert halves == pytest.approx(3 * plain)
    assert both == pytest.approx(attacked + 2 * plain)
    assert topology == pytest.approx(plain)


def test_what_an_adversary_costs() -> None:
    factors = {"random": 1.05, "all": 1.75, "subset": 1.15}
    gradient = {"kind": "gradient", "warped_ratio": 0.25}
    assert adversary_factor({"kind": "none"}, factors) == 1
    assert adversary_factor({"kind": "random", "warped_ratio": 0.25}, factors) == 1.05
    assert adversary_factor(gradient, factors) == 1.75
    assert adversary_factor({**gradient, "steps": 2}, factors) == 2.5
    assert adversary_factor({**gradient, "adversary_on": "subset"}, factors) == pytest.approx(1.15)
    assert adversary_factor({**gradient, "adversary_on": "subset", "warped_ratio": 0.5}, factors) == pytest.approx(1.3)


def test_a_finished_run_counts_with_what_it_took(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    first = next(iter(plan.runs))
    finish(plan, first, 7.0)
    costs = plan_costs(plan, root=ROOT)
    training = costs.trainings[0]
    assert (training.done, costs.hours_done) == ([first], 7.0)
    assert training.total_hours == pytest.approx(7 + (training.hours or 0))
    assert first not in costs.unfinished and len(costs.unfinished) == 3
    entry = as_json(costs, [])["experiments"][0]
    assert entry["basis"] == ["measured", "rate"]
    assert entry["runs"][first] == {"finished": True, "device_hours": 7.0}


def test_the_budget_counts_what_is_left(tmp_path: Path) -> None:
    plan = planned(tmp_path, {**FULL, "seeds": [0], "budget_gpu_hours": 80}, gpus=1)
    costs = plan_costs(plan, root=ROOT)
    plain, attacked = plan.runs
    with pytest.raises(
        InputError, match=r"^2 trainings need about 165 GPU-hours, budget_gpu_hours allows 80; raise it"
    ):
        costs.check_budget()
    costs.check_budget([plain])
    with pytest.raises(InputError, match=r"^1 training needs about 105 GPU-hours"):
        costs.check_budget([attacked])
    finish(plan, attacked, 500.0)
    plan_costs(plan, root=ROOT).check_budget()


def test_trainings_on_a_cpu_need_no_budget(tmp_path: Path) -> None:
    costs = costs_of(tmp_path, {"budget_gpu_hours": 0})
    assert costs.hours_of(costs.unfinished) > 0
    costs.check_budget()


def test_a_type_of_gpu_that_nobody_described_is_one_line(tmp_path: Path) -> None:
    for name in ("b100", "cpu"):
        with pytest.raises(InputError, match=rf"training.gpu_type: unknown type '{name}'; expected one of a100, h100"):
            costs_of(tmp_path, {"training": {"gpu_type": name}}, gpus=1)


def test_a_set_that_nobody_has_counted_costs_nobody_knows(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    for person in range(4):
        for image in range(3):
            (folder / str(person)).mkdir(parents=True, exist_ok=True)
            (folder / str(person) / f"{image}.jpg").write_text(f"{person} {image}")
    data = {"photographs": {"folder": str(folder), "pack": {"pairs": 20}}}
    experiments = [{"method": "arcface", "dataset": "photographs"}]
    benchmarks = [{"name": "pairs", "data": "photographs.pairs"}]
    changes = {"data": data, "experiments": experiments, "benchmarks": benchmarks}
    plan = planned(tmp_path, changes)
    costs = plan_costs(plan, root=ROOT)
    assert costs.trainings[0].hours is None
    assert "without 2 whose images are not counted yet" in headline(costs)
    assert notes(costs)[-2:] == [
        "not counted: 1 experiment whose training set is still to be made",
        "not counted: features of pairs, whose images nobody has counted yet",
    ]
    print_table(costs)
    source = next(iter(plan.runs.values())).source
    counts = {"identities": 3, "images": 90}
    write_json(source.manifest, {"counts": counts})
    assert plan_costs(plan, root=ROOT).trainings[0].images == 80


@pytest.mark.parametrize("degrade", ["probe", "both"])
def test_rows_of_a_sensitivity_sweep_are_those_that_are_embedded(tmp_path: Path, degrade: str) -> None:
    options = {"qualities": ["hq", 24], "scale": [0.1], "degrees": [5, 10], "shift": [], "joint": [1.0], "seed": 0}
    options |= {"degrade": degrade, "max_pairs": 12, "joint_maximum": {"scale": 0.1, "degrees": 10, "shift": 0.06}}
    write_pairs(tmp_path / "pairs.bin", Pairs([b"\xff\xd8\xff image"] * 40, np.arange(20) % 2 == 0))
    embedded = open_source(tmp_path / "pairs.bin", options, 112).rows
    assert feature_rows({"protocol": "sensitivity", "options": options}, {"pairs": 20}) == embedded


def test_the_registry_says_where_each_number_comes_from() -> None:
    throughput = yaml.safe_load((ROOT / THROUGHPUT).read_text())
    validate(throughput, "throughput")
    assert throughput["default_device"] in throughput["devices"]
    assert {rate["device"] for rate in throughput["rates"]} <= set(throughput["devices"])
    del throughput["devices"]["a100"]["source"]
    with pytest.raises(InputError, match="'source' is a required property"):
        validate(throughput, "throughput")


def test_the_verb_prints_a_table_or_json_and_refuses_above_the_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, {**FULL, "seeds": [0]}, gpus=4)
    monkeypatch.chdir(ROOT)
    words = ["plan", "--configfile", str(tmp_path / "test.yaml")]
    assert main(words) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    (row,) = (line for line in lines if line.startswith("arcface_aroface ms1mv3 r100 "))
    assert row.split("  ")[0] == "arcface_aroface ms1mv3 r100"
    for cell in ("0/1", "20 × 5.18 M", "104 M", "50,580", "26 h", "105 h", "rate"):
        assert cell in row
    assert all(plan.recipe_file(run).exists() for run in plan.runs)
    assert "learning rate: 0.2 at batch 2,048 = 0.1 · batch / 1024" in lines
    (total,) = (line for line in lines if line.startswith("to train: "))
    assert total.startswith(
        "to train: 2 runs on 4 × A100 80 GB each (assumed: training.gpu_type is not set): about 165"
    )
    assert err.count("missing: ") == 2
    assert main([*words, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["totals"]["unfinished"] == 2
    assert [each["steps"] for each in written["experiments"]] == [50_580, 50_580]
    assert len(written["missing"]) == 2
    (tmp_path / "less.yaml").write_text("budget_gpu_hours: 100")
    assert main([*words, str(tmp_path / "less.yaml")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "aroface: error: 2 trainings need about 165 GPU-hours, budget_gpu_hours allows 100; "
        "raise it or ask for less; no training was started"
    )


def test_a_learning_rate_that_does_not_scale_is_said(tmp_path: Path) -> None:
    assert notes(costs_of(tmp_path)) == ["learning rate: 0.1 at batch 16, where 0.1 · batch / 1024 = 0.0015625"]
