"""Memory that is freed and taken again."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

FAULTS = """
import json, resource, torch
from aroface.device import keep_freed_memory
kept = {keep}
for _ in range(12):  # slivers of aligned blocks stay aside at first
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(10_000_000)
print(json.dumps([kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def test_freed_memory_is_used_again_without_the_kernel() -> None:
    (kept, faults), (_, usual) = (
        json.loads(
            subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, check=True).stdout
        )
        for keep in ("keep_freed_memory()", "False")
    )
    assert kept == (platform.libc_ver()[0] == "glibc")
    assert faults < usual / 10 if kept else faults <= 2 * usual
