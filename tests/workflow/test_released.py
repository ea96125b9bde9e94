"""Released weights: imported instead of trained, then like any other run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
import yaml
from tests.workflow.test_chain import run

from aroface.files import sha256_file
from aroface.models.registry import build
from aroface.reporting.records import load_records
from workflow_project import Project

ONNX, ONNX_FILE = "insightface_arcface_ms1mv3_r100", "checkpoints/insightface_arcface_ms1mv3_r100.onnx"
KEYS = ["arcface_aroface_ms1mv3_r100", "adaface_ms1mv2_r100"]
FILES = ["checkpoints/arcface_aroface_ms1mv3_r100.pt", "checkpoints/adaface_ms1mv2_r100.ckpt"]


def release(project: Project) -> list[Path]:
    """Let a project take two checkpoints, which lie in its data folder."""
    project.config["experiments"] = [{"source": "released", "checkpoint": key} for key in KEYS]
    project.write()
    files = [project.folder / "received" / name for name in FILES]
    files[0].parent.mkdir(parents=True)
    for file in files:
        file.write_text(file.name)
    return files


def test_weights_that_are_there_are_imported_and_nothing_is_trained(project: Project) -> None:
    files = release(project)
    outcome = project.run()
    assert outcome.status == 0, outcome.text
    calls = [call.split() for call in project.calls()]
    assert "train" not in {call[0] for call in calls}
    imports = [" ".join(call) for call in sorted(calls) if call[:2] == ["model", "import"]]
    assert len(imports) == 2
    assert "--color BGR --arch r100 --name adaface-ms1mv2-r100-released-" in imports[0]
    assert "--method adaface --dataset ms1mv2 --out results/runs/adaface-ms1mv2-r100-released-" in imports[0]
    assert "--color RGB --arch r100 --name arcface_aroface-ms1mv3-r100-released-" in imports[1]
    assert sum(call[0] == "evaluate" for call in calls) == 2
    assert project.plan().planned == []
    files[0].unlink()
    assert project.plan().planned == [], "the weights are kept"
    files[1].write_text("released anew")
    again = [job.partition("-")[0] for job in project.plan("--quiet", "host").planned if "-released-" in job]
    assert sorted(again) == ["embed adaface", "evaluate adaface", "import_released adaface"]


def test_missing_weights_stop_the_workflow_before_any_job(project: Project) -> None:
    files = release(project)
    files[1].unlink()
    outcome = project.run()
    assert outcome.status == 2
    line = "missing: AdaFace, R100, MS1MV2: not in received: checkpoints/adaface_ms1mv2_r100.ckpt; aroface data fetch "
    assert outcome.text.count("missing: ") == 1
    assert line in outcome.text
    assert "https://github.com/mk-minchul/AdaFace" in outcome.text
    assert outcome.text.splitlines()[-1].endswith("would be needed; nothing was started")
    assert project.calls() == []
    assert project.run("fetch").status == 0
    assert project.calls() == ["data fetch adaface_ms1mv2_r100 --data-dir received"]


def test_from_a_file_of_weights_to_a_table_without_training(template: Path, tmp_path: Path) -> None:
    """The same network in three files, for RGB, for BGR and as a program: three rows of equal numbers."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    known = tmp_path / "workflow/registries/checkpoints.yaml"
    entries = yaml.safe_load(known.read_text())
    keys = [*KEYS, ONNX]
    for key in keys:
        entries[key] |= {"arch": "r8s4"}
        entries[key].pop("partner", None)
    known.write_text(yaml.safe_dump({key: entries[key] for key in keys}))
    torch.manual_seed(0)
    network = build("r8s4", 32).eval()
    state = network.state_dict()
    (tmp_path / "data/checkpoints").mkdir(parents=True)
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "data" / FILES[0])
    torch.save({**state, "conv1.weight": state["conv1.weight"].flip(1)}, tmp_path / "data" / FILES[1])
    images = torch.zeros(2, 3, 112, 112)
    torch.onnx.export(
        network,
        (images,),
        str(tmp_path / "data" / ONNX_FILE),
        dynamo=False,
        dynamic_axes={"images": {0: "N"}},
        input_names=["images"],
    )
    config = {
        "paths": {"results": "results/released"},
        "experiments": [{"source": "released", "checkpoint": key} for key in keys],
        "data": {"clean": {"seed": 2, "generate": {"pairs": {"identities": 10, "pairs": 80}}}},
        "benchmarks": [{"name": "pairs_clean", "data": "clean"}],
        "tables": ["paper_tables/specs/demo/lfw.yaml"],
        "table_mode": "reproduced",
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "table_lfw", "--cores", "2", "--configfile", "test.yaml"]
    outcome = run(tmp_path, *command)
    assert outcome.status == 0, outcome.text
    results = tmp_path / "results/released"
    assert not (results / "logs/train").exists()
    assert not (results / "state").exists()
    records = load_records(results / "records")
    assert [record.provenance["source"] for record in records] == ["released"] * 3
    assert records[0].metrics["accuracy"] == records[1].metrics["accuracy"] == records[2].metrics["accuracy"]
    (run_of_program,) = (results / "runs").glob("arcface-ms1mv3-r8s4-released-*")
    assert (run_of_program / "model.onnx").is_file() and (run_of_program / "model.safetensors").is_file()
    table = (results / "tables/lfw.tex").read_text()
    assert all(name in table for name in ("ArcFace+ARoFace", "ArcFace (insightface)", "MS1MV3", "AdaFace", "MS1MV2"))
    command = ["explain", "lfw/AdaFace@MS1MV2/clean_accuracy", "--configfile", "test.yaml"]
    outcome = run(tmp_path, sys.executable, "-m", "aroface", *command)
    assert outcome.status == 0, outcome.text
    assert f"sha256 {sha256_file(tmp_path / 'data' / FILES[1])}, trained on BGR, imported for RGB" in outcome.text
    print(outcome.text)
