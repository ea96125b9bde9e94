"""Photographs in, features out: rows of files, folders and videos, by the command and from Python."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import aroface
from aroface.cli.main import main
from aroface.datasets.images import encode_jpeg
from aroface.embedding import photographs as module
from aroface.embedding.external_model import Model, open_model
from aroface.embedding.face_table import FaceTable, read_faces
from aroface.embedding.photographs import PhotographOptions, embed_to_file
from aroface.errors import InputError
from aroface.faces.geometry import align
from external_models import quarters, write_onnx
from releases import opencv_video
from standin_detector import DotDetector, dotted, place, seeing_file

LEFT, RIGHT = place(1.2, 5, 40, 60), place(1.6, -5, 330, 40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(write_onnx(tmp_path_factory.mktemp("model") / "model.onnx"), device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs: of one face, of two, of none; a note beside them."""
    photographs = tmp_path / "photographs"
    (photographs / "more").mkdir(parents=True)
    for name, faces in {"one.jpg": [LEFT], "more/two.jpg": [LEFT, RIGHT], "none.jpg": []}.items():
        (photographs / name).write_bytes(encode_jpeg(dotted(300, 600, *faces, radius=4)[0], 98))
    (photographs / "note.txt").write_text("no photograph")
    return photographs


def _landmarks() -> tuple[np.ndarray, np.ndarray]:
    _, (left, right) = dotted(300, 600, LEFT, RIGHT)
    return left, right


def _names(table: FaceTable, folder: Path) -> list[str]:
    return [Path(name).relative_to(folder).as_posix() for name in table.path]


def test_five_lines_of_python(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]):
    faces = aroface.embed_photographs(folder, model, detector=DotDetector(), faces="all")
    assert _names(faces, folder) == ["one.jpg", "more/two.jpg", "more/two.jpg"]
    left, right = _landmarks()
    assert faces.points == pytest.approx(np.stack([left, right, left]), abs=1)
    assert (faces.face.tolist(), faces.faces.tolist()) == ([0, 0, 1], [1, 2, 2])
    assert np.linalg.norm(faces.feature, axis=1) == pytest.approx(1, abs=1e-5)
    assert (faces.frame == -1).all()
    assert "no face found: " in (told := capsys.readouterr().err) and "none.jpg" in told


def test_a_row_is_the_feature_of_the_aligned_face(folder: Path, model: Model):
    image, (points,) = dotted(300, 600, LEFT, radius=4)
    faces = aroface.embed_photographs(
        [folder / "one.jpg"], model, detector=DotDetector(), options=PhotographOptions(flip=False)
    )
    wanted = quarters(align(image, points)[None])[0]
    assert faces.norm[0] == pytest.approx(np.linalg.norm(wanted), rel=0.02)
    assert faces.feature[0] == pytest.approx(wanted / np.linalg.norm(wanted), abs=0.02)


def test_several_faces_are_taken_by_rule_and_told(
    folder: Path, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    class Surer(DotDetector):
        """Is surer of the face on the left, which is smaller."""

        def _faces(self, image):
            found = super()._faces(image)
            for number, face in enumerate(found):
                object.__setattr__(face, "score", 0.9 - 0.1 * number)
            return found

    left, right = _landmarks()
    for rule, wanted in {"largest": right, "best": left}.items():
        faces = aroface.embed_photographs(folder / "more", model, detector=Surer(), faces=rule)
        assert faces.points[0] == pytest.approx(wanted, abs=1)
        assert "noted: 1, several faces" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["npz", "csv", "parquet"])
def test_all_forms_hold_the_same(folder: Path, model: Model, tmp_path: Path, ending: str):
    out = tmp_path / f"faces.{ending}"
    report = embed_to_file([folder], model, DotDetector(), out, PhotographOptions(faces="all"))
    assert report["counts"] == {
        **{"files": 3, "images": 3, "found": 3, "without_face": 1, "rows": 3, "several_faces": 1}
    }
    wanted = aroface.embed_photographs(folder, model, detector=DotDetector(), options=PhotographOptions(faces="all"))
    if ending == "npz":
        for name, column in read_faces(out).columns().items():
            assert np.array_equal(column, wanted.columns()[name])
        return
    if ending == "csv":
        rows = list(csv.DictReader(out.open(newline="")))
        feature = [[float(row[f"feature_{n}"]) for n in range(12)] for row in rows]
        assert {row["frame"] for row in rows} == {""}
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(out).to_pylist()
        feature = [row["feature"] for row in rows]
        assert {row["frame"] for row in rows} == {None}
    assert np.array_equal(np.array(feature, np.float32), wanted.feature)
    for row, path, box, points, norm in zip(rows, wanted.path, wanted.box, wanted.points, wanted.norm, strict=True):
        assert row["path"] == path
        assert np.float32(row["norm"]) == norm
        assert [np.float32(row[side]) for side in ("left", "top", "right", "bottom")] == box.tolist()
        assert [np.float32(row[name]) for name in ("le_x", "le_y", "nose_x", "rm_y")] == [
            *points[0].tolist(),
            points[2, 0],
            points[4, 1],
        ]


