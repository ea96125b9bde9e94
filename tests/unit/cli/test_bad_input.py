"""Bad input through the command line: one line on standard error, exit status 2, nothing done before is lost."""

import json
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.arguments import workflow_command
from aroface.cli.main import main
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.datasets.formats.training_set import write_training_set
from aroface.files import read_json, write_json
from embedding_runs import make_run
from repository import ROOT
from training_runs import jpeg, sign, write_data, write_recipe


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def failing(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail as bad input does; returns its one line."""

    def run(*words: str | Path) -> str:
        assert main([str(word) for word in words]) == 2
        *progress, error = capsys.readouterr().err.splitlines()
        assert error.startswith("aroface: error: ")
        assert not any("Traceback" in line or "error" in line for line in progress)
        return error

    return run


def train(tmp_path: Path, data: Path) -> list[str | Path]:
    """Words of a training on ``data`` whatever it holds by now: the manifest is made for it."""
    sign(data)
    words = ["train", "--recipe", write_recipe(tmp_path), "--data", data, "--device", "cpu"]
    return [*words, "--run-dir", tmp_path / "run", "--state-dir", tmp_path / "state"]


def test_a_truncated_rec(tmp_path, data, failing):
    rec = data / "train.rec"
    rec.write_bytes(rec.read_bytes()[:-4000])
    line = failing(*train(tmp_path, data))
    assert "train.rec" in line


def test_an_index_that_points_past_the_records(tmp_path, data, failing):
    index = data / "train.idx"
    lines = index.read_text().splitlines()
    lines[3] = f"{lines[3].split()[0]}\t99999999"
    index.write_text("\n".join(lines) + "\n")
    assert "train.idx" in failing(*train(tmp_path, data))


def test_a_record_that_is_no_jpeg(tmp_path, data, failing):
    shutil.rmtree(data)
    data.mkdir()
    write_training_set(data, [(i // 4, b"GIF89a" if i == 5 else jpeg(i)) for i in range(16)], 4)
    line = failing(*train(tmp_path, data))
    assert "train.rec" in line
    assert "JPEG" in line


def test_a_label_that_is_no_class(tmp_path, data, failing):
    (data / "property").write_text("7,112,112\n")
    line = failing(*train(tmp_path, data))
    assert "label" in line
    assert "below 7" in line


def test_a_disk_that_fills_while_training(tmp_path, data, failing):
    words = train(tmp_path, data)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (100_000, before[1])
    )  # the kernel refuses to write past that: no state fits
    try:
        line = failing(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "-of-001.pt: no room" in line
    assert main([str(word) for word in words]) == 0


def test_a_recipe_edited_after_it_was_named(tmp_path, data, failing):
    words = train(tmp_path, data)
    path = Path(words[2])
    path.write_text(path.read_text().replace('"epochs": 1', '"epochs": 2'))
    assert "hash" in failing(*words)


def test_a_pair_file_that_would_execute_something(tmp_path, failing):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(([Bomb()], [True])))
    line = failing("data", "info", path)
    assert "evil.bin" in line
    assert "pathlib" in line
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("images", [0, 1])
def test_a_person_with_no_or_one_image(tmp_path, failing, images):
    for person, count in (("anna", 3), ("bert", 3), ("carl", images)):
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "faces" / person / f"{number}.jpg").write_bytes(jpeg(number))
    assert "carl" in failing("data", "pack", tmp_path / "faces", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs.bin", Pairs([jpeg(i) for i in range(40)], np.arange(20) % 2 == 0))
    options = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "as_stored"}
    path = tmp_path / "pairs.json"
    write_json(path, {"name": "toy", "protocol": "pairs", "path": str(tmp_path / "pairs.bin"), "options": options})
    return path


def test_a_checkpoint_of_another_architecture(tmp_path, benchmark, failing):
    run = make_run(tmp_path / "run", 0)
    checkpoint = read_json(run / "checkpoint.json")
    checkpoint["experiment"]["arch"] = "r18"
    write_json(run / "checkpoint.json", checkpoint)
    line = failing("embed", "--run-dir", run, "--benchmark", benchmark, "--out", tmp_path / "features")
    assert "model.safetensors" in line
    assert "r18" in line


def test_weights_other_than_the_checkpoints(tmp_path, benchmark, failing):
    run = make_run(tmp_path / "run", 0)
    make_run(tmp_path / "other", 1)
    shutil.copy(tmp_path / "other" / "model.safetensors", run)
    assert "sha256" in failing("embed", "--run-dir", run, "--benchmark", benchmark, "--out", tmp_path / "features")


def test_a_good_benchmark_gives_a_record(tmp_path, benchmark, capsys):
    run = make_run(tmp_path / "run", 0)
    words = ["--run-dir", run, "--benchmark", benchmark, "--out", tmp_path / "features"]
    assert main(["embed", *map(str, words)]) == 0
    assert main(["evaluate", "--features", str(tmp_path / "features"), "--out", str(tmp_path / "record.json")]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert json.loads((tmp_path / "record.json").read_text())["counts"]["pairs"] == 20


def test_a_set_that_has_to_be_requested(tmp_path, failing):
    line = failing("data", "fetch", "webface4m", "--data-dir", tmp_path)
    assert "request it from WebFace260M" in line
    assert failing("data", "verify", "webface4m", "--data-dir", tmp_path) == line
    assert "no set 'webface'" in failing("data", "fetch", "webface", "--data-dir", tmp_path)


def test_a_set_with_damaged_images_is_verified_and_refused(tmp_path, data, failing, capsys):
    damaged = (data / "train.rec").read_bytes().replace(b"\xff\xd8\xff", b"GIF", 1)
    (data / "train.rec").write_bytes(damaged)
    (data / "manifest.json").unlink(missing_ok=True)
    words = ["data", "verify", data, "--manifest", tmp_path / "verified.json"]
    assert main([*map(str, words), "--max-corrupt-fraction", "1"]) == 0
    assert "images       ok: 1 of " in capsys.readouterr().out
    assert "cannot be used: " in failing(*words)
    assert len(read_json(tmp_path / "verified.json")["corrupt"]) == 1


def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(tmp_path, failing):
    table = ROOT / "paper_tables/specs/tinyface.yaml"
    assert "a folder; expected a YAML file" in failing("table", table.parent)
    assert "a folder; expected a JSON file" in failing("table", table, "--runs-file", tmp_path)
    assert "a file; expected a folder of records" in failing("table", table, "--records", table)
    assert f"{tmp_path}: Is a directory" in failing("table", table, "--out", tmp_path)
    assert "tinyface.yaml" in failing("table", table, "--out", table / "out.tex")
    assert "a file; expected a folder of records" in failing("compare", "--specs", table.parent, "--records", table)


@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        *((option, "x" * 300, "File name too long") for option in ("--out", "--records", "--runs-file")),
        ("--runs-file", "loop", "symbolic links"),
        ("--out", "loop", "File exists"),
    ],
)
def test_places_that_no_disk_has(option, place, message, tmp_path, failing):
    (tmp_path / "loop").symlink_to("loop")
    table = ROOT / "paper_tables/specs/tinyface.yaml"
    line = failing("table", table, option, tmp_path / place / "file")
    assert message in line and str(tmp_path / place) in line


@pytest.mark.parametrize(("text", "message"), [("{bad", "not JSON"), ("[1]", "[1] is not a JSON object")])
def test_changes_that_are_none(text, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["report", "--out", str(tmp_path / "report.html"), "--changes", text])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_figure_takes_only_its_own_options_and_a_stem(tmp_path, failing):
    out = tmp_path / "figure"
    runs = tmp_path / "runs"
    assert "--metric: not of the figure training" in failing("figure", "training", "--metric", "auc", "--out", out)
    assert "--faces: not of the figure tar_far" in failing("figure", "tar_far", "--faces", "x.json", "--out", out)
    line = failing("figure", "training", "--out", f"{out}.pdf", "--runs-dir", runs)
    assert f"figure.pdf: a figure is three files; expected what they share, {out}" in line
    assert "runs: no such folder" in failing("figure", "displacements", "--out", out, "--runs-dir", runs)


def test_a_command_to_repeat_can_be_pasted():
    command = workflow_command([Path("my faces/config.yaml"), Path("more.yaml")])
    assert command == "snakemake --cores all --configfile 'my faces/config.yaml' more.yaml"


def test_every_verb_teaches_by_an_example(capsys):
    verbs = ("plan", "train", "embed", "evaluate", "table", "figure", "document", "explain")
    verbs += ("compare", "claims", "report", "crate", "robustness", "compare-runs")
    for words in (
        *((verb,) for verb in verbs),
        *(("data", verb) for verb in ("generate", "pack", "list", "fetch", "verify", "prepare", "info")),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*words, "--help"])
        assert stop.value.code == 0
        assert f"aroface {' '.join(words)}" in capsys.readouterr().out.split("example:")[1]


@pytest.mark.parametrize(
    "words",
    [
        ("data", "list"),
        ("data", "prepare", "faces", "--out", "set"),
        ("evaluate", "--model", "my.onnx", "--benchmark", "lfw.bin"),
        ("robustness", "--model", "my.onnx", "--pairs", "lfw.bin"),
        ("train", "--recipe", "recipe.json", "--dry-run"),
        ("table", "table.yaml"),
        ("claims",),
    ],
)
def test_ctrl_c_is_one_line_at_any_moment(capsys, monkeypatch, words):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("aroface.cli.main.check_versions", interrupt)
    assert main(words) == 130
    assert capsys.readouterr().err == "aroface: interrupted\n"
    with pytest.raises(KeyboardInterrupt):
        main(["--debug", *words])


def test_an_error_does_not_wait_for_torch(tmp_path):
    code = (
        "import sys; from aroface.cli.main import main; status = main(['table', 'absent.yaml']);"
        "sys.exit(status if 'torch' not in sys.modules else 9)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (2, "aroface: error: absent.yaml: no such file\n")
