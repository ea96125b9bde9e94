"""Docstrings begin with an imperative verb or a noun phrase, and so does what they say of each argument and error."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

CHECKED = (Path("src/aroface"), Path("workflow"), Path("performance"))

QUESTION = re.compile(r"(?:What|Where|Which|How|Whether|Who)\b")
HEADING = re.compile(r"(Args|Attributes|Raises):")
ENTRY = re.compile(r" {4}([*\w]+(?:, [*\w]+)*): (.*)")


def docstrings(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield inspect.cleandoc(ast.get_docstring(node) or "")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield inspect.cleandoc(node.value.value)


def entries(docstring: str) -> Iterator[str]:
    """Lines that say what an argument, an attribute or an error is."""
    inside = False
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            inside = HEADING.fullmatch(line) is not None
        elif inside and (entry := ENTRY.match(line)):
            yield entry[2]


def modules() -> list[Path]:
    return sorted(path for folder in CHECKED for path in folder.rglob("*.py"))


def test_no_docstring_begins_with_a_question_word():
    found = [f"{path}: {text[:80]}" for path in modules() for text in docstrings(path) if QUESTION.match(text)]
    assert modules() and not found


def test_entries_begin_with_a_noun_and_a_capital():
    lines = [(path, entry) for path in modules() for text in docstrings(path) for entry in entries(text)]
    found = [f"{path}: {entry}" for path, entry in lines if re.match("[a-z]", entry) or QUESTION.match(entry)]
    assert len(lines) > 1000 and not found


def test_entries_are_found():
    text = "Do it.\n\nArgs:\n    one, two: of it.\n        more: of it.\n    name: Whether.\n\nReturns:\n    x: of it."
    assert [*entries(text)] == ["of it.", "Whether."]
