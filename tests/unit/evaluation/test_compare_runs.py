from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t, ttest_rel
from tests.unit.evaluation.test_evaluate import OPTIONS, alternate, pair_features, store, tinyface_features

from aroface.cli.main import main
from aroface.embedding.feature_store import open_features
from aroface.errors import InputError
from aroface.evaluation.compare_runs import compare, compare_metrics, table
from aroface.evaluation.evaluate import evaluate
from aroface.evaluation.metrics.identification import retrieve
from aroface.evaluation.metrics.verification import FOLDS, accuracy, correctly_classified, fold_numbers, pair_distances
from aroface.evaluation.statistics.jackknife import LeaveOut, covariance
from aroface.evaluation.statistics.multiplicity import holm
from aroface.evaluation.statistics.people_metrics import PeopleMetrics, mean_of_items

SWEEP = {**OPTIONS, "metric": ["auc", "accuracy"]}


@pytest.fixture
def two_pairs(tmp_path):
    """Features of a good and of a worse run on the same pairs."""
    good, bad = (pair_features(120, noise) for noise in (0.9, 1.4))
    return [
        open_features(store(tmp_path / name, alternate(first, second), {"same": same}, "pairs"))
        for name, (first, second, same) in (("good", good), ("bad", bad))
    ]


@pytest.fixture
def two_searches(tmp_path):
    folders = []
    for name, noise in (("bad", 3.0), ("good", 1.0)):
        values, arrays = tinyface_features(np.random.default_rng(1), noise)
        folders.append(store(tmp_path / "searches" / name, values, arrays, "tinyface"))
    return folders


def test_values_are_those_of_the_records(two_pairs, two_searches):
    for first, second in (two_pairs, map(open_features, two_searches)):
        records = [evaluate(features.folder)["metrics"] for features in (first, second)]
        rows = compare(first, second)
        assert {row.metric for row in rows} == records[0].keys() - {"accuracy_std"}
        for row in rows:
            assert (row.first, row.second) == pytest.approx([record[row.metric] for record in records], abs=1e-12)
            assert row.difference == pytest.approx(records[1][row.metric] - records[0][row.metric], abs=1e-12)


def test_both_runs_are_measured_without_the_same_people(two_pairs):
    """Against the records, which hold what was left out: the interval is Student's of the differences."""
    records = [evaluate(features.folder)["jackknife"][0] for features in two_pairs]
    for row in compare(*two_pairs):
        left = np.subtract(*(np.array(record["values"][row.metric]) for record in reversed(records)))
        reach = t.ppf(0.975, len(left) - 1) * np.sqrt(covariance(left, left))
        assert row.interval == pytest.approx((row.difference - reach, row.difference + reach), abs=1e-8)
        assert (row.p_value <= 0.05) == (row.interval[0] > 0 or row.interval[1] < 0)


def test_a_run_does_not_differ_from_itself(two_pairs):
    for row in compare(two_pairs[0], two_pairs[0]):
        assert row.difference == 0 and row.p_value == row.adjusted == 1
        assert row.interval[1] == -row.interval[0] and 0.01 < row.interval[1] < 0.07  # 60 people or more agree
        assert row.discordance is None or (row.discordance.only_first, row.discordance.only_second) == (0, 0)


def test_features_without_numbers_of_images_take_those_of_the_other_run(two_pairs):
    first, second = two_pairs
    images = np.arange(240).reshape(-1, 2) // 3
    numbered = replace(second, arrays={**second.arrays, "images": images})
    expected = compare(replace(first, arrays={**first.arrays, "images": images}), numbered, ["auc"])
    assert compare(first, numbered, ["auc"]) == expected != compare(first, second, ["auc"])
    other = replace(first, arrays={**first.arrays, "images": images[::-1]})
    with pytest.raises(InputError, match=r"images.npy: another array"):
        compare(other, numbered)


def test_hits_of_searches_are_counted(two_searches):
    first, second = map(open_features, two_searches)
    labels = [first.arrays[f"{side}_labels"] for side in ("probe", "gallery")]
    bad, good = (
        retrieve(each.values[:30], labels[0], each.values[30:], labels[1]).ranks <= 1 for each in (first, second)
    )
    (row,) = compare(first, second, ["rank1"])
    only_bad, only_good = np.sum(bad & ~good), np.sum(good & ~bad)
    assert (row.discordance.only_first, row.discordance.only_second) == (only_bad, only_good)
    assert row.difference == pytest.approx((only_good - only_bad) / 30) and row.difference > 0.2
    assert row.interval[0] > 0 and row.p_value == row.adjusted < 0.01


def test_p_values_are_adjusted_for_the_metrics_that_are_compared(two_searches):
    first, second = map(open_features, two_searches)
    rows = compare(first, second)
    assert [row.adjusted for row in rows] == holm([row.p_value for row in rows])
    one, other = compare(first, second, ["rank1", "map"])
    assert [one.adjusted, other.adjusted] == holm([one.p_value, other.p_value])


