"""Sets that an evaluation refuses are refused when they are verified, in the same words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.formats.checks import FOLDS
from aroface.datasets.formats.pairs import Pairs, read_pairs, write_pairs
from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.images import encode_jpeg
from aroface.datasets.loader import BatchLoader
from aroface.datasets.preparation.verify import require_passed, verify
from aroface.embedding.protocols import PROTOCOLS
from aroface.errors import InputError
from aroface.evaluation.metrics import verification
from aroface.evaluation.validation import pair_validation
from small_sets import PLACES, make_sets
from training_runs import write_recipe

OBLONG = encode_jpeg(np.full((112, 96, 3), 90, np.uint8), 90)
TRUNCATED = encode_jpeg(np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8), 90)[:900]
OPTIONS: dict[str, dict[str, Any]] = {
    "pairs": {},
    "sensitivity": {
        "max_pairs": None,
        "seed": 0,
        "degrade": "second",
        "qualities": ["hq"],
        **{key: [] for key in ("scale", "degrees", "shift", "joint")},
        "joint_maximum": {"scale": 0.1, "degrees": 10, "shift": 0.1},
    },
    "tinyface": {"alignment": "exact"},
    "ijb": {},
    "ijbs": {},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    make_sets(root)
    for manifest in root.rglob("*manifest.json"):
        manifest.unlink()  # which would name the change
    return root


@pytest.fixture
def sets(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "sets"))


def use(protocol: str, data: Path) -> None:
    """Do what embedding does up to the network, over all images."""
    source = PROTOCOLS[protocol].open_source(data, OPTIONS[protocol], 112)
    for start in range(0, source.rows, 16):
        source.images(start, min(start + 16, source.rows))


def read_all(data: Path) -> None:
    """Do what a training does up to the network."""
    for _ in BatchLoader(TrainingSet.open(data), 2, seed=0, threads=1).epoch(0):
        pass


def sentence(function: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments)
    return str(caught.value)


def pairs(change: Callable[[list[bytes], np.ndarray], tuple[list[bytes], np.ndarray]]) -> Callable[[Path], None]:
    def write(data: Path) -> None:
        found = read_pairs(data)
        images, same = change([*found.images] * 2, np.concatenate([found.same] * 2))
        write_pairs(data, Pairs(images, same))

    return write


def replaced(images: list[bytes], number: int, image: bytes) -> list[bytes]:
    return [image if each == number else old for each, old in enumerate(images)]


def rewrite(pattern: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def write(data: Path) -> None:
        for path in data.glob(pattern):
            path.write_text(change(path.read_text()))

    return write


def first_file(pattern: str, content: bytes | None) -> Callable[[Path], None]:
    def write(data: Path) -> None:
        path = sorted(data.glob(pattern))[0]
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    return write


def column(number: int, value: str, *, header: bool = False) -> Callable[[str], str]:
    """Set a column of all lines of a list."""

    def change(text: str) -> str:
        separator = "," if "," in text else " "
        rows = [line.split(separator) for line in text.splitlines()]
        for row in rows[header:]:
            row[number] = value
        return "".join(separator.join(row) + "\n" for row in rows)

    return change


def no_landmarks(text: str) -> str:
    first, *others = text.splitlines()
    name, *_, score = first.split()
    return "\n".join([" ".join([name, *["-1"] * 10, score]), *others]) + "\n"


PAIRS = {
    "oblong": pairs(lambda images, same: (replaced(images, 5, OBLONG), same)),
    "truncated": pairs(lambda images, same: (replaced(images, 3, TRUNCATED), same)),
    "no image": pairs(lambda images, same: (replaced(images, 3, b"text"), same)),
    "seven pairs": pairs(lambda images, same: (images[:14], same[:7])),
    "no pair": pairs(lambda images, same: (images[:0], same[:0])),
    "impostors": pairs(lambda images, same: (images, same & False)),
    "genuine": pairs(lambda images, same: (images, same | True)),
    "no pickle": lambda data: data.write_bytes(b"text"),
    "missing": lambda data: data.unlink(),
}
TREES: dict[str, dict[str, Callable[[Path], None]]] = {
    "tinyface": {
        "oblong": first_file("**/Probe/*.jpg", OBLONG),
        "truncated": first_file("**/Gallery_Match/*.jpg", TRUNCATED),
        "empty": first_file("**/Gallery_Distractor/*.jpg", b""),
        "missing": first_file("**/Probe/*.jpg", None),
        "no list": first_file("**/gallery_match*.mat", None),
    },
    "ijb": {
        "no landmarks": rewrite("meta/*5pts*", no_landmarks),
        "truncated": first_file("loose_crop/*", TRUNCATED),
        "missing": first_file("loose_crop/*", None),
        "impostors": rewrite("meta/*pair_label*", column(2, "0")),
        "genuine": rewrite("meta/*pair_label*", column(2, "1")),
        "no mate": rewrite("meta/*probe_mixed*", column(1, "99999", header=True)),
        "a label of 2": rewrite("meta/*pair_label*", column(2, "2")),
        "no pairs": rewrite("meta/*pair_label*", lambda text: ""),
    },
    "ijbs": {
        "oblong": first_file("faces/**/*.jpg", OBLONG),
        "truncated": first_file("faces/**/*.jpg", TRUNCATED),
        "no face": lambda data: [path.unlink() for path in data.glob("faces/**/*.jpg")] and None,
        "no list": first_file("protocols/*probe*", None),
    },
}
CASES = [(kind, name, change) for kind, changes in TREES.items() for name, change in changes.items()]
CASES += [(protocol, name, change) for protocol in ("pairs", "sensitivity") for name, change in PAIRS.items()]


@pytest.mark.parametrize(("protocol", "name", "change"), CASES)
def test_what_an_evaluation_refuses_is_refused_before(sets, protocol, name, change):
    kind = "pairs" if protocol == "sensitivity" else protocol
    data = sets / PLACES[kind]
    change(data)
    refused = sentence(use, protocol, data)
    assert "\n" not in refused

    def check() -> None:
        require_passed(verify(data, sets / "verified.json", name="faces", max_corrupt_fraction=0.5), data)

    assert refused in sentence(check)
    if kind == "pairs" and data.exists():
        assert sentence(pair_validation, {"faces": data}) == refused


@pytest.mark.parametrize("image", [OBLONG, TRUNCATED], ids=["oblong", "truncated"])
def test_what_a_training_refuses_is_refused_before(sets, image):
    good = encode_jpeg(np.full((112, 112, 3), 90, np.uint8), 90)
    write_training_set(sets / "new", [(0, good), (0, image), (1, good), (1, good)], 2)
    refused = sentence(read_all, sets / "new").removesuffix("; the record's class is 0")
    found = verify(sets / "new", sets / "verified.json", name="faces")
    assert refused in sentence(require_passed, found, sets / "new")


@pytest.mark.parametrize("protocol", OPTIONS)
def test_a_sound_set_is_used(sets, protocol):
    kind = "pairs" if protocol == "sensitivity" else protocol
    if kind == "pairs":
        pairs(lambda images, same: (images, same))(sets / PLACES[kind])
    use(protocol, sets / PLACES[kind])


def test_a_damaged_validation_file_is_told_before_the_first_step(tmp_path, capsys, sets):
    file = sets / PLACES["pairs"]
    PAIRS["truncated"](file)
    words = ["train", "--recipe", write_recipe(tmp_path), "--data", tmp_path / "none", "--device", "cpu"]
    words += ["--run-dir", tmp_path / "run", "--state-dir", tmp_path / "state", "--validate", f"lfw={file}"]
    assert main([str(word) for word in words]) == 2
    assert f"{file}: image 3: cannot be decoded" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_folds_are_those_of_the_accuracy():
    assert FOLDS == verification.FOLDS
