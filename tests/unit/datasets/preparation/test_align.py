"""Trees of raw crops become trees of aligned faces: names, report, going on after a break, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aroface.cli.main import main
from aroface.datasets.formats.tinyface import read_tinyface, write_tinyface
from aroface.datasets.images import encode_jpeg, read_image
from aroface.datasets.preparation import align as module
from aroface.datasets.preparation.align import REPORT, AlignOptions, align_tree, read_report
from aroface.datasets.preparation.detectors import open_detector
from aroface.datasets.registry import read_detectors
from aroface.embedding.tinyface import open_source
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE
from aroface.files import digest, sha256_file
from repository import REGISTRIES
from standin_detector import COLOURS, ONE, DotDetector, dotted, place, scrfd_file

NAME = "aligned_dots_128in192_t0.5"


def face(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    where = place(rng.uniform(0.8, 1.1), rng.uniform(-20, 20), 20, 20)
    return dotted(150, 140, where)[0]


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def is_aligned(path: Path) -> bool:
    image = read_image(path)
    x, y = np.round(TEMPLATE).astype(int).T
    return image.shape == (112, 112, 3) and bool(np.abs(image[y, x].astype(int) - COLOURS).max() < 80)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Faces, one image with none, one greyscale, one with two, one very small."""
    root = tmp_path / "raw"
    (root / "7").mkdir(parents=True)
    (root / "8" / "more").mkdir(parents=True)
    (root / "7" / "videos_1_2.jpg").write_bytes(encode_jpeg(face(1), 98))
    (root / "7" / "videos_1_10.png").write_bytes(png(face(2)))
    (root / "8" / "img_5.png").write_bytes(png(np.full((40, 30), 128, np.uint8)))
    (root / "8" / "more" / "tiny.bmp").write_bytes(cv2.imencode(".bmp", np.zeros((2, 3, 3), np.uint8))[1].tobytes())
    (root / "8" / "two.png").write_bytes(png(dotted(150, 300, place(0.5, 0, 20, 40), place(1, 0, 150, 20))[0]))
    (root / "8" / "notes.txt").write_text("not an image")
    (root / ".cache").mkdir()
    (root / ".cache" / "hidden.png").write_bytes(b"not looked at")
    return root


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_keeps_its_names_and_gets_a_report(crops: Path, tmp_path: Path):
    place, report = align_tree(crops, tmp_path / "out", DotDetector(), threads=2)
    assert place == tmp_path / "out"
    images = ["7/videos_1_10.jpg", "7/videos_1_2.jpg", "8/img_5.jpg", "8/more/tiny.jpg", "8/two.jpg"]
    assert files(place) == [*images, REPORT]
    assert [is_aligned(place / name) for name in images] == [True, True, False, False, True]
    assert report == read_report(place) == json.loads((place / REPORT).read_text())
    assert report["counts"] == {"images": 5, "found": 3, "without_face": 2, "several_faces": 1}
    assert report["without_face"] == ["8/img_5.jpg", "8/more/tiny.jpg"]
    assert report["detector"] == {"name": "dots", "sha256": "0" * 64, "threshold": 0.5}
    assert report["options"] == {"face": 128, "canvas": 192, "no_face": "crop", "jpeg_quality": 95}
    assert read_image(place / "8/img_5.jpg")[56, 56].tolist() == [128] * 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_crops_without_a_face_can_be_left_out(crops: Path, tmp_path: Path):
    place, report = align_tree(crops, tmp_path / "out", DotDetector(), AlignOptions(no_face="omit"))
    assert files(place) == ["7/videos_1_10.jpg", "7/videos_1_2.jpg", "8/two.jpg", REPORT]
    assert report["counts"]["without_face"] == 2


