from __future__ import annotations

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aroface.cli.main import main
from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.formats.tinyface import read_tinyface
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.images import encode_jpeg, read_image
from aroface.datasets.manifest import manifest_hash, read_manifest
from aroface.datasets.preparation import detected_landmarks
from aroface.datasets.preparation.pack import PackOptions, pack
from aroface.datasets.preparation.pack_options import packed_identities
from aroface.datasets.preparation.photographs import _averaged
from aroface.datasets.preparation.prepare import PrepareOptions, prepare
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE, similarity_matrix, transform, warp
from decoded import decode_images
from standin_detector import COLOURS, DotDetector, dotted

PEOPLE, IMAGES, SINGLES = 10, 4, 3
SMALL = {"test_fraction": 0.5, "folds": 2, "singletons": "distractors"}


def picture(person: int, image: int) -> np.ndarray:
    """Each person a colour pattern, each image a shade of it."""
    coarse = np.random.default_rng(person).integers(30, 200, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (112, 112), interpolation=cv2.INTER_CUBIC) // 2 + np.uint8(10 * image)


def person_of(image: np.ndarray) -> int:
    def pattern(pixels: np.ndarray) -> np.ndarray:
        small = cv2.resize(pixels, (5, 5), interpolation=cv2.INTER_AREA).astype(float)
        return small - small.mean(axis=(0, 1))

    known = [np.abs(pattern(picture(person, 0)) - pattern(image)).sum() for person in range(PEOPLE + SINGLES)]
    return int(np.argmin(known))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    for person in range(PEOPLE + SINGLES):
        (root / f"person {person:02}").mkdir()
        for image in range(IMAGES if person < PEOPLE else 1):
            (root / f"person {person:02}" / f"{image}.jpg").write_bytes(encode_jpeg(picture(person, image), 90))
    return root


