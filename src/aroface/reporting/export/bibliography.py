"""Bibliography of an export: the entries of what its tables cite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from aroface.reporting.tables import bibtex
from aroface.reporting.tables.spec import Spec

_ENTRY = re.compile(r"^@\w+\{([^,]+),.*?^\}\n", re.MULTILINE | re.DOTALL)


def entries(specs: Iterable[Spec], keys: Sequence[str]) -> str:
    """BibTeX entries of the keys that tables cite, each once.

    Args:
        specs: Tables.
        keys: Citation keys, in the order of their first use.
    """
    found: dict[str, str] = {}
    for spec in specs:
        for match in _ENTRY.finditer(bibtex.bibtex(spec)):
            found.setdefault(match[1], match[0])
    registered = getattr(bibtex, "entries", None)
    if registered is not None:
        for match in _ENTRY.finditer(registered(keys)):
            found.setdefault(match[1], match[0])
    return "\n".join(found[key] for key in keys if key in found) or "% Nothing here is cited.\n"
