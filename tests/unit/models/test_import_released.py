"""Released checkpoints as run folders, and what is said of them."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.unit.models.test_checkpoint import ir_state
from torch import nn

from aroface.cli.main import main
from aroface.datasets.registry import read_checkpoints
from aroface.embedding.embedder import load_embedder
from aroface.errors import InputError
from aroface.files import read_json, sha256_file, write_json
from aroface.models.checkpoint import load_weights
from aroface.models.import_released import import_checkpoint
from aroface.models.info import architectures, describe
from aroface.models.registry import ARCHITECTURES, build
from aroface.models.run_folder import read_checkpoint
from external_models import write_onnx
from repository import REGISTRIES


class _Callback:
    """Stands for the class of a Lightning callback."""


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return build("r8s4", 16).state_dict()


def _faces():
    return np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)


def _expected(state, images):
    """Embeddings by the network that ``state`` belongs to, of (N, H, W, 3) images in the order it was trained on."""
    model = build("r8s4", 16).eval()
    model.load_state_dict(state)
    with torch.inference_mode():
        return model((torch.tensor(images).permute(0, 3, 1, 2).float() - 127.5) / 127.5).numpy()


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_an_imported_checkpoint_embeds_rgb_whatever_it_was_trained_on(tmp_path, state, color):
    torch.save(state, tmp_path / "model.pt")
    checkpoint = import_checkpoint(tmp_path / "model.pt", tmp_path / "run", color=color, dataset="ms1mv2")
    embedder, images = load_embedder(checkpoint.parent, "cpu"), _faces()
    assert embedder.color == "RGB"
    expected = _expected(state, images if color == "RGB" else np.ascontiguousarray(images[..., ::-1]))
    np.testing.assert_allclose(embedder.embed(images, flip=False), expected, atol=1e-5 * abs(expected).max())
    assert read_json(checkpoint)["released"]["color"] == color


@pytest.mark.parametrize("layout", ["plain", "ddp", "training", "safetensors"])
def test_the_run_folder_is_like_that_of_a_training(tmp_path, state, layout):
    wrapped = {f"module.{name}": value for name, value in state.items()}
    contents = {"plain": state, "ddp": wrapped, "training": {"epoch": 2, "state_dict_backbone": wrapped}}
    file = tmp_path / ("model.safetensors" if layout == "safetensors" else "model.pt")
    if layout == "safetensors":
        import_checkpoint(_saved(tmp_path / "first.pt", state), tmp_path / "first")
        (tmp_path / "first/model.safetensors").rename(file)
    else:
        torch.save(contents[layout], file)
    place = import_checkpoint(file, tmp_path / "run", name="a-run", method="arcface", dataset="ms1mv3", arch="r8s4")
    found = read_json(place)
    assert found["run"] == "a-run"
    assert found["experiment"] == {"method": "arcface", "dataset": "ms1mv3", "arch": "r8s4", "seed": 0}
    assert (found["source"], found["recipe"], found["recipe_hash"]) == ("released", None, None)
    assert found["data"] == {"name": "ms1mv3", "manifest_hash": None}
    assert found["input"] == {"size": 112, "color": "RGB", "mean": 127.5, "std": 127.5}
    assert found["embedding_size"] == 16
    assert found["weights"]["sha256"] == sha256_file(tmp_path / "run/model.safetensors")
    released = found["released"]
    assert released["sha256"] == sha256_file(file)
    assert (released["file"], released["layout"], released["color"]) == (file.name, "insightface", "RGB")
    model = build("r8s4", 16)
    load_weights(tmp_path / "run/model.safetensors", model, "r8s4")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def _saved(path, content):
    torch.save(content, path)
    return path


def test_the_papers_backbone_is_known_by_its_names(tmp_path):
    """R100 with one element behind each tensor: real names and shapes in a small file."""
    with torch.device("meta"):
        shapes = build("r100").state_dict()
    state = {name: torch.ones((), dtype=value.dtype).expand(value.shape) for name, value in shapes.items()}
    torch.save({"callbacks": {_Callback: {}}, "state_dict_backbone": state}, tmp_path / "checkpoint_gpu_0.pt")
    lines = describe(tmp_path / "checkpoint_gpu_0.pt")
    assert "architecture   r100 (IResNet-100, the paper's)" in lines
    assert "parameters     65,156,160" in lines
    assert "multiply-adds  12,089,606,144 an image" in lines


def test_half_precision_comes_back_as_float32(tmp_path, state):
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    import_checkpoint(_saved(tmp_path / "model.pt", halves), tmp_path / "run")
    model = build("r8s4", 16)
    load_weights(tmp_path / "run/model.safetensors", model, "r8s4")
    assert torch.equal(model.state_dict()["conv1.weight"], halves["conv1.weight"].float())


def test_another_architecture_than_the_expected_is_one_line(tmp_path, state):
    file = _saved(tmp_path / "model.pt", state)
    with pytest.raises(InputError, match=r"model\.pt: holds r8s4; expected r100"):
        import_checkpoint(file, tmp_path / "run", arch="r100")
    with pytest.raises(InputError, match="unknown architecture 'r101'; expected one of r18"):
        import_checkpoint(file, tmp_path / "run", arch="r101")
    assert not (tmp_path / "run").exists()


def test_a_trained_run_is_never_overwritten_and_an_imported_one_is(tmp_path, state):
    file = _saved(tmp_path / "model.pt", state)
    place = import_checkpoint(file, tmp_path / "run")
    before = place.read_bytes()
    assert import_checkpoint(file, tmp_path / "run").read_bytes() == before
    write_json(place, {**read_json(place), "source": "trained"})
    with pytest.raises(InputError, match="run: holds a trained run"):
        import_checkpoint(file, tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (lambda path: {"conv1.weight": _Bomb(path)}, "model.pt: "),
        (lambda path: {"conv1.weight": os.getcwd}, "cannot be read safely"),
        (lambda path: {"state_dict": {"model.conv1.weight": _Bomb(path)}}, "model.pt: "),
    ],
)
def test_nothing_in_a_file_is_executed_and_nothing_is_written(tmp_path, capsys, content, line):
    torch.save(content(tmp_path / "touched"), tmp_path / "model.pt")
    assert main(["model", "import", str(tmp_path / "model.pt"), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt"]


def test_a_bare_pickle_is_refused(tmp_path, capsys):
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"conv1.weight": _Bomb(tmp_path / "touched")}))
    assert main(["model", "info", str(tmp_path / "model.pt")]) == 2
    assert "cannot be read safely" in capsys.readouterr().err
    assert not (tmp_path / "touched").exists()


def test_a_run_is_described_with_its_origin(tmp_path, state, capsys):
    torch.save(state, tmp_path / "model.pt")
    words = ["--out", str(tmp_path / "run"), "--color", "BGR", "--method", "adaface", "--dataset", "ms1mv2"]
    assert main(["model", "import", str(tmp_path / "model.pt"), *words]) == 0
    text = capsys.readouterr().out
    for part in (
        "run            run",
        "architecture   r8s4",
        "embedding      16 features",
        "input          112×112, RGB, (pixel − 127.5) / 127.5",
        "trained        adaface on ms1mv2, by others",
        f"sha256 {sha256_file(tmp_path / 'model.pt')}",
        "trained on BGR, so the input channels were reversed here",
    ):
        assert part in text
    assert main(["model", "info", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == text
    (tmp_path / "run/model.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"model\.safetensors: sha256 .*the file was changed or cut short"):
        describe(tmp_path / "run")


def test_a_trained_run_is_described_with_its_recipe(tmp_path, state):
    place = import_checkpoint(_saved(tmp_path / "model.pt", state), tmp_path / "run")
    written = {**read_json(place), "source": "trained", "recipe_hash": "a" * 64, "progress": {"steps": 1234}}
    write_json(place, written)
    lines = describe(tmp_path / "run")
    assert "trained        released on unknown, seed 0, 1,234 steps" in lines
    assert lines[-1].endswith("recipe " + "a" * 64)


def test_every_architecture_and_every_released_checkpoint_is_listed(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/topofr_ms1mv2_r100.pt").touch()
    assert main(["model", "list", "--data-dir", str(tmp_path)]) == 0
    whole = capsys.readouterr().out.splitlines()
    lines = architectures()
    assert whole[: len(lines) + 1] == [*lines, ""]
    released = {line.split()[0]: line for line in whole[len(lines) + 1 :]}
    assert [*released][1:] == [*read_checkpoints(REGISTRIES / "checkpoints.yaml")]
    assert released["topofr_ms1mv2_r100"].endswith("  there")
    assert released["arcface_aroface_ms1mv2_r100"].split()[4] == "zoo_arcface_ms1mv2_r100"
    assert "checkpoints/arcface_aroface_ms1mv2_r100.pt is missing in" in released["arcface_aroface_ms1mv2_r100"]
    assert released["magface_ms1mv2_r100"].count("aroface data fetch magface_ms1mv2_r100. Its batch norms") == 1
    assert "aroface data fetch elasticface_arc_ms1mv2_r100. Of the folder" in released["elasticface_arc_ms1mv2_r100"]
    assert "CosFace with a margin of .4" in released["zoo_combined_webface4m_r100"]
    assert [line.split()[0] for line in lines[1:]] == list(ARCHITECTURES)
    assert "65,156,160" in next(line for line in lines if line.startswith("r100"))


def test_the_checkpoint_is_plain_json(tmp_path, state):
    place = import_checkpoint(_saved(tmp_path / "model.pt", state), tmp_path / "run")
    assert json.loads(place.read_text())["environment"]["versions"]["torch"]


def test_an_onnx_file_is_described(tmp_path, capsys):
    path = write_onnx(tmp_path / "model.ONNX", external=True, metadata={"aroface.arch": '"r50"'})
    assert main(["model", "info", str(path)]) == 0
    text = capsys.readouterr().out
    for part in (
        "architecture   ONNX program of 5 nodes, opset ai.onnx 17",
        "input          images: N×3×112×112, float",
        "output         embeddings: a shape that is not declared, float",
        'metadata       aroface.arch "r50"',
        f"weights        {tmp_path / 'model.data'}, ",
        f"sha256 {sha256_file(path)}",
    ):
        assert part in text
    path.write_bytes(b"no model")
    assert main(["model", "info", str(path)]) == 2
    assert "no ONNX model" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "a\rb", "\u202ereversed", "[" * 100_000, "\x7f", "\x85"])
def test_whatever_an_onnx_file_says_is_printable(tmp_path, capsys, text):
    model = onnx.load(write_onnx(tmp_path / "model.onnx", metadata={"aroface.source": text}))
    model.producer_name = model.producer_version = text
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = text
    onnx.save(model, tmp_path / "model.onnx")
    assert main(["model", "info", str(tmp_path / "model.onnx")]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 10 and all(line.isprintable() and len(line) < 400 for line in lines)


def test_an_ir_network_that_does_not_tell_its_colours_is_described_but_not_imported(tmp_path, capsys):
    torch.save({f"net.{name}": value for name, value in ir_state().items()}, tmp_path / "model.pt")
    assert main(["model", "info", str(tmp_path / "model.pt")]) == 0
    assert "112×112, RGB, if it is so: the file does not tell, --color does" in capsys.readouterr().out
    assert main(["model", "import", str(tmp_path / "model.pt"), "--out", str(tmp_path / "run")]) == 2
    assert "does not tell the order of its colour channels; expected --color BGR" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_magfaces_wrapping_asks_for_what_its_networks_take(tmp_path, state, capsys):
    wrapped = {f"features.module.{name}": value for name, value in state.items()} | {"fc.weight": torch.zeros(9, 16)}
    torch.save({"arch": "iresnet", "state_dict": wrapped}, tmp_path / "magface.pth")
    words = ["model", "import", str(tmp_path / "magface.pth"), "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "expected --color BGR --mean 0 --std 255" in capsys.readouterr().err
    assert main([*words, "--color", "BGR", "--mean", "0", "--std", "255"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "classifier     9 classes in classifier.safetensors, of magface.pth: state_dict.fc.weight" in printed.out
    form = read_json(tmp_path / "run/checkpoint.json")["input"]
    assert form == {"size": 112, "color": "RGB", "mean": 0.0, "std": 255.0}
    assert main([*words, "--color", "BGR"]) == 0
    assert read_json(tmp_path / "run/checkpoint.json")["input"] == form, "the layout says how pixels are normalised"
    images = _faces()
    model = build("r8s4", 16).eval()
    model.load_state_dict(state)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.eps = 2e-5  # as in MagFace's networks
    with torch.inference_mode():
        expected = model(torch.tensor(images[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255).numpy()
    found = load_embedder(tmp_path / "run", "cpu").embed(images, flip=False)
    np.testing.assert_allclose(found, expected, atol=1e-5 * abs(expected).max())


ODD_NAMES = {
    "name": {"a/b": "no /", "..": "no /", ".": "no /", "x" * 300: "at most 255 bytes", "é" * 128: "at most 255 bytes"},
    "method": {"": "is no name"},
    "dataset": {"": "is no name"},
}
for names in ODD_NAMES.values():
    names.update({" ": "is no name", "a\nb": "a control character", "\x1b[2J": "a control character"})
GOOD_NAMES = ["-x", "a b", "it's", "$HOME", "{x}", "e\u0301", "x" * 255]


@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in ODD_NAMES.items() for name in names])
def test_names_that_no_record_takes_are_refused_before_the_model_is_opened(tmp_path, capsys, suffix, key, name):
    words = ["model", "import", str(tmp_path / f"missing{suffix}"), "--out", str(tmp_path / "run"), f"--{key}={name}"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"aroface: error: {'run' if key == 'name' else key}: ")
    assert ODD_NAMES[key][name] in line
    assert len(line) < 200


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_name_that_is_taken_holds_for_the_record(tmp_path, state, name):
    place = import_checkpoint(_saved(tmp_path / "a.pt", state), tmp_path / "run", name=name, method=name, dataset=name)
    checkpoint = read_checkpoint(place.parent)
    assert (checkpoint["run"], checkpoint["experiment"]["method"]) == (name, name)


@pytest.mark.parametrize("name", [7, None, "", "a/b", "a\tb", [1], "x" * 300])
def test_a_checkpoint_of_such_a_name_is_refused_before_anything_is_embedded(tmp_path, state, name):
    place = import_checkpoint(_saved(tmp_path / "a.pt", state), tmp_path / "run")
    write_json(place, {**read_json(place), "run": name})
    with pytest.raises(InputError, match=r"checkpoint\.json: run: "):
        read_checkpoint(place.parent)
