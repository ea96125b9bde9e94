"""Docstrings begin with an imperative verb or a noun phrase."""

import re
from pathlib import Path

QUESTION = re.compile(r'^\s*"""(?:What|Where|Which|How|Whether|Who)\b.*', re.M)
CHECKED = (Path("src/aroface"), Path("workflow"))


def test_no_docstring_begins_with_a_question_word():
    modules = [path for folder in CHECKED for path in folder.rglob("*.py")]
    found = [f"{path}: {match[0].strip()}" for path in sorted(modules) for match in QUESTION.finditer(path.read_text())]
    assert modules and not found
