"""Claims of the kind ``orthogonal``, from records to the forms of ``aroface claims``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.reporting.claims.claims import read_claims
from aroface.reporting.claims.verdicts import judge_claims
from aroface.reporting.tables.spec import read_spec
from made_up_records import write_record

METHODS = ("arcface", "adaface", "cosface")
ARMS = {"plain": "{}", "random": "{}_random", "module": "{}_aroface"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A table of three methods in three arms, and the claim."""
    columns = [
        {"id": name, "label": name, "benchmark": name, "metric": "rank1", "decimals": 2} for name in ("one", "other")
    ]
    rows = [
        {
            "id": arm.format(method),
            "variant": arm.format(method),
            "experiment": {"method": arm.format(method), "dataset": "synthetic", "arch": "r8s4"},
        }
        for method in METHODS
        for arm in ARMS.values()
    ]
    spec = {
        "name": "arms",
        "caption": "Arms.",
        "label": "tab:arms",
        "row_headers": [{"key": "variant", "label": "Method"}],
        "columns": columns,
        "rows": rows,
    }
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "arms.yaml").write_text(yaml.safe_dump(spec))
    methods = [{"name": method, **{arm: key.format(method) for arm, key in ARMS.items()}} for method in METHODS]
    claim = {
        "id": "orthogonal",
        "claim": "orthogonal to methods",
        "stands": "contributions",
        "kind": "orthogonal",
        "table": "arms",
        "columns": ["one", "other"],
        "methods": methods,
    }
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"source": {"title": "a page"}, "claims": [claim]}))
    return tmp_path


def fill(place: Path, random: float, module: float, *, methods: tuple[str, ...] = METHODS) -> None:
    """Records of four seeds whose arms lie so many points above plain, on both benchmarks."""
    for number, method in enumerate(methods):
        for seed in range(4):
            for turn, (arm, gain) in enumerate({"plain": 0.0, "random": random, "module": module}.items()):
                value = 60 + number + 0.1 * ((7 * seed + 3 * number + 5 * turn + seed * turn) % 5) + gain
                for benchmark in ("one", "other"):
                    write_record(
                        place / "records", ARMS[arm].format(method), {"rank1": value / 100}, dataset="synthetic",
                        arch="r8s4", seed=seed, benchmark=benchmark,
                    )  # fmt: skip


def claims(place: Path, *words: str) -> int:
    given = {"--claims": "claims.yaml", "--specs": "specs", "--records": "records"}
    return main(["claims", *(word for option, name in given.items() for word in (option, str(place / name))), *words])


@pytest.mark.parametrize(
    ("random", "module", "verdict", "status"),
    [(0.5, 2.0, "confirmed", 0), (2.0, 2.0, "not enough data", 0), (3.0, 2.0, "refuted", 1), (0.0, -2.0, "refuted", 1)],
)
def test_the_claim_is_judged_over_methods(random: float, module: float, verdict: str, status: int, place: Path):
    fill(place, random, module)
    files = [str(place / f"claims{suffix}") for suffix in (".json", ".md", ".tex")]
    assert claims(place, "--out", *files) == status
    (claim,) = json.loads((place / "claims.json").read_text())["claims"]
    assert claim["reproduction"]["verdict"] == verdict
    assert claim["paper"]["verdict"] == "not enough data"
    assert [each["what"].partition(" ")[0] for each in claim["reproduction"]["evidence"]] == [
        ARMS["module"].format(method) for method in METHODS
    ]
    whole = claim["reproduction"]["whole"]
    assert whole["value"] == pytest.approx(module, abs=0.1)
    assert "beyond random" in whole["remark"]
    assert "mean of 3 methods" in (place / "claims.md").read_text()
    assert verdict in (place / "claims.tex").read_text()


def test_a_method_without_results_keeps_it_open(place: Path):
    fill(place, 0.0, 2.0, methods=METHODS[:2])
    (found,) = judge_claims(
        read_claims(place / "claims.yaml", [read_spec(place / "specs" / "arms.yaml")]), place / "records"
    )
    assert found.reproduction_verdict == "not enough data"
    assert found.reproduction[2].remark == "no result of one of its rows"
    assert found.orthogonality is not None
    assert found.orthogonality.gain.whole is not None


def test_an_unknown_row_is_named(place: Path):
    text = (place / "claims.yaml").read_text().replace("cosface_random", "cosface_randm")
    (place / "claims.yaml").write_text(text)
    with pytest.raises(InputError, match="no row 'cosface_randm'"):
        read_claims(place / "claims.yaml", [read_spec(place / "specs" / "arms.yaml")])