def test_an_interrupted_call_goes_on(folder: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_UNIT", 1)
    whole = tmp_path / "whole.npz"
    embed_to_file([folder], model, DotDetector(), whole, PhotographOptions())

    class Dying(DotDetector):
        def detect(self, images):
            if len(self.seen) >= 2:
                raise KeyboardInterrupt
            return super().detect(images)

    out = tmp_path / "faces.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_to_file([folder], model, Dying(), out, PhotographOptions())
    assert not out.exists()
    detector = DotDetector()
    embed_to_file([folder], model, detector, out, PhotographOptions())
    assert 0 < len(detector.seen) < 4
    for name, column in read_faces(out).columns().items():
        assert np.array_equal(column, read_faces(whole).columns()[name])
    assert not list(tmp_path.glob(".*.partial"))


def test_a_finished_file_stays_and_another_is_refused(folder: Path, model: Model, tmp_path: Path):
    out, detector = tmp_path / "faces.npz", DotDetector()
    report = embed_to_file([folder], model, detector, out, PhotographOptions())
    seen = len(detector.seen)
    assert embed_to_file([folder], model, detector, out, PhotographOptions()) == report
    assert len(detector.seen) == seen
    with pytest.raises(InputError, match="otherwise embedded"):
        embed_to_file([folder], model, detector, out, PhotographOptions(faces="all"))


def test_damaged_files_are_an_error_or_told(folder: Path, model: Model, tmp_path: Path):
    (folder / "zz.jpg").write_bytes((folder / "one.jpg").read_bytes()[:300])
    (folder / "zz.mp4").write_bytes(b"no video")
    out = tmp_path / "faces.npz"
    with pytest.raises(InputError, match=r"zz\.jpg"):
        embed_to_file([folder], model, DotDetector(), out, PhotographOptions())
    with pytest.raises(InputError, match="2 of 5 left out"):
        embed_to_file([folder], model, DotDetector(), out, PhotographOptions(on_corrupt="skip"))
    skip = PhotographOptions(on_corrupt="skip", max_left_out=0.5)
    report = embed_to_file([folder], model, DotDetector(), out, skip)
    assert report["left_out"]["cannot be decoded"]["count"] == len(report["corrupt"]) == 2


def test_frames_of_a_video_are_rows(model: Model, tmp_path: Path):
    opencv_video(tmp_path / "walk.avi", 20)
    faces = aroface.embed_photographs(
        tmp_path / "walk.avi", model, detector=DotDetector(), options=PhotographOptions(frame_step=7)
    )
    assert faces.frame.tolist() == [0, 7, 14]
    assert np.diff(faces.points[:, 0, 0]) == pytest.approx([21, 21], abs=1.5)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "nothing to embed"),
        (["one.jpg"], "photographs need --model"),
        (["one.jpg", "--model", "model.onnx", "--precision", "float16"], "--precision is for benchmarks"),
        (["--run-dir", "run", "--benchmark", "lfw.json", "--faces", "all"], "--faces is for photographs"),
        (["one.jpg", "--model", "model.onnx", "--out", "faces.txt"], "ending '.txt'"),
        (["missing", "--model", "model.onnx"], "no such file or folder"),
        (["note.txt", "--model", "model.onnx"], "cannot be read as an image"),
        (["none.jpg", "--model", "model.onnx"], "no face in any"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], line: str
):
    monkeypatch.chdir(folder)
    write_onnx(folder / "model.onnx")
    seeing_file(folder / "detector.onnx", "separate")
    detector = ["--detector", "detector.onnx"] if "--model" in words else []
    assert main(["embed", "--out", "faces.npz", *words, *detector]) == 2
    assert line in (told := capsys.readouterr().err)
    assert told.splitlines()[-1].startswith("aroface: error: ")
    assert not (folder / "faces.npz").exists()


def test_the_command_writes_rows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("aroface.datasets.preparation.detectors.open_detector", lambda *_, **__: DotDetector())
    write_onnx(tmp_path / "model.onnx")
    out = tmp_path / "faces.csv"
    words = ["embed", str(folder), "--model", str(tmp_path / "model.onnx"), "--out", str(out), "--faces", "best"]
    assert main([*words, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{out}  2 faces of 3 images, 1 without a face, 1 with several\n"
    assert len(out.read_text().splitlines()) == 3
