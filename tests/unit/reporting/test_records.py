from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aroface.errors import InputError
from aroface.reporting import records
from aroface.reporting.records import RecordedExperiment, check_comparable, load_records, read_runs_file, select
from made_up_records import OPTIONS, write_record

ARCFACE = RecordedExperiment("arcface", "ms1mv2", "r100")


def test_no_folder_means_no_records(tmp_path: Path):
    assert load_records(tmp_path / "records") == ()


def test_a_record_that_is_being_replaced_is_one_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept, gone = (write_record(tmp_path, "arcface", {"rank1": 0.5}, seed=seed) for seed in (0, 1))
    listed = records.list_files

    def list_and_lose(*arguments: Any) -> list[Path]:
        found = listed(*arguments)
        gone.unlink()
        return found

    monkeypatch.setattr(records, "list_files", list_and_lose)
    assert [record.path for record in load_records(tmp_path)] == [kept]


@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_in_place_of_a_record_is_one_line(tmp_path: Path, link: bool):
    """Opening it would wait for somebody who writes into it."""
    write_record(tmp_path, "arcface", {"rank1": 0.5})
    place = tmp_path / "run/lfw.json"
    place.parent.mkdir()
    os.mkfifo(tmp_path / "pipe" if link else place)
    if link:
        place.symlink_to(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"run/lfw\.json: a pipe, not a file; expected a JSON file"):
        load_records(tmp_path)


def test_records_are_chosen_by_experiment_and_benchmark_in_the_order_of_seeds(tmp_path: Path):
    for seed in (2, 10, 0):
        write_record(tmp_path, "arcface", {"rank1": seed / 100}, seed=seed)
    write_record(tmp_path, "arcface", {"accuracy": 0.9}, benchmark="lfw", protocol="pairs")
    write_record(tmp_path, "arcface_aroface", {"rank1": 0.9})
    write_record(tmp_path, "arcface", {"rank1": 0.9}, dataset="ms1mv3")
    write_record(tmp_path, "arcface", {"rank1": 0.9}, arch="r50")
    chosen = select(load_records(tmp_path), ARCFACE, "tinyface")
    assert [(record.seed, record.metrics["rank1"]) for record in chosen] == [(0, 0.0), (2, 0.02), (10, 0.1)]


def test_only_the_named_runs_count(tmp_path: Path):
    old = write_record(tmp_path, "arcface", {"rank1": 0.5}, lr=0.1)
    new = write_record(tmp_path, "arcface", {"rank1": 0.6}, lr=0.2)
    chosen = select(load_records(tmp_path, [new.parent.name]), ARCFACE, "tinyface")
    assert [record.metrics["rank1"] for record in chosen] == [0.6]
    with pytest.raises(InputError, match="2 runs of seed 0") as ambiguous:
        select(load_records(tmp_path), ARCFACE, "tinyface")
    assert old.parent.name in str(ambiguous.value)
    assert new.parent.name in str(ambiguous.value)
    assert "\n" not in str(ambiguous.value)


def test_seeds_of_different_recipes_are_not_averaged(tmp_path: Path):
    write_record(tmp_path, "arcface", {"rank1": 0.5}, seed=0, lr=0.1)
    write_record(tmp_path, "arcface", {"rank1": 0.6}, seed=1, lr=0.2)
    with pytest.raises(InputError, match=r"recipe\.optimiser\.lr is 0\.2; expected 0\.1"):
        select(load_records(tmp_path), ARCFACE, "tinyface")


def test_seeds_of_different_protocols_are_not_averaged(tmp_path: Path):
    write_record(tmp_path, "arcface", {"rank1": 0.5}, seed=0)
    write_record(tmp_path, "arcface", {"rank1": 0.6}, seed=1, options={**OPTIONS, "flip": False})
    with pytest.raises(InputError, match=r"protocol\.options\.flip is False"):
        select(load_records(tmp_path), ARCFACE, "tinyface")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"options": {**OPTIONS, "alignment": "padded"}}, r"protocol\.options\.alignment is 'padded'"),
        ({"version": 2}, r"protocol\.version is 2"),
        ({"manifest": "f" * 64}, r"benchmark\.manifest_hash is 'f+'"),
    ],
)
def test_one_column_does_not_mix_measurements(tmp_path: Path, change: dict, key: str):
    write_record(tmp_path, "arcface", {"rank1": 0.5})
    write_record(tmp_path, "arcface_aroface", {"rank1": 0.6}, **change)
    with pytest.raises(InputError, match=key):
        check_comparable(load_records(tmp_path))


def test_models_may_differ_in_colour_order(tmp_path: Path):
    write_record(tmp_path, "arcface", {"rank1": 0.5})
    write_record(tmp_path, "adaface", {"rank1": 0.6}, options={**OPTIONS, "color": "BGR"})
    check_comparable(load_records(tmp_path))


def test_a_record_that_is_being_written_is_not_read(tmp_path: Path):
    path = write_record(tmp_path, "arcface", {"rank1": 0.5})
    (path.parent / ".tinyface.json.abc123.json").write_text("{")
    assert len(load_records(tmp_path)) == 1


def test_a_record_in_the_wrong_place_is_refused(tmp_path: Path):
    path = write_record(tmp_path, "arcface", {"rank1": 0.5})
    path.rename(path.with_name("lfw.json"))
    with pytest.raises(InputError, match=r"wrong place; expected .*/tinyface\.json"):
        load_records(tmp_path)


def test_a_record_with_an_unknown_key_is_refused(tmp_path: Path):
    path = write_record(tmp_path, "arcface", {"rank1": 0.5})
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "red"}))
    with pytest.raises(InputError, match="colour"):
        load_records(tmp_path)


def test_the_runs_file_says_what_is_current(tmp_path: Path):
    path = tmp_path / "runs.json"
    experiment = {"method": "arcface", "dataset": "ms1mv2", "arch": "r100"}
    path.write_text(
        json.dumps({"schema": 1, "runs": ["a"], "experiments": [experiment], "labels": {"arcface": "ArcFace"}})
    )
    assert read_runs_file(path) == {"runs": ["a"], "experiments": [ARCFACE], "labels": {"arcface": "ArcFace"}}
    assert read_runs_file(None) == {}


@pytest.mark.parametrize("content", ["[]", "{}", '{"runs": [], "experiments": [{"method": "a"}], "labels": {}}'])
def test_another_file_is_no_list_of_runs(tmp_path: Path, content: str):
    path = tmp_path / "runs.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"runs\.json: no list of runs"):
        read_runs_file(path)


@pytest.mark.parametrize("content", ["null", "[]", "7", "true", '""', "{}", "", "{", "[1"])
def test_a_file_that_is_no_record_is_never_left_out_in_silence(tmp_path, content):
    place = write_record(tmp_path, "arcface", {"rank1": 0.5})
    place.with_name("lfw.json").write_text(content)
    with pytest.raises(InputError, match=r"lfw\.json: "):
        load_records(tmp_path)