def test_one_probe_a_person_is_the_paired_t_test():
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 60))
    (row,) = compare_metrics(*(mean_of_items({"map": each}, np.arange(60)) for each in (first, second)))
    expected = ttest_rel(second, first)
    assert row.p_value == pytest.approx(expected.pvalue, abs=1e-12)
    assert row.interval == pytest.approx(tuple(expected.confidence_interval()), abs=1e-12)


def test_a_metric_that_is_not_defined_without_somebody_has_no_test():
    left = np.array([0.4, np.nan, 0.6])
    rows = [
        PeopleMetrics({"a": 0.5, "b": 0.5}, LeaveOut("people", 3, {"a": each, "b": left}), {})
        for each in (np.array([0.4, 0.5, 0.6]), np.array([0.5, 0.5, 0.5]))
    ]
    defined, undefined = compare_metrics(*rows)
    assert defined.adjusted == defined.p_value == pytest.approx(1)
    assert np.isnan([*undefined.interval, undefined.p_value, undefined.adjusted]).all()
    assert table([defined, undefined]).splitlines()[-1].split()[-2:] == ["none", "none"]


def test_right_calls_are_what_accuracy_counts(two_pairs):
    distances, same = pair_distances(two_pairs[1].values[0::2], two_pairs[1].values[1::2]), two_pairs[1].arrays["same"]
    right = correctly_classified(distances, same)
    folds = fold_numbers(len(same))
    assert np.mean([right[folds == fold].mean() for fold in range(FOLDS)]) == pytest.approx(
        accuracy(distances, same)[0]
    )
    (row,) = compare(*two_pairs, ["accuracy"])
    net = row.discordance.only_second - row.discordance.only_first
    assert net / 120 == pytest.approx(row.difference)


def test_the_undistorted_images_of_a_sweep_are_compared(tmp_path):
    runs = []
    for name, noise in (("one", 0.8), ("other", 1.3)):
        first, second, same = pair_features(60, noise)
        values = np.concatenate([first, second, second + 2 * np.random.default_rng(5).normal(size=second.shape)])
        rows = [("hq", None, 0.0, 60), ("hq", "scale", 0.1, 120), ("r16", None, 0.0, 120)]
        variants = [
            {"quality": quality, "factor": factor, "level": level, "first": 0, "second": start}
            for quality, factor, level, start in rows
        ]
        folder = store(tmp_path / name, values, {"same": same}, "sensitivity", SWEEP, {"variants": variants})
        runs.append(open_features(folder))
    rows = compare(*runs)
    assert [row.metric for row in rows] == ["auc_hq", "accuracy_hq", "auc_r16", "accuracy_r16"]
    records = [evaluate(features.folder)["metrics"] for features in runs]
    assert [row.second for row in rows] == pytest.approx([records[1][row.metric] for row in rows])
    assert [row.discordance is None for row in rows] == [True, False, True, False]


def test_p_values_of_equal_runs_are_uniform():
    """One in twenty comparisons of equally good runs has p <= .05, though a person's probes have much in common."""
    rng = np.random.default_rng(0)
    people, each, trials = 80, 12, 500
    owners, found = np.repeat(np.arange(people), each), []
    for _ in range(trials):
        hard, own = rng.normal(size=people * each), rng.normal(size=(2, people))
        one, other = (
            mean_of_items({"rate": hard + skill[owners] + rng.normal(0, 0.5, people * each) < 0.5}, owners)
            for skill in own
        )
        (row,) = compare_metrics(one, other)
        found.append(row.p_value)
    assert 0.03 < np.mean(np.array(found) <= 0.05) < 0.075
    assert 0.44 < np.mean(np.array(found) <= 0.5) < 0.56


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark_manifest_hash": "d" * 64}, r"data d+; expected b+ as in"),
        ({"protocol": {"name": "pairs", "options": {**OPTIONS, "flip": False}}}, r"options .*'flip': False"),
        ({"protocol": {"name": "tinyface", "options": OPTIONS}}, "protocol tinyface; expected pairs"),
    ],
)
def test_other_data_and_options_are_refused(two_pairs, change, message):
    first, second = two_pairs
    other = type(second)(second.folder, {**second.index, **change}, second.values, second.arrays)
    with pytest.raises(InputError, match=message):
        compare(first, other)


def test_other_items_and_unknown_metrics_are_refused(two_pairs):
    first, second = two_pairs
    other = type(second)(second.folder, second.index, second.values, {"same": ~second.arrays["same"]})
    with pytest.raises(InputError, match=r"same.npy: another array"):
        compare(first, other)
    with pytest.raises(InputError, match=r"no metric 'rank1'; expected one of accuracy, tar_at_far_1e-3, .*eer$"):
        compare(first, second, ["rank1"])
    unknown = type(second)(second.folder, {**second.index, "protocol": {"name": "x", "options": {}}}, second.values, {})
    with pytest.raises(InputError, match=r"protocol 'x'; expected one of .*pairs"):
        compare(unknown, unknown)


