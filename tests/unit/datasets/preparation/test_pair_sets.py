"""Own sets of pairs: crops, photographs, lists and folders, and how well the people behind the pairs are known."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.formats.pair_people import people_path, read_pair_people
from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.images import encode_jpeg
from aroface.datasets.manifest import read_manifest
from aroface.datasets.preparation import pair_sets as module
from aroface.datasets.preparation.pair_sets import PairSetOptions, make_pair_set
from aroface.datasets.preparation.photograph_faces import SEVERAL
from aroface.embedding import sensitivity
from aroface.embedding.alignment_sweep import choose_pairs
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE
from crops import crop, png
from external_models import write_onnx
from standin_detector import COLOURS, DotDetector, dotted, place

PEOPLE, IMAGES = 20, 3


def load_bin(path: Path, image_size: tuple[int, int]) -> tuple[np.ndarray, list[bool]]:
    """Transcription of ``load_bin`` of insightface's arcface_torch/eval/verification.py, with OpenCV for MXNet."""
    with open(path, "rb") as file:
        bins, issame_list = pickle.load(file)
    data = np.empty((len(issame_list) * 2, 3, *image_size), np.float32)
    for idx in range(len(issame_list) * 2):
        img = cv2.imdecode(np.frombuffer(bins[idx], np.uint8), cv2.IMREAD_COLOR_RGB)
        assert img.shape[1] == image_size[0]
        data[idx] = img.transpose(2, 0, 1)
    return data, issame_list


def rows_of(out: Path) -> list[dict[str, str]]:
    with open(people_path(out), newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Crops of people; the last image of each is a PNG file."""
    root = tmp_path / "crops"
    for person in range(PEOPLE):
        (root / f"p{person:02}").mkdir(parents=True)
        for image in range(IMAGES):
            encode, ending = (png, "png") if image == IMAGES - 1 else (crop, "jpg")
            (root / f"p{person:02}" / f"{image}.{ending}").write_bytes(encode(10 * person + image))
    return root


def listed(folder: Path, name: str = "list.csv", *, shift: int = 1) -> Path:
    """A list beside the people's folders: two genuine pairs each, and as many of neighbours."""
    lines = ["image1,image2,same"]
    for person in range(PEOPLE):
        other = person + shift if person % (2 * shift) < shift else person - shift
        one = f"p{person:02}"
        lines += [f"{one}/0.jpg,{one}/1.jpg,1", f"{one}/0.jpg,{one}/2.png,1"]
        lines += [f"{one}/{image}.jpg,p{other:02}/{1 - image}.jpg,0" for image in (0, 1) if person < other]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_folders_of_people_become_a_set_that_insightface_reads(folder: Path, tmp_path: Path):
    out = tmp_path / "mine.bin"
    made = make_pair_set(folder, out)
    images, same = load_bin(out, (112, 112))
    assert (made.pairs, made.genuine, made.people, made.shared) == (len(same), sum(same), PEOPLE, 0)
    stored, rows = read_pairs(out), rows_of(out)
    for number, row in enumerate(rows):
        assert int(row["pair"]) == number
        assert (row["first_person"] == row["second_person"]) == same[number] == (row["same"] == "1")
        for side, offset in (("first", 0), ("second", 1)):
            path = folder / row[side]
            assert path.parent.name == row[f"{side}_person"]
            assert (path.read_bytes() == stored.images[2 * number + offset]) == (path.suffix == ".jpg")
            shown = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB).transpose(2, 0, 1)
            assert np.abs(images[2 * number + offset] - shown).mean() < 6
    manifest = read_manifest(out)
    assert manifest["counts"] == {"pairs": len(same), "identities": PEOPLE}
    assert sorted(manifest["files"]) == ["mine.bin", "mine.bin.people.csv"]


