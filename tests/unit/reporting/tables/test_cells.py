from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.reporting.tables.test_render import CLAIM_ROWS, small_spec

from aroface.errors import InputError
from aroface.reporting.records import load_records
from aroface.reporting.statistics.samples import deviation_floor, difference
from aroface.reporting.tables.cells import metric_sample
from aroface.reporting.tables.render import render_table
from made_up_records import write_record

GROUPS = {"rank1": [0.49, 0.5, 0.51]}


def test_values_without_people_come_with_the_metric(tmp_path: Path):
    for seed in range(2):
        write_record(tmp_path, "arcface", {"rank1": 0.5}, seed=seed, jackknife=GROUPS, resolution={"rank1": 0.01})
    found = metric_sample(load_records(tmp_path), "rank1")
    ((people, by_seed),) = found.left_out.items()
    assert people == "e" * 64 + " 200 people, 3 groups"
    assert np.array_equal(by_seed[1], GROUPS["rank1"])
    assert found.floor == deviation_floor(0.01)
    with pytest.raises(InputError, match="no metric rank7"):
        metric_sample(load_records(tmp_path), "rank7")


@pytest.mark.parametrize("other", [None, {"rank1": [0.5, 0.5]}, {"rank5": [0.5, 0.5, 0.5]}])
def test_a_record_without_them_or_with_others_leaves_them_out(tmp_path: Path, other: dict | None):
    write_record(tmp_path, "arcface", {"rank1": 0.5}, seed=0, jackknife=GROUPS)
    write_record(tmp_path, "arcface", {"rank1": 0.5}, seed=1, jackknife=other)
    found = metric_sample(load_records(tmp_path), "rank1")
    assert found.left_out == {}
    assert "not every record" in found.lacking


def test_other_benchmarks_have_other_people(tmp_path: Path):
    for seed in range(2):
        for method, manifest in (("a", "e" * 64), ("b", "f" * 64)):
            write_record(tmp_path, method, {"rank1": 0.5}, seed=seed, jackknife=GROUPS, manifest=manifest)
    records = load_records(tmp_path)
    samples = [metric_sample([each for each in records if each.experiment.method == name], "rank1") for name in "ab"]
    assert "same people" in difference(*samples).lacking


@pytest.mark.parametrize("known", [0, 2, 3])
def test_the_caption_says_what_the_brackets_speak_of(tmp_path: Path, known: int):
    for method, base in (("arcface", 0.5), ("arcface_aroface", 0.6)):
        for seed in range(3):
            value = base + 0.01 * seed**2 * base
            groups = {"rank1": [value - 0.01, value, value + 0.01]} if seed < known else None
            write_record(tmp_path / "records", method, {"rank1": value}, seed=seed, jackknife=groups)
    rows = [*CLAIM_ROWS, {"method": "again", "difference": {"of": "ours", "minus": "plain"}}]
    spec = small_spec(tmp_path, rows=rows, seeds={"tests": "note"}, emphasis={"rule": "best_second"})
    text = render_table(spec, tmp_path / "records", mode="reproduced", format="markdown").replace("\\", "")
    assert ("mean difference on this benchmark (paired by seed, Student's t)" in text) == (known < 3)
    assert ("mean difference on faces like these (seeds and people random" in text) == (known == 3)
    assert "Each stands alone: where nothing differs, about 0.1 of these 2 leave out 0 by chance." in text
    assert f"by 2 paired {'tests over seeds and people' if known == 3 else 't tests over seeds'}" in text
    assert f"(on {'faces like these' if known == 3 else 'this benchmark'}, paired by seed, 5\u00a0%" in text
