"""One module knows the layout of the results folder."""

import re
from pathlib import Path

from aroface.results import Results

FOLDERS = "runs|state|features|records|recipes|benchmarks|plan|data|tables|figures|logs"
FILES = r"checkpoint\.json|model\.safetensors|history\.json|log\.jsonl|progress\.json|index\.json|report\.html"
JOINED = re.compile(rf"""/ *f?["'](?:{FOLDERS})["'/]|["'](?:[^"'` ]*/)?(?:{FILES})["']""")
_OTHERS = ("evaluation/robustness.py", "cli/robustness.py", "cli/quality.py", "models/plain_networks.py")
OTHER_FOLDERS = {Path("src/aroface") / name for name in _OTHERS}
"""Modules that write or read a folder of their own, which is no results folder."""


def modules() -> list[Path]:
    places = [*Path("src/aroface").rglob("*.py"), *Path("workflow").rglob("*.py"), *Path("workflow/rules").iterdir()]
    return sorted({*places, Path("Snakefile")} - OTHER_FOLDERS - {Path("src/aroface/results.py")})


def test_no_other_module_spells_a_path_below_the_results_folder():
    spelt = [f"{path}: {found[0]}" for path in modules() for found in JOINED.finditer(path.read_text())]
    assert not spelt


def test_the_pattern_finds_what_must_not_be_spelt():
    for line in ('results / "runs" / run', "RESULTS / 'logs/train/{run}.log'", 'folder / "checkpoint.json"'):
        assert JOINED.search(line), line
    assert not JOINED.search('"""Read ``history.json`` of a run."""')


def test_wildcards_stand_in_the_place_of_names():
    results, root = Results(Path("out")), Path("out")
    assert results.run("{run}").checkpoint == root / "runs/{run}/checkpoint.json"
    assert results.features("{run}", "{benchmark}").index == root / "features/{run}/{benchmark}/index.json"
    assert results.record("{run}", "{benchmark}") == root / "records/{run}/{benchmark}.json"
    assert results.job_log("embed", "{run}", "{benchmark}") == root / "logs/embed/{run}/{benchmark}.log"