def test_equal_calls_write_equal_files(folder: Path, tmp_path: Path):
    outs = [tmp_path / name / "mine.bin" for name in "ab"]
    for out in outs:
        make_pair_set(folder, out, PairSetOptions(pairs=40, seed=4))
    for path in (lambda out: out, people_path):
        assert path(outs[0]).read_bytes() == path(outs[1]).read_bytes()
    make_pair_set(folder, outs[1], PairSetOptions(pairs=40, seed=5))  # in place of what was made here
    assert outs[0].read_bytes() != outs[1].read_bytes()


def test_a_list_is_taken_whole_and_its_people_come_from_the_folders(folder: Path, tmp_path: Path):
    made = make_pair_set(listed(folder), tmp_path / "mine.bin")
    assert (made.pairs, made.genuine, made.people, made.shared) == (60, 40, PEOPLE, 0)
    assert made.origin == "named by the images' folders"
    wanted = {tuple(line.split(",")) for line in (folder / "list.csv").read_text().splitlines()[1:]}
    assert {(row["first"], row["second"], row["same"]) for row in rows_of(tmp_path / "mine.bin")} == wanted


def test_folds_that_share_people_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = listed(folder)
    ring = [f"p{person:02}/0.jpg,p{(person + 1) % PEOPLE:02}/0.jpg,0" for person in range(PEOPLE)]
    path.write_text(path.read_text() + "\n".join(ring) + "\n")
    assert main(["data", "pairs", str(path), "--out", str(tmp_path / "mine.bin")]) == 0
    assert f"10 folds that do not keep people apart: {PEOPLE} of {PEOPLE} are in several" in capsys.readouterr().out


def flat(folder: Path, labels: str) -> Path:
    """Ten images in one folder, and a list of pairs of them with these labels: 0-1, 1-2, 0-2, then 3-4, 4-5 …"""
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(crop(number))
    ends = [(0, 1), (1, 2), (0, 2), *((number, number + 1) for number in range(3, 11))]
    rows = [f"{one}.jpg {other}.jpg {label}" for (one, other), label in zip(ends, labels, strict=True)]
    (folder / "list.txt").write_text("\n".join(rows) + "\n")
    return folder / "list.txt"


def test_people_are_joined_by_genuine_pairs_where_nobody_names_them(tmp_path: Path):
    made = make_pair_set(flat(tmp_path / "flat", "11100000000"), tmp_path / "mine.bin")
    assert made.origin == "joined by genuine pairs and shared images"
    assert made.people == 10
    same = read_pairs(tmp_path / "mine.bin").same
    people = read_pair_people(tmp_path / "mine.bin", same)
    assert people is not None
    assert np.array_equal(people[:, 0] == people[:, 1], same)


def test_labels_that_contradict_each_other_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"line 3: 0\.jpg and 2\.jpg are different people, but"):
        make_pair_set(flat(tmp_path / "flat", "11000000000"), tmp_path / "mine.bin")


def test_missing_images_are_left_out_by_name_and_bounded(folder: Path, tmp_path: Path):
    path = listed(folder)
    (folder / "p03" / "1.jpg").unlink()
    with pytest.raises(InputError, match=r"1 of 60 left out, most of them: no such file \(first: .*p03/1\.jpg\)"):
        make_pair_set(path, tmp_path / "mine.bin", PairSetOptions(max_left_out=0.01))
    made = make_pair_set(path, tmp_path / "mine.bin")
    lost = [line for line in path.read_text().splitlines() if "p03/1.jpg" in line]
    assert made.pairs == 60 - len(lost)
    assert made.omissions.summary()["pair of an image that is left out"]["count"] == len(lost) > 1
    assert read_manifest(tmp_path / "mine.bin")["left_out"]["no such file"]["count"] == 1


def test_damaged_crops_are_left_out_by_option(folder: Path, tmp_path: Path):
    damaged = folder / "p03" / "1.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    with pytest.raises(InputError, match=r"p03/1\.jpg"):
        make_pair_set(listed(folder), tmp_path / "mine.bin")
    assert not (tmp_path / "mine.bin").exists()
    made = make_pair_set(listed(folder), tmp_path / "mine.bin", PairSetOptions(on_corrupt="skip"))
    assert [str(damaged) in reason for reason in made.corrupt] == [True]


