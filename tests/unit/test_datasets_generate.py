from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from aroface.datasets.generate import generate_pairs, generate_tinyface, generate_training
from aroface.datasets.manifest import manifest_hash, read_manifest
from aroface.datasets.pairs import Pairs, decode_images, read_pairs
from aroface.datasets.specs import generated_identity
from aroface.datasets.tinyface import TinyFace, read_tinyface
from aroface.datasets.training_set import TrainingSet
from aroface.errors import InputError

TRAINING = {"identities": 12, "images_per_identity": 6}
PAIRS = {"identities": 8, "pairs": 24, "folds": 3}
TINYFACE = {"identities": 6, "gallery_per_identity": 2, "probes_per_identity": 3, "distractors": 5}
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

    monkeypatch.setattr("aroface.datasets.generate.write_manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "faces")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_pair_file_has_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pairs(tmp_path / "p.bin")
    assert json.loads((tmp_path / "p.bin.manifest.json").read_text())["counts"] == {"identities": 8, "pairs": 24}

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aroface.datasets.generate.write_pairs", fail)
    with pytest.raises(KeyboardInterrupt):
        pairs(tmp_path / "p.bin")
    assert not (tmp_path / "p.bin.manifest.json").exists()


def test_a_wrong_spec_draws_nothing(tmp_path: Path):
    with pytest.raises(InputError, match=r"training\.identities: 0 is less than the minimum of 2"):
        training(tmp_path / "faces", identities=0)
    assert not (tmp_path / "faces").exists()
