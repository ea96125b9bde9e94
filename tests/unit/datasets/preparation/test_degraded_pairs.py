"""Degraded sets of pairs: pixels, people, resumption, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.formats.pair_people import PairRow, read_pair_rows, write_pair_people
from aroface.datasets.formats.pairs import Pairs, pair_face, read_pairs, write_pairs
from aroface.datasets.identity import data_hash
from aroface.datasets.preparation.degraded_pairs import DegradeOptions, degrade_pairs
from aroface.errors import InputError
from aroface.faces.degrade import downsample
from crops import crop


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten pairs; the first image of pair 0 is the second of pair 9."""
    numbers = [*range(19), 0]
    path = tmp_path / "faces.bin"
    write_pairs(path, Pairs([crop(number) for number in numbers], np.arange(10) % 2 == 0))
    return path


def faces(path: Path) -> np.ndarray:
    return np.stack([pair_face(image, path, number, 112) for number, image in enumerate(read_pairs(path).images)])


def test_the_second_or_both_images_lose_their_pixels(source, tmp_path, capsys):
    assert main(["data", "degrade", str(source), "--out", str(tmp_path / "low"), "--pixels", "28", "7"]) == 0
    names = [f"faces_{sides}_{pixels}.bin" for sides in ("hr-lr", "lr-lr") for pixels in (28, 7)]
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(tmp_path / "low" / name) for name in names
    ]
    before = faces(source)
    for name in names:
        path = tmp_path / "low" / name
        low = downsample(before, int(path.stem.rpartition("_")[2]))
        after, read = faces(path), read_pairs(path)
        assert (after[1::2] == low[1::2]).all() and read.same.tolist() == read_pairs(source).same.tolist()
        if "lr-lr" in name:
            assert (after[0::2] == low[0::2]).all() and read.images[0] == read.images[19]
        else:
            assert read.images[0::2] == read_pairs(source).images[0::2]


def test_people_stay_and_a_second_call_makes_what_is_missing(source, tmp_path):
    same = read_pairs(source).same
    rows = [PairRow(1, bool(s), f"p{n}", f"p{n if s else -n}", f"{n}a", f"{n}b") for n, s in enumerate(same)]
    write_pair_people(source, rows)
    options = DegradeOptions(pixels=[14], degradation="surveillance", seed=3)
    first, second = degrade_pairs(source, tmp_path / "low", options)
    assert read_pair_rows(first.path, same) == rows
    content = first.path.read_bytes(), first.path.stat().st_mtime_ns
    Path(f"{second.path}.manifest.json").unlink()
    second.path.unlink()
    assert [each.made for each in degrade_pairs(source, tmp_path / "low", options)] == [False, True]
    assert (first.path.read_bytes(), first.path.stat().st_mtime_ns) == content
    other = DegradeOptions(pixels=[14], degradation="surveillance", seed=4)
    assert [each.made for each in degrade_pairs(source, tmp_path / "low", other)] == [True, True]
    assert first.path.read_bytes() != content[0]
    assert data_hash(first.path) != data_hash(second.path)
    after = faces(second.path)
    assert (after[0] == after[19]).all(), "an image is degraded in one way"


@pytest.mark.parametrize("pixels", [0, 112, 500])
def test_sizes_that_lose_nothing_are_refused(pixels, source, tmp_path):
    with pytest.raises(InputError, match=r"--pixels.* 1 to 111"):
        degrade_pairs(source, tmp_path / "low", DegradeOptions(pixels=[14, pixels]))
    assert not (tmp_path / "low").exists()


def test_files_of_others_stay(source, tmp_path, capsys):
    (tmp_path / "faces_hr-lr_56.bin").write_bytes(b"precious")
    assert main(["data", "degrade", str(source), "--out", str(tmp_path)]) == 2
    assert "was not made here" in capsys.readouterr().err
    assert (tmp_path / "faces_hr-lr_56.bin").read_bytes() == b"precious"
    assert main(["data", "degrade", "nothing.bin", "--out", str(tmp_path / "low")]) == 2
