"""A whole set is read once, what is wrong with it is said, and what did not change is not read again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.formats import image_checks
from aroface.datasets.formats.base import Findings
from aroface.datasets.formats.pairs import Pairs, read_pairs, write_pairs
from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.identity import data_hash
from aroface.datasets.images import Pixels, decode, encode_jpeg
from aroface.datasets.manifest import manifest_hash
from aroface.datasets.preparation.verify import find_set, require_passed, verdict_lines, verify
from aroface.datasets.registry import find_entry
from aroface.errors import InputError
from aroface.files import read_json
from small_sets import PLACES, SPECS, make_sets

COUNTS = {
    "training": {"identities": 3, "images": 12},
    "pairs": {"pairs": 12, "genuine": 6},
    "tinyface": {"gallery": 3, "probes": 6, "distractors": 2},
    "ijb": {"images": 14, "templates": 7, "pairs": 6},
    "ijbs": {
        **{"images": 53, "templates": 28},
        **{"videos": 3, "sightings": 25, "gallery_videos": 3, "probe_videos": 1},
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    make_sets(root)
    return root


@pytest.fixture
def sets(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "sets"))


def check(data: Path, **options: object) -> dict[str, object]:
    found = verify(data, data.parent / "verified.json", name="faces", **options)
    return {name: verdict["detail"] for name, verdict in found["verdicts"].items() if not verdict["passed"]}


@pytest.mark.parametrize("kind", SPECS)
def test_a_sound_set_passes(sets: Path, kind: str) -> None:
    data = sets / PLACES[kind]
    manifest = verify(data, sets / "verified.json", name="faces", expected=COUNTS[kind])
    require_passed(manifest, data)
    assert manifest["counts"] == COUNTS[kind]
    assert manifest["verdicts"]["counts"]["detail"] == "as published"
    assert manifest["verdicts"]["manifest"]["passed"]
    assert "above blue" in manifest["verdicts"]["colours"]["detail"]
    assert any(line.startswith("images       ok: all") for line in verdict_lines(manifest))


def test_the_identity_is_that_of_the_plan_for_a_received_set(sets: Path) -> None:
    (sets / "training/manifest.json").unlink()
    planned = data_hash(sets / "training")
    assert manifest_hash(verify(sets / "training", sets / "verified.json", name="faces")["identity"]) == planned


@pytest.mark.parametrize("kind", SPECS)
def test_what_did_not_change_is_not_read_again(sets: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sets / PLACES[kind]
    first = verify(data, sets / "verified.json", name="faces")
    monkeypatch.setattr(image_checks, "check_images", None)
    assert verify(data, sets / "verified.json", name="faces") == first
    assert check(data, expected={"images": 15, "pairs": 13, "probes": 7}).keys() == {"counts"}
    assert check(data) == {}


def test_a_set_is_found_by_path_or_key(tmp_path: Path) -> None:
    """A path that is there wins, has its folder's name, and no published counts unless it is said to be that set."""
    entry = find_entry("ms1mv3")
    (received := tmp_path / entry.folder).mkdir()
    for file in entry.files:
        (tmp_path / file).touch()
    mine = find_set(f"{received}/.", tmp_path)
    assert (mine.data, mine.name, mine.counts) == (received, f"{received}/.", {})
    assert mine.manifest.name == f"{received.name}.manifest.json"
    for found in (find_set("ms1mv3", tmp_path), find_set(str(received), tmp_path, "ms1mv3")):
        assert (found.data, found.name, found.counts) == (received, "ms1mv3", entry.counts) and entry.counts
        assert found.manifest.name == "ms1mv3.manifest.json"
    with pytest.raises(InputError, match="nobodys"):
        find_set(str(received), tmp_path, "nobodys")
    with pytest.raises(InputError, match="not in"):
        find_set("ms1mv3", tmp_path / "elsewhere")


def test_other_counts_than_published_fail(sets: Path) -> None:
    failed = check(sets / "training", expected={"identities": 3, "images": 13})
    assert failed == {"counts": "12 images, not 13"}


