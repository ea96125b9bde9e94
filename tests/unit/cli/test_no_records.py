"""What the verbs on results say of what is not there."""

from __future__ import annotations

import pytest

from aroface.cli.main import main
from repository import ROOT


@pytest.mark.parametrize(
    "words",
    [["table", str(ROOT / "paper_tables/specs/tinyface.yaml")], ["compare", "--exit-zero"], ["claims", "--exit-zero"]],
    ids=lambda words: words[0],
)
def test_a_folder_of_records_that_is_not_there_is_told(words, tmp_path, capsys):
    assert main([*words, "--records", str(tmp_path)]) == 0
    assert "no folder" not in capsys.readouterr().err
    assert main([*words, "--records", str(tmp_path / "missing")]) == 0
    assert f"no folder {tmp_path}/missing, so there are no reproduced values" in capsys.readouterr().err
