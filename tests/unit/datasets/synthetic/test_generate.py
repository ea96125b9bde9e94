from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from aroface.datasets.formats.ijb import IJB, read_ijb
from aroface.datasets.formats.ijbs import IJBS, read_ijbs
from aroface.datasets.formats.pairs import Pairs, read_pairs
from aroface.datasets.formats.tinyface import TinyFace, read_tinyface
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.images import read_image
from aroface.datasets.manifest import manifest_hash, read_manifest
from aroface.datasets.synthetic.generate import generate
from aroface.datasets.synthetic.loose_crops import SIZE
from aroface.datasets.synthetic.spec import generated_identity
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE, similarity, transform
from decoded import decode_images
from generated_sets import generate_ijb, generate_ijbs, generate_pairs, generate_tinyface, generate_training

TRAINING = {"identities": 12, "images_per_identity": 6}
PAIRS = {"identities": 8, "pairs": 24, "folds": 3}
TINYFACE = {"identities": 6, "gallery_per_identity": 2, "probes_per_identity": 3, "distractors": 5}
IJB_TREE = {
    "identities": 5,
    "templates_per_identity": 3,
    "images_per_template": [1, 3],
    "media_per_template": 2,
    "pairs": 20,
    "distractors": 4,
}
IJBS_TREE = {
    "subjects": 3,
    "unenrolled": 2,
    "stills_per_subject": 2,
    "videos_per_subject": 2,
    "uav_per_subject": 1,
    "frames_per_video": [1, 3],
}
LOW = {"degradation": "surveillance", "alignment": {"model": "older"}}


def training(folder: Path, seed: int = 1, workers: int = 1, **spec: object) -> Path:
    generate_training({**TRAINING, **spec}, seed, folder, workers)
    return folder


def pairs(path: Path, seed: int = 1, **spec: object) -> Pairs:
    generate_pairs({**PAIRS, **spec}, seed, path, workers=1)
    return read_pairs(path)


def tinyface(folder: Path, **spec: object) -> TinyFace:
    generate_tinyface({**TINYFACE, **spec}, 1, folder, workers=1)
    return read_tinyface(folder)


def ijb(folder: Path, seed: int = 1, workers: int = 1, **spec: object) -> IJB:
    generate_ijb({**IJB_TREE, **spec}, seed, folder, workers)
    return read_ijb(folder)


def ijbs(folder: Path, **spec: object) -> IJBS:
    generate_ijbs({**IJBS_TREE, **spec}, 1, folder, workers=1)
    return read_ijbs(folder)


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sharpness(image: bytes) -> float:
    pixels = simplejpeg.decode_jpeg(image, "GRAY")[:, :, 0].astype(float)
    return float(np.abs(np.diff(pixels, 2, axis=0)).mean() + np.abs(np.diff(pixels, 2, axis=1)).mean())


def distances(found: Pairs) -> np.ndarray:
    """Mean differences of the middles of the faces of each pair, where no background is."""
    faces = decode_images(found.images)[:, 36:84, 36:76].astype(float)
    return np.abs(faces[0::2] - faces[1::2]).mean(axis=(1, 2, 3))


def test_a_training_set_is_read_as_such(tmp_path: Path):
    found = TrainingSet.open(training(tmp_path / "faces"))
    assert found.num_classes == 12
    assert found.labels.tolist() == [identity for identity in range(12) for _ in range(6)]
    images = decode_images([found.jpeg(position) for position in range(len(found))])
    assert images.std(axis=(1, 2, 3)).min() > 10
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == 72
    assert read_manifest(tmp_path / "faces")["counts"] == {"identities": 12, "images": 72}


def test_bytes_follow_from_spec_and_seed_and_not_from_the_processes(tmp_path: Path):
    low = {"low_quality": {"probability": 0.5, "resolution": [14, 40]}, "alignment": {"model": "scrfd"}}
    one, two = (training(tmp_path / f"{workers}", workers=workers, **low) for workers in (1, 2))
    other = training(tmp_path / "other", seed=2, **low)
    records = [(folder / "train.rec").read_bytes() for folder in (one, two, other)]
    assert records[0] == records[1] != records[2]


