"""The Snakefile holds targets and rules; everything else lies in modules."""

import re

import pytest

import slurm_plugin
from aroface.errors import InputError
from repository import ROOT


def test_the_snakefile_has_at_most_90_lines() -> None:
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 90


def test_shell_lines_have_no_doubled_braces() -> None:
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        assert "{{" not in path.read_text(), path


def test_the_plugin_is_extended_in_the_version_that_is_pinned() -> None:
    (pinned,) = re.findall(rf'"{slurm_plugin.PLUGIN}==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned == slurm_plugin.VERSION
    slurm_plugin.check_version(pinned)
    with pytest.raises(InputError, match=rf"^{slurm_plugin.PLUGIN} 9\.9\.9; expected version {re.escape(pinned)}"):
        slurm_plugin.check_version("9.9.9")
