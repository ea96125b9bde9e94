"""Time of one face: what is measured, against which limit, and the estimates before an evaluation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aroface.cli import evaluate as evaluate_verb
from aroface.cli.main import main
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.embedding import face_time
from aroface.embedding.embedder import Embedder
from aroface.embedding.face_time import FaceTime, time_face
from aroface.errors import InputError
from aroface.evaluation import external_model
from crops import crop
from external_models import write_onnx
from standin_detector import DotDetector, dotted


def embedder(seen: list[int]) -> Embedder:
    def network(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return images.mean((2, 3))

    return Embedder(network, torch.device("cpu"), 112, "RGB", 127.5, 127.5, 3)


def test_each_step_is_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(face_time.time, "perf_counter", lambda: next(clock) ** 2)
    seen: list[int] = []
    scene, _ = dotted(480, 640, np.array([[1.5, 0, 100], [0, 1.5, 100]]))
    detector = DotDetector()
    taken = time_face(embedder(seen), detector, scene, repeats=3)
    # Four looks at the clock a call, whose squares are apart by 1, 3, 5; 9, 11, 13; ...; the first two do not count.
    assert (taken.detection, taken.alignment, taken.embedding) == (25000, 27000, 29000)
    assert taken.whole == 81000
    assert taken.fast < taken.whole < taken.slow
    assert (taken.repeats, taken.size) == (3, (640, 480))
    assert seen == [1, 1] * 5, "the image and its mirror image, alone"


def test_without_a_detector_a_drawn_face_is_aligned() -> None:
    taken = time_face(embedder([]), repeats=2)
    assert taken.detection is None
    assert 0 < taken.alignment < taken.whole


def test_a_photograph_needs_a_detector_that_finds_a_face() -> None:
    empty = np.full((200, 300, 3), 90, np.uint8)
    with pytest.raises(InputError, match="finds no face in the photograph"):
        time_face(embedder([]), DotDetector(), empty)
    with pytest.raises(InputError, match="a photograph without a detector"):
        time_face(embedder([]), None, empty)


@pytest.mark.parametrize(("high", "limit"), [(99.0, 100), (100.0, 100), (101.0, 500), (1000.0, 1000), (1001.0, None)])
def test_the_limit_is_kept_by_nine_of_ten(high: float, limit: int | None) -> None:
    assert FaceTime(None, 1.0, 1.0, 2.0, 1.0, high, 20, (1, 1)).limit() == limit


def test_the_verb_prints_steps_and_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_onnx(tmp_path / "tiny.onnx")
    assert main(["model", "time", str(model), "--repeats", "2", "--no-flip"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "detection   not measured: name one by --detector"
    assert re.fullmatch(r"embedding +[\d.]+ ms  one image", lines[2])
    assert re.match(r"FRUITS      (within|beyond) [\d,]+ ms in nine of ten, without detection; ", lines[4])
    Image.new("RGB", (300, 200)).save(tmp_path / "empty.png")
    assert main(["model", "time", str(model), "--photograph", str(tmp_path / "empty.png")]) == 2
    assert "a photograph without a detector" in capsys.readouterr().err


def test_long_evaluations_are_told_before_they_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    same = np.arange(20) % 2 == 0
    write_pairs(tmp_path / "mine.bin", Pairs([crop(number) for number in range(40)], same))
    (tmp_path / "bad.bin").write_bytes(b"no pickle")
    model = write_onnx(tmp_path / "tiny.onnx")
    monkeypatch.setattr(external_model, "seconds_an_image", lambda *_, **__: 3.0)
    words = ["evaluate", "--model", str(model), "--pairs", str(tmp_path / "mine.bin"), str(tmp_path / "bad.bin")]
    assert main(words) == 2
    assert "40 images to embed, about 2 min" in capsys.readouterr().err
    monkeypatch.setattr(evaluate_verb, "_WORTH_TELLING_S", 1e9)
    main(words)
    assert "images to embed" not in capsys.readouterr().err


def test_kept_features_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    write_pairs(tmp_path / "mine.bin", Pairs([crop(number) for number in range(40)], np.arange(20) % 2 == 0))
    model = write_onnx(tmp_path / "tiny.onnx")
    plain = ["evaluate", "--model", str(model), "--pairs", str(tmp_path / "mine.bin")]
    words = [*plain, "--keep-features", str(tmp_path / "kept")]
    assert main(plain) == main(words) == 0
    first, second = capsys.readouterr().out.split("mine: ")[1:]
    assert first == second
    embedded: list[int] = []
    embed = Embedder.embed
    monkeypatch.setattr(Embedder, "embed", lambda self, *a, **k: (embedded.append(1), embed(self, *a, **k))[1])
    assert main(words) == 0
    assert capsys.readouterr().out.split("mine: ")[1] == first
    assert not embedded
    write_pairs(tmp_path / "mine.bin", Pairs([crop(number) for number in range(1, 41)], np.arange(20) % 2 == 0))
    assert main(words) == 0
    assert embedded, "another file of the same name"
    assert main(["evaluate", "--features", "x", "--out", "y.json", "--keep-features", "z"]) == 2
    assert "--keep-features is for --model" in capsys.readouterr().err
