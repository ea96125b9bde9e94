from __future__ import annotations

import json

import numpy as np
import pytest

from aroface.embedding.feature_store import open_features, write_index, write_rows
from aroface.errors import InputError
from aroface.evaluation.compare_runs import compare
from aroface.evaluation.evaluate import evaluate, evaluate_features
from aroface.evaluation.protocols.registry import PROTOCOLS
from aroface.schemas import validate

OPTIONS = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "five_point"}
CHECKPOINT = {
    "run": "arcface-synthetic-r8s4-s1-0123abcd",
    "experiment": {"method": "arcface", "dataset": "synthetic", "arch": "r8s4", "seed": 1},
    "recipe": {"epochs": 2},
    "recipe_hash": "0123abcd" * 8,
    "data": {"name": "synthetic", "manifest_hash": "c" * 64},
    "weights_sha256": "a" * 64,
}


def store(folder, values, arrays, protocol, options=OPTIONS, layout=None):
    values = np.asarray(values, dtype=np.float32)
    write_rows(folder, "key", values.shape, lambda start: iter([values[start:]]))
    index = {
        "benchmark": "faces",
        "benchmark_manifest_hash": "b" * 64,
        "protocol": {"name": protocol, "options": options},
        "rows": values.shape[0],
        "dimension": values.shape[1],
        "layout": layout or {},
        "checkpoint": CHECKPOINT,
        "wall_s": 3.25,
    }
    write_index(folder, index, arrays)
    return folder


def pair_features(pairs, noise, seed=0):
    """Pairs of noisy unit vectors; every second pair shows one identity."""
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) % 2 == 0
    first = rng.normal(size=(pairs, 16))
    second = np.where(same[:, None], first, rng.normal(size=(pairs, 16)))
    return first + noise * rng.normal(size=first.shape), second + noise * rng.normal(size=first.shape), same


def alternate(first, second):
    return np.stack([first, second], axis=1).reshape(-1, first.shape[1])


def test_pairs_that_are_easily_told_apart(tmp_path):
    first, second, same = pair_features(200, noise=0.01)
    record = evaluate(store(tmp_path, alternate(first, second), {"same": same}, "pairs"))
    assert record["metrics"]["accuracy"] == 1
    assert record["metrics"]["eer"] == 0
    assert record["metrics"]["tar_strict_at_far_1e-3"] == 1
    assert record["counts"] == {"pairs": 200, "genuine": 100, "impostors": 100, "people": 300}
    assert record["intervals"]["auc"] == [pytest.approx(0.025 ** (1 / 300)), 1]
    assert record["intervals"]["tar_strict_at_far_1e-3"] == [pytest.approx(0.025 ** (1 / 100)), 1]
    assert record["resolution"] == {
        "accuracy": 1 / 200, "tar_at_far_1e-3": 0.01, **{f"tar_strict_at_far_1e-{n}": 0.01 for n in (1, 2, 3)}
    }  # fmt: skip
    (jackknife,) = record["jackknife"]
    assert (jackknife["unit"], jackknife["units"]) == ("people", 300)
    assert jackknife["values"].keys() == record["intervals"].keys()
    assert {len(values) for values in jackknife["values"].values()} == {100}
    curve = record["curves"]["tar_far"]
    assert (curve["far"][0], curve["far"][-1], curve["impostors"]) == (0.01, 1, 100)
    assert set(curve["tar"]) == {1}


def test_a_curve_of_rates_above_one_is_refused(tmp_path):
    first, second, same = pair_features(40, noise=0.5)
    record = evaluate(store(tmp_path, alternate(first, second), {"same": same}, "pairs"))
    record["curves"]["tar_far"]["tar"][-1] = 1.5
    with pytest.raises(InputError, match=r"curves\.tar_far\.tar\.\d+: 1\.5 is greater than the maximum of 1"):
        validate(record, "record")


def test_intervals_hold_the_value_and_narrow_with_more_pairs(tmp_path):
    widths = []
    for pairs in (100, 1600):
        first, second, same = pair_features(pairs, noise=1.2)
        record = evaluate(store(tmp_path / str(pairs), alternate(first, second), {"same": same}, "pairs"))
        assert record["intervals"].keys() == record["metrics"].keys() - {"accuracy_std"}
        low, high = record["intervals"]["auc"]
        assert low < record["metrics"]["auc"] < high < 1
        widths.append(high - low)
    assert 3 < widths[0] / widths[1] < 6.5


