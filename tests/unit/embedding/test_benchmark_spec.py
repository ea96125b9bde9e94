from __future__ import annotations

import pytest

from aroface.embedding.benchmark_spec import resolve
from aroface.errors import InputError

PLAIN = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "five_point"}
PAIRS = {"name": "lfw", "protocol": "pairs", "path": "data/lfw.bin", "options": PLAIN}
SWEEP = {"qualities": ["hq", 24], "scale": [0.05], "degrees": [5], "shift": [0.04], "joint": [], "metric": ["auc"]}
FAE = {"name": "fae", "protocol": "sensitivity", "path": "data/lfw.bin", "options": {**PLAIN, **SWEEP}}


def with_options(spec, **options):
    return {**spec, "options": {**spec["options"], **options}}


def test_defaults_of_a_sweep_are_written_out():
    options = resolve(FAE)["options"]
    assert (options["degrade"], options["seed"], options["max_pairs"]) == ("probe", 0, None)
    assert options["joint_maximum"] == {"scale": 0.1, "degrees": 10.0, "shift": 0.06}
    assert resolve(with_options(FAE, degrade="both", max_pairs=50))["options"]["degrade"] == "both"


def test_other_protocols_have_no_defaults():
    assert resolve(PAIRS) == PAIRS


@pytest.mark.parametrize("option", ["color", "flip", "fusion", "alignment"])
@pytest.mark.parametrize("spec", [PAIRS, {**PAIRS, "protocol": "tinyface"}, FAE])
def test_what_decides_the_numbers_has_to_be_said(spec, option):
    options = {name: value for name, value in spec["options"].items() if name != option}
    with pytest.raises(InputError, match=f"spec.json: options: '{option}' is a required property"):
        resolve({**spec, "options": options}, file="spec.json")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({**PAIRS, "protocol": "lfw"}, "protocol: unknown protocol 'lfw'; expected one of ijb, "),
        ({**PAIRS, "path": ""}, "path: '' should be non-empty"),
        ({**PAIRS, "name": "LFW/../x"}, "name: .* does not match"),
        ({**PAIRS, "folds": 10}, "'folds' was unexpected"),
        (with_options(PAIRS, color="rgb"), "options.color: 'rgb' is not one of"),
        (with_options(PAIRS, flip="yes"), "options.flip: 'yes' is not of type 'boolean'"),
        (with_options(PAIRS, qualities=["hq"]), "'qualities' was unexpected"),
        (with_options(FAE, qualities=["low"]), "options.qualities.0"),
        (with_options(FAE, scale=["0.1"]), "options.scale.0: '0.1' is not of type 'number'"),
        (with_options(FAE, scale=[1.0]), "options.scale.0: 1.0 is greater than the maximum of 0.9"),
        (with_options(FAE, shift=[0]), "options.shift.0: 0 is less than or equal to the minimum of 0"),
        (with_options(FAE, metric=["rank1"]), "options.metric.0: 'rank1' is not one of"),
        (with_options(FAE, max_pairs=5), "options.max_pairs: 5 is less than the minimum of 10"),
        (with_options(FAE, joint_maximum={"scale": 0.1}), "options.joint_maximum: 'degrees' is a required"),
    ],
)
def test_a_wrong_specification_is_one_line_that_names_the_key(spec, message):
    with pytest.raises(InputError, match=message):
        resolve(spec)