def test_a_broken_call_goes_on_and_ends_as_if_it_was_not(crops: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("aroface.datasets.preparation.align._CHUNK", 2)
    whole, expected = align_tree(crops, tmp_path / "whole", DotDetector())
    good = (crops / "8/two.png").read_bytes()
    (crops / "8/two.png").write_bytes(b"x" * len(good))
    broken = DotDetector()
    with pytest.raises(InputError, match=r"two\.png: cannot be read as an image"):
        align_tree(crops, tmp_path / "out", broken, threads=1)
    assert len(broken.seen) == 2
    assert not (tmp_path / "out").exists()
    (crops / "8/two.png").write_bytes(good)
    rest = DotDetector()
    place, report = align_tree(crops, tmp_path / "out", rest)
    assert len(rest.seen) == 3
    assert report == expected
    assert files(place) == files(whole)
    assert all((place / name).read_bytes() == (whole / name).read_bytes() for name in files(place))


def test_what_another_detector_has_begun_is_not_gone_on_with(crops: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("aroface.datasets.preparation.align._CHUNK", 2)
    good = (crops / "8/two.png").read_bytes()
    (crops / "8/two.png").write_bytes(b"x" * len(good))
    with pytest.raises(InputError):
        align_tree(crops, tmp_path / "out", DotDetector())
    (crops / "8/two.png").write_bytes(good)
    other = DotDetector(sha256="1" * 64)
    align_tree(crops, tmp_path / "out", other)
    assert len(other.seen) == 5


def test_a_finished_tree_is_left_as_it_is(crops: Path, tmp_path: Path):
    _, report = align_tree(crops, tmp_path / "out", DotDetector())
    again = DotDetector()
    assert align_tree(crops, tmp_path / "out", again) == (tmp_path / "out", report)
    assert again.seen == []
    with pytest.raises(InputError, match=r"out: exists, of other images or otherwise aligned; name another place"):
        align_tree(crops, tmp_path / "out", DotDetector(sha256="1" * 64))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    with pytest.raises(InputError, match="mine: exists and was not made here"):
        align_tree(crops, tmp_path / "mine", DotDetector())


def test_what_was_left_out_or_noted_stands_in_the_report(crops: Path, tmp_path: Path):
    (crops / "7" / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (crops / "8" / "link.png").symlink_to("/nowhere")
    with pytest.raises(InputError, match=r"raw: 2 of 7 left out, most of them: .*--max-left-out"):
        align_tree(crops, tmp_path / "out", DotDetector())
    _, report = align_tree(crops, tmp_path / "out", DotDetector(), AlignOptions(max_left_out=0.3))
    assert report["left_out"] == {
        "HEIC, which cannot be decoded here: convert it to JPEG, for example by heif-convert": {
            **{"count": 1, "first": ["7/photo.heic"]},
        },
        "hidden": {"count": 1, "first": [".cache"]},
        "link that leads nowhere": {"count": 1, "first": ["8/link.png"]},
        "not an image": {"count": 1, "first": ["8/notes.txt"]},
        "no face found, written as a whole": {"count": 2, "first": ["8/img_5.jpg", "8/more/tiny.jpg"]},
        "several faces, aligned by the one that fills the crop best": {"count": 1, "first": ["8/two.jpg"]},
    }
    assert report["several_faces"] == ["8/two.jpg"]


def test_faces_that_are_omitted_as_asked_are_no_part_of_the_share(crops: Path, tmp_path: Path):
    _, report = align_tree(crops, tmp_path / "out", DotDetector(), AlignOptions(no_face="omit", max_left_out=0))
    assert report["left_out"]["no face found"]["count"] == 2


@pytest.mark.parametrize("chunk", [1, 2, 256])
def test_damaged_images_are_left_out_where_that_is_asked_for(crops: Path, tmp_path: Path, monkeypatch, chunk: int):
    monkeypatch.setattr("aroface.datasets.preparation.align._CHUNK", chunk)
    for name in ("7/videos_1_2.jpg", "8/two.png"):
        (crops / name).write_bytes((crops / name).read_bytes()[:100])
    skip = AlignOptions(on_corrupt="skip")
    with pytest.raises(InputError, match=r"raw: 2 of 5 left out, most of them: cannot be decoded \(first: 7/videos"):
        align_tree(crops, tmp_path / "out", DotDetector(), skip)
    rest = DotDetector()
    place, report = align_tree(crops, tmp_path / "out", rest, AlignOptions(on_corrupt="skip", max_left_out=0.4))
    assert rest.seen == []  # what was aligned by the call before is kept
    assert files(place) == ["7/videos_1_10.jpg", "8/img_5.jpg", "8/more/tiny.jpg", REPORT]
    assert report["counts"] == {"images": 3, "found": 1, "without_face": 2, "several_faces": 0}
    assert [line.split(": ")[0] for line in report["corrupt"]] == [
        str(crops / "7/videos_1_2.jpg"),
        str(crops / "8/two.png"),
    ]
    assert report["left_out"]["cannot be decoded"] == {"count": 2, "first": ["7/videos_1_2.jpg", "8/two.jpg"]}


def test_a_call_that_may_leave_nothing_out_does_not_take_over_what_another_left_out(crops: Path, tmp_path: Path):
    (crops / "8/two.png").write_bytes(b"garbage")
    with pytest.raises(InputError, match="1 of 5 left out"):
        align_tree(crops, tmp_path / "out", DotDetector(), AlignOptions(on_corrupt="skip"))
    with pytest.raises(InputError, match=r"two\.png: cannot be read as an image .*choose --on-corrupt skip"):
        align_tree(crops, tmp_path / "out", DotDetector())


def test_the_key_of_a_finished_tree_is_what_it_was(crops: Path):
    """A tree that was aligned before stays finished: what may be left out makes no other crops."""
    images = {"7/videos_1_2.jpg": crops / "7/videos_1_2.jpg"}
    size = images["7/videos_1_2.jpg"].stat().st_size
    plain = {"setting": {"face": 128, "canvas": 192}, "no_face": "crop"}
    facts = {"name": "dots", "sha256": "0" * 64, "threshold": 0.5}
    expected = digest([1, [["7/videos_1_2.jpg", size]], facts, plain, 95])
    for options in (AlignOptions(), AlignOptions(on_corrupt="skip", max_left_out=0.5)):
        assert module._key(images, DotDetector(), options) == expected


def test_photographs_are_turned_before_they_are_searched(tmp_path: Path):
    (tmp_path / "raw").mkdir()
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(np.rot90(face(1))).save(tmp_path / "raw/1.jpg", quality=98, exif=tag.tobytes())
    place, _ = align_tree(tmp_path / "raw", tmp_path / "out", DotDetector())
    assert is_aligned(place / "1.jpg")


def test_folders_that_do_not_do_are_named(crops: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no such folder"):
        align_tree(tmp_path / "nowhere", tmp_path / "out", DotDetector())
    with pytest.raises(InputError, match="lies in the folder that is read"):
        align_tree(crops, crops / "out", DotDetector())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no image in it"):
        align_tree(tmp_path / "empty", tmp_path / "out", DotDetector())
    (crops / "7" / "videos_1_2.png").write_bytes(png(face(3)))
    with pytest.raises(InputError, match=r"videos_1_2\.png: videos_1_2\.jpg would become 7/videos_1_2\.jpg as well"):
        align_tree(crops, tmp_path / "out", DotDetector())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    def jpegs(*numbers):
        return [encode_jpeg(face(number), 98) for number in numbers]

    blank = encode_jpeg(np.full((20, 16, 3), 99, np.uint8), 98)
    gallery = list(zip((4, 4, 11), jpegs(0, 1, 2), strict=True))
    write_tinyface(tmp_path / "tiny", gallery, [(11, jpegs(3)[0]), (4, blank)], [*jpegs(5, 6), blank])
    return tmp_path / "tiny"


def spec(alignment: str) -> dict[str, object]:
    return {"color": "RGB", "flip": True, "fusion": "sum", "alignment": alignment}


@pytest.mark.parametrize("same", [True, False])
def test_tinyface_is_aligned_under_the_name_that_options_must_say(tree: Path, tmp_path: Path, same: bool):
    out = tree if same else tmp_path / "aligned"
    place, report = align_tree(tree, out, DotDetector())
    assert place == out / NAME
    assert report["name"] == NAME
    assert report["without_face"] == ["Probe/4_2.jpg", "Gallery_Distractor/3.jpg"]
    found = read_tinyface(out)
    assert found.crops == NAME
    assert [path.name for path in found.gallery] == ["4_1.jpg", "4_2.jpg", "11_3.jpg"]
    assert all(map(is_aligned, found.gallery))
    source = open_source(out, spec(NAME), 112)
    assert source.rows == 8
    assert source.images(0, 8).shape == (8, 112, 112, 3)
    assert source.layout["alignment"]["counts"]["without_face"] == 2
    assert source.layout["alignment"]["detector"]["sha256"] == "0" * 64
    for wrong in ("five_point", "aligned_pad_0.1_pad_high", "aligned_dots_128in192_t0.6"):
        with pytest.raises(InputError, match=f"images are taken from {NAME}; expected alignment '{wrong}'"):
            open_source(out, spec(wrong), 112)


def test_of_several_alignments_the_options_choose(tree: Path):
    align_tree(tree, tree, DotDetector())
    (tree / NAME).rename(tree / "aligned_pad_0.1_pad_high")
    (tree / "aligned_pad_0.1_pad_high" / REPORT).unlink()
    align_tree(tree, tree, DotDetector())
    assert open_source(tree, spec("aligned_pad_0.1_pad_high"), 112).layout == {}
    assert "alignment" in open_source(tree, spec(NAME), 112).layout
    with pytest.raises(InputError, match=f"taken from aligned_pad_0.1_pad_high or {NAME}; expected alignment 'raw'"):
        open_source(tree, spec("raw"), 112)


def test_an_alignment_under_another_name_is_refused(tree: Path):
    align_tree(tree, tree, DotDetector())
    (tree / NAME).rename(tree / "aligned_by_hand")
    with pytest.raises(InputError, match=f"aligned_by_hand: the folder has another name than .*; expected {NAME}"):
        open_source(tree, spec("aligned_by_hand"), 112)


def test_of_tinyface_only_distractors_can_be_left_out(tree: Path, tmp_path: Path):
    distractor = tree / "tinyface/Testing_Set/Gallery_Distractor/2.jpg"
    distractor.write_bytes(distractor.read_bytes()[:200])
    skip = AlignOptions(on_corrupt="skip", max_left_out=0.2)
    _, report = align_tree(tree, tmp_path / "out", DotDetector(), skip)
    assert len(report["corrupt"]) == 1
    assert [path.name for path in read_tinyface(tmp_path / "out").distractors] == ["1.jpg", "3.jpg"]
    probe = tree / "tinyface/Testing_Set/Probe/11_1.jpg"
    probe.write_bytes(probe.read_bytes()[:200])
    with pytest.raises(InputError, match=r"Probe/11_1\.jpg: cannot be read as an image .*the lists name it"):
        align_tree(tree, tmp_path / "more", DotDetector(), skip)


def test_tinyface_keeps_every_image(tree: Path, tmp_path: Path):
    with pytest.raises(InputError, match="TinyFace's lists name every image"):
        align_tree(tree, tmp_path / "out", DotDetector(), AlignOptions(no_face="omit"))


def test_registered_detectors_are_checked_before_they_are_used(tmp_path: Path):
    with pytest.raises(InputError, match=r"no detector 'dlib'; expected a path FILE\.onnx or one of scrfd_2\.5g"):
        open_detector("dlib", tmp_path, registries=REGISTRIES)
    with pytest.raises(InputError, match=r"SCRFD-2\.5G: not in .*; aroface data fetch scrfd_2\.5g --data-dir"):
        open_detector("scrfd_2.5g", tmp_path, registries=REGISTRIES)
    (tmp_path / "detectors").mkdir()
    path = scrfd_file(tmp_path / "detectors" / "scrfd_2.5g.onnx", [ONE])
    with pytest.raises(InputError, match=rf"scrfd_2\.5g\.onnx: its sha256 is {sha256_file(path)}; expected 9c162a"):
        open_detector("scrfd_2.5g", tmp_path, registries=REGISTRIES)
    assert open_detector(str(path), tmp_path).facts["sha256"] == sha256_file(path)
    with pytest.raises(InputError, match="threshold 2; expected"):
        open_detector(str(path), tmp_path, threshold=2)


def test_every_registered_detector_is_pinned():
    for entry in read_detectors(REGISTRIES / "detectors.yaml").values():
        assert [download.file for download in entry.downloads] == list(entry.files)
        assert all(download.sha256 for download in entry.downloads)


def test_the_verb_aligns_with_a_file(crops: Path, tmp_path: Path, capsys):
    detector = scrfd_file(tmp_path / "made_up.onnx", [ONE], side=192)
    command = ["data", "prepare", str(crops), "--align", "--detector", str(detector), "--out", str(tmp_path / "out")]
    assert main([*command, "--threshold", "0.6", "--threads", "1"]) == 0
    assert "out  5 images, 0 without a face (0.00%), 0 with several" in capsys.readouterr().out
    report = read_report(tmp_path / "out")
    assert report["name"] == "aligned_made_up_128in192_t0.6"
    assert report["detector"]["sha256"] == sha256_file(detector)
    assert main([*command[:4], "--out", str(tmp_path / "other"), "--data-dir", str(tmp_path)]) == 2
    assert "aroface data fetch scrfd_2.5g" in capsys.readouterr().err
    assert main([*command, "--shuffle"]) == 2
    assert "--shuffle is for training sets" in capsys.readouterr().err
    for option in (["--resize-crops"], ["--people-depth", "2"], ["--lost-people", "omit"]):
        assert main([*command, *option]) == 2
        assert f"{option[0]} is for training sets" in capsys.readouterr().err


def test_a_damaged_report_is_one_line(crops: Path, tmp_path: Path):
    place, report = align_tree(crops, tmp_path / "out", DotDetector())
    (place / REPORT).write_text(json.dumps({**report, "counts": {}}))
    with pytest.raises(InputError, match=r"alignment\.json: counts: .*required property"):
        read_report(place)
