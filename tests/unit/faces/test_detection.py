"""Raw crops: squared, shown to a detector, and aligned by what it found; SCRFD's outputs read as they are meant."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.faces.detection.crops import Aligned, Setting, finish, placement, show, squarify
from aroface.faces.detection.detector import DetectedFace, overlap
from aroface.faces.detection.scrfd import Scrfd
from aroface.faces.geometry import TEMPLATE, align, template, transform
from aroface.faces.synthetic import render, sample_identities, sample_nuisances
from external_models import endless, write_onnx
from standin_detector import COLOURS, ONE, POINTS, DotDetector, dotted, place, scrfd_file, seeing_file


def found_at(image, points):
    """The colour of an image at points (x, y)."""
    x, y = np.round(points).astype(int).T
    return image[y, x].astype(int)


@pytest.mark.parametrize(("height", "width"), [(90, 60), (60, 90), (61, 90), (75, 75), (1, 4)])
def test_a_crop_is_squared_about_its_middle(height, width):
    image = np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)
    square = squarify(image)
    side = max(height, width)
    assert square.shape == (side, side, 3)
    top, left = (side - height) // 2, (side - width) // 2
    np.testing.assert_array_equal(square[top : top + height, left : left + width], image)
    assert square.sum(dtype=int) == image.sum(dtype=int)


@pytest.mark.parametrize(("height", "width"), [(90, 60), (61, 200), (40, 40)])
def test_the_placement_is_where_pixels_are_shown(height, width):
    setting = Setting(128, 192)
    image, (points,) = dotted(height, width, place(min(height, width) / 150, 8, width * 0.1, height * 0.2), radius=2)
    (face,) = DotDetector().detect([show(image, setting)])[0]
    np.testing.assert_allclose(face.points, transform(placement(height, width, setting), points), atol=1.2)


def align_crops(images: list[np.ndarray], detector) -> list[Aligned]:
    """Show raw crops to a detector and align them by what it finds."""
    found = detector.detect([show(image) for image in images])
    return [finish(image, faces) for image, faces in zip(images, found, strict=True)]


@pytest.mark.parametrize("seed", range(6))
def test_faces_come_out_on_the_template_in_its_order(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(110, 200, 2)
    where = place(rng.uniform(0.6, 0.9), rng.uniform(-25, 25), 15, 15)
    image, (points,) = dotted(height, width, where)
    (aligned,) = align_crops([image], DotDetector())
    np.testing.assert_allclose(aligned.face.points, points, atol=0.6)
    assert aligned.image.shape == (112, 112, 3)
    assert np.abs(found_at(aligned.image, template()) - COLOURS).max() < 40
    assert aligned.faces == 1


def test_a_rendered_face_is_aligned_as_by_its_landmarks():
    class Knowing:
        name, facts = "knowing", {"name": "knowing"}

        def detect(self, images):
            assert {image.shape for image in images} == {(192, 192, 3)}
            points = [transform(placement(168, 168), each) for each in landmarks]
            return [
                [DetectedFace(np.array([0, 0, 192, 192], np.float32), each.astype(np.float32), 1.0)] for each in points
            ]

    rng = np.random.default_rng(5)
    people = sample_identities(3, 5)
    matrices = np.stack([place(1.0, degrees, 25, 20) for degrees in (-15, 0, 20)])
    images, landmarks = render(people, sample_nuisances(3, rng), 168, matrices)
    for image, points, aligned in zip(images, landmarks, align_crops(list(images), Knowing()), strict=True):
        np.testing.assert_allclose(aligned.face.points, points, atol=1e-3)
        assert np.abs(aligned.image.astype(int) - align(image, points).astype(int)).max() <= 1


def test_without_a_face_the_squared_crop_is_resized():
    grey = np.full((30, 60, 3), 100, np.uint8)
    (aligned,) = align_crops([grey], DotDetector())
    assert aligned.face is None
    assert aligned.faces == 0
    assert aligned.image.shape == (112, 112, 3)
    assert (aligned.image[:25] == 0).all()
    assert (aligned.image[35:77] == 100).all()
    assert (aligned.image[90:] == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 5), (800, 20)])
def test_very_small_and_very_long_crops_pass(shape):
    image = np.full((*shape, 3), 50, np.uint8)
    (aligned,) = align_crops([image], DotDetector())
    assert aligned.image.shape == (112, 112, 3)


def boxed(*box, mark=0.0):
    points = np.array([[60, 80], [100, 80], [80, 100], [65, 120], [95, 120]], np.float32) + np.float32(mark)
    return DetectedFace(np.array(box, np.float32), points, 0.6)


def test_of_several_faces_the_labelled_one_is_taken():
    """The crop is the labelled box: neither a speck in its middle nor a larger neighbour at its edge is the person."""
    crop = np.zeros((100, 100, 3), np.uint8)  # shown at 32 … 160 of 192
    person = boxed(45, 40, 150, 155)
    speck, neighbour = boxed(90, 90, 102, 102, mark=3), boxed(130, -60, 310, 150, mark=5)
    expected = finish(crop, [person]).face.points
    for faces in ([person, speck, neighbour], [neighbour, speck, person]):
        aligned = finish(crop, faces)
        assert aligned.faces == 3
        np.testing.assert_array_equal(aligned.face.points, expected)


def test_overlap_is_intersection_over_union():
    others = [[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 2, 1], [2, 2, 1, 1]]
    np.testing.assert_allclose(overlap([0, 0, 2, 2], others), [1, 1 / 7, 0, 0.5, 0])


def test_a_setting_must_fit():
    with pytest.raises(ValueError, match="face 200 and canvas 100"):
        Setting(200, 100)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("anchors", [1, 2])
def test_outputs_are_distances_from_anchors(tmp_path: Path, batched: bool, anchors: int):
    one = (*ONE[:3], anchors - 1, *ONE[4:])
    detector = Scrfd(scrfd_file(tmp_path / "tiny.onnx", [one], anchors=anchors, batched=batched))
    ((face,),) = detector.detect([np.zeros((64, 64, 3), np.uint8)])
    np.testing.assert_allclose(face.box, [32 - 16, 16 - 24, 32 + 16, 16 + 32])
    np.testing.assert_allclose(face.points, [32, 16] + 16 * POINTS)
    assert face.score == pytest.approx(0.8)
    assert detector.name == "tiny"
    assert detector.facts["threshold"] == 0.5


def test_the_better_of_two_that_overlap_is_kept_and_the_unlikely_are_not(tmp_path: Path):
    worse = (16, 1, 2, 0, 0.7, [1, 1.5, 1, 1.9], POINTS.ravel())
    elsewhere = (8, 6, 1, 0, 0.6, [1, 1, 1, 1], POINTS.ravel())
    unlikely = (32, 1, 1, 0, 0.4, [1, 1, 1, 1], POINTS.ravel())
    detector = Scrfd(scrfd_file(tmp_path / "tiny.onnx", [worse, ONE, elsewhere, unlikely]))
    (faces,) = detector.detect([np.zeros((64, 64, 3), np.uint8)])
    assert [round(face.score, 3) for face in faces] == [0.8, 0.6]
    lower = Scrfd(tmp_path / "tiny.onnx", threshold=0.3)
    assert len(lower.detect([np.zeros((50, 60, 3), np.uint8)])[0]) == 3


def resizing_file(path: Path, size):
    """A network for 64 pixels that doubles what it sees to a constant size, as exports for one size do."""
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("AveragePool", ["small"], ["smaller"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["smaller", "none", "none", "size"], ["grown"], mode="nearest"),
        helper.make_node("Add", ["small", "grown"], ["sum"]),
    ]
    size = numpy_helper.from_array(np.array(size, np.int64), "size")
    image = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, 64, 64])
    out = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 3, 8, 8])
    none = numpy_helper.from_array(np.empty(0, np.float32), "none")
    graph = helper.make_graph(nodes, "neck", [image], [out], [size, none])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)
    return path


def test_an_export_for_one_size_takes_any(tmp_path: Path):
    import onnxruntime

    from aroface.faces.detection.scrfd import _of_any_size

    path = resizing_file(tmp_path / "neck.onnx", [1, 3, 8, 8])
    program, side, declared = _of_any_size(path)
    assert (side, declared) == (None, 64)
    exported, free = (onnxruntime.InferenceSession(each) for each in (path.read_bytes(), program))
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    expected = [exported.run(None, {"input.1": each[None]})[0][0] for each in x]
    np.testing.assert_allclose(free.run(None, {"input.1": x})[0], expected, rtol=1e-6)
    wide = np.zeros((1, 3, 96, 160), np.float32)
    assert free.run(None, {"input.1": wide})[0].shape == (1, 3, 12, 20)


def test_an_export_that_cannot_be_freed_keeps_its_size(tmp_path: Path):
    from aroface.faces.detection.scrfd import _of_any_size

    path = resizing_file(tmp_path / "neck.onnx", [1, 3, 8, 8])
    model = onnx.load(path)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, 3, 9, 9], np.int64), "size"))
    onnx.save(model, path)
    assert _of_any_size(path) == (None, 64, 64)


def spotted(seed: int) -> np.ndarray:
    """A dark image with some bright cells: what `seeing_file` finds."""
    rng = np.random.default_rng(seed)
    cells = rng.random((4, 4)) < 0.3
    cells[rng.integers(4), rng.integers(4)] = True
    image = np.kron(cells, np.ones((16, 16)))[..., None] * rng.integers(180, 256, 3)
    return image.astype(np.uint8)


def same_faces(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.box, other.box, rtol=1e-5)
        np.testing.assert_allclose(one.points, other.points, rtol=1e-5)
        assert one.score == pytest.approx(other.score, rel=1e-5)


@pytest.mark.parametrize(
    ("layout", "batch", "line"),
    [
        ("interleaved", 1, "exported for one image: one image at a time"),
        ("interleaved", "N", "exported for one image: one image at a time"),
        ("mixed", 1, "an image's faces depend on the others of its batch: one image at a time"),
        ("late", "N", "an image's faces depend on the others of its batch: one image at a time"),
        ("hidden", "N", "an image's faces depend on the others of its batch: one image at a time"),
        ("separate", 1, ""),
        ("separate", "N", ""),
    ],
)
def test_images_of_a_batch_are_found_as_each_alone(tmp_path: Path, capsys, layout: str, batch, line: str):
    detector = Scrfd(seeing_file(tmp_path / "seeing.onnx", layout, batch))
    told = capsys.readouterr().err
    assert told == (f"{tmp_path / 'seeing.onnx'}: {line}\n" if line else "")
    images = [spotted(seed) for seed in range(5)]
    alone = [detector.detect([image])[0] for image in images]
    assert len({tuple(each[0].box) for each in alone}) > 1
    calls = []
    run = detector._program.run
    detector._program.run = lambda *words: calls.append(1) or run(*words)
    for found, expected in zip(detector.detect(images), alone, strict=True):
        same_faces(found, expected)
    assert len(calls) == (5 if line else 1)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch, package: str):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        Scrfd(tmp_path / "nowhere.onnx")
    assert caught.value.name == package


def test_what_is_no_detector_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere\.onnx: no such file$"):
        Scrfd(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("no network, some text")
    with pytest.raises(InputError, match=r"text\.onnx: no ONNX model"):
        Scrfd(tmp_path / "text.onnx")
    boxes = scrfd_file(tmp_path / "boxes.onnx", [], values=(1, 4))
    embedding = write_onnx(tmp_path / "embedding.onnx")
    for path, size in ((boxes, "64×64"), (embedding, "128×128")):
        with pytest.raises(InputError) as caught:
            Scrfd(path)
        line = f"{path}: no face detector: it gives something else for an image of {size} pixels; expected outputs of"
        assert str(caught.value).startswith(line) and "; name a detector of the registry" in str(caught.value)


def test_template_order_is_viewers_left_first():
    assert TEMPLATE[0, 0] < TEMPLATE[1, 0]
    assert TEMPLATE[3, 0] < TEMPLATE[4, 0]


def test_weights_beside_a_detector_are_read_or_named(tmp_path: Path):
    path = seeing_file(tmp_path / "seeing.onnx", "separate", external=True)
    images = [spotted(seed) for seed in range(3)]
    expected = Scrfd(seeing_file(tmp_path / "whole.onnx", "separate")).detect(images)
    for found, faces in zip(Scrfd(path).detect(images), expected, strict=True):
        same_faces(found, faces)
    (tmp_path / "seeing.data").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"seeing\.onnx: its weights cannot be read"):
        Scrfd(path)
    (tmp_path / "seeing.data").unlink()
    with pytest.raises(InputError, match=r"seeing\.onnx: its weights lie in 'seeing\.data', which is not there"):
        Scrfd(path)


def test_a_detector_that_never_ends_is_ended(tmp_path: Path, capsys):
    path = endless(tmp_path / "endless.onnx")
    with pytest.raises(InputError, match=r"endless\.onnx: a batch was not done after 0\.2 s"):
        Scrfd(path, time_limit=0.2)
    (tmp_path / "crops").mkdir()
    words = ["data", "prepare", tmp_path / "crops", "--align", "--out", tmp_path / "out", "--detector", path]
    assert main([*map(str, words), "--time-limit", "0.2"]) == 2
    assert "if it is only slow, allow more by --time-limit" in capsys.readouterr().err