@pytest.fixture(scope="module")
def package(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "mine"
    pack(folder, out, PackOptions(**SMALL))
    return out


def people_in_training(package: Path) -> set[int]:
    found = TrainingSet.open(package / "train")
    return {person_of(image) for image in decode_images([found.jpeg(i) for i in range(len(found))])}


def people_in_pairs(package: Path) -> set[int]:
    return {person_of(image) for image in decode_images(read_pairs(package / "pairs.bin").images)}


def test_training_and_test_people_are_disjoint_and_together_all(package: Path):
    assert people_in_training(package) | people_in_pairs(package) == set(range(PEOPLE))
    assert not people_in_training(package) & people_in_pairs(package)


def test_labels_are_people_and_images_are_taken_byte_for_byte(package: Path, folder: Path):
    found = TrainingSet.open(package / "train")
    assert (len(found), found.num_classes) == (20, 5)
    originals = {path.read_bytes() for path in folder.glob("*/*.jpg")}
    assert {found.jpeg(position) for position in range(20)} <= originals
    people = [person_of(image) for image in decode_images([found.jpeg(position) for position in range(20)])]
    assert people == [person for person in sorted(people_in_training(package)) for _ in range(IMAGES)]


def test_pairs_say_the_truth(package: Path):
    pairs = read_pairs(package / "pairs.bin")
    people = [person_of(image) for image in decode_images(pairs.images)]
    assert [one == other for one, other in zip(people[0::2], people[1::2], strict=True)] == pairs.same.tolist()
    assert len(pairs.same) == 60


def test_the_low_quality_pairs_are_the_same_pairs(package: Path):
    clean, low = read_pairs(package / "pairs.bin"), read_pairs(package / "pairs_lq.bin")
    assert low.images[0::2] == clean.images[0::2]
    assert not set(low.images[1::2]) & set(clean.images)
    assert low.same.tolist() == clean.same.tolist()


def test_probes_are_of_low_resolution_and_distractors_are_people_of_one_image(package: Path):
    found = read_tinyface(package / "tinyface")
    for paths, labels in ((found.gallery, found.gallery_labels), (found.probes, found.probe_labels)):
        people = [person_of(read_image(path)) for path in paths]
        assert people == [sorted(people_in_pairs(package))[label] for label in labels]
    assert (len(found.gallery), len(found.probes)) == (10, 10)
    assert {person_of(read_image(path)) for path in found.distractors} == set(range(PEOPLE, PEOPLE + SINGLES))


def test_every_part_has_the_manifest_that_was_planned(package: Path, folder: Path):
    planned = packed_identities(folder, PackOptions(**SMALL))
    places = {"train": "train", "pairs": "pairs.bin", "pairs_lq": "pairs_lq.bin", "tinyface": "tinyface", "all": "."}
    assert planned.keys() == places.keys()
    for part, place in places.items():
        assert manifest_hash(read_manifest(package / place)["identity"]) == manifest_hash(planned[part])
    assert read_manifest(package)["counts"] == {
        "left_out": 0,
        "train_identities": 5,
        "train_images": 20,
        "test_identities": 5,
        "pairs": 60,
        "gallery": 10,
        "probes": 10,
        "distractors": 3,
    }


def test_packing_again_gives_the_same_bytes_and_another_seed_other_people(package: Path, folder: Path, tmp_path: Path):
    for seed in (0, 1):
        pack(folder, tmp_path / f"{seed}", PackOptions(**SMALL, seed=seed))
    assert read_manifest(tmp_path / "0")["files"] == read_manifest(package)["files"]
    assert people_in_training(tmp_path / "1") != people_in_training(package)


def test_an_option_changes_the_identity_of_what_it_matters_to(folder: Path):
    before = packed_identities(folder, PackOptions(**SMALL))
    for option, value, touched in (
        ("probe_resolution", 16, {"tinyface"}),
        ("alignment", {"model": "older"}, {"pairs_lq"}),
        ("pairs", 20, {"pairs", "pairs_lq"}),
        ("min_images", 3, {"train"}),
        ("seed", 5, {"train", "pairs", "pairs_lq", "tinyface"}),
    ):
        after = packed_identities(folder, PackOptions(**{**SMALL, option: value}))
        assert {part for part in before if before[part] != after[part]} == {*touched, "all"}


def test_all_or_nobody_can_be_tested(folder: Path, tmp_path: Path):
    pack(folder, tmp_path / "all", PackOptions(**{**SMALL, "test_fraction": 1.0}))
    assert people_in_pairs(tmp_path / "all") == set(range(PEOPLE))
    assert not (tmp_path / "all" / "train").exists()
    pack(folder, tmp_path / "nobody", PackOptions(**{**SMALL, "test_fraction": 0.0}))
    assert people_in_training(tmp_path / "nobody") == set(range(PEOPLE))
    assert sorted(path.name for path in (tmp_path / "nobody").iterdir()) == ["manifest.json", "train"]


def test_people_of_few_images_are_left_out_of_the_training(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="0 people to train on; expected 2 or more; lower test_fraction or min_images"):
        pack(folder, tmp_path / "out", PackOptions(**SMALL, min_images=IMAGES + 1))
    assert not (tmp_path / "out").exists()


def test_a_person_with_one_image_is_an_error_unless_it_may_be_a_distractor(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"person 10: one image only, as of 3 of 13 people; .*singletons: distractors"):
        pack(folder, tmp_path / "out")


def test_too_few_pairs_are_an_error(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="5 people to test give 0 pairs for 100 folds; expected at least 10 pairs"):
        pack(folder, tmp_path / "out", PackOptions(**{**SMALL, "folds": 100}))


def test_raw_images_are_packed_aligned(folder: Path, package: Path, tmp_path: Path):
    placed = similarity_matrix(1.5, -15, 0.7, 0.6)[0]
    rows = []
    for path in sorted(folder.glob("*/*.jpg")):
        raw = tmp_path / "raw" / path.parent.name / f"{path.stem}.png"
        raw.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(raw), warp(read_image(path), placed, 320)[:, :, ::-1])
        rows.append([path.parent.name, path.stem, *transform(placed, TEMPLATE).reshape(-1)])
    points = tmp_path / "points.csv"
    with open(points, "w", newline="") as file:
        columns = [f"{point}_{axis}" for point in ("le", "re", "nose", "lm", "rm") for axis in "xy"]
        csv.writer(file).writerows([["identity", "image", *columns], *rows])
    pack(tmp_path / "raw", tmp_path / "out", PackOptions.from_mapping({**SMALL, "landmarks": points}))
    one, other = (decode_images(read_pairs(place / "pairs.bin").images) for place in (package, tmp_path / "out"))
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert np.abs(one[inner].astype(int) - other[inner]).mean() < 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_fractoin": 0.5}, r"folder\.yaml: pack: Additional properties .*test_fractoin"),
        (
            {"test_fraction": "0.5"},
            r"pack\.test_fraction: '0.5' is not of type 'number'; write the number without quotes",
        ),
        ({"min_images": 1}, r"pack\.min_images: 1 is less than the minimum of 2"),
        ({"resolution": [24, 14]}, r"folder\.yaml: pack: the resolution 24, 14 ends below its start"),
        ({"probe_alignment": {"model": "retina"}}, r"pack\.probe_alignment"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        PackOptions.from_mapping(options, file="folder.yaml")


def test_a_missing_landmarks_file_is_named(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"points\.csv: no such file"):
        packed_identities(folder, PackOptions(landmarks="points.csv"))


def named(folder: Path) -> dict[str, dict[str, object]]:
    return packed_identities(folder, PackOptions(**SMALL))


def test_identities_are_what_they_were_before_more_images_were_found(folder: Path, tmp_path: Path):
    """A training is named after them: neither an allowance nor a file that is left out makes another."""
    expected = named(folder)
    assert expected["all"]["options"].keys() == {
        *("landmarks", "seed", "test_fraction", "min_images", "singletons", "jpeg_quality", "pairs", "folds"),
        *("degradation", "resolution", "alignment", "which", "probe_resolution", "probe_alignment"),
        *("gallery_per_identity", "probes_per_identity"),
    }
    assert {identity["semantics"] for identity in expected.values()} == {1}
    allowed = {"on_corrupt": "skip", "max_left_out": 1.0, "lost_people": "omit", "resize_crops": True}
    assert packed_identities(folder, PackOptions(**SMALL, **allowed, max_suspect_landmarks=1.0)) == expected
    again = Path(shutil.copytree(folder, tmp_path / "again"))
    assert named(again) == expected
    (again / "person 00" / "notes.txt").write_text("no image")
    assert {identity["semantics"] for identity in named(again).values()} == {1}
    deeper = again / "person 00" / "2019"
    deeper.mkdir()
    (deeper / "9.jpg").write_bytes(encode_jpeg(picture(0, 3), 90))
    assert {identity["semantics"] for identity in named(again).values()} == {2}


def test_turned_photographs_give_other_identities(folder: Path, tmp_path: Path):
    again = Path(shutil.copytree(folder, tmp_path / "again"))
    points = tmp_path / "points.csv"
    points.write_text("only its hash counts here")
    exif, stored = (PackOptions(**SMALL, landmarks=str(points), orientation=frame) for frame in ("exif", "stored"))
    assert packed_identities(again, exif) == packed_identities(again, stored)
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(picture(0, 0)).save(again / "person 00" / "0.jpg", exif=tag.tobytes())
    assert packed_identities(again, exif)["train"] != packed_identities(again, stored)["train"]
    assert packed_identities(again, PackOptions(**SMALL))["train"]["options"].keys() == (
        packed_identities(again, stored)["train"]["options"].keys()
    )


@pytest.mark.parametrize("size", [(160, 160), (250, 250), (112, 96)])
def test_images_that_are_not_aligned_are_refused_as_prepare_refuses_them(
    folder: Path, tmp_path: Path, size: tuple[int, int]
):
    again = Path(shutil.copytree(folder, tmp_path / "again"))
    for path in sorted(again.glob("*/*.jpg"))[1:3]:
        path.write_bytes(encode_jpeg(cv2.resize(read_image(path), size), 90))
    expected = rf"person 00/1\.jpg: an image of {size[0]}×{size[1]} pixels, one of 2 of 43 that are not aligned; expec"
    with pytest.raises(InputError, match=expected):
        pack(again, tmp_path / "out", PackOptions(**SMALL))
    with pytest.raises(InputError, match=rf"1\.jpg: an image of {size[0]}×{size[1]} pixels; expected an aligned crop"):
        prepare(again, tmp_path / "out")
    resized = PackOptions(**SMALL, resize_crops=True)
    if size[0] == size[1]:
        assert pack(again, tmp_path / "out", resized).images == 43
        assert prepare(again, tmp_path / "set", PrepareOptions(resize_crops=True)).images == 43
    else:
        with pytest.raises(InputError, match="an image of 112×96 pixels"):
            pack(again, tmp_path / "out", resized)


def test_what_is_left_out_stands_in_the_manifest_and_on_the_terminal(folder: Path, tmp_path: Path, capsys):
    again = Path(shutil.copytree(folder, tmp_path / "again"))
    (again / "person 01" / "0.jpg").write_bytes(b"\xff\xd8\xff and no more")
    (again / "person 02" / "9.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (again / "person 02" / "notes.txt").write_text("no image")
    words = ["data", "pack", str(again), "--out", str(tmp_path / "out"), "--singletons", "distractors"]
    words += ["--test-fraction", "0.5"]
    options = tmp_path / "options.yaml"
    options.write_text("folds: 2")
    words += ["--options", str(options)]
    assert main(words) == 2
    assert "1 of 44 left out, most of them: HEIC, which cannot be decoded here" in capsys.readouterr().err
    assert main([*words, "--max-left-out", "0.1"]) == 2
    assert "person 01/0.jpg: cannot be read as an image" in capsys.readouterr().err
    assert main([*words, "--max-left-out", "0.1", "--on-corrupt", "skip"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{tmp_path / 'out'}  42 images of 13 people; train: ")
    assert " pairs of 5; 10 gallery, 9 probes, 3 distractors" in printed.out
    lines = printed.err.splitlines()
    assert [line.split(":")[1] for line in lines[:3]] == [
        *(" 1, HEIC, which cannot be decoded here", " 1, not an image", " 1, cannot be decoded"),
    ]
    assert lines[3].startswith(f"left out: {again}/person 01/0.jpg: cannot be read as an image")
    assert printed.err.count("person 01/0.jpg") == 1
    manifest = read_manifest(tmp_path / "out")
    assert manifest["corrupt"] == [lines[3].removeprefix("left out: ")]
    assert manifest["left_out"]["cannot be decoded"] == {"count": 1, "first": ["person 01/0.jpg"]}


@pytest.mark.parametrize(("people", "fraction", "tested"), [(2, 0.2, 0), (30, 0.01, 0), (3, 0.4, 1)])
def test_too_few_people_to_test_are_an_error(tmp_path: Path, people: int, fraction: float, tested: int):
    for person in range(people):
        (tmp_path / f"faces/{person}").mkdir(parents=True)
        for image in range(3):
            (tmp_path / f"faces/{person}/{image}.jpg").write_bytes(encode_jpeg(picture(person, image), 90))
    with pytest.raises(InputError, match=rf"faces: {tested} people to test; expected 2 or more; raise test_fraction"):
        pack(tmp_path / "faces", tmp_path / "out", PackOptions(test_fraction=fraction))


def at(scale: float, x: float, y: float) -> np.ndarray:
    """Where a face is in a photograph: its template enlarged and moved."""
    return np.array([[scale, 0, x], [0, scale, y]])


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Photographs of four people, one of them turned by EXIF; in some a smaller face, and of person 0 one without."""
    root = tmp_path / "scenes"
    for person in range(4):
        (root / f"{person}").mkdir(parents=True)
        for image in range(5):
            faces = [at(1.5 + 0.2 * person, 40 * image, 100), *([at(0.6, 420, 10)] if image == 1 else [])]
            pixels, _ = dotted(480, 520, *faces, radius=4)
            picture = Image.fromarray(pixels)
            if image == 2:
                exif = Image.Exif()
                exif[0x0112] = 6
                picture.transpose(Image.Transpose.ROTATE_90).save(root / f"{person}/{image}.png", exif=exif)
            else:
                picture.save(root / f"{person}/{image}.png")
    Image.new("RGB", (400, 300), (90, 90, 90)).save(root / "0/none.png")
    return root


DETECTED = {"test_fraction": 0.5, "folds": 2, "pairs": 40, "detector": "mtcnn", "max_left_out": 0.1}


def test_photographs_are_aligned_by_a_detector(scenes: Path, tmp_path: Path):
    packed = pack(scenes, tmp_path / "out", PackOptions(**DETECTED), DotDetector())
    summary = packed.omissions.summary()
    assert summary["no face found"] == {"count": 1, "first": ["0/none.png"]}
    assert summary["several faces, the largest taken"]["count"] == 4
    faces = decode_images(read_pairs(tmp_path / "out/pairs.bin").images)
    for pixels in faces:
        for (x, y), colour in zip(TEMPLATE.round().astype(int), COLOURS, strict=True):
            assert np.abs(pixels[y, x].astype(int) - colour).max() < 90, "each landmark at its place"
    assert not list(tmp_path.glob(".*")), "what an interrupted call resumes from"
    listed = read_manifest(tmp_path / "out/train")["identity"]["options"]["detector"]
    assert listed == {"name": "mtcnn", "sha256": None, "semantics": 1}


def test_an_interrupted_search_for_faces_goes_on(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(detected_landmarks, "_CHUNK", 6)

    class Broken(DotDetector):
        def detect(self, images):
            if len(self.seen) > 8:
                raise KeyboardInterrupt
            return super().detect(images)

    with pytest.raises(KeyboardInterrupt):
        pack(scenes, tmp_path / "out", PackOptions(**DETECTED), Broken())
    assert not (tmp_path / "out").exists()
    whole, rest = DotDetector(), DotDetector()
    pack(scenes, tmp_path / "other", PackOptions(**DETECTED), whole)
    pack(scenes, tmp_path / "out", PackOptions(**DETECTED), rest)
    assert 0 < len(rest.seen) < len(whole.seen)
    assert (tmp_path / "out/pairs.bin").read_bytes() == (tmp_path / "other/pairs.bin").read_bytes()


def test_a_detector_is_part_of_the_identity_only_where_it_is_named(folder: Path):
    plain = packed_identities(folder, PackOptions(**SMALL))
    assert "detector" not in plain["train"]["options"]
    named = packed_identities(folder, PackOptions(**SMALL, detector="scrfd_2.5g", threshold=0.6))
    detector = named["train"]["options"]["detector"]
    assert (detector["name"], detector["threshold"]) == ("scrfd_2.5g", 0.6)
    assert len(detector["sha256"]) == 64


def test_large_faces_are_averaged():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[::2] = 255
    averaged, matrix = _averaged(stripes, np.array([[0.125, 0, 0], [0, 0.125, 0]]))
    assert np.abs(warp(averaged, matrix)[5:-5, 5:-5].astype(int) - 127).max() <= 1
    for point in ([0.0, 0.0], [8.0, 80.0]):
        smaller = (np.array(point) + 0.5) / 8 - 0.5
        np.testing.assert_allclose(matrix[:, :2] @ smaller + matrix[:, 2], 0.125 * np.array(point), atol=1e-9)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--detector", "dlib"], "no detector 'dlib'; expected a path FILE.onnx or one of scrfd_"),
        (["--detector", "mtcnn", "--landmarks", "x.csv"], "pack: landmarks and a detector; expected one of the two"),
        (["--threshold", "0.5"], "pack: threshold without a detector; leave it out"),
        (["--detector", "nowhere.onnx"], "nowhere.onnx"),
    ],
)
def test_wrong_detectors_are_one_line(folder: Path, tmp_path: Path, words: list[str], line: str, capsys):
    assert main(["data", "pack", str(folder), "--out", str(tmp_path / "out"), *words]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert not (tmp_path / "out").exists()