def test_the_manifest_is_what_was_planned(tmp_path: Path):
    manifest = read_manifest(training(tmp_path / "faces", seed=7))
    assert manifest_hash(manifest["identity"]) == manifest_hash(generated_identity("training", TRAINING, 7))
    assert set(manifest["files"]) == {"train.rec", "train.idx", "property"}


def test_some_training_images_are_of_low_quality(tmp_path: Path):
    low = training(tmp_path / "low", low_quality={"probability": 0.4, "resolution": [14, 24]})
    clean, mixed = TrainingSet.open(training(tmp_path / "clean")), TrainingSet.open(low)
    pairs_of_images = [(clean.jpeg(i), mixed.jpeg(i)) for i in range(72)]
    degraded = [one for one in pairs_of_images if one[0] != one[1]]
    assert 15 < len(degraded) < 45
    assert all(sharpness(after) < 0.7 * sharpness(before) for before, after in degraded)


def test_half_of_each_fold_is_genuine_and_shows_the_same_person(tmp_path: Path):
    found = pairs(tmp_path / "p.bin", difficulty=0)
    assert found.same.reshape(3, 8).tolist() == [[True] * 4 + [False] * 4] * 3
    assert distances(found)[found.same].max() < distances(found)[~found.same].min()


def test_only_the_second_of_a_pair_is_treated_and_the_scenes_stay(tmp_path: Path):
    clean, low = pairs(tmp_path / "clean.bin"), pairs(tmp_path / "low.bin", **LOW)
    both = pairs(tmp_path / "both.bin", which="both", **LOW)
    assert low.images[0::2] == clean.images[0::2]
    for before, after in zip(clean.images * 2, both.images + low.images, strict=True):
        assert after == before or sharpness(after) < 0.7 * sharpness(before)
    assert not set(clean.images) & set(both.images)


def test_misaligned_images_keep_their_sharpness_and_lose_their_place(tmp_path: Path):
    clean = pairs(tmp_path / "clean.bin")
    moved = pairs(tmp_path / "moved.bin", alignment={"scale": 0, "degrees": 0, "shift": 0.1})
    before, after = (decode_images(found.images[1::2]).astype(float) for found in (clean, moved))
    assert (np.abs(after - before).mean(axis=(1, 2, 3)) > 2).mean() > 0.9
    ratios = [sharpness(b) / sharpness(a) for a, b in zip(clean.images[1::2], moved.images[1::2], strict=True)]
    assert 0.8 < np.median(ratios) < 1.25


def test_test_sets_show_nobody_of_the_training_set(tmp_path: Path):
    faces = TrainingSet.open(training(tmp_path / "faces", difficulty=0))
    trained = decode_images([faces.jpeg(6 * identity) for identity in range(12)])
    tested = decode_images(pairs(tmp_path / "p.bin", difficulty=0).images)
    for identity in range(12):
        probe = Pairs([faces.jpeg(6 * identity), faces.jpeg(6 * identity + 1)], np.array([True]))
        middle = (slice(None), slice(36, 84), slice(36, 76))
        nearest = np.abs(tested[middle].astype(float) - trained[identity][middle[1:]]).mean(axis=(1, 2, 3)).min()
        assert nearest > distances(probe)[0]


def test_a_tinyface_tree_has_what_was_asked_for(tmp_path: Path):
    found = tinyface(tmp_path / "t")
    assert found.gallery_labels.tolist() == [identity for identity in range(6) for _ in range(2)]
    assert found.probe_labels.tolist() == [identity for identity in range(6) for _ in range(3)]
    assert len(found.distractors) == 5
    manifest = read_manifest(tmp_path / "t")
    assert manifest["counts"] == {"gallery": 12, "probes": 18, "distractors": 5}
    assert len(manifest["files"]) == 12 + 18 + 5 + 2


