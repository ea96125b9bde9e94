"""Exported backbones against the network they were made from."""

import io
import json
import os

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from aroface.cli.main import main
from aroface.embedding.onnx_network import Declared, open_program
from aroface.errors import InputError
from aroface.models import export
from aroface.models.checkpoint import load_released
from aroface.models.export import export_model
from aroface.models.import_released import import_checkpoint
from aroface.models.registry import build
from aroface.models.run_folder import load_backbone

CLOSE = {"atol": 1e-4, "rtol": 0}


def _run(folder, arch, gain=None):
    """A run whose batch norms do not stand at their initial values."""
    torch.manual_seed(0)
    model = build(arch, 16)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    if gain:
        model.conv1.weight.data.fill_(gain)
    torch.save(model.state_dict(), folder / f"{arch}.pt")
    return import_checkpoint(folder / f"{arch}.pt", folder / "run").parent


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return _run(tmp_path_factory.mktemp("small"), "r8s4")


def _images(count):
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(count)) * 2 - 1


def _embed(run_dir, images):
    with torch.inference_mode():
        return load_backbone(run_dir)[0](images)


@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_weights_go_out_and_come_back_under_insightfaces_names(tmp_path, run_dir, form):
    out = export_model(run_dir, tmp_path / f"model.{form}", form)
    expected = load_backbone(run_dir)[0].state_dict()
    if form == "pt":
        loaded = torch.load(out, weights_only=True)
        assert list(loaded) == list(expected)
    found = load_released(out)
    assert found.arch == "r8s4"
    assert all(torch.equal(value, found.state[name]) for name, value in expected.items())
    assert out.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("arch", ["r8s4", "mbf"])
def test_onnx_computes_the_same_for_any_number_of_images(tmp_path, arch):
    run_dir = _run(tmp_path, arch)
    out = export_model(run_dir, tmp_path / "model.onnx", "onnx")
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape) == ("images", ["batch", 3, 112, 112])
    assert (given.name, given.shape) == ("embeddings", ["batch", 16])
    for count in (1, 2, 5):
        expected = _embed(run_dir, _images(count)).numpy()
        (found,) = session.run(None, {"images": _images(count).numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())
    described = session.get_modelmeta().custom_metadata_map
    assert json.loads(described["aroface.arch"]) == arch
    assert json.loads(described["aroface.input"])["color"] == "RGB"
    assert [path.name for path in tmp_path.glob("*.onnx*")] == ["model.onnx"], "the weights are inside"


def test_a_program_computes_the_same_for_any_number_of_images(tmp_path, run_dir):
    out = export_model(run_dir, tmp_path / "model.pt2", "torch-export", normalised=True)
    described = {"aroface.json": ""}
    module = torch.export.load(io.BytesIO(out.read_bytes()), extra_files=described).module()
    for count in (1, 5):
        expected = nn.functional.normalize(_embed(run_dir, _images(count)))
        torch.testing.assert_close(module(_images(count)), expected, atol=1e-4, rtol=0)
    assert json.loads(described["aroface.json"])["normalised"] is True


def test_normalised_onnx_has_unit_length(tmp_path, run_dir, capsys):
    out = tmp_path / "model.onnx"
    assert main(["model", "export", str(run_dir), "--format", "onnx", "--out", str(out), "--normalised"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{out}\n", "")
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": _images(3).numpy()})
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    expected = nn.functional.normalize(_embed(run_dir, _images(3))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("form", ["onnx", "torch-export"])
def test_preprocessing_inside(tmp_path, run_dir, form):
    out = tmp_path / ("model.onnx" if form == "onnx" else "model.pt2")
    words = ["model", "export", str(run_dir), "--format", form, "--out", str(out), "--with-preprocessing"]
    assert main(words) == 0
    pixels = torch.randint(256, (5, 112, 112, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    expected = _embed(run_dir, (pixels.permute(0, 3, 1, 2) - 127.5) / 127.5)
    if form == "torch-export":
        torch.testing.assert_close(torch.export.load(out).module()(pixels), expected, atol=1e-4, rtol=0)
        return
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape) == ("pixels", "tensor(uint8)", ["batch", 112, 112, 3])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0]), expected, **CLOSE)
    again = open_program(out, Declared())
    assert (again.form["mean"], again.form["std"]) == (0, 1)
    torch.testing.assert_close(again.network(pixels.permute(0, 3, 1, 2).float()), expected, **CLOSE)
    with pytest.raises(InputError, match="uint8 pixels as they are; leave out --mean and --std"):
        open_program(out, Declared(mean=1.0))


@pytest.mark.parametrize("form", ["onnx", "torch-export"])
@pytest.mark.parametrize("fault", [lambda rows: rows * 1.001, lambda rows: rows * float("nan")])
def test_a_program_that_differs_is_refused_and_nothing_is_left(tmp_path, run_dir, monkeypatch, form, fault):
    writer = "_write_onnx" if form == "onnx" else "_write_program"

    def faulty(path, model, example, described):
        path.write_bytes(b"a program")
        return lambda images: fault(model(images))

    monkeypatch.setattr(export, writer, faulty)
    (tmp_path / "model").write_text("an older one")
    with pytest.raises(InputError, match=r"model: the exported program differs .* by (1\.0e-03|nan)"):
        export_model(run_dir, tmp_path / "model", form)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_text() == "an older one"


def test_a_network_that_explodes_cannot_be_checked(tmp_path):
    run_dir = _run(tmp_path, "r8s4", gain=3e38)
    with pytest.raises(InputError, match=r"run: its embeddings of random images are not finite"):
        export_model(run_dir, tmp_path / "model.pt2", "torch-export")
    assert not list(tmp_path.glob("*pt2*"))


def test_weights_that_come_back_otherwise_are_refused(tmp_path, run_dir, monkeypatch):
    monkeypatch.setattr(export, "read_torch_file", lambda path: {"conv1.weight": torch.zeros(1)})
    with pytest.raises(InputError, match="does not hold the weights"):
        export_model(run_dir, tmp_path / "model.pt", "pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "normalised", "line"),
    [
        ("pt", True, "weights alone cannot say that embeddings are normalised"),
        ("safetensors", "preprocessing", "weights alone hold no preprocessing"),
        ("tflite", False, "unknown format 'tflite'; expected one of safetensors, pt, onnx, torch-export"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, run_dir, form, normalised, line):
    with pytest.raises(InputError, match=line):
        choice = {"with_preprocessing": True} if normalised == "preprocessing" else {"normalised": normalised}
        export_model(run_dir, tmp_path / "model", form, **choice)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "name"), [("pt", "a.onnx"), ("onnx", "a.PT"), ("onnx", "a.pt2"), ("safetensors", "a.pt")]
)
def test_a_file_is_not_given_the_name_of_another_format(tmp_path, run_dir, form, name):
    (tmp_path / name).write_bytes(b"before")
    with pytest.raises(InputError, match=rf"{name}: the name of another format than {form}; expected a name such as"):
        export_model(run_dir, tmp_path / name, form)
    assert (tmp_path / name).read_bytes() == b"before"
