"""Comparison of the installed packages with requirements.lock; none of them is imported.

The lock lies in the checkout that this package runs from. Installed from a wheel there is none, and nothing to say.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aroface.errors import InputError

PACKAGES = ("numpy", "opencv-python-headless", "pandas", "safetensors", "scipy", "simplejpeg", "torch")
"""Those that can change a result."""
STRICT = "AROFACE_STRICT_VERSIONS"
"""Environment variable that, set to something, makes other versions an error."""
LAUNCHED = "aroface"
"""Prefix of the identifiers of torchrun's runs that ``aroface`` itself launches."""


def find_lock() -> Path | None:
    """The lock of the checkout, if this is one that has it."""
    source = Path(__file__).parents[1]
    lock = source.parent / "requirements.lock"
    return lock if source.name == "src" and lock.is_file() else None


def installed() -> Iterator[tuple[str, str]]:
    """Those of :data:`PACKAGES` that are installed, with their versions.

    From the names of their ``.dist-info`` folders, the first on the path as imports have it: to parse what lies in
    them, as :mod:`importlib.metadata` does, would take each job several times as long.
    """
    versions: dict[str, str] = {}
    for directory in sys.path:
        for folder in Path(directory).glob("*.dist-info"):
            package, _, version = folder.stem.partition("-")
            versions.setdefault(_normalised(package), version)
    return ((package, versions[package]) for package in PACKAGES if package in versions)


def differing(lock: Path) -> list[str]:
    """Installed packages of another version than the lock's, such as ``numpy 1.26.4 (2.4.6)``.

    A build's own label, as in ``2.13.0+cpu``, is no part of the version. What is not installed is not missed: no
    environment of a rule has everything.

    Raises:
        InputError: The lock cannot be read.
    """
    try:
        text = lock.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", file=lock, remedy=f"git checkout {lock.name}") from None
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))
    locked = {_normalised(name): version for name, version in pins.items()}
    comparisons = ((name, version, locked.get(_normalised(name))) for name, version in installed())
    return [
        f"{name} {version} ({pin})"
        for name, version, pin in comparisons
        if pin not in (None, version.partition("+")[0])
    ]


def lock_state() -> dict[str, Any] | None:
    """For the provenance of a result: the lock's sha256 and what differs from it; None where there is no lock."""
    lock = find_lock()
    if lock is None:
        return None
    differences = differing(lock)
    return {"sha256": hashlib.sha256(lock.read_bytes()).hexdigest(), "differing": differences}


def check_versions() -> None:
    """Say in one line what differs from the lock; once on each node.

    Of processes that somebody's own torchrun started the first on its node does, for those that ``aroface`` launched
    the launcher has done it.

    Raises:
        InputError: Something does, and ``AROFACE_STRICT_VERSIONS`` is set; or the lock cannot be read.
    """
    launched = os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(f"{LAUNCHED}-")
    first = os.environ.get("LOCAL_RANK", "0") == "0" and not launched
    lock = find_lock() if first else None
    differences = differing(lock) if lock else []
    if not differences:
        return
    what = f"not the versions of {lock.name if lock else ''} (in brackets): {', '.join(differences)}"
    if os.environ.get(STRICT):
        remedy = "install those, or set strict_versions: false in the configuration to go on with these"
        raise InputError(what, remedy=remedy)
    print(f"aroface: warning: {what}", file=sys.stderr)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
