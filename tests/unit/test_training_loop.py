import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import BATCH, IMAGES, sign, write_data, write_recipe

from aroface.errors import InputError
from aroface.files import read_json, sha256_file
from aroface.training.loop import Conduct
from aroface.training.run import train

ADVERSARY = {"step_mean": 0.1, "warped_ratio": 0.25, "warmup_epochs": 0}
ADAFACE = {"name": "adaface", "s": 64, "m": 0.4, "h": 0.333, "alpha": 0.01, "gradient": "exact", "norm_stats": "local"}
STEPS = {"kind": "step", "milestones": [1], "factor": 0.1, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("toy"))


def run(tmp_path: Path, data: Path, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train; returns the checkpoint and the lines of the log."""
    recipe = write_recipe(tmp_path, **changes)
    conduct = Conduct(log_every=1, sheet_every=4, loader_threads=1)
    checkpoint = train(recipe, data, tmp_path / "run", tmp_path / "state", conduct)
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
        {"low_quality": {"crop": 0.5, "resolution": 0.5, "photometric": 0.5, "grey": "bgr"}},
    ],
    ids=["bf16 official", "adaface clean", "random", "plain", "low quality"],
)
def test_every_kind_of_recipe_trains(tmp_path, data, changes):
    checkpoint, log = run(tmp_path, data, **changes)
    assert checkpoint["progress"] == {"epochs": 1, "steps": IMAGES // BATCH, "images": IMAGES}
    assert checkpoint["weights"]["sha256"] == sha256_file(tmp_path / "run" / "model.safetensors")
    assert [line["step"] for line in log] == [*range(IMAGES // BATCH)]
    assert all(line["loss"] > 0 and line["grad_norm"] > 0 for line in log)
    warped = "adversary" in changes
    assert all(("displacement_max_px" in line) == warped for line in log)
    sheets = [path.name for path in sorted((tmp_path / "run").glob("sheets/*"))]
    assert sheets == (["step_00000000.png", "step_00000004.png"] if warped else [])
    if warped:
        assert sum(log[0]["corners"]) == BATCH // 4


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
        train(write_recipe(tmp_path), data, tmp_path / "run", tmp_path / "state", Conduct(device="cuda"))


def test_skipped_images_are_counted_logged_and_listed_across_a_resume(tmp_path, data):
    folder = Path(shutil.copytree(data, tmp_path / "damaged"))
    content = (folder / "train.rec").read_bytes()
    first = content.index(b"\xff\xd8\xff")
    (folder / "train.rec").write_bytes(content[:first] + b"GIF" + content[first + 3 :])
    sign(folder)
    recipe = write_recipe(tmp_path)
    places = (tmp_path / "run", tmp_path / "state")
    with pytest.raises(InputError, match="the record is no JPEG"):
        train(recipe, folder, *places, Conduct(save_every=1, log_every=1))
    conduct = Conduct(save_every=1, log_every=1, on_corrupt="skip", max_corrupt_fraction=0.05)
    listed = read_json(train(recipe, folder, *places, conduct))["skipped_images"]
    assert [(each["position"], each["label"]) for each in listed] == [(0, 0)]
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["skipped_images"] == 1
    for name in ("checkpoint.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    assert read_json(train(recipe, folder, *places, conduct))["skipped_images"] == listed  # by the saved state alone