def test_damaged_images_are_named(sets: Path) -> None:
    images = [bytearray(TrainingSet.open(sets / "training").jpeg(position)) for position in range(12)]
    del images[3][-200:]
    images[5] = bytearray(encode_jpeg(np.zeros((64, 64, 3), np.uint8), 90))
    write_training_set(sets / "new", [(number // 4, bytes(image)) for number, image in enumerate(images)], 3)
    failed = check(sets / "new")["images"]
    assert failed.startswith("2 of 12 cannot be used: ")
    assert "train.rec: record 4 (byte " in failed
    assert "the image has 64×64 pixels" in failed
    found = verify(sets / "new", sets / "verified.json", name="faces", max_corrupt_fraction=2 / 12)
    assert found["verdicts"]["images"]["passed"]
    assert len(found["corrupt"]) == 2
    assert verify(sets / "new", sets / "verified.json", name="faces", max_corrupt_fraction=2 / 12) == found
    with pytest.raises(InputError, match="new: images: 2 of 12 cannot be used"):
        require_passed(verify(sets / "new", sets / "verified.json", name="faces"), sets / "new")


def test_images_that_a_list_names_and_are_not_there_are_named(sets: Path) -> None:
    (sets / "ijb/manifest.json").unlink()
    (sets / "ijb/loose_crop/3.jpg").unlink()
    assert check(sets / "ijb")["images"] == f"1 of 14 cannot be used: {sets}/ijb/loose_crop/3.jpg: no such file"


def test_a_file_with_other_bytes_than_its_manifest_says_fails(sets: Path) -> None:
    crop = sets / "tinyface/tinyface/Testing_Set/Probe/1_1.jpg"
    crop = next(crop.parent.iterdir()) if not crop.exists() else crop
    data = bytearray(crop.read_bytes())
    data[-3] ^= 1
    crop.write_bytes(data)
    failed = check(sets / "tinyface")
    assert failed["manifest"] == f"tinyface/Testing_Set/Probe/{crop.name}: not the content that manifest.json lists"


def test_copies_and_exchanged_channels_are_noted(sets: Path) -> None:
    pairs = read_pairs(sets / "pairs.bin")
    exchanged = [encode_jpeg(cv2.cvtColor(decode(image), cv2.COLOR_RGB2BGR), 90) for image in pairs.images]
    exchanged[1] = exchanged[0]
    write_pairs(sets / "bgr.bin", Pairs(exchanged, pairs.same))
    verdicts = verify(sets / "bgr.bin", sets / "verified.json", name="faces")["verdicts"]
    assert all(verdict["passed"] for verdict in verdicts.values())
    assert "are the channels exchanged (BGR)?" in verdicts["colours"]["detail"]
    assert verdicts["duplicates"]["detail"] == "1 images are copies of others"
    assert verdicts["pairs"]["detail"] == "1 of an image and itself"


FORMS: dict[str, Callable[[np.ndarray], bytes]] = {
    "JPEG": lambda image: encode_jpeg(image, 90),
    "grey JPEG": lambda image: cv2.imencode(".jpg", image[:, :, 0])[1].tobytes(),
    "PNG": lambda image: cv2.imencode(".png", image[:, :, ::-1])[1].tobytes(),
    "grey PNG": lambda image: cv2.imencode(".png", image[:, :, 0])[1].tobytes(),
    "grey stored as RGB": lambda image: encode_jpeg(np.repeat(image[:, :, :1], 3, axis=2), 90),
    "damaged": lambda image: encode_jpeg(image, 90)[:150],
    "empty": lambda image: b"",
}


def face(data: bytes, number: int) -> Pixels:
    try:
        return decode(data)
    except ValueError as error:
        raise InputError(str(error), where=number) from None


@pytest.mark.parametrize("size", [(112, 112), (20, 16), (5, 5), (1, 1), (300, 40)])
@pytest.mark.parametrize(
    ("forms", "colours"),
    [
        (["JPEG"], "red is (59|60|61).. grey levels above blue on average, as faces in RGB are"),
        (["PNG"], "red is 60.0 grey levels above blue on average, as faces in RGB are"),
        (["JPEG", "damaged"], "red is (59|60|61).. grey levels above blue on average, as faces in RGB are"),
        (["grey JPEG"], "all images are grey: the order of the channels makes no difference"),
        (["grey PNG", "grey stored as RGB"], "all images are grey: the order of the channels makes no difference"),
        (["PNG", "grey PNG"], "red is 60.0 .* in the 8 images with colours \\(8 are grey\\), as faces in RGB are"),
        (["damaged"], "no image could be read"),
        (["empty"], "no image could be read"),
    ],
)
def test_notes_are_true_of_images_of_all_kinds(size: tuple[int, int], forms: list[str], colours: str):
    shades = np.array([150, 120, 90], np.uint8)
    made = [np.full((*size, 3), shades - np.uint8(number), np.uint8) for number in range(8)]
    images = [FORMS[form](image) for form in forms for image in made]
    findings = Findings({"images": len(images)})
    image_checks.check_images(findings, len(images), images.__getitem__, face, 2)
    assert re.fullmatch(colours, findings.noted["colours"])
    copies = len(images) - len(set(images))
    assert findings.noted["duplicates"] == (
        f"{copies} images are copies of others" if copies else "no image occurs twice"
    )
    whole = sum(form not in ("damaged", "empty") for form in forms) * 8
    assert len(findings.corrupt) == len(images) - whole


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        ("tinyface", "tinyface/Testing_Set/Gallery_Match"),
        ("tinyface", "tinyface/Testing_Set/Probe"),
        ("ijb", "loose_crop"),
        ("ijbs", "faces/more"),
    ],
)
def test_images_that_no_list_names_are_told(sets: Path, kind: str, folder: str, capsys: pytest.CaptureFixture[str]):
    data = sets / PLACES[kind]
    (data / folder).mkdir(exist_ok=True)
    for number in range(3):
        (data / folder / f"9999{number}_1.jpg").write_bytes(encode_jpeg(np.zeros((112, 112, 3), np.uint8), 90))
    for _ in range(2):  # the second time nothing is read again
        words = ["data", "verify", str(data), "--manifest", str(sets / "verified.json"), "--threads", "1"]
        assert main(words) == 0
        names = ", ".join(f"{folder}/9999{number}_1.jpg" for number in range(3))
        assert capsys.readouterr().err == f"left out: 3, named by no list: {names}\n"
        assert read_json(sets / "verified.json")["left_out"]["named by no list"]["count"] == 3


@pytest.mark.parametrize("kind", ["tinyface", "ijb", "ijbs"])
def test_images_that_were_too_large_are_read_again(sets: Path, kind: str, capsys: pytest.CaptureFixture[str]):
    words = ["data", "verify", str(sets / PLACES[kind]), "--manifest", str(sets / "verified.json"), "--threads", "1"]
    assert main([*words, "--max-megapixels", "0.001"]) == 2
    printed = capsys.readouterr()
    assert "more than 0.001 megapixels" in printed.err and "the manifest lists them all" in printed.err
    assert main([*words, "--max-megapixels", "100"]) == 0
    assert "images       ok: all" in capsys.readouterr().out


def test_images_that_are_not_there_are_no_copies_of_each_other():
    findings = Findings({"images": 5})

    def read(number: int) -> bytes:
        if number:
            raise InputError("no such file", where=number)
        return FORMS["JPEG"](np.full((112, 112, 3), 80, np.uint8))

    image_checks.check_images(findings, 5, read, face, 2)
    assert findings.noted["duplicates"] == "no image occurs twice"
    assert len(findings.corrupt) == 4


def test_the_number_of_threads_changes_nothing(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_checks, "_CHUNK", 3)
    one = verify(sets / "training", sets / "one.json", name="faces", threads=1)
    assert verify(sets / "training", sets / "three.json", name="faces", threads=3) == one


def test_a_set_that_the_readers_refuse_leaves_nothing(sets: Path) -> None:
    rec = sets / "training/train.rec"
    rec.write_bytes(rec.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"train\.(rec|idx): "):
        verify(sets / "training", sets / "verified.json", name="faces")
    assert not (sets / "verified.json").exists()
