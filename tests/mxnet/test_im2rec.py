"""Records that MXNet's own im2rec wrote: lists, shuffled order, labels that are numbers or arrays, parts."""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from aroface.cli.main import main
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.images import decode
from generated_sets import generate_training

pytestmark = pytest.mark.mxnet

PEOPLE = ("0_0_0000000", "0_0_0000001", "0_0_0000002", "0_0_0000010")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of people as WebFace unpacks to."""
    faces = tmp_path_factory.mktemp("faces") / "faces"
    generate_training({"identities": 4, "images_per_identity": 4}, 1, faces, workers=1)
    training_set = TrainingSet.open(faces)
    root = tmp_path_factory.mktemp("WebFace")
    for position, label in enumerate(training_set.labels.tolist()):
        (root / PEOPLE[label]).mkdir(exist_ok=True)
        (root / PEOPLE[label] / f"0_{position}.jpg").write_bytes(training_set.jpeg(position))
    return root


def im2rec(python: Path, folder: Path, *words: str) -> None:
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONNOUSERSITE": "1"}
    command = [python, "-m", "mxnet.tools.im2rec", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def expected(tree: Path) -> Counter[tuple[int, bytes]]:
    return Counter((PEOPLE.index(path.parent.name), path.read_bytes()) for path in tree.glob("*/*.jpg"))


def held(training_set: TrainingSet) -> Counter[tuple[int, bytes]]:
    return Counter((int(label), training_set.jpeg(at)) for at, label in enumerate(training_set.labels))


@pytest.mark.parametrize("with_list", [True, False])
def test_the_commands_of_insightface_give_a_set(python, oracle, tree, tmp_path, with_list, capsys):
    """As prepare_webface42m.md has them; images are encoded again there, here at a quality that MXNet would choose."""
    folder = tmp_path / "set"
    im2rec(python, folder, "--list", "--recursive", "train", str(tree))
    im2rec(python, folder, "--num-thread", "2", "--quality", "100", "train", str(tree))
    keys = [line.split("\t")[0] for line in (folder / "train.lst").read_text().splitlines()]
    assert keys != sorted(keys, key=int)
    assert "\t3.000000\t" in (folder / "train.lst").read_text()
    if not with_list:
        (folder / "train.lst").unlink()
    training_set = TrainingSet.open(folder)
    assert (training_set.num_classes, len(training_set)) == (4, 16)
    assert training_set.counted_from == ("train.lst" if with_list else "train.rec")
    assert Counter(training_set.labels.tolist()) == Counter(dict.fromkeys(range(4), 4))
    assert decode(training_set.jpeg(0)).shape == (112, 112, 3)
    (native, mxnet) = oracle(("training_set", folder, "native"), ("training_set", folder, "mxnet"))
    assert native[:4] == mxnet[:4]
    assert native[1] == training_set.labels.tolist()
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "manifest.json")]) == 0
    assert "identities   4\nimages       16\n" in capsys.readouterr().out


@pytest.mark.parametrize("packed", [True, False])
def test_labels_that_are_arrays(python, tree, tmp_path, packed):
    """The list of a training with attributes: class, then others; ``--pack-label`` writes all of them."""
    folder = tmp_path / "set"
    folder.mkdir()
    files = sorted(path.relative_to(tree).as_posix() for path in tree.glob("*/*.jpg"))
    random.Random(0).shuffle(files)
    lines = (f"{key}\t{PEOPLE.index(name.split('/')[0])}\t0.25\t7\t{name}\n" for key, name in enumerate(files))
    (folder / "train.lst").write_text("".join(lines))
    im2rec(python, folder, "--pass-through", *(["--pack-label"] if packed else []), "train", str(tree))
    training_set = TrainingSet.open(folder)
    assert (training_set.num_classes, training_set.counted_from) == (4, "train.lst")
    assert held(training_set) == expected(tree)
    (folder / "train.lst").unlink()
    (folder / "train.labels.npy").unlink()
    assert held(TrainingSet.open(folder)) == expected(tree)


@pytest.mark.parametrize("with_lists", [True, False])
def test_chunks_are_the_parts_of_one_set(python, tree, tmp_path, with_lists, capsys):
    folder = tmp_path / "set"
    im2rec(python, folder, "--list", "--recursive", "--chunks", "3", "train", str(tree))
    im2rec(python, folder, "--pass-through", "train", str(tree))
    assert sorted(path.name for path in folder.glob("*.rec")) == ["train_0.rec", "train_1.rec", "train_2.rec"]
    if not with_lists:
        for path in folder.glob("*.lst"):
            path.unlink()
    training_set = TrainingSet.open(folder)
    assert training_set.num_classes == 4
    assert held(training_set) == expected(tree)
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "manifest.json")]) == 0
    assert ("train_0.lst, train_1.lst, train_2.lst has the 16 images" in capsys.readouterr().out) == with_lists
    assert main(["data", "prepare", str(folder), "--out", str(tmp_path / "whole")]) == 0
    assert held(TrainingSet.open(tmp_path / "whole")) == expected(tree)


def test_records_as_cvlface_bundles_them(oracle, tree, tmp_path):
    """Keys from 0, no header record, labels in natural order; MXNet's writer, as bundle_images_into_rec.py calls it."""
    folder = tmp_path / "set"
    folder.mkdir()
    files = sorted(tree.glob("*/*.jpg"))
    rows = [(key, PEOPLE.index(path.parent.name), key, 0, path) for key, path in enumerate(files)]
    oracle(("write", folder / "train.rec", folder / "train.idx", rows))
    (folder / "train.tsv").write_text("".join(f"{key}\t{label}/{key}.jpg\t{label}\n" for key, label, *_ in rows))
    training_set = TrainingSet.open(folder)
    assert (training_set.num_classes, training_set.counted_from) == (4, "train.tsv")
    assert held(training_set) == expected(tree)
    (folder / "train.labels.npy").unlink()
    (native, mxnet) = oracle(("training_set", folder, "native"), ("training_set", folder, "mxnet"))
    assert native[:3] == mxnet[:3]
