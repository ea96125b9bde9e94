"""Folders for model hubs: the network in plain PyTorch is the run's, the card tells its records, and its code runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from aroface.cli.main import main
from aroface.embedding.external_model import open_model
from aroface.files import read_json, sha256_file, write_json
from aroface.models.hub_folder import hub_config
from aroface.models.import_released import import_checkpoint
from aroface.models.plain_networks import PlainNetwork
from aroface.models.registry import ARCHITECTURES, build
from aroface.models.run_folder import load_backbone
from made_up_records import write_record


def _finished(folder: Path, arch: str, **form: float) -> Path:
    """A run whose batch norms do not stand at their initial values."""
    torch.manual_seed(0)
    model = build(arch, 16)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    torch.save(model.state_dict(), folder / f"{arch}.pt")
    out = folder / "runs" / "mine"
    return import_checkpoint(folder / f"{arch}.pt", out, dataset="ms1mv2", **form).parent


@pytest.mark.parametrize("arch", ["r8s4", "r18", "mbf"])
def test_plain_networks_compute_the_same(tmp_path: Path, arch: str) -> None:
    run = _finished(tmp_path, arch, mean=0.0, std=255.0)
    backbone, checkpoint = load_backbone(run)
    network = PlainNetwork(hub_config(checkpoint))
    network.backbone.load_state_dict(backbone.state_dict())
    crops = torch.randint(256, (2, 112, 112, 3), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = network.eval()(network.normalise(crops.numpy()))
        expected = backbone(crops.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_plain_networks_take_the_state_of_every_architecture(arch: str) -> None:
    shape = {"size": 112, "color": "RGB", "mean": 127.5, "std": 127.5}
    described = {"run": "x", "experiment": {"arch": arch}, "embedding_size": 512, "input": shape}
    with torch.device("meta"):
        plain, own = PlainNetwork(hub_config(described)).backbone.state_dict(), build(arch).state_dict()
    assert {name: value.shape for name, value in plain.items()} == {name: value.shape for name, value in own.items()}


@pytest.fixture
def exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    run = _finished(tmp_path, "r8s4")
    records = tmp_path / "records"
    write_record(records, "released", {"rank1": 0.5, "rank5": 0.75}, run="mine", benchmark="tinyface", released=True)
    write_record(records, "released", {"accuracy": 0.25}, run="mine", benchmark="lfw", protocol="pairs", released=True)
    _name_weights(records / "mine" / "tinyface.json", sha256_file(run / "model.safetensors"))
    words = ["model", "export", str(run), "--to", "hub", "--out", str(tmp_path / "hub"), "--records", str(records)]
    assert main(words) == 0
    return tmp_path / "hub"


def _name_weights(record: Path, sha256: str) -> None:
    content = read_json(record)
    content["provenance"]["weights_sha256"] = sha256
    content["intervals"] = {"rank1": [0.25, 0.625]}
    write_json(record, content)


def test_card_tells_records_terms_and_citation(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = (exported / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    matter = yaml.safe_load(front)
    (measured,) = matter["model-index"][0]["results"]
    assert measured["dataset"] == {"name": "TinyFace", "type": "tinyface"}
    assert [(each["type"], each["value"]) for each in measured["metrics"]] == [("rank1", 0.5), ("rank5", 0.75)]
    assert matter["license"] == "other"
    assert "| TinyFace | rank1 | 50.00 | 25.00 to 62.50 |" in text
    assert "non-commercial research only" in text
    assert "saadabadi2024aroface" in text
    assert "lfw" not in front.lower(), "a record of other weights"
    assert "left out, since of other weights: lfw" in capsys.readouterr().err


def test_the_folder_is_the_run(exported: Path) -> None:
    run = exported.parent / "runs" / "mine"
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md",
        "checkpoint.json",
        "config.json",
        "model.safetensors",
        "network.py",
    ]
    assert sha256_file(exported / "model.safetensors") == sha256_file(run / "model.safetensors")
    assert json.loads((exported / "checkpoint.json").read_text()) == json.loads((run / "checkpoint.json").read_text())
    assert open_model(exported, name="again", device="cpu").embedder is not None


def test_the_cards_code_runs_without_this_package(exported: Path) -> None:
    code = re.search(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    assert code is not None
    told = code[1] + "import sys\nassert 'aroface' not in sys.modules\nprint(features[0].tolist())\n"
    # -P and -E: neither this project's path nor its environment.
    done = subprocess.run([sys.executable, "-E", "-c", told], cwd=exported, capture_output=True, text=True, check=True)
    backbone, _ = load_backbone(exported)
    with torch.inference_mode():
        expected = backbone(torch.full((1, 3, 112, 112), -1.0))[0]
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--to", "hub", "--normalised"], "--to hub: --normalised is for programs; leave it out"),
        (["--format", "pt", "--licence", "mit"], "--licence is for --to hub; leave it out"),
        (["--to", "hub", "--records", "nowhere"], "nowhere: --records: no such folder; expected as results/records"),
    ],
)
def test_options_of_the_other_kind_are_one_line(
    tmp_path: Path, words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "export", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 2
    assert capsys.readouterr().err == f"aroface: error: {line}\n"


def test_another_folder_is_left_alone_and_an_own_one_replaced(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = exported.parent / "runs" / "mine"
    (exported / "README.md").write_text("edited")
    again = ["model", "export", str(run), "--to", "hub", "--out"]
    assert main([*again, str(exported)]) == 0
    assert (exported / "README.md").read_text() != "edited"
    for taken in (run, exported.parent):
        assert main([*again, str(taken)]) == 2
        assert capsys.readouterr().err.endswith(f"{taken}: --out: a folder of something else; name a new one\n")
    assert (run / "checkpoint.json").exists()


def test_weights_and_config_alone_are_imported_with_their_normalisation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _finished(tmp_path, "r8s4", mean=0.0, std=255.0)
    assert main(["model", "export", str(run), "--to", "hub", "--out", str(tmp_path / "hub")]) == 0
    (tmp_path / "hub/checkpoint.json").unlink()
    assert main(["model", "import", str(tmp_path / "hub"), "--out", str(tmp_path / "again")]) == 0
    told = capsys.readouterr().out
    assert "exported by aroface, with its config" in told
    assert read_json(tmp_path / "again/checkpoint.json")["input"] == read_json(run / "checkpoint.json")["input"]
    config = read_json(tmp_path / "hub/config.json")
    write_json(tmp_path / "hub/config.json", {**config, "std": 0})
    assert main(["model", "import", str(tmp_path / "hub"), "--out", str(tmp_path / "again")]) == 2
    assert capsys.readouterr().err.endswith("config.json: std: 0; expected a number of pixels\n")
