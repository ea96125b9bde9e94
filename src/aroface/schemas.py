"""Validation of what people and programs write (configuration, records, table specs) against JSON schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from aroface.errors import InputError
from aroface.files import read_json

try:  # libyaml's, ten times faster
    from yaml import CSafeLoader as _SafeLoader
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

_END = r"\Z"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PLACES = (Path(__file__).parent / "_schemas", Path(__file__).parents[2] / "workflow" / "schemas")


class _Loader(_SafeLoader):
    """Safe YAML that refuses a key written twice in one mapping (YAML would silently keep the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    for place in _PLACES:
        path = place / f"{name}.schema.json"
        if path.exists():
            return jsonschema.Draft202012Validator(_whole_text(read_json(path)))
    raise FileNotFoundError(f"{name}.schema.json in none of {[str(place) for place in _PLACES]}")


def _whole_text(schema: Any) -> Any:
    """A schema whose patterns end where the text does: Python's ``$`` also matches before a last line break."""
    if isinstance(schema, list):
        return [_whole_text(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _whole_text(value) for key, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        found["pattern"] = _ended(schema["pattern"])
    if isinstance(schema.get("patternProperties"), dict):
        found["patternProperties"] = {_ended(key): value for key, value in found["patternProperties"].items()}
    return found


def _ended(pattern: str) -> str:
    return pattern.replace("$", _END)


def _unprintable(value: Any, place: tuple[object, ...] = ()) -> tuple[tuple[object, ...], str] | None:
    """Place and text of the first string, keys included, that no log, table or UTF-8 file can hold."""
    if isinstance(value, str):
        return (place, value) if _UNPRINTABLE.search(value) else None
    parts: Iterable[tuple[object, Any]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
        if odd := next((key for key in value if isinstance(key, str) and _UNPRINTABLE.search(key)), None):
            return place, odd
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    return next((found for key, each in parts if (found := _unprintable(each, (*place, key)))), None)


def validate(value: Any, schema: str, *, file: str | PathLike[str] | None = None) -> None:
    """Check ``value`` against ``workflow/schemas/{schema}.schema.json``.

    Raises:
        InputError: one line with the file, the key and what was expected there.
    """
    if found := _unprintable(value):
        place, text = found
        what = f"{text!a:.60} holds a control character or is not UTF-8"
        raise InputError(what, file=file, record=".".join(map(str, place)) or None, expected="printable text")
    error = jsonschema.exceptions.best_match(_validator(schema).iter_errors(value))
    if error is None:
        return
    key = ".".join(str(part) for part in error.absolute_path) or None
    remedy = None
    if isinstance(error.instance, str) and error.validator == "type" and error.validator_value in ("number", "integer"):
        remedy = "write the number without quotes, and 1e-1 as 1.0e-1 or 0.1"
    if isinstance(error.instance, int | float) and error.validator == "type" and "string" in error.validator_value:
        remedy = "write it in quotes"
    raise InputError(error.message.replace(repr(_END)[1:-1], "$"), file=file, record=key, remedy=remedy)


def read_yaml(path: str | PathLike[str]) -> Any:
    """Read a YAML file safely.

    Raises:
        InputError: the file is missing, is a folder, is not YAML, or writes one key twice.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.load(file, Loader=_Loader)
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except IsADirectoryError:
        raise InputError("a folder", file=path, expected="a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"not YAML ({' '.join(str(error).split())})", file=path) from None