def test_only_the_probes_of_a_tinyface_tree_are_treated_unless_all_are(tmp_path: Path):
    clean, low = tinyface(tmp_path / "clean"), tinyface(tmp_path / "low", **LOW)
    every = tinyface(tmp_path / "all", which="all", **LOW)

    def contents(paths: list[Path]) -> list[bytes]:
        return [path.read_bytes() for path in paths]

    for part in ("gallery", "distractors"):
        assert contents(getattr(clean, part)) == contents(getattr(low, part))
        assert not set(contents(getattr(clean, part))) & set(contents(getattr(every, part)))
    assert not set(contents(clean.probes)) & set(contents(low.probes))


def test_an_ijb_tree_has_what_was_asked_for(tmp_path: Path):
    found = ijb(tmp_path / "t")
    templates, images = np.unique(found.faces.templates, return_counts=True)
    assert len(templates) == 5 * 3 + 4
    assert set(images) == {1, 2, 3}
    for template in templates:
        assert len(np.unique(found.faces.media[found.faces.templates == template])) <= 2
    assert len(np.unique(np.stack([found.faces.templates, found.faces.media]), axis=1)[0]) == found.faces.media.max()
    assert (found.faces.scores > 0.6).all()
    manifest = read_manifest(tmp_path / "t")
    assert manifest["counts"] == {"images": len(found.faces), "templates": 19, "pairs": 20}
    assert len(manifest["files"]) == len(found.faces) + 6
    assert manifest_hash(manifest["identity"]) == manifest_hash(generated_identity("ijb", IJB_TREE, 1))


def test_pairs_and_galleries_of_an_ijb_tree_agree_on_the_subjects(tmp_path: Path):
    found = ijb(tmp_path / "t", benchmark="ijbb")
    parts = [*found.search.galleries.values(), found.search.probes]
    assert list(found.search.galleries) == ["S1", "S2"]
    subject = {one: two for part in parts for one, two in zip(part.ids.tolist(), part.subjects.tolist(), strict=True)}
    assert len(subject) == 19 == sum(map(len, parts))
    assert found.same.tolist() == [True] * 10 + [False] * 10
    assert [subject[one] == subject[two] for one, two in found.pairs.tolist()] == found.same.tolist()
    assert (found.pairs[:, 0] != found.pairs[:, 1]).all()
    first, second = (set(part.subjects.tolist()) for part in parts[:2])
    assert (len(first), len(second)) == (2, 3)
    assert first | second == {1, 2, 3, 4, 5}
    assert sorted(parts[2].subjects.tolist()) == sorted([1, 2, 3, 4, 5] * 2 + [6, 7, 8, 9])


def test_every_byte_of_an_ijb_tree_follows_from_spec_and_seed(tmp_path: Path):
    spec = {**LOW, "images_per_template": [4, 5]}
    for name, seed, workers in (("one", 1, 1), ("two", 1, 2), ("other", 2, 1)):
        assert len(ijb(tmp_path / name, seed, workers, **spec).faces) > 64
    one, two, other = (all_bytes(tmp_path / name) for name in ("one", "two", "other"))
    one.pop("manifest.json"), two.pop("manifest.json")  # these have the folders' names
    assert one == two
    assert one["loose_crop/1.jpg"] != other["loose_crop/1.jpg"]
    assert one["meta/ijbc_name_5pts_score.txt"] != other["meta/ijbc_name_5pts_score.txt"]


def test_loose_crops_show_the_face_elsewhere_and_landmarks_align_it(tmp_path: Path):
    faces = ijb(tmp_path / "t", difficulty=0).faces
    assert {read_image(faces.path(i)).shape for i in range(len(faces))} == {(SIZE, SIZE, 3)}
    loose = np.linalg.norm(faces.landmarks - (TEMPLATE + (SIZE - 112) / 2), axis=2).mean(axis=1)
    aligned = transform(similarity(faces.landmarks, TEMPLATE), faces.landmarks)
    assert np.median(loose) > 8
    assert np.linalg.norm(aligned - TEMPLATE, axis=2).max() < 5
    crops = np.stack([faces.crop(i)[36:84, 36:76] for i in range(len(faces))]).astype(float)
    people = faces.templates <= 3  # the first person's, drawn without circumstances: they differ in their place only
    others = np.abs(crops[people].mean(axis=0) - crops[~people]).mean(axis=(1, 2, 3)).min()
    assert np.abs(crops[people].mean(axis=0) - crops[people]).mean(axis=(1, 2, 3)).max() < others


