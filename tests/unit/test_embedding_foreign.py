"""Models that are not runs."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from embedding_runs import DIMENSION, make_run, network
from foreign_models import SIDE, endless, face_pairs, quarters, write_onnx

from aroface.cli import main
from aroface.embedding.embedder import load_embedder
from aroface.embedding.foreign import Declared, open_model
from aroface.errors import InputError
from aroface.models.export import export_model
from aroface.schemas import validate

IMAGES = np.random.default_rng(0).integers(0, 256, size=(5, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "options", [{}, {"batch": 1}, {"batch": 4}, {"reshape_to": 1}, {"size": "S"}, {"external": True}]
)
def test_onnx_models_of_any_batch_embed_alike(tmp_path, options):
    model = open_model(write_onnx(tmp_path / "model.onnx", **options), device="cpu", threads=1)
    assert (model.name, model.embedder.size, model.embedder.dimension) == ("model", SIDE, 12)
    found = model.embedder.embed(IMAGES, flip=False, batch_size=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, quarters(IMAGES), atol=1e-5)
    both = model.embedder.embed(IMAGES)
    np.testing.assert_allclose(both, quarters(IMAGES) + quarters(IMAGES[:, :, ::-1]), atol=1e-5)


@pytest.mark.parametrize("mix", ["mean", "transposed"])
@pytest.mark.parametrize("batch", ["N", 2, 4])
def test_images_of_a_batch_are_embedded_as_each_alone(tmp_path, capsys, mix, batch):
    path = write_onnx(tmp_path / "model.onnx", mix=mix, batch=batch)
    embedder = open_model(path, device="cpu").embedder
    line = "an image's embedding depends on the others of its batch: one image at a time"
    assert capsys.readouterr().err == f"{path}: {line}\n"
    together = embedder.embed(IMAGES, flip=False, batch_size=5)
    alone = np.concatenate([embedder.embed(image[None], flip=False) for image in IMAGES])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    if mix == "mean":
        np.testing.assert_allclose(together, 2 * quarters(IMAGES), atol=1e-5)


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("scale", [1e-6, 2.0, 1e6])
def test_models_that_can_be_batched_are_not_suspected(tmp_path, capsys, batch, scale):
    path = write_onnx(tmp_path / "model.onnx", batch=batch, scale=scale)
    found = open_model(path, device="cpu").embedder.embed(IMAGES, flip=False, batch_size=3)
    np.testing.assert_allclose(found, quarters(IMAGES) * scale / 2, rtol=1e-4, atol=1e-5 * scale)
    assert capsys.readouterr().err == ""


def test_declared_input_is_what_an_onnx_model_is_given(tmp_path):
    path = write_onnx(tmp_path / "model.onnx")
    said = Declared(color="BGR", mean=0.0, std=255.0)
    found = open_model(path, declared=said, device="cpu").embedder.embed(IMAGES, flip=False)
    np.testing.assert_allclose(found, quarters(IMAGES[..., ::-1], 0, 255), atol=1e-5)


def test_other_sizes_and_outputs(tmp_path):
    images = IMAGES[:, :96, :96]
    model = open_model(write_onnx(tmp_path / "small.onnx", size=96), declared=Declared(output="embeddings"))
    assert model.embedder.size == 96
    np.testing.assert_allclose(model.embedder.embed(images, flip=False), quarters(images), atol=1e-5)


def test_exported_runs_say_themselves_what_they_take(tmp_path):
    run = make_run(tmp_path, 0)
    exported = open_model(export_model(run, tmp_path / "model.onnx", "onnx"))
    assert exported.checkpoint["experiment"]["arch"] == "r8s4"
    expected = load_embedder(run, "cpu").embed(IMAGES)
    np.testing.assert_allclose(exported.embedder.embed(IMAGES), expected, atol=1e-4)


def test_runs_and_released_checkpoints_are_opened_by_the_same_word(tmp_path):
    run = make_run(tmp_path, 0)
    expected = load_embedder(run, "cpu").embed(IMAGES)
    np.testing.assert_array_equal(open_model(run, device="cpu").embedder.embed(IMAGES), expected)
    torch.save(network(0).state_dict(), tmp_path / "backbone.pth")
    released = open_model(tmp_path / "backbone.pth", device="cpu")
    assert released.checkpoint["source"] == "released"
    assert released.embedder.dimension == DIMENSION
    np.testing.assert_allclose(released.embedder.embed(IMAGES), expected, atol=1e-5)
    turned = open_model(tmp_path / "backbone.pth", declared=Declared(color="BGR"), device="cpu")
    flipped = np.ascontiguousarray(IMAGES[..., ::-1])
    np.testing.assert_allclose(turned.embedder.embed(flipped), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rank": 3}, r"onnxruntime cannot load it|takes N×3×112; expected N×3×S×S"),
        ({"channels": 1}, r"images: takes N×1×112×112; expected N×3×S×S"),
    ],
)
def test_other_inputs_are_one_line(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        open_model(write_onnx(tmp_path / "model.onnx", **options))


def test_what_is_no_onnx_model_is_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model at all")
    with pytest.raises(InputError, match=r"model\.onnx: no ONNX model"):
        open_model(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"model\.onnx: an empty file; get it again"):
        open_model(tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"none\.onnx: no such file"):
        open_model(tmp_path / "none.onnx")


def test_missing_weights_beside_a_model_are_named(tmp_path):
    path = write_onnx(tmp_path / "model.onnx", external=True)
    before = open_model(path).checkpoint["weights"]["sha256"]
    with open(tmp_path / "model.data", "r+b") as file:
        file.write(np.float32(3).tobytes())
    assert open_model(path).checkpoint["weights"]["sha256"] != before
    (tmp_path / "model.data").unlink()
    with pytest.raises(InputError, match=r"model\.onnx: its weights lie in 'model\.data', which is not there; copy it"):
        open_model(path)


def test_outputs_and_sizes_that_are_not_there_are_one_line(tmp_path):
    path = write_onnx(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="no output 'fc1'; expected one of pooled, embeddings"):
        open_model(path, declared=Declared(output="fc1"))
    with pytest.raises(InputError, match=r"3 images give pooled 3×3×2×2; expected an output 3×D of floats"):
        open_model(path, declared=Declared(output="pooled"))
    with pytest.raises(InputError, match=r"takes 112×112 pixels; expected 96 as --size says"):
        open_model(path, declared=Declared(size=96))
    with pytest.raises(InputError, match="a run says itself what its mean is; leave --mean out"):
        open_model(make_run(tmp_path, 0), declared=Declared(mean=0.0))
    with pytest.raises(InputError, match=r"std 0\.0; expected a finite number above 0"):
        open_model(path, declared=Declared(std=0.0))


def test_a_gpu_that_onnxruntime_cannot_use_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(
        InputError, match="computes on CPUs only; pip install onnxruntime-gpu, or choose the device cpu"
    ):
        open_model(write_onnx(tmp_path / "model.onnx"), device="cuda")


def test_any_model_is_evaluated_with_nothing_else_there(tmp_path, capsys):
    model = write_onnx(tmp_path / "model.onnx")
    pairs = [face_pairs(tmp_path / f"{name}.bin", 20, seed) for seed, name in enumerate(("LFW", "other"))]
    words = ["evaluate", "--model", str(model), "--benchmark", *map(str, pairs), "--out", str(tmp_path / "records")]
    assert main([*words, "--color", "BGR", "--mean", "0", "--std", "255"]) == 0
    printed = capsys.readouterr().out
    assert "lfw: 10 genuine and 10 impostor pairs" in printed
    assert printed.count("accuracy ") == 2 and "  [" in printed
    (folder,) = (tmp_path / "records").iterdir()
    for name in ("lfw", "other"):
        record = json.loads((folder / f"{name}.json").read_text())
        validate(record, "record")
        assert record["run"] == folder.name and record["provenance"]["source"] == "released"
        assert record["protocol"]["options"]["color"] == "BGR"
        assert record["provenance"]["command"].startswith("aroface evaluate --model")


def test_words_that_do_not_go_together_are_one_line(tmp_path, capsys):
    model, pairs = write_onnx(tmp_path / "model.onnx"), face_pairs(tmp_path / "lfw.bin", 20)

    def line(*words):
        assert main(["evaluate", *map(str, words)]) == 2
        return capsys.readouterr().err

    assert "--model needs --benchmark" in line("--model", model)
    assert "one file for 2 records" in line(
        *("--model", model, "--benchmark", pairs, f"b={pairs}", "--out", tmp_path / "record.json")
    )
    assert "two benchmarks of one name" in line("--model", model, "--benchmark", pairs, pairs)
    assert "nowhere.bin: no such file" in line("--model", model, "--benchmark", "lfw=nowhere.bin")
    assert "--features needs --out" in line("--features", tmp_path)
    broken = write_onnx(tmp_path / "broken.onnx", log=True)
    assert "the embedding is not finite" in line("--model", broken, "--benchmark", pairs)


def test_a_loop_without_end_is_ended(tmp_path, capsys):
    path, pairs = endless(tmp_path / "model.onnx"), face_pairs(tmp_path / "lfw.bin", 20)
    line = "a batch was not done after 0.2 s; the model may hold a loop without end"
    with pytest.raises(InputError, match=line):
        open_model(path, device="cpu", time_limit=0.2)
    for words in (["evaluate", "--benchmark", str(pairs)], ["robustness", "--pairs", str(pairs)]):
        assert main([*words, "--model", str(path), "--time-limit", "0.2"]) == 2
        assert f"error: {path}: {line}" in capsys.readouterr().err


def test_a_long_first_batch_is_announced_with_its_limit(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("aroface.onnx_program._NOTICE", 0.1)
    with pytest.raises(InputError, match=r"not done after 0\.5 s"):
        open_model(endless(tmp_path / "model.onnx"), device="cpu", time_limit=0.5)
    assert "the first batch takes long; it is ended after 0.5 s (--time-limit)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("input", "no json", "metadata aroface.input: no JSON"),
        ("input", "[" * 100_000, "metadata aroface.input: no JSON"),
        ("input", "[1]", "metadata aroface.input: list instead of dict"),
        ("input", "null", "metadata aroface.input: NoneType instead of dict"),
        ("input", '{"size": "112"}', "metadata aroface.input: size is '112'"),
        ("input", '{"size": 0}', "metadata aroface.input: size is 0"),
        ("input", '{"size": 1e9}', "metadata aroface.input: size is 1000000000.0"),
        ("input", '{"color": ["RGB"]}', r"metadata aroface.input: color is \['RGB'\]"),
        ("input", '{"mean": NaN}', "metadata aroface.input: mean is nan"),
        ("input", '{"mean": true}', "metadata aroface.input: mean is True"),
        ("input", '{"std": 0}', "metadata aroface.input: std is 0"),
        ("input", '{"std": Infinity}', "metadata aroface.input: std is inf"),
        ("arch", "7", "metadata aroface.arch: int instead of str"),
        ("arch", "{", "metadata aroface.arch: no JSON"),
    ],
)
def test_metadata_of_another_form_are_one_line(tmp_path, key, value, line):
    path = write_onnx(tmp_path / "model.onnx", metadata={f"aroface.{key}": value})
    with pytest.raises(InputError, match=line):
        open_model(path, device="cpu")


def test_metadata_that_mean_nothing_here_are_left_alone(tmp_path):
    path = write_onnx(tmp_path / "model.onnx", metadata={"input": "no json", "aroface.input": '{"mean": 0}'})
    assert open_model(path, device="cpu").checkpoint["input"]["mean"] == 0


@pytest.mark.parametrize("place", ["/etc/hostname", "../weights", "below/../../weights"])
def test_weights_outside_the_folder_of_a_model_are_refused(tmp_path, place):
    (tmp_path / "models").mkdir()
    (tmp_path / "weights").write_bytes(b"0" * 1000)
    path = write_onnx(tmp_path / "models/model.onnx", external=True)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = place if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=f"its weights lie in '{place}'; expected a file in the model's own folder"):
        open_model(path, device="cpu")
