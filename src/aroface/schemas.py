"""Validation of what people and programs write (configuration, records, table specs) against JSON schemas."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from aroface.errors import InputError, printable
from aroface.files import DEPTH, read_document, read_json

try:  # libyaml's, ten times faster
    from yaml import CSafeLoader as _SafeLoader
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

_END = r"\Z"
_SCHEMAS = Path(__file__).parent / "_schemas"


YAML_BYTES = 8_000_000
"""Size of the largest YAML file."""

_NODES = 200_000  # that a YAML file may have, each alias counted as all that it stands for
_INTEGERS = 2**64
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # tabs and line ends are text
_FAILURES = (ValueError, TypeError, AttributeError, OverflowError, LookupError, RecursionError)


class _Loader(_SafeLoader):
    """Safe YAML that refuses a key written twice in one mapping (YAML would silently keep the last)."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _FAILURES:  # of a date, a number or a tag that is none
            shown = f" {printable(node.value, 40)!r}" if isinstance(node, yaml.ScalarNode) else ""
            what = f"{node.tag.rpartition(':')[2]}{shown} cannot be read"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, f"a {node.id}, not a mapping", node.start_mark)
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                what = f"a {key_node.id} as a key"
                raise yaml.constructor.ConstructorError(None, None, what, key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_whole_text(read_json(_SCHEMAS / f"{name}.schema.json")))


def _whole_text(schema: Any) -> Any:
    """A schema whose patterns end where the text does: Python's ``$`` also matches before a last line break."""
    if isinstance(schema, list):
        return [_whole_text(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    keywords = {key: _whole_text(value) for key, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        keywords["pattern"] = _ended(schema["pattern"])
    if isinstance(schema.get("patternProperties"), dict):
        keywords["patternProperties"] = {_ended(key): value for key, value in keywords["patternProperties"].items()}
    return keywords


def _ended(pattern: str) -> str:
    return pattern.replace("$", _END)


def validate(value: Any, schema: str, *, file: str | PathLike[str] | None = None) -> None:
    """Check ``value`` against ``_schemas/{schema}.schema.json`` of the package.

    Raises:
        InputError: One line with the file, the key and what was expected there.
    """
    _check_plain(value, file)
    error = jsonschema.exceptions.best_match(_validator(schema).iter_errors(value))
    if error is None:
        return
    key = ".".join(str(part) for part in error.absolute_path) or None
    remedy = None
    if isinstance(error.instance, str) and error.validator == "type" and error.validator_value in ("number", "integer"):
        remedy = "write the number without quotes, and 1e-1 as 1.0e-1 or 0.1"
    if isinstance(error.instance, int | float) and error.validator == "type" and "string" in error.validator_value:
        remedy = "write it in quotes"
    what = printable(error.message.replace(repr(_END)[1:-1], "$"), 500)
    raise InputError(what, file=file, where=key, remedy=remedy)


def _check_plain(value: Any, file: str | PathLike[str] | None) -> None:
    """Refuse what a JSON schema lets pass and JSON, tables and terminals cannot hold."""
    left: list[tuple[str, Any]] = [("", value)]
    while left:
        key, item = left.pop()
        if isinstance(item, Mapping):
            for name in item:
                _check_scalar(key, name, file)
                if not isinstance(name, str):
                    remedy = "write the key in quotes"
                    raise InputError(f"the key {printable(str(name), 40)} is no text", file=file, remedy=remedy)
            left += [(f"{key}.{name}".lstrip("."), each) for name, each in item.items()]
        elif isinstance(item, list | tuple):
            left += [(f"{key}.{number}".lstrip("."), each) for number, each in enumerate(item)]
        else:
            _check_scalar(key, item, file)


def _check_scalar(key: str, item: Any, file: str | PathLike[str] | None) -> None:
    what = None
    if isinstance(item, str):
        match = _CONTROL.search(item)
        what = match and f"{item!a:.60} holds the control character U+{ord(match[0]):04X}"
    elif isinstance(item, float):
        what = None if math.isfinite(item) else f"{item} is no finite number"
    elif isinstance(item, int):
        what = None if abs(item) < _INTEGERS else "an integer beyond 64 bits"
    elif item is not None:
        what = f"a {type(item).__name__}, neither text nor number"
    if what:
        expected = "printable text" if isinstance(item, str) else None
        raise InputError(what, file=file, where=printable(key, 200) or None, expected=expected)


def read_yaml(path: str | PathLike[str]) -> Any:
    """Read a YAML file safely.

    Raises:
        InputError: The file is missing, is a folder or no regular file, is too large, is not YAML, writes one key
            twice, or is nested too deeply.
    """
    return parse_yaml(read_document(path, "a YAML file", YAML_BYTES), file=path)


def parse_yaml(text: str, *, file: str | PathLike[str] | None = None) -> Any:
    """Parse YAML safely; its depth, and the size that its aliases give it, are looked at first.

    Args:
        text: YAML of one document.
        file: File that it comes from, for the error line.

    Raises:
        InputError: It is not YAML, writes one key twice, or goes beyond the bounds.
    """
    try:
        _check_nodes(text, file)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f"line {mark.line + 1}, column {mark.column + 1}" if mark else None
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise InputError(f"not YAML ({printable(problem, 200)})", file=file, where=position) from None
    except (yaml.YAMLError, *_FAILURES) as error:
        raise InputError(f"not YAML ({printable(str(error), 200)})", file=file) from None


def _check_nodes(text: str, file: str | PathLike[str] | None) -> None:
    """Walk through the events, which libyaml gives without recursion: it composes nodes until its stack overflows."""
    nodes = 0
    sizes: dict[str, int] = {}
    begun: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=_SafeLoader):
        position = f"line {event.start_mark.line + 1}" if event.start_mark else None
        if isinstance(event, yaml.CollectionStartEvent):
            begun.append((event.anchor, nodes))
            nodes += 1
            if len(begun) > DEPTH:
                raise InputError(f"more than {DEPTH} levels of lists and mappings", file=file, where=position)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            if anchor:
                sizes[anchor] = nodes - before
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
        elif isinstance(event, yaml.AliasEvent) and event.anchor:
            if any(anchor == event.anchor for anchor, _ in begun):
                raise InputError(f"the alias {printable(event.anchor, 40)} holds itself", file=file, where=position)
            nodes += sizes.get(event.anchor, 1)
        if nodes > _NODES:
            raise InputError(f"more than {_NODES:,} values, aliases unfolded", file=file, where=position)