def test_errors_of_alignment_befall_the_landmarks_of_the_probes(tmp_path: Path):
    bounds = {"scale": 0.1, "degrees": 10, "shift": 0.08}
    exact, wrong = ijb(tmp_path / "exact").faces, ijb(tmp_path / "wrong", alignment=bounds).faces
    every = ijb(tmp_path / "every", alignment=bounds, which="all").faces
    assert [exact.path(i).read_bytes() for i in range(len(exact))] == [
        wrong.path(i).read_bytes() for i in range(len(wrong))
    ]
    probes = np.isin(exact.templates, read_ijb(tmp_path / "exact").search.probes.ids)
    assert np.allclose(wrong.landmarks[~probes], exact.landmarks[~probes], atol=1e-4)
    for faces, befallen in ((wrong, probes), (every, np.ones_like(probes))):
        # Where the crop by the listed landmarks has what the exact one has at these points.
        corners = np.tile([[0.0, 0.0], [111.0, 0.0], [55.5, 55.5]], (len(exact), 1, 1))
        to_exact, to_wrong = (similarity(each.landmarks, TEMPLATE) for each in (exact, faces))
        source = np.linalg.solve(to_exact[:, None, :, :2], (corners - to_exact[:, None, :, 2])[..., None])[..., 0]
        moved = transform(to_wrong, source)
        edge = moved[:, 1] - moved[:, 0]
        scale, degrees = np.hypot(*edge.T) / 111, np.degrees(np.arctan2(edge[:, 1], edge[:, 0]))
        shift = moved[:, 2] - 55.5
        for values, bound in ((scale - 1, 0.1), (degrees, 10), (shift[:, 0], 8.96), (shift[:, 1], 8.96)):
            assert np.abs(values[befallen]).max() <= bound + 1e-2
            assert np.abs(values[befallen]).max() > 0.7 * bound
            assert np.abs(values[~befallen]).max(initial=0) < 1e-2


def test_probes_of_an_ijb_tree_lose_quality_and_the_detector_s_confidence(tmp_path: Path):
    clean, low = ijb(tmp_path / "clean"), ijb(tmp_path / "low", degradation="surveillance")
    probes = np.isin(clean.faces.templates, clean.search.probes.ids)
    images = [[found.faces.path(i).read_bytes() for i in range(len(probes))] for found in (clean, low)]
    blur = np.array([sharpness(after) / sharpness(before) for before, after in zip(*images, strict=True)])
    assert np.array_equal(blur == 1, ~probes)
    assert np.median(blur[probes]) < 0.5
    assert blur[probes].max() < 0.9
    assert low.faces.scores[probes].mean() < low.faces.scores[~probes].mean() - 0.05


def test_an_ijbs_tree_has_what_was_asked_for(tmp_path: Path):
    found = ijbs(tmp_path / "t", undetected=3)
    assert sorted(template.subject for part in found.galleries["booking"] for template in part) == [1, 2, 3]
    assert {len(template.media) for part in found.galleries["booking"] for template in part} == {2}
    for kind, probes in (("single-booking", 10), ("surveillance", 10), ("uav", 5)):
        assert len(found.probes[kind]) == probes
        assert {template.subject for template in found.probes[kind]} == {1, 2, 3, 4, 5}
    assert sum(found.count(template) == 0 for template in found.templates) == 3
    assert sum(found.count(template) == 0 for template in found.probes["surveillance"]) == 3
    assert {found.count(template) for template in found.probes["uav"]} <= {1, 2, 3}
    manifest = read_manifest(tmp_path / "t")
    faces = sum(map(len, found.frames.values()))
    assert manifest["counts"] == {"faces": faces, "gallery_templates": 9, "probe_files": 5}
    assert len(manifest["files"]) == faces + 10
    images = decode_images([path.read_bytes() for medium in found.media for path in found.files(medium)])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == faces


