from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from aroface.datasets.identity import data_hash
from aroface.datasets.manifest import (
    files_under,
    listing_hash,
    manifest_hash,
    read_manifest,
    sample_identity,
    write_manifest,
)
from aroface.datasets.synthetic.spec import generated_identity, resolve_spec
from aroface.errors import InputError

SPEC = {"identities": 20, "images_per_identity": 5}
IDENTITY = generated_identity("training", SPEC, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "faces"
    (root / "deep").mkdir(parents=True)
    (root / "train.rec").write_bytes(b"records")
    (root / "deep" / "property").write_bytes(b"2,112,112")
    (root / ".hidden").write_bytes(b"")
    return root


def test_a_manifest_lists_every_file(folder: Path):
    write_manifest(folder, name="faces", kind="training", identity=IDENTITY, counts={"images": 2})
    manifest = read_manifest(folder)
    assert manifest["files"] == {
        "deep/property": {"size": 9, "sha256": hashlib.sha256(b"2,112,112").hexdigest()},
        "train.rec": {"size": 7, "sha256": hashlib.sha256(b"records").hexdigest()},
    }
    assert (manifest["identity"], manifest["counts"]) == (IDENTITY, {"images": 2})


def test_the_manifest_of_a_pair_file_lies_beside_it(tmp_path: Path):
    (tmp_path / "lfw.bin").write_bytes(b"pickle")
    identity = generated_identity("pairs", {"identities": 4, "pairs": 20}, 1)
    write_manifest(tmp_path / "lfw.bin", name="lfw", kind="pairs", identity=identity, counts={})
    assert (tmp_path / "lfw.bin.manifest.json").exists()
    assert list(read_manifest(tmp_path / "lfw.bin")["files"]) == ["lfw.bin"]


def test_a_file_that_is_missing_or_cut_is_named(folder: Path):
    write_manifest(folder, name="faces", kind="training", identity=IDENTITY, counts={})
    (folder / "train.rec").write_bytes(b"rec")
    with pytest.raises(InputError, match=r"train\.rec: the file has 3 bytes; expected 7 bytes, says manifest\.json"):
        read_manifest(folder)
    (folder / "train.rec").unlink()
    with pytest.raises(InputError, match=r"train\.rec: the file is missing"):
        read_manifest(folder)


def test_a_malformed_manifest_is_refused(folder: Path):
    with pytest.raises(InputError, match=r"manifest\.json: no such file"):
        read_manifest(folder)
    (folder / "manifest.json").write_text('{"name": "faces"}')
    with pytest.raises(InputError, match=r"manifest\.json: 'kind' is a required property"):
        read_manifest(folder)


def test_the_identity_of_a_generated_set_depends_on_meaning_only():
    written_otherwise = {"images_per_identity": 5, "difficulty": 1, "identities": 20, "low_quality": None}
    same = manifest_hash(generated_identity("training", written_otherwise, 1))
    assert same == manifest_hash(IDENTITY)
    others = [generated_identity("training", SPEC, 2), generated_identity("training", {**SPEC, "difficulty": 2}, 1)]
    assert len({same, *map(manifest_hash, others)}) == 3


def test_the_identity_of_received_files_follows_their_ends_and_not_their_place(folder: Path, tmp_path: Path):
    names = ["train.rec", "deep"]
    identity = sample_identity(folder, names)
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert sample_identity(tmp_path / "elsewhere", reversed(names)) == identity
    (folder / "train.rec").write_bytes(b"recordz")
    assert sample_identity(folder, names) != identity
    (tmp_path / "elsewhere/deep/more").touch()
    assert sample_identity(tmp_path / "elsewhere", names) != identity


def test_both_ends_of_a_large_file_are_sampled(tmp_path: Path):
    hashes = set()
    for change in (None, 0, 4_000_000 - 1):
        data = bytearray(4_000_000)
        if change is not None:
            data[change] = 1
        (tmp_path / "large").write_bytes(data)
        hashes.add(manifest_hash(sample_identity(tmp_path, ["large"])))
    assert len(hashes) == 3


def test_a_received_file_that_is_missing_is_named(folder: Path):
    with pytest.raises(InputError, match=r"train\.idx: no such file"):
        sample_identity(folder, ["train.idx"])


def test_a_listing_follows_names_and_contents(folder: Path, tmp_path: Path):
    before = listing_hash(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert listing_hash(tmp_path / "copy") == before
    (folder / "train.rec").rename(folder / "other.rec")
    renamed = listing_hash(folder)
    (folder / "other.rec").write_bytes(b"recordz")
    assert len({before, renamed, listing_hash(folder)}) == 3
    assert files_under(folder) == ["deep/property", "other.rec"]
    with pytest.raises(InputError, match="nowhere: no such folder"):
        listing_hash(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("training", {**SPEC, "identitys": 3}, r"Additional properties .*identitys"),
        ("training", {"identities": 20}, "'images_per_identity' is a required property"),
        (
            "training",
            {**SPEC, "identities": "20"},
            r"training\.identities: '20' is not of type 'integer'; write the number",
        ),
        ("training", {**SPEC, "low_quality": {"probability": 1, "resolution": [40, 14]}}, "ends below its start"),
        ("pairs", {"identities": 9, "pairs": 30, "folds": 10}, "30 pairs cannot be half genuine .* multiple of 20"),
        ("pairs", {"identities": 9, "pairs": 20, "resolution": [24, 14]}, "ends below its start"),
        ("pairs", {"identities": 9, "pairs": 20, "which": "first"}, r"pairs\.which: 'first' is not one of"),
        ("tinyface", {"identities": 9}, "required property"),
    ],
)
def test_a_wrong_spec_is_one_line(kind, spec, message):
    with pytest.raises(InputError, match=message):
        resolve_spec(kind, spec)


@pytest.mark.parametrize("with_manifest", [False, True])
def test_a_set_has_one_hash_wherever_it_is_seen_from(with_manifest: bool, tmp_path: Path):
    pairs = tmp_path / "received/lfw.bin"
    pairs.parent.mkdir()
    pairs.write_bytes(b"pairs")
    if with_manifest:
        write_manifest(pairs, name="lfw", kind="pairs", identity=IDENTITY, counts={})
    assert (data_hash(pairs) == manifest_hash(IDENTITY)) == with_manifest
    (tmp_path / "lfw.bin").symlink_to(pairs)
    assert data_hash(tmp_path / "lfw.bin") == data_hash(pairs)
