"""Models that are not runs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from aroface.cli.main import main
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.datasets.images import encode_jpeg
from aroface.embedding.embedder import load_embedder
from aroface.embedding.external_model import Declared, open_model
from aroface.errors import InputError
from aroface.faces.detection.scrfd import Scrfd
from aroface.files import write_json
from aroface.models.export import export_model
from aroface.models.registry import build
from aroface.onnx_program import Program, reason
from aroface.schemas import validate
from embedding_runs import DIMENSION, make_run, network
from external_models import SIDE, endless, face_pairs, quarters, write_onnx
from standin_detector import seeing_file

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


def test_a_model_is_tried_on_a_batch_as_large_as_it_gets(tmp_path, capsys):
    """One that mixes images from the fourth on passes a trial of three; what is tried alone is a part of them."""
    path = write_onnx(tmp_path / "late.onnx", mix="late")
    embedder = open_model(path, device="cpu", batch_size=3).embedder
    assert capsys.readouterr().err == ""
    line = f"{path}: an image's embedding depends on the others of its batch: one image at a time\n"
    assert (embedder.at_once, len(embedder.embed(IMAGES, flip=False)), embedder.at_once) == (None, 5, 1)
    assert capsys.readouterr().err == line
    embedder = open_model(path, device="cpu").embedder
    assert (capsys.readouterr().err, embedder.at_once) == (line, 1)
    np.testing.assert_allclose(embedder.embed(IMAGES, flip=False), quarters(IMAGES), atol=1e-5)


@pytest.mark.parametrize("batch", ["N", 64])
def test_the_cost_of_a_trial_is_bounded(tmp_path, monkeypatch, batch):
    calls = []
    run = Program.run
    monkeypatch.setattr(Program, "run", lambda *words: calls.append(len(words[2]["images"])) or run(*words))
    path = write_onnx(tmp_path / "model.onnx", batch=batch)
    embedder = open_model(path, device="cpu").embedder
    assert calls == ([3, 1, 1, 1, 16, 1, 1, 1] if batch == "N" else 4 * [64])
    embedder.embed(np.repeat(IMAGES, 4, axis=0), flip=False, batch_size=16)
    assert calls[8 if batch == "N" else 4 :] == ([16, 4] if batch == "N" else 2 * [64])


@pytest.mark.parametrize(
    ("options", "told"),
    [({}, "16 images at once"), ({"batch": 1}, ""), ({"batch": 4}, ""), ({"mix": "late"}, ": one image at a time")],
)
def test_the_number_of_images_at_once_is_told_once(tmp_path, capsys, options, told):
    path, pairs = write_onnx(tmp_path / "model.onnx", **options), face_pairs(tmp_path / "lfw.bin", 20)
    assert main(["evaluate", "--model", str(path), "--benchmark", str(pairs)]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "image" in line]
    assert len(lines) == bool(told) and all(told in line for line in lines)


@pytest.mark.parametrize("batch", ["N", 4])
def test_a_model_that_draws_random_numbers_is_one_line(tmp_path, capsys, batch):
    path = write_onnx(tmp_path / "model.onnx", batch=batch)
    model = onnx.load(path)
    name = model.graph.output[0].name
    last = next(node for node in model.graph.node if name in node.output)
    last.output[list(last.output).index(name)] = "quiet"
    noise = onnx.helper.make_node("RandomNormalLike", ["quiet"], ["noise"], scale=0.5)
    model.graph.node.extend([noise, onnx.helper.make_node("Add", ["quiet", "noise"], [name])])
    onnx.save(model, path)
    with pytest.raises(InputError, match="the same image gets another embedding each time; export it for inference"):
        open_model(path, device="cpu")
    assert capsys.readouterr().err == ""


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


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.0},
        {"scale": 0.0, "shift": 1.5},
        {"scale": 1e-9, "shift": 1.0},
        {"scale": 1e-3, "shift": 1.0},
        {"scale": 0.05, "shift": 1.0},
    ],
)
@pytest.mark.parametrize("batch_size", ["1", "3", "128"])
def test_a_collapsed_model_is_not_evaluated(tmp_path, capsys, options, batch_size):
    model, pairs = write_onnx(tmp_path / "model.onnx", **options), face_pairs(tmp_path / "lfw.bin", 20)
    words = ["--model", str(model), "--batch-size", batch_size]
    line = "do not distinguish images: "
    assert main(["evaluate", *words, "--benchmark", str(pairs)]) == 2
    assert line in capsys.readouterr().err
    out = str(tmp_path / "out")
    assert main(["robustness", *words, "--pairs", str(pairs), "--qualities", "hq", "--out", out]) == 2
    assert line in capsys.readouterr().err


def test_a_set_of_one_image_is_refused_for_itself(tmp_path, capsys):
    image, path = encode_jpeg(IMAGES[0], 95), tmp_path / "one.bin"
    write_pairs(path, Pairs([image] * 40, np.arange(20) % 2 == 0))
    assert main(["evaluate", "--model", str(write_onnx(tmp_path / "m.onnx")), "--benchmark", str(path)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{path}: the embeddings of m-" in line
    assert line.endswith("or the images are all alike")


@pytest.mark.parametrize("arch", ["r8s4", "mbf"])
def test_an_untrained_network_is_evaluated(tmp_path, arch):
    torch.manual_seed(0)
    torch.save(build(arch, 512).state_dict(), tmp_path / "untrained.pth")
    pairs = str(face_pairs(tmp_path / "lfw.bin", 20))
    assert main(["evaluate", "--model", str(tmp_path / "untrained.pth"), "--benchmark", pairs, "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([("norm", 1)], ""),
        ([("logits", 5000)], "embeddings are taken from embeddings, not from logits 3×5000 (--output)"),
        ([("norm", 1), ("early", 64)], "embeddings are taken from early, not from embeddings 3×12 (--output)"),
    ],
)
def test_the_output_is_chosen_by_its_shape_or_named(tmp_path, capsys, others, told):
    path = write_onnx(tmp_path / "model.onnx", others=others)
    dimension = open_model(path, device="cpu").embedder.dimension
    assert dimension == (64 if "early" in told.split(",")[0] else 12)
    assert capsys.readouterr().err == (f"{path}: {told}\n" if told else "")
    named = open_model(path, declared=Declared(output="embeddings"), device="cpu").embedder
    np.testing.assert_allclose(named.embed(IMAGES, flip=False), quarters(IMAGES), atol=1e-5)
    assert capsys.readouterr().err == ""


def test_one_number_is_no_embedding(tmp_path):
    path = write_onnx(tmp_path / "model.onnx", length=1)
    with pytest.raises(InputError, match=r"3 images give pooled 3×3×2×2, embeddings 3×1; expected an output 3×D"):
        open_model(path, device="cpu")


@pytest.mark.parametrize("declared", [96, "W"])
def test_an_oblong_model_gets_the_middle_of_the_images(tmp_path, declared):
    path = write_onnx(tmp_path / "sphere.onnx", size=112, width=declared)
    if declared == 96:
        with pytest.raises(InputError, match=r"takes N×3×112×96; .*--crop 112x96 gives it the middle"):
            open_model(path, device="cpu")
        model = open_model(path, declared=Declared(crop=(112, 96)), device="cpu")
        assert (model.embedder.size, model.checkpoint["input"]["crop"]) == (112, [112, 96])
        found = model.embedder.embed(IMAGES, flip=False)
        values = (IMAGES[:, :, 8:104].astype(float) - 127.5) / 127.5
        parts = values.reshape(5, 2, 56, 2, 48, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(5, -1)
        np.testing.assert_allclose(found, 2 * parts, atol=1e-5)
        with pytest.raises(InputError, match="takes 112×96; expected 96×96 as --crop says"):
            open_model(path, declared=Declared(crop=(96, 96)), device="cpu")
    with pytest.raises(InputError, match=r"takes 112×(96|W); expected 224×192"):
        open_model(path, declared=Declared(crop=(224, 192)), device="cpu")
    pairs = face_pairs(tmp_path / "lfw.bin", 20)
    crop = ["--crop", "112x96"] if declared == 96 else []
    assert main(["evaluate", "--model", str(path), "--benchmark", str(pairs), *crop]) == 0


class FailingCuda:
    """An onnxruntime whose CUDA libraries do not load: it falls back in silence."""

    def __init__(self, session):
        self.session, self.asked = session, []

    def __call__(self, program, options, providers, **others):
        self.asked.append((providers, others))
        return self.session(program, options, providers=["CPUExecutionProvider"])


def test_a_gpu_that_does_not_load_is_an_error_or_a_line(tmp_path, monkeypatch, capsys):
    path, asked = write_onnx(tmp_path / "model.onnx"), FailingCuda(onnxruntime.InferenceSession)
    known = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: known)
    monkeypatch.setattr("onnxruntime.InferenceSession", asked)
    with pytest.raises(InputError, match="onnxruntime cannot load CUDA's libraries; expected a GPU, as --device cuda"):
        open_model(path, device="cuda")
    line = f"{path}: onnxruntime cannot load CUDA's libraries: computing on the CPU\n"
    for device in (None, "auto"):
        open_model(path, device=device)
        assert capsys.readouterr().err == line
    assert all(each == ([(known[0], {"use_tf32": "0"}), known[1]], {"enable_fallback": 0}) for each in asked.asked)
    open_model(path, device="cpu")
    assert capsys.readouterr().err == ""
    assert asked.asked[-1][0] == ["CPUExecutionProvider"]


def test_the_detector_tells_of_a_gpu_that_does_not_load(tmp_path, monkeypatch, capsys):
    path = seeing_file(tmp_path / "seeing.onnx", "separate")
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr("onnxruntime.InferenceSession", FailingCuda(onnxruntime.InferenceSession))
    assert Scrfd(path).facts["provider"] == "CPUExecutionProvider"
    assert "computing on the CPU" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.ONNX", "epoch.Onnx"])
def test_the_case_of_the_suffix_does_not_matter(tmp_path, name):
    assert open_model(write_onnx(tmp_path / name), device="cpu").embedder.dimension == 12


@pytest.mark.parametrize(
    ("words", "kept", "dropped"),
    [
        (
            "[ONNXRuntimeError] : 10 : INVALID_GRAPH : Load model from /a/b c/model.onnx failed:This is an invalid "
            'model. In Node, ("", Foo, "", -1) : ("input": tensor(float),"w": tensor(float),) -> ("c",) , '
            "Error No Op registered for Foo with domain_version of 13",
            ["This is an invalid model", "No Op registered for Foo with domain_version of 13"],
            ["ONNXRuntimeError", "/a/b c"],
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'' Status "
            "Message: /onnxruntime_src/onnxruntime/core/reshape_helper.h:91 onnxruntime::ReshapeHelper::ReshapeHelper"
            "(const onnxruntime::TensorShape&, bool) input_shape_size == requested_shape_size was false. The input "
            "tensor cannot be reshaped to the requested shape. Input shape:{2,8,14,14}, requested shape:{1,1568}\n",
            ["running Reshape node", "Input shape:{2,8,14,14}, requested shape:{1,1568}"],
            ["onnxruntime_src", "TensorShape"],
        ),
        (
            "Got invalid dimensions\n index: 2 Got: 96 Expected: 112\n",
            ["dimensions index: 2 Got: 96 Expected: 112"],
            ["\n"],
        ),
        ("a" * 400 + " the point", ["the point", "…"], ["a" * 300]),
        ("", ["ValueError"], []),
    ],
)
def test_the_point_of_onnxruntimes_words_is_passed_on(words, kept, dropped):
    line = reason(ValueError(words))
    assert all(part in line for part in kept)
    assert not any(part in line for part in dropped)
    assert len(line) <= 310


def test_each_record_is_there_when_it_is_done_and_a_bad_file_is_a_line_at_the_end(tmp_path, capsys, monkeypatch):
    model = write_onnx(tmp_path / "model.onnx")
    files = {name: face_pairs(tmp_path / f"{name}.bin", 20, seed) for seed, name in enumerate(("a", "b", "c", "d"))}
    files["b"].write_bytes(b"no pickle")
    image = encode_jpeg(IMAGES[0], 95)
    write_pairs(files["c"], Pairs([image[:300] if n == 7 else image for n in range(40)], np.arange(20) % 2 == 0))
    words = ["evaluate", "--model", str(model), "--benchmark", *(f"{name}={file}" for name, file in files.items())]
    seen, told = [], []
    write = write_json

    def look(path, record):
        so_far = capsys.readouterr()
        seen.append(so_far.out.splitlines()[0])
        told.append(so_far.err)
        write(path, record)

    monkeypatch.setattr("aroface.files.write_json", look)
    assert main([*words, "--out", str(tmp_path / "records")]) == 2
    assert seen == [f"{name}: 10 genuine and 10 impostor pairs" for name in ("a", "d")]
    assert sorted(path.name for path in (tmp_path / "records").rglob("*.json")) == ["a.json", "d.json"]
    assert told == ["16 images at once (--batch-size)\n", ""]
    errors = capsys.readouterr().err.splitlines()
    assert [line.partition(" image 7")[0] for line in errors] == [
        f"aroface: error: {files['b']}: {errors[0].partition('b.bin: ')[2]}",
        f"aroface: error: {files['c']}:",
    ]
    with pytest.raises(InputError, match=r"b\.bin"):
        main(["--debug", *words])


@pytest.mark.parametrize("files", [["a"], ["a", "b"]])
@pytest.mark.parametrize("out", ["file", "file/x", "file/x/y.json", "folder.json", "loop/x", "n" * 300])
def test_a_place_that_takes_no_record_is_refused_before_anything_is_embedded(tmp_path, capsys, monkeypatch, files, out):
    model = write_onnx(tmp_path / "model.onnx")
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    pairs = [str(face_pairs(tmp_path / f"{name}.bin", 20)) for name in files]
    monkeypatch.setattr("aroface.cli.evaluate.open_declared", lambda *_: pytest.fail("the model was opened"))
    words = ["evaluate", "--model", str(model), "--benchmark", *pairs, "--out", str(tmp_path / out)]
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("same", [np.ones(20, bool), np.arange(7) % 2 == 0])
def test_errors_of_pairs_name_their_file(tmp_path, capsys, same):
    images = [encode_jpeg(IMAGES[number % 5], 95) for number in range(2 * len(same))]
    write_pairs(tmp_path / "lfw.bin", Pairs(images, same))
    model = write_onnx(tmp_path / "model.onnx")
    assert main(["evaluate", "--model", str(model), "--benchmark", str(tmp_path / "lfw.bin")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"aroface: error: {tmp_path / 'lfw.bin'}: ")


def test_the_size_of_a_batch_fits_what_computes(tmp_path, capsys, monkeypatch):
    embedder = open_model(write_onnx(tmp_path / "model.onnx"), device="cpu").embedder
    assert embedder.batch_size == 16
    embedder.network._program.provider = "CUDAExecutionProvider"
    assert embedder.batch_size == 128
    run = load_embedder(make_run(tmp_path, 0), "cpu")
    assert run.batch_size == 16
    assert replace(run, device=torch.device("cuda")).batch_size == 128
