from __future__ import annotations

from pathlib import Path

import pytest

from aroface.errors import InputError
from aroface.files import digest, write_json
from aroface.reporting.explain import explain
from made_up_records import write_record
from repository import SPECS

TABLES = [SPECS / "tinyface.yaml", SPECS / "lfw.yaml", SPECS / "demo" / "claim.yaml"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for seed, rank1 in enumerate((0.6700, 0.6732)):
        path = write_record(
            tmp_path / "records", "arcface_aroface", {"rank1": rank1, "rank5": 0.72}, dataset="ms1mv2", seed=seed
        )
        weights = digest(path.parent.name) if seed == 0 else "0" * 64
        write_json(
            tmp_path / "runs" / path.parent.name / "checkpoint.json",
            {
                "weights": {"file": "model.safetensors", "sha256": weights},
                "source": "trained",
                "environment": {"git_commit": "b" * 40 + "+"},
            },
        )
    return tmp_path


def ask(results: Path, address: str) -> str:
    return explain(address, TABLES, results / "records", results)


def test_a_cell_is_followed_down_to_its_seeds(results: Path):
    text = ask(results, "tinyface/ArcFace+ARoFace@MS1MV2/rank1")
    run = next(path.name for path in (results / "records").iterdir() if "-s0-" in path.name)
    for part in (
        "reported     67.32",
        "arXiv 2407.14972",
        "reproduced   67.16 ± 0.23 over 2 seeds",
        "seed 0       67.00 = 100 × 0.67 (rank1 on tinyface)",
        f"records/{run}/tinyface.json",
        f"sha256 {digest(run)}",
        f"runs/{run}/model.safetensors (trained)",
        f"recipes/{run}.json",
        "ms1mv2, manifest " + "d" * 64,
        "tinyface, manifest " + "e" * 64,
        "trained at " + "b" * 40 + " with uncommitted changes",
        "commit     " + "c" * 40,
        f"aroface evaluate --features results/features/{run}/tinyface",
        f"snakemake --cores all {results}/records/{run}/tinyface.json",
    ):
        assert part in text
    assert text.count("is another file by now") == 1  # seed 1's weights were replaced


def test_released_weights_are_followed_to_their_file(tmp_path: Path):
    path = write_record(
        tmp_path / "records", "adaface", {"rank1": 0.7, "rank5": 0.8}, dataset="webface4m", released=True
    )
    written = {
        "weights": {"file": "model.safetensors", "sha256": digest(path.parent.name)},
        "source": "released",
        "input": {"color": "RGB"},
        "released": {"file": "adaface.ckpt", "sha256": "a" * 64, "color": "BGR"},
    }
    write_json(tmp_path / "runs" / path.parent.name / "checkpoint.json", written)
    text = ask(tmp_path, "tinyface/AdaFace@WebFace4M/rank1")
    for part in (
        "reproduced   70.00, released weights",
        "released     70.00 = 100 × 0.7 (rank1 on tinyface)",
        "model.safetensors (released)",
        "recipe     none: released weights",
        "from       adaface.ckpt, sha256 " + "a" * 64 + ", trained on BGR, imported for RGB",
        "webface4m, manifest unknown",
    ):
        assert part in text
    assert "trained at" not in text
    assert "seed" not in text


def test_reported_values_have_their_source_and_misprints_their_remark(results: Path):
    text = ask(results, "tinyface/AdaFace+ARoFace@WebFace12M/rank5")
    assert "reported     76.87" in text
    assert "the authors print WebFace4M" in text
    assert "no result of adaface_aroface/webface12m/r100" in text
    assert "no experiment belongs to this row" in ask(results, "tinyface/URL@MS1MV2/rank1")


def test_an_average_is_followed_to_its_parts(tmp_path: Path):
    for name in ("lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw"):
        write_record(tmp_path / "records", "arcface", {"accuracy": 0.95}, benchmark=name, protocol="pairs")
    text = explain("lfw/arcface@ms1mv2/average", TABLES, tmp_path / "records", tmp_path)
    assert "reproduced   95.00, one seed" in text
    assert text.count("seed 0") == 6
    assert "(accuracy on cplfw)" in text
    assert "is not here" in text


def test_a_difference_is_followed_to_both_sides(tmp_path: Path):
    for seed, (plain, ours) in enumerate(((0.50, 0.54), (0.60, 0.62), (0.70, 0.73))):
        write_record(tmp_path / "records", "arcface", {"rank1": plain}, seed=seed)
        write_record(tmp_path / "records", "arcface_aroface", {"rank1": ours}, seed=seed)
    text = ask(tmp_path, "claim/ArcFace@ARoFace - plain/rank1")
    assert (
        "difference   +3.0 over 3 seeds\n  interval   [0.5, 5.5] on this benchmark: mean difference, Student's t"
        in text
    )
    assert "none on faces like these: not every record has the metric without groups of people" in text
    assert text.count("seed 1") == 2
    assert "none: the two rows share no seed" in ask(tmp_path, "claim/AdaFace@ARoFace - plain/rank1")


def test_a_value_has_an_interval_for_each_question(tmp_path: Path):
    for seed, rank1 in enumerate((0.50, 0.52, 0.54)):
        # Values without each of 40 groups, equal for all seeds: a covariance of .02² over draws of people.
        groups = [rank1 + sign * 0.02 / 39**0.5 for sign in (-1, 1) for _ in range(20)]
        write_record(tmp_path / "records", "arcface", {"rank1": rank1}, seed=seed, jackknife={"rank1": groups})
    text = ask(tmp_path, "claim/ArcFace@plain/rank1")
    assert (
        "reproduced   52.0 ± 2.0 over 3 seeds\n  interval   [47.0, 57.0] on this benchmark: mean, Student's t" in text
    )
    # error sqrt(.02² / 3 + .02²), 2 · (1 + 3)² degrees of freedom
    assert "[47.3, 56.7]" not in text, "never narrower than on this benchmark"
    assert "[47.0, 57.0] on faces like these: mean, seeds and people both random" in text
    assert "[42.1, 61.9] of one further run" in text


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tinyfaces/a/b", "no table 'tinyfaces'; expected one of tinyface, "),
        ("tinyface/ArcFace+ARFace@MS1MV3/rank1", "expected one of ArcFace+ARoFace@MS1MV3, ArcFace+ARoFace@MS1MV2, "),
        ("tinyface/URL@MS1MV2/rank10", "no column 'rank10'; expected one of rank1, rank5"),
        ("nonsense", "no table 'nonsense'"),
    ],
)
def test_an_unknown_address_lists_what_there_is_closest_first(results: Path, address: str, message: str):
    with pytest.raises(InputError) as error:
        ask(results, address)
    assert message in str(error.value)


def test_two_tables_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="table tinyface is also in"):
        explain("tinyface/a/b", [TABLES[0], SPECS / "demo" / "tinyface.yaml"], tmp_path, tmp_path)