def test_record_names_all_that_it_depends_on(tmp_path):
    first, second, same = pair_features(40, noise=0.5)
    folder = store(tmp_path / "features", alternate(first, second), {"same": same}, "pairs")
    out = tmp_path / "records" / CHECKPOINT["run"] / "faces.json"
    record = evaluate_features(folder, out, command="aroface evaluate --features x --out y")
    validate(record, "record")
    assert json.loads(out.read_text()) == record
    assert record["run"] == CHECKPOINT["run"] and record["experiment"] == CHECKPOINT["experiment"]
    assert record["benchmark"] == "faces"
    assert record["protocol"] == {"name": "pairs", "version": 3, "options": OPTIONS}
    provenance = record["provenance"]
    assert provenance["weights_sha256"] == "a" * 64 and provenance["benchmark_manifest_hash"] == "b" * 64
    assert provenance["recipe"] == {"epochs": 2} and provenance["data"] == CHECKPOINT["data"]
    assert provenance["embed_wall_s"] == 3.25
    assert provenance["command"] == "aroface evaluate --features x --out y"


def test_records_differ_in_their_wall_time_only(tmp_path):
    first, second, same = pair_features(40, noise=0.8)
    folder = store(tmp_path, alternate(first, second), {"same": same}, "pairs")
    one, other = evaluate(folder), evaluate(folder)
    one["provenance"]["evaluate_wall_s"] = other["provenance"]["evaluate_wall_s"]
    assert one == other


def test_a_record_without_a_typed_option_is_refused(tmp_path):
    first, second, same = pair_features(40, noise=0.5)
    options = {name: value for name, value in OPTIONS.items() if name != "color"}
    with pytest.raises(InputError, match="'color' is a required property"):
        evaluate(store(tmp_path, alternate(first, second), {"same": same}, "pairs", options))


@pytest.mark.parametrize(("value", "kind"), [(True, "genuine"), (False, "impostors")])
def test_pairs_of_one_kind_are_refused(tmp_path, value, kind):
    first, second, _ = pair_features(20, noise=0.5)
    folder = store(tmp_path, alternate(first, second), {"same": np.full(20, value)}, "pairs")
    with pytest.raises(InputError, match=f"all 20 pairs are {kind}; expected pairs of both kinds"):
        evaluate(folder)


def test_fewer_pairs_than_folds_are_refused(tmp_path):
    first, second, same = pair_features(9, noise=0.5)
    with pytest.raises(InputError, match="9 pairs; expected at least 10"):
        evaluate(store(tmp_path, alternate(first, second), {"same": same}, "pairs"))


def test_unknown_protocol_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"protocol 'ijbz'; expected one of .*pairs, sensitivity, tinyface"):
        evaluate(store(tmp_path, np.ones((2, 3)), {}, "ijbz"))


def tinyface_features(rng, noise):
    identities = rng.normal(size=(30, 16))
    probe_labels, gallery_labels = np.arange(30) % 25, np.concatenate([np.arange(25), np.full(200, -100)])
    gallery = np.concatenate([identities[:25], rng.normal(size=(200, 16))])
    probes = identities[probe_labels] + noise * rng.normal(size=(30, 16))
    arrays = {"probe_labels": probe_labels, "gallery_labels": gallery_labels}
    return np.concatenate([probes, gallery]), arrays


def test_tinyface_search(tmp_path):
    values, arrays = tinyface_features(np.random.default_rng(2), noise=2.0)
    record = evaluate(store(tmp_path, values, arrays, "tinyface"))
    metrics = record["metrics"]
    assert 0.2 < metrics["rank1"] < metrics["rank5"] < metrics["rank20"] < 1
    assert metrics["rank1"] <= metrics["map"] <= metrics["rank5"]
    assert 0 < metrics["map_trapezoid"] < metrics["map"]
    assert record["counts"] == {
        "probes": 30,
        "probes_with_mate": 30,
        "people": 25,
        "gallery": 225,
        "distractors": 200,
    }
    low, high = record["intervals"]["rank1"]
    assert low < metrics["rank1"] < high