def test_every_byte_of_an_ijbs_tree_follows_from_spec_and_seed(tmp_path: Path):
    for name in ("one", "two"):
        ijbs(tmp_path / name / "t", **LOW)
    assert all_bytes(tmp_path / "one") == all_bytes(tmp_path / "two")


def test_only_the_videos_of_an_ijbs_tree_are_treated_unless_all_are(tmp_path: Path):
    clean, low, every = (
        ijbs(tmp_path / name, **spec) for name, spec in (("c", {}), ("l", LOW), ("e", {**LOW, "which": "all"}))
    )
    for medium in clean.media:
        before, after, all_after = (
            [path.read_bytes() for path in found.files(medium)] for found in (clean, low, every)
        )
        assert (before == after) == medium[1].startswith("img")
        assert not set(before) & set(all_after)


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("pairs", {"identities": 4, "pairs": 8, "folds": 2}, r"pairs\.pairs: 8 pairs; expected at least 10"),
        ("ijb", {"images_per_template": [3, 1]}, r"ijb: the images per template \[3, 1\] ends below its start"),
        ("ijb", {"pairs": 1}, r"ijb\.pairs: 1 is less than the minimum of 2"),
        ("ijb", {"templates_per_identity": 1}, r"ijb\.templates_per_identity: 1 is less than the minimum of 2"),
        ("ijbs", {"frames_per_video": [3, 1]}, r"ijbs: the frames per video \[3, 1\] ends below its start"),
        ("ijbs", {"undetected": 84}, r"ijbs\.undetected: 84 undetected; expected less than 84, all people in videos"),
        ("ijbs", {"identities": 3}, "ijbs: .*'identities' was unexpected"),
    ],
)
def test_a_wrong_request_is_one_line(tmp_path: Path, kind: str, spec: dict[str, object], message: str):
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"kind": kind, "seed": 1, "spec": spec}))
    with pytest.raises(InputError, match=rf"request\.json: {message}"):
        generate(request, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "spec"), [("ijb", IJB_TREE), ("ijbs", IJBS_TREE)])
def test_a_tree_is_made_on_request(tmp_path: Path, kind: str, spec: dict[str, object]):
    (tmp_path / "request.json").write_text(json.dumps({"kind": kind, "seed": 3, "spec": spec}))
    generate(tmp_path / "request.json", tmp_path / "out", workers=1)
    assert read_manifest(tmp_path / "out")["kind"] == kind


def test_a_set_is_made_again_in_its_place_but_nothing_else_is_overwritten(tmp_path: Path):
    first = (training(tmp_path / "faces") / "train.rec").read_bytes()
    assert (training(tmp_path / "faces", seed=2) / "train.rec").read_bytes() != first
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").touch()
    with pytest.raises(InputError, match=r"photos: exists and has no manifest\.json, so it was not made here; name"):
        training(tmp_path / "photos")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", "photos"]


def test_an_interrupted_generation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aroface.datasets.synthetic.generate.write_manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "faces")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_pair_file_has_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pairs(tmp_path / "p.bin")
    assert json.loads((tmp_path / "p.bin.manifest.json").read_text())["counts"] == {"identities": 8, "pairs": 24}

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aroface.datasets.synthetic.generate.write_pairs", fail)
    with pytest.raises(KeyboardInterrupt):
        pairs(tmp_path / "p.bin")
    assert not (tmp_path / "p.bin.manifest.json").exists()


def test_a_wrong_spec_draws_nothing(tmp_path: Path):
    with pytest.raises(InputError, match=r"training\.identities: 0 is less than the minimum of 2"):
        training(tmp_path / "faces", identities=0)
    assert not (tmp_path / "faces").exists()
