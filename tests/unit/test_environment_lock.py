"""What a job says of its packages: of other versions than the lock's, in one line, at once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from aroface import environment_lock
from aroface.cli.main import main
from aroface.errors import InputError
from aroface.files import read_json
from aroface.provenance import versions as recorded
from aroface.schemas import validate
from made_up_records import write_record
from repository import ROOT


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock that pins another numpy, and another spelling of a package that is as it should be."""
    torch = metadata.version("torch").partition("+")[0]
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        f"# A comment.\nnumpy==1.0\ntorch=={torch}\nOpenCV_python.headless=={_of('opencv-python-headless')}\n"
    )
    monkeypatch.setattr(environment_lock, "find_lock", lambda: lock)
    return lock


def _of(package: str) -> str:
    return metadata.version(package)


def test_the_names_of_folders_say_what_metadata_says() -> None:
    found = dict(environment_lock.installed())
    assert found == {package: _of(package) for package in environment_lock.PACKAGES}
    assert found.items() <= recorded().items()


def test_the_lock_is_the_checkouts() -> None:
    lock = environment_lock.find_lock()
    assert lock is not None and lock.samefile(ROOT / "requirements.lock")
    state = environment_lock.lock_state()
    assert state is not None
    assert state["sha256"] == hashlib.sha256(lock.read_bytes()).hexdigest()
    pins = dict(line.split("==") for line in lock.read_text().splitlines() if "==" in line)
    assert pins.keys() >= set(environment_lock.PACKAGES)


def test_a_difference_is_one_line(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert environment_lock.differing(other) == [f"numpy {_of('numpy')} (1.0)"]
    environment_lock.check_versions()
    assert capsys.readouterr().err == (
        f"aroface: warning: not the versions of requirements.lock (in brackets): numpy {_of('numpy')} (1.0)\n"
    )
    assert environment_lock.lock_state() == {
        "sha256": hashlib.sha256(other.read_bytes()).hexdigest(),
        "differing": [f"numpy {_of('numpy')} (1.0)"],
    }


@pytest.mark.parametrize(
    ("environment", "speaks"),
    [
        ({"RANK": "0", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": f"{environment_lock.LAUNCHED}-1f"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": f"{environment_lock.LAUNCHED}-1f"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}, True),
        ({"RANK": "5", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "none"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
    ],
)
def test_one_process_a_node_speaks(
    other: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    speaks: bool,
) -> None:
    """The launcher, where aroface is its own, which has the same packages; else the first process on each node."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    environment_lock.check_versions()
    assert bool(capsys.readouterr().err) == speaks


def test_who_wants_it_strict_gets_status_2(
    other: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["table", "paper_tables/specs/tinyface.yaml", "--mode", "reported", "--format", "csv"]
    monkeypatch.chdir(ROOT)
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "67.32" in out and err.startswith("aroface: warning: not the versions")
    monkeypatch.setenv(environment_lock.STRICT, "1")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("aroface: error: not the versions of requirements.lock (in brackets): numpy ")
    assert err.count("\n") == 1


def test_a_lock_that_cannot_be_read_is_one_line(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other.write_bytes(b"numpy==1.0\n\xff\xfe\n")
    assert main(["claims", "--lint"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"aroface: error: {other}: cannot be read ('utf-8' codec can't decode")
    assert said.endswith("; git checkout requirements.lock\n") and said.count("\n") == 1
    with pytest.raises(InputError, match="cannot be read"):
        environment_lock.lock_state()


def test_without_a_lock_nothing_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_lock, "__file__", str(ROOT / "site-packages/aroface/environment_lock.py"))
    monkeypatch.setenv(environment_lock.STRICT, "1")
    assert environment_lock.find_lock() is None
    assert environment_lock.lock_state() is None
    environment_lock.check_versions()
    assert capsys.readouterr().err == ""


def test_what_is_not_installed_is_not_missed(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment of a rule has everything."""
    monkeypatch.setattr(sys, "path", ["/no/such/folder"])
    assert environment_lock.differing(other) == []


def test_nothing_is_imported_to_find_out() -> None:
    """In a process of its own: some 6 ms of processor time, of 30 that a start may take for this."""
    code = (
        "import sys, time, aroface.errors, aroface.files\n"
        "start = time.process_time()\n"
        "from aroface.environment_lock import check_versions; check_versions()\n"
        "print(time.process_time() - start, *({'numpy', 'torch', 'importlib.metadata'} & sys.modules.keys()))"
    )
    run = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    said = [each.stdout.split() for each in run]
    assert all(len(words) == 1 for words in said), said
    assert min(float(words[0]) for words in said) < 0.030


def test_records_with_and_without_a_lock_are_valid(tmp_path: Path) -> None:
    old = read_json(write_record(tmp_path, "arcface", {"rank1": 0.5}))
    assert "lock" not in old["provenance"]  # as records of before had none
    for lock in (None, {"sha256": "0" * 64, "differing": ["numpy 1.26.4 (2.4.6)"]}):
        validate({**old, "provenance": {**old["provenance"], "lock": lock}}, "record")
    with pytest.raises(InputError, match=r"provenance.lock"):
        validate({**old, "provenance": {**old["provenance"], "lock": {"sha256": "0" * 64}}}, "record")