def test_probes_without_a_mate_do_not_count(tmp_path):
    values, arrays = tinyface_features(np.random.default_rng(3), noise=0.0)
    arrays["probe_labels"] = np.where(np.arange(30) < 10, 999, arrays["probe_labels"])
    record = evaluate(store(tmp_path, values, arrays, "tinyface"))
    assert record["counts"]["probes_with_mate"] == 20
    assert record["metrics"] == {"rank1": 1, "rank5": 1, "rank20": 1, "map": 1, "map_trapezoid": 1}


def test_a_gallery_without_any_mate_is_refused(tmp_path):
    values, arrays = tinyface_features(np.random.default_rng(4), noise=0.1)
    with pytest.raises(InputError, match="none of 30 probes has a mate"):
        evaluate(store(tmp_path, values, arrays | {"probe_labels": np.full(30, 7777)}, "tinyface"))


def embeddings(kind, same):
    """Pairs of embeddings (N, 256) of a kind of model; a detector gives positive numbers that hardly vary."""
    rng, count = np.random.default_rng(0), len(same)
    first, other = rng.normal(size=(2, count, 256))
    second = np.where(same[:, None], first, other) + 0.3 * rng.normal(size=first.shape)
    one_hot = np.eye(256)
    return {
        "constant": (np.ones_like(first), np.ones_like(first)),
        "zero": (np.zeros_like(first), np.zeros_like(first)),
        "one direction": (first.var(1, keepdims=True) * np.ones(256), np.ones_like(first)),
        "tiny noise": (1 + 1e-6 * first, 1 + 1e-6 * second),
        "detector": (0.5 + 0.01 * first, 0.5 + 0.01 * second),
        "detector, around a threshold": (np.exp(0.07 * rng.normal(size=first.shape)), np.exp(0.07 * first)),
        "all of different classes": (one_hot[np.arange(count) % 32], one_hot[32 + np.arange(count) % 32]),
        "classes": (one_hot[np.arange(count) % 32], one_hot[np.arange(count) % 32 + 32 * ~same]),
        "narrow": (1 + 0.1 * first, 1 + 0.1 * second),
        "good": (first, second),
        "chance": (first, other),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        ("constant", True),
        ("zero", True),
        ("one direction", True),
        ("tiny noise", True),
        ("detector", True),
        ("detector, around a threshold", True),
        ("all of different classes", True),
        ("classes", False),
        ("narrow", False),
        ("good", False),
        ("chance", False),
    ],
)
@pytest.mark.parametrize("protocol", ["pairs", "sensitivity"])
def test_embeddings_that_do_not_distinguish_images_are_refused(tmp_path, kind, refused, protocol):
    same = np.arange(200) % 2 == 0
    first, second = embeddings(kind, same)
    if protocol == "pairs":
        folder = store(tmp_path, alternate(first, second), {"same": same}, protocol)
    else:
        variant = {"quality": "hq", "factor": None, "level": 0.0, "first": 0, "second": len(same)}
        collapsed = {**variant, "factor": "shift", "level": 2.0, "first": 2 * len(same), "second": 2 * len(same)}
        values = np.concatenate([first, second, np.ones_like(first)])
        options, layout = {**OPTIONS, "metric": ["accuracy"]}, {"variants": [variant, collapsed]}
        folder = store(tmp_path, values, {"same": same}, protocol, options, layout)
    if refused:
        with pytest.raises(InputError, match="distinguish images: the squared distances of all 200 pairs are"):
            PROTOCOLS[protocol].evaluate(open_features(folder))
        with pytest.raises(InputError, match=r"expected a difference of more than one threshold step, 0\.01; "):
            compare(*[open_features(folder)] * 2)
    else:
        outcome = PROTOCOLS[protocol].evaluate(open_features(folder))
        name = "accuracy" if protocol == "pairs" else "accuracy_hq"
        low, high = outcome.intervals[name]
        assert low <= outcome.metrics[name] <= high
