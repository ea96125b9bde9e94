"""Faces of IJB-S out of its release, with videos that FFmpeg (by PyAV) and OpenCV encoded and sums of md5sum."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.formats.ijbs import read_ijbs
from aroface.datasets.formats.registry import detect
from aroface.datasets.images import read_image
from aroface.datasets.preparation import ijbs_faces
from aroface.datasets.preparation.align import REPORT, AlignOptions
from aroface.datasets.preparation.ijbs_faces import prepare_ijbs
from aroface.datasets.preparation.video_frames import frames
from aroface.embedding.ijbs import open_source
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE
from releases import WALK, ijbs_release, md5, opencv_video, rows, walked
from standin_detector import COLOURS, DotDetector, scrfd_file

OMIT = AlignOptions(no_face="omit")
OPTIONS = {"color": "RGB", "flip": False, "fusion": "sum", "alignment": "ground_truth_box_pad_0.1_five_point"}
FACES = [
    *(f"2/videos_4001_{frame}.jpg" for frame in range(0, 60, 10)),
    *(f"{who}/videos_4002_{frame}.jpg" for who in (10, 2) for frame in (1, 7)),
    *("2/videos_5001_3.jpg", "10/videos_5002_3.jpg", "2/img_7.jpg", "10/img_9.jpg"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ijbs_release(tmp_path_factory.mktemp("made") / "release")


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "release")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))


def test_frames_are_those_of_their_numbers():
    found = dict(frames(WALK, [0, 7, 59, 60, 61]))
    assert [*found] == [0, 7, 59]
    for number, image in found.items():
        (face,) = DotDetector().detect([image])[0]
        assert face.points == pytest.approx(np.add(TEMPLATE, [3 * number, 60]), abs=1.5)


def test_every_listed_face_is_cut_out_found_and_aligned(release: Path, tmp_path: Path):
    place, report = prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)
    assert place == tmp_path / "tree/faces"
    assert names(place) == sorted(FACES)
    assert report["counts"] == {"images": 14, "found": 14, "without_face": 0, "several_faces": 0}
    assert report["options"]["box_padding"] == 0.1
    for name in names(place):
        image = read_image(place / name)
        for (x, y), colour in zip(TEMPLATE, COLOURS, strict=True):
            assert np.abs(image[round(y), round(x)].astype(int) - colour).max() < 110, name
    assert detect(tmp_path / "tree").kind == "ijbs"
    assert not read_ijbs(tmp_path / "tree").unattributed
    source = open_source(tmp_path / "tree", OPTIONS, 112)
    assert source.rows == 14
    assert source.layout["alignment"]["detector"]["name"] == "dots"


def test_the_release_is_described_and_verified(release: Path, tmp_path: Path, capsys):
    assert main(["data", "info", str(release)]) == 0
    out = capsys.readouterr().out
    assert "release: aroface data prepare makes faces of it" in out
    assert "sightings" in out
    words = ["data", "verify", str(release), "--manifest", str(tmp_path / "m.json"), "--threads", "1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "md5          ok: 10 files as listed" in out
    assert "videos       ok: all 4 of the lists are there" in out
    (release / "videos/5001.mp4").write_bytes(b"something else")
    assert main(words) == 2
    assert "5001.mp4: its md5 is" in capsys.readouterr().err


def test_a_damaged_video_is_told_by_its_sum_before_it_is_read(release: Path, tmp_path: Path):
    (release / "videos/4001.mp4").write_bytes(WALK.read_bytes()[:9000])
    with pytest.raises(InputError, match=r"4001\.mp4: its md5 is [0-9a-f]{32}; expected .*videos\.md5; .* again"):
        prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)
    md5(release, "videos")
    with pytest.raises(InputError, match=r"4001\.mp4: (cannot be read as a video|the video has no frame)"):
        prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)


@pytest.mark.parametrize("line", ["not a sum  img/7.jpg", "d41d8cd98f00b204  img/7.jpg"])
def test_a_line_that_is_no_sum_is_named(release: Path, tmp_path: Path, line: str):
    (release / "img.md5").write_text(f"{line}\n")
    with pytest.raises(InputError, match=r"img\.md5: line 1: no md5 of a file; expected 32 hexadecimal digits"):
        prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)


def test_an_interrupted_call_goes_on_with_its_video(release: Path, tmp_path: Path, monkeypatch):
    whole, expected = prepare_ijbs(release, tmp_path / "whole", DotDetector(), OMIT)
    read = ijbs_faces.frames

    def broken(path, numbers):
        if path.name == "5001.mp4":
            raise InputError("the disk is gone", file=path)
        return read(path, numbers)

    monkeypatch.setattr(ijbs_faces, "frames", broken)
    with pytest.raises(InputError, match="the disk is gone"):
        prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)
    assert not (tmp_path / "tree/faces").exists()
    monkeypatch.setattr(ijbs_faces, "frames", read)
    rest = DotDetector()
    place, report = prepare_ijbs(release, tmp_path / "tree", rest, OMIT)
    assert len(rest.seen) == 4
    assert report == expected
    assert all((place / name).read_bytes() == (whole / name).read_bytes() for name in names(whole))
    assert not [path for path in place.parent.iterdir() if path.name.startswith(".")]
    again = DotDetector()
    assert prepare_ijbs(release, tmp_path / "tree", again, OMIT) == (place, report)
    assert again.seen == []
    with pytest.raises(InputError, match="exists, of other images or otherwise aligned"):
        prepare_ijbs(release, tmp_path / "tree", DotDetector("1" * 64), OMIT)


def test_frames_may_be_numbered_from_one_and_the_tree_lie_in_the_release(tmp_path: Path):
    release = ijbs_release(tmp_path / "release", naming="cs6", first=1)
    place, _ = prepare_ijbs(release, release, DotDetector(), OMIT, first_frame=1)
    assert "2/videos_4001_1.jpg" in names(place)
    assert len(names(place)) == 14
    assert detect(release).kind == "ijbs"
    assert open_source(release, OPTIONS, 112).rows == 14


def test_one_file_may_be_the_ground_truth_of_all_videos(release: Path, tmp_path: Path):
    folder = release / "videos_ground_truth"
    lines = []
    for path in sorted(folder.iterdir()):
        suffix = "avi" if path.stem == "4002" else "mp4"
        fields = (line.split(",") for line in path.read_text().splitlines()[1:])
        lines += [(f"videos/{path.stem}.{suffix}", *each[:6]) for each in fields]
    shutil.rmtree(folder)
    rows(folder / "all.csv", "FILENAME,FRAME,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT", lines)
    place, _ = prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)
    assert names(place) == sorted(FACES)


def test_columns_without_names_are_named_by_the_caller(release: Path, tmp_path: Path):
    for path in (release / "videos_ground_truth").iterdir():
        lines = (line.split(",") for line in path.read_text().splitlines()[1:])
        path.write_text("".join(f"{each[1]} x {' '.join(each[2:6])} {each[0]}\n" for each in lines))
    md5(release, "videos_ground_truth")
    with pytest.raises(InputError, match=r"\.csv: line 1: the line names no columns; expected SUBJECT_ID.*--columns"):
        prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)
    columns = ["subject", "-", "x", "y", "width", "height", "frame"]
    place, _ = prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT, columns=columns)
    assert names(place) == sorted(FACES)
    with pytest.raises(InputError, match="--columns: no column 'colour'; expected all of subject, frame"):
        prepare_ijbs(release, tmp_path / "other", DotDetector(), OMIT, columns=["colour"])


def test_what_is_left_out_is_told_and_bounded(release: Path, tmp_path: Path):
    head = "FRAME_NUM,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"
    lines = [(0, 2, *walked(0)), (90, 2, *walked(0)), (1, 2, 900, 900, 20, 20), (2, 2, "", "", "", "")]
    rows(release / "videos_ground_truth/4001.csv", head, lines)
    (release / "videos/5002.mp4").unlink()
    (release / "videos_ground_truth.md5").unlink()
    with pytest.raises(InputError, match=r"release: 3 of \d+ left out, most of them: .*--max-left-out"):
        prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)
    _, report = prepare_ijbs(release, tmp_path / "other", DotDetector(), AlignOptions(no_face="omit", max_left_out=0.5))
    told = {kind: each["first"] for kind, each in report["left_out"].items()}
    assert told["video or still that is not there"] == ["videos/5002"]
    assert told["box that is none of its image"] == ["2/videos_4001_1"]
    assert told["box of a frame beyond the end of its video (see --first-frame)"] == ["4001.mp4 frame 90"]


def test_crops_without_a_face_are_left_out(release: Path, tmp_path: Path):
    opencv_video(release / "videos/5002.mp4", 2, "mp4v")  # too short for its box
    rows(
        release / "videos_ground_truth/5001.csv",
        "FRAME_NUM,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT",
        [(3, 2, 200, 10, 40, 40)],
    )
    md5(release, "videos", "videos_ground_truth")
    allowed = AlignOptions(no_face="omit", max_left_out=0.5)
    place, report = prepare_ijbs(release, tmp_path / "tree", DotDetector(), allowed)
    assert report["without_face"] == ["2/videos_5001_3.jpg"]
    assert "2/videos_5001_3.jpg" not in names(place)
    assert read_ijbs(tmp_path / "tree").counts["videos"] == 4


@pytest.mark.parametrize("missing", ["videos_ground_truth", "protocols/ijbs_metadata.csv"])
def test_what_is_missing_is_named(release: Path, tmp_path: Path, missing: str):
    gone = release / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(InputError, match=r"no ground truth in it|no such file"):
        prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)


def test_a_release_without_faces_says_what_to_do(release: Path):
    with pytest.raises(InputError, match=r"faces: no such folder; aroface data prepare RELEASE --out TREE"):
        read_ijbs(release)


def test_the_report_lies_beside_the_faces(release: Path, tmp_path: Path):
    place, _ = prepare_ijbs(release, tmp_path / "tree", DotDetector(), OMIT)
    assert (place / REPORT).is_file()
    assert sorted(path.name for path in place.iterdir()) == ["10", "2", REPORT]


def test_the_command_takes_a_detector_of_the_registry_or_a_file(release: Path, tmp_path: Path, capsys):
    points = [-0.6, -0.6, 0.6, -0.6, 0, 0, -0.5, 0.6, 0.5, 0.6]
    detector = scrfd_file(tmp_path / "standin.onnx", [(32, 3, 3, 0, 0.9, [1.2] * 4, points)], side=192)
    words = ["data", "prepare", str(release), "--out", str(tmp_path / "tree"), "--data-dir", str(tmp_path)]
    assert main(words) == 2
    assert "SCRFD-2.5G: not in" in capsys.readouterr().err
    assert main([*words, "--detector", str(detector), "--threads", "1"]) == 0
    assert "faces  14 images, 0 without a face (0.00%)" in capsys.readouterr().out
    assert main([*words, "--detector", str(detector), "--columns", "frame,subject"]) == 2
    assert "--columns: not all columns are named" in capsys.readouterr().err


def test_a_box_of_any_size_takes_no_more_memory_than_an_image(release: Path, tmp_path: Path):
    head = "FRAME_NUM,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"
    boxes = [(0, 2, *walked(0)), (1, 2, 0, 0, 1e9, 1e9), (2, 2, 0, 0, "inf", 5), (3, 2, 5, 5, -4, 4)]
    rows(release / "videos_ground_truth/4001.csv", head, boxes)
    (release / "videos_ground_truth.md5").unlink()
    _, report = prepare_ijbs(release, tmp_path / "tree", DotDetector(), AlignOptions(no_face="omit", max_left_out=0.5))
    assert report["left_out"]["box that is none of its image"]["count"] == 3


@pytest.mark.parametrize("list_name", ["videos_ground_truth/4002.csv", "protocols/ijbs_metadata.csv", "videos.md5"])
def test_mangled_lists_end_in_one_line_or_in_faces(made: Path, tmp_path: Path, list_name: str):
    release = shutil.copytree(made, tmp_path / "release")
    whole, rng = (made / list_name).read_bytes(), np.random.default_rng(7)
    for trial in range(12):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 4).tolist():
            content[place] = int(rng.integers(0, 256))
        (release / list_name).write_bytes(bytes(content))
        try:
            prepare_ijbs(release, tmp_path / f"tree{trial}", DotDetector(), OMIT)
        except InputError as error:
            assert "\n" not in str(error)
