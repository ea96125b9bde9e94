"""Disks that fill, on a small tmpfs of their own: what is said, what stays, and what comes of it afterwards."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.files import read_json, write_json
from embedding_runs import make_run
from small_disk import Disk
from training_runs import jpeg, write_data, write_recipe

MB = 1_000_000
WANT = re.compile(
    r"aroface: error: (\S+): no room \(No space left on device: ([\d.]+ \w?B needed, )?[\d.]+ \w?B free\); free"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.exit("these tests mount disks and need to be root", 2)
    disk = Disk(tmp_path / "disk", 100 * MB)
    yield disk
    disk.end()


Aroface = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def aroface(capfd: pytest.CaptureFixture[str]) -> Aroface:
    """The command; returns its status and the lines that it said on standard error."""

    def call(*words: object) -> tuple[int, list[str]]:
        capfd.readouterr()
        return main([str(word) for word in words]), capfd.readouterr().err.splitlines()

    return call


def assert_one_line(status: int, said: list[str]) -> str:
    """A call ended for want of room, and said so once; returns the file that it named."""
    assert status == 2, said
    assert not [line for line in said[:-1] if "rror" in line or "Traceback" in line], said
    found = WANT.match(said[-1])
    assert found, said[-1]
    return found[1]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A training set and a recipe."""
    folder = tmp_path_factory.mktemp("toys")
    return write_data(folder / "data"), write_recipe(folder, epochs=2)


def training(toys: tuple[Path, Path], folder: Path) -> list[object]:
    data, recipe = toys
    words: list[object] = ["train", "--recipe", recipe, "--data", data, "--device", "cpu", "--log-every", 1]
    return [*words, "--save-every", 3, "--run-dir", folder / "run", "--state-dir", folder / "state"]


def weights(folder: Path) -> str:
    return str(json.loads((folder / "run" / "checkpoint.json").read_text())["weights"]["sha256"])


@pytest.fixture(scope="module")
def undisturbed(toys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main([str(word) for word in training(toys, folder)]) == 0
    return weights(folder)


# From no room for the log to none for the third state.
@pytest.mark.parametrize("size", [8_000, 0.2 * MB, 0.35 * MB, MB, 2.7 * MB, 4.9 * MB])
def test_a_training_goes_on_from_what_is_whole(
    disk: Disk, toys: tuple[Path, Path], undisturbed: str, aroface: Aroface, size: float
) -> None:
    disk.resize(int(size))
    for _ in range(2):
        assert str(disk.folder) in assert_one_line(*aroface(*training(toys, disk.folder)))
    disk.resize(100 * MB)
    status, said = aroface(*training(toys, disk.folder))
    assert status == 0, said
    assert weights(disk.folder) == undisturbed
    steps = [json.loads(line)["step"] for line in (disk.folder / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == [*range(16)]


def test_a_training_whose_weights_find_no_room(
    disk: Disk, toys: tuple[Path, Path], undisturbed: str, aroface: Aroface, tmp_path: Path
) -> None:
    """It has the last step's state, and the next call does nothing but write them."""
    disk.resize(int(0.7 * MB))
    words = [*training(toys, disk.folder)[:-1], tmp_path / "state"]
    status, said = aroface(*words)
    assert status == 2
    no_room = r"model\.safetensors: cannot be written \(No space left on device: [\d.]+ [kM]B needed"
    assert re.search(no_room, said[-1])
    assert not (disk.folder / "run" / "checkpoint.json").exists()
    disk.resize(100 * MB)
    assert aroface(*words)[0] == 0
    assert weights(disk.folder) == undisturbed


def test_features_and_records(disk: Disk, aroface: Aroface, tmp_path: Path) -> None:
    """What was written of the features is kept; a record is whole or absent."""
    write_pairs(tmp_path / "pairs.bin", Pairs([jpeg(i) for i in range(200)], np.arange(100) % 2 == 0))
    options = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "as_stored"}
    benchmark = {"name": "toy", "protocol": "pairs", "path": str(tmp_path / "pairs.bin"), "options": options}
    write_json(tmp_path / "toy.json", benchmark)
    run, out, record = make_run(tmp_path / "run", 0), disk.folder / "features", disk.folder / "record.json"
    embed = ["embed", "--run-dir", run, "--benchmark", tmp_path / "toy.json", "--device", "cpu"]
    evaluate = ["evaluate", "--features", tmp_path / "whole", "--out"]
    assert aroface(*embed, "--out", tmp_path / "whole")[0] == 0
    assert aroface(*evaluate, tmp_path / "whole.json")[0] == 0

    for size in (4096, 8192, 12288, 16384):
        disk.resize(size)
        assert str(out) in assert_one_line(*aroface(*embed, "--out", out))
        assert not (out / "index.json").exists()
    disk.resize(100 * MB)
    assert aroface(*embed, "--out", out)[0] == 0
    for file in (tmp_path / "whole").glob("*.npy"):
        assert (out / file.name).read_bytes() == file.read_bytes()

    filler = disk.folder / "filler"
    disk.resize(int(0.5 * MB))
    with suppress(OSError):
        filler.write_bytes(bytes(MB))
    assert assert_one_line(*aroface(*evaluate, record)) == str(record)
    assert not record.exists()
    assert {path.name for path in disk.folder.iterdir()} == {"features", "filler"}
    filler.unlink()
    assert aroface(*evaluate, record)[0] == 0
    assert read_json(record)["metrics"] == read_json(tmp_path / "whole.json")["metrics"]