def test_lost_people_are_an_error_unless_allowed(folder: Path, tmp_path: Path):
    for path in (folder / "p03").iterdir():
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"p03: .*--lost-people omit"):
        make_pair_set(folder, tmp_path / "mine.bin", PairSetOptions(on_corrupt="skip", max_left_out=0.1))
    how = PairSetOptions(on_corrupt="skip", max_left_out=0.1, lost_people="omit")
    made = make_pair_set(folder, tmp_path / "mine.bin", how)
    assert made.omissions.summary()["person without an image"]["first"] == ["p03"]
    assert "p03" not in people_path(tmp_path / "mine.bin").read_text()


def test_crops_that_are_not_aligned_are_refused(folder: Path, tmp_path: Path):
    (folder / "p03" / "1.jpg").write_bytes(crop(1, 160))
    with pytest.raises(InputError, match=r"160×160 pixels.*data pairs --detector"):
        make_pair_set(folder, tmp_path / "mine.bin")
    make_pair_set(folder, tmp_path / "mine.bin", PairSetOptions(resize_crops=True))


@pytest.mark.parametrize("name", ["mine.pkl", "own.bin"])
def test_only_sets_that_were_made_here_are_replaced(folder: Path, tmp_path: Path, name: str):
    (tmp_path / "own.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"was not made here|expected NAME"):
        make_pair_set(folder, tmp_path / name)
    assert (tmp_path / "own.bin").read_bytes() == b"mine"


@pytest.mark.parametrize(("source", "option"), [("list.csv", {"people_depth": 1}), (".", {"images": Path()})])
def test_options_of_the_other_source_are_refused(folder: Path, tmp_path: Path, source: str, option: dict):
    listed(folder)
    with pytest.raises(InputError, match=f"--{next(iter(option)).replace('_', '-')} is for"):
        make_pair_set(folder / source, tmp_path / "mine.bin", PairSetOptions(**option))


# Photographs

LOOSE = PairSetOptions(max_left_out=0.1)


def photographs(root: Path) -> Path:
    """Faces of dots somewhere in larger pictures; one picture has two, and one has none."""
    rng = np.random.default_rng(0)
    for person in range(PEOPLE // 2):
        (root / f"p{person:02}").mkdir(parents=True)
        for image in range(IMAGES):
            places = [place(1.2, rng.uniform(-20, 20), rng.uniform(60, 150), rng.uniform(60, 100))]
            if (person, image) == (1, 0):
                places.append(place(0.5, 0, 330, 20))
            if (person, image) == (2, 2):
                places = []
            (root / f"p{person:02}" / f"{image}.jpg").write_bytes(encode_jpeg(dotted(300, 400, *places)[0], 95))
    return root


def test_photographs_are_aligned_and_what_has_no_face_is_told(tmp_path: Path):
    out = tmp_path / "mine.bin"
    made = make_pair_set(photographs(tmp_path / "photographs"), out, LOOSE, detector=DotDetector())
    summary = made.omissions.summary()
    assert summary["no face found"]["first"] == ["p02/2.jpg"]
    assert summary[SEVERAL["largest"]]["first"] == ["p01/0.jpg"]
    images, _ = load_bin(out, (112, 112))
    columns, rows = np.rint(TEMPLATE).astype(int).T
    for image, row in zip(images[0::2], rows_of(out), strict=True):
        if row["first"] != "p01/0.jpg":
            assert np.abs(image[:, rows, columns].T - COLOURS).max() < 100
    assert not list(tmp_path.glob(".mine*"))


def test_an_interrupted_call_does_not_detect_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, out = photographs(tmp_path / "photographs"), tmp_path / "mine.bin"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "write_pairs", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        make_pair_set(root, out, LOOSE, detector=DotDetector())
    again = DotDetector()
    make_pair_set(root, out, LOOSE, detector=again)
    assert not again.seen
    make_pair_set(root, tmp_path / "new.bin", LOOSE, detector=again)
    assert len(again.seen) == PEOPLE // 2 * IMAGES + 1, "that without a face is shown a second time, as a crop"
    assert (tmp_path / "new.bin").read_bytes() == out.read_bytes()


def test_work_on_other_images_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, out = photographs(tmp_path / "photographs"), tmp_path / "mine.bin"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "write_pairs", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        make_pair_set(root, out, LOOSE, detector=DotDetector())
    (root / "p00" / "0.jpg").unlink()
    made = make_pair_set(root, out, LOOSE, detector=DotDetector())
    assert made.images <= PEOPLE // 2 * IMAGES - 2
    assert not list(tmp_path.glob(".mine*"))


# Evaluation


def test_a_set_is_evaluated_at_once_and_its_people_are_known(folder: Path, tmp_path: Path):
    out, record = tmp_path / "mine.bin", tmp_path / "record.json"
    assert main(["data", "pairs", str(listed(folder, shift=5)), "--out", str(out)]) == 0
    model = write_onnx(tmp_path / "model.onnx")
    command = ["evaluate", "--model", str(model), "--device", "cpu", "--threads", "1", "--out", str(record)]
    assert main([*command, "--pairs", str(out)]) == 0
    assert json.loads(record.read_text())["counts"] == {"pairs": 60, "genuine": 40, "impostors": 20, "people": PEOPLE}


def test_people_in_several_pairs_without_a_shared_image_are_one(folder: Path, tmp_path: Path):
    """Two pairs of one person that share no image are of two people, unless the set names them."""
    lines = [f"p{n:02}/0.jpg,p{n + 10:02}/0.jpg,0\np{n:02}/1.jpg,p{n:02}/2.png,1" for n in range(10)]
    (folder / "list.csv").write_text("image1,image2,same\n" + "\n".join(lines) + "\n")
    out = tmp_path / "mine.bin"
    make_pair_set(folder / "list.csv", out)
    model = write_onnx(tmp_path / "model.onnx")
    counts = []
    for data in (out, tmp_path / "alone.bin"):
        (tmp_path / "alone.bin").write_bytes(out.read_bytes())
        record = tmp_path / f"{data.stem}.json"
        assert main(["evaluate", "--model", str(model), "--pairs", str(data), "--out", str(record)]) == 0
        counts.append(json.loads(record.read_text())["counts"]["people"])
    assert counts == [20, 30]


def test_misaligned_pairs_have_the_same_people(folder: Path, tmp_path: Path):
    out = tmp_path / "mine.bin"
    make_pair_set(folder, out)
    sweep = {"qualities": ["hq"], "scale": [0.1], "degrees": [], "shift": [], "joint": []}
    source = sensitivity.open_source(out, {**sensitivity.DEFAULTS, **sweep, "max_pairs": 30}, 112)
    same = read_pairs(out).same
    named = read_pair_people(out, same)
    assert named is not None
    assert len(source.arrays["people"]) == 30
    assert np.array_equal(source.arrays["people"], named[choose_pairs(same, 30)])


def test_people_of_other_pairs_are_refused(folder: Path, tmp_path: Path):
    make_pair_set(folder, tmp_path / "mine.bin")
    same = read_pairs(tmp_path / "mine.bin").same
    for labels in (~same, same[:-1]):
        with pytest.raises(InputError, match=r"mine\.bin\.people\.csv: .*it is of other pairs"):
            read_pair_people(tmp_path / "mine.bin", labels)
    people_path(tmp_path / "mine.bin").write_text("pair,fold\n")
    with pytest.raises(InputError, match="line 1"):
        read_pair_people(tmp_path / "mine.bin", same)
    assert read_pair_people(tmp_path / "other.bin", same) is None
