"""Deposits: packed from finished results, checked, and taken up by Snakemake in another clone."""

from __future__ import annotations

import json
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from aroface.cli.main import main
from aroface.files import sha256_file
from aroface.reporting.deposit import CHECKSUMS, CRATE, read_deposit
from repository import GOLDEN
from workflow_project import Project, copy_of

TINY = "workflow/configs/tiny.yaml"
RUN = "arcface-synthetic-r8s4-s0-9b42586d"


@pytest.fixture(scope="module")
def clone(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the finished results of ``tiny.yaml``; one run's weights are those that its checkpoint names."""
    folder = copy_of(template, tmp_path_factory.mktemp("depositor")).folder
    with tarfile.open(GOLDEN / "finished_tiny.tar.xz") as archive:
        archive.extractall(folder)
    run = folder / "results/tiny/runs" / RUN
    checkpoint = json.loads((run / "checkpoint.json").read_text())
    checkpoint["weights"]["sha256"] = sha256_file(run / "model.safetensors")
    (run / "checkpoint.json").write_text(json.dumps(checkpoint))
    return folder


@pytest.fixture(scope="module")
def deposit(clone: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone)
        assert main(["archive", "pack", "deposit.zip", "--configfile", TINY, "--weights", RUN]) == 0
    return clone / "deposit.zip"


def test_a_deposit_has_checksums_and_a_crate_and_no_image(deposit: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(deposit) as packed:
        packed.extractall(tmp_path)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS], cwd=tmp_path, check=True)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in names if name.endswith(".safetensors")} == {f"runs/{RUN}/model.safetensors"}
    assert not [name for name in names if name.endswith((".jpg", ".bin", ".rec", ".npy"))]
    assert len([name for name in names if name.startswith("records/")]) == 10
    assert not [name for name in names if name.startswith("data/") and "manifest" in name]
    entities = {each["@id"]: each for each in json.loads((tmp_path / CRATE).read_text())["@graph"]}
    files = {unquote(name) for name, each in entities.items() if "File" in each["@type"]}
    assert files == names - {CRATE}
    assert {unquote(part["@id"]) for part in entities["./"]["hasPart"]} == files
    for name, entity in entities.items():
        if "sha256" in entity:
            assert sha256_file(tmp_path / unquote(name)) == entity["sha256"], name
    assert all(each["@id"] in entities for each in _references([*entities.values()])), "nothing that is not there"


def _references(value: object) -> list[dict[str, str]]:
    if isinstance(value, dict):
        if {*value} == {"@id"}:
            return [value] if not value["@id"].startswith("https://w3id.org/ro/crate") else []
        return [found for each in value.values() for found in _references(each)]
    return [found for each in value for found in _references(each)] if isinstance(value, list) else []


def test_another_clone_goes_on_from_its_records(deposit: Path, project: Project) -> None:
    results = project.folder / "results/tiny"
    assert main(["archive", "unpack", str(deposit), "--out", str(results)]) == 0
    for reported in project.folder.glob("paper_tables/*.tex"):  # their specifications may have been copied later
        reported.touch()
    planned = project.plan(config=TINY).planned
    assert {name.split()[0] for name in planned} <= {"document", "report", "crate", "claims", "compare"}, planned
    assert main(["archive", "unpack", str(deposit), "--out", str(results)]) == 0, "what is there is left alone"


Change = Callable[[dict[str, bytes]], object]

CHANGES: dict[str, tuple[Change, str]] = {
    "another content": (
        lambda files: files.update({"tables/lfw.tex": b"x"}),
        "tables/lfw.tex has another checksum; get the deposit again",
    ),
    "a file more": (lambda files: files.update(extra=b""), "extra is not in its list of checksums"),
    "a file less": (lambda files: files.pop("tables/lfw.tex"), "tables/lfw.tex is missing"),
    "no list": (lambda files: files.pop(CHECKSUMS), f"no {CHECKSUMS} or {CRATE}; expected a deposit"),
    "no line": (lambda files: files.update({CHECKSUMS: b"abc"}), f"{CHECKSUMS}, line 1: no checksum and name"),
    "a place elsewhere": (lambda files: files.update({"../x": b""}), "../x"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_damaged_deposit_is_one_line_and_leaves_nothing(
    deposit: Path, tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, line = CHANGES[change]
    with zipfile.ZipFile(deposit) as packed:
        files = {name: packed.read(name) for name in packed.namelist() if "safetensors" not in name}
    files[CHECKSUMS] = b"".join(each for each in files[CHECKSUMS].splitlines(True) if b"safetensors" not in each)
    edit(files)
    with zipfile.ZipFile(tmp_path / "changed.zip", "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    assert main(["archive", "unpack", str(tmp_path / "changed.zip"), "--out", str(tmp_path / "out")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert [*(tmp_path / "out").iterdir()] == []


def test_other_results_are_left_alone(deposit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "lfw.tex").write_text("mine")
    assert main(["archive", "unpack", str(deposit), "--out", str(tmp_path)]) == 2
    line = f"aroface: error: {tmp_path}: other files stand in the place of tables/lfw.tex; name a new folder by --out"
    assert capsys.readouterr().err.startswith(line)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lfw.tex"]
    assert read_deposit(deposit, tmp_path / "new").records == 10


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["x.zip", "--weights", "nobody"], "--weights: no finished run 'nobody'; expected all, or some of "),
        (["x.zip", "--weights", "all"], "other weights than checkpoint.json names; copy them again, or leave them out"),
        (["x.tar"], "x.tar: another name than that of a zip file; expected FILE.zip"),
    ],
)
def test_what_cannot_be_packed_is_one_line(
    clone: Path, words: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clone)
    assert main(["archive", "pack", *words, "--configfile", TINY]) == 2
    assert line in capsys.readouterr().err
    assert not (clone / words[0]).exists()