def test_the_verb_prints_a_table(two_searches, capsys):
    words = ["compare-runs", "--features", *map(str, two_searches)]
    assert main([*words, "--metric", "rank1", "--metric", "map"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line] == ["A", "B", "metric", "rank1", "map", "Intervals"]
    assert len(lines[4].split()) == 10 and len(lines[5].split()) == 8
    assert main([*words, "--metric", "accuracy"]) == 2
    assert "no metric 'accuracy'" in capsys.readouterr().err


ODD_INDEXES = {
    "a line break in the run's name": ({"checkpoint": {"run": "a\nB  forged"}}, r"run: 'a\\nB  forged' holds a"),
    "a terminal code": ({"checkpoint": {"run": "a\x1b[2J"}}, r"run: 'a\\x1b\[2J' holds a control character"),
    "a run that is no text": ({"checkpoint": {"run": 7}}, "run: 7 is no name"),
    "a run that is a path": ({"checkpoint": {"run": "../x"}}, "'../x' cannot name a run"),
    "a method of two lines": ({"checkpoint": {"experiment": {"method": "a\n"}}}, "method: .*control character"),
    "an experiment that is none": ({"checkpoint": {"experiment": 7}}, "no index of a run's features"),
    "no checkpoint": ({"checkpoint": None}, r"checkpoint\.run: no such key"),
    "a checkpoint without data": ({"checkpoint": {"data": None}}, r"checkpoint\.data: no such key"),
    "options that are none": ({"protocol": {"options": [1]}}, "no index of a run's features"),
    "no protocol": ({"protocol": None}, r"protocol\.name: no such key"),
    "no benchmark": ({"benchmark_manifest_hash": None}, "benchmark_manifest_hash: no such key"),
}


def changed(value, change):
    """A mapping laid over another; None takes a key away."""
    if not isinstance(change, dict) or not isinstance(value, dict):
        return change
    merged = {**value, **{key: changed(value.get(key), each) for key, each in change.items()}}
    return {key: each for key, each in merged.items() if each is not None}


@pytest.mark.parametrize("case", ODD_INDEXES)
def test_an_index_that_no_record_can_be_made_of_is_one_line(two_searches, capsys, tmp_path, case):
    change, message = ODD_INDEXES[case]
    path = two_searches[1] / "index.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), change)))
    record = ["--out", str(tmp_path / "record.json")]
    for words in (["compare-runs", *map(str, two_searches)], ["evaluate", str(path.parent), *record]):
        assert main([words[0], "--features", *words[1:]]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        (line,) = told.err.splitlines()
        assert re.search(rf"index\.json: .*{message}", line) and line.isprintable()


def surveillance(folder, noise):
    """Stills, bookings and videos of 12 people, 6 in each gallery, and videos of 10 strangers; two faces a medium."""
    rng = np.random.default_rng(7)
    people = rng.normal(size=(22, 8))
    subjects = np.concatenate([np.tile(np.arange(12), 3), np.tile(np.arange(22), 3)])
    kinds = [f"gallery_{kind}_{part}" for kind in ("single", "booking", "surveillance") for part in (1, 2)]
    arrays = {name: np.arange(6 * place, 6 * place + 6) for place, name in enumerate(kinds)}
    probes = ("probes_single_booking", "probes_surveillance", "probes_uav")
    arrays |= {name: np.arange(36 + 22 * place, 58 + 22 * place) for place, name in enumerate(probes)}
    arrays |= {
        "medium_offsets": np.arange(0, 2 * len(subjects) + 1, 2),
        "template_offsets": np.arange(len(subjects) + 1),
        "template_media": np.arange(len(subjects)),
        "template_subjects": subjects,
    }
    faces = people[np.repeat(subjects, 2)]
    return store(folder, faces + noise * rng.normal(size=faces.shape), arrays, "ijbs", {**OPTIONS, "flip": False})


def test_surveillance_searches_are_compared(tmp_path):
    folders = [surveillance(tmp_path / name, noise) for name, noise in (("bad", 1.6), ("good", 0.4))]
    records = [evaluate(folder)["metrics"] for folder in folders]
    rows = compare(*map(open_features, folders))
    assert [row.metric for row in rows] == list(records[0])
    assert [row.second for row in rows] == pytest.approx(list(records[1].values()))
    for row in rows:
        assert (row.discordance is None) == ("tpir" in row.metric)
    first = rows[0]
    assert first.metric == "surveillance_to_single_rank1" and first.interval[0] > 0
    net = first.discordance.only_second - first.discordance.only_first
    assert net / 12 == pytest.approx(first.difference)
