"""Differences among groups: mean, spread and error ratio, and their lines on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.evaluation.metrics.group_differences import group_differences
from external_models import face_pairs, write_onnx


def test_mean_spread_and_ratio():
    found = group_differences({"african": 0.90, "asian": 0.92, "caucasian": 0.98})
    assert found.mean == pytest.approx(0.9333333) and found.spread == pytest.approx(np.std([0.9, 0.92, 0.98], ddof=1))
    assert found.ratio == pytest.approx(5) and (found.worst, found.best) == ("african", "caucasian")
    assert np.isinf(group_differences({"a": 1.0, "b": 0.9}).ratio)
    assert group_differences({"a": 1.0, "b": 1.0}).ratio == 1


def test_groups_are_compared_below_their_records(tmp_path: Path, capsys):
    model = write_onnx(tmp_path / "quarters.onnx")
    groups = [face_pairs(tmp_path / f"{name}.bin", seed=seed) for seed, name in enumerate(("one", "two"))]
    words = ["evaluate", "--model", str(model), "--by-group", "--pairs"]
    assert main([*words, *map(str, groups)]) == 0
    printed = capsys.readouterr().out
    assert printed.index("two: 12 genuine") < printed.index("mean of the groups") and "worst, best" in printed
    assert main([*words, str(groups[0])]) == 2
    assert "--by-group: one benchmark" in capsys.readouterr().err
    assert main(["evaluate", "--features", "nothing", "--by-group", "--out", "record.json"]) == 2
    assert "--by-group is for --model" in capsys.readouterr().err
