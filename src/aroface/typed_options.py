"""From a mapping, as a recipe holds it, to a frozen dataclass of typed options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from aroface.errors import InputError
from aroface.humanize import one_of

OptionsT = TypeVar("OptionsT")
Built = TypeVar("Built")

_WORDS = {float: "a number", int: "a whole number", bool: "true or false", NoneType: "null", str: "a word"}


def typed_options(kind: type[OptionsT], mapping: Mapping[str, Any], where: str) -> OptionsT:
    """Make the dataclass ``kind`` from ``mapping``; what is not given keeps its default.

    Args:
        kind: Dataclass whose fields are numbers, truth values, literals or one of these or None.
        mapping: Values by field name.
        where: Name of the mapping in the error line.

    Raises:
        InputError: An unknown key, or a value of another type.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a TypeVar cannot ask for a dataclass
    types = get_type_hints(kind)
    for key, value in mapping.items():
        if key not in known:
            raise InputError(f"unknown option {key!r}", where=where, expected=f"some of {', '.join(known)}")
        if not _fits(value, types[key]):
            raise InputError(f"{key} is {value!r}", where=where, expected=_describe(types[key]))
    return kind(**mapping)


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) in (UnionType, Union):
        return any(_fits(value, alternative) for alternative in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _describe(kind: Any) -> str:
    if get_origin(kind) in (UnionType, Union):
        return " or ".join(_describe(alternative) for alternative in get_args(kind))
    return " or ".join(get_args(kind)) if get_origin(kind) is Literal else _WORDS[kind]


def build_kind(
    known: Mapping[str, tuple[Callable[[Any], Built], type]],
    kind: str,
    options: Mapping[str, Any],
    what: str,
    where: str | None = None,
) -> Built:
    """Make what a registry has under a name, from options of which each has a default.

    Args:
        known: Constructor and the dataclass of its options, by name.
        kind: Name.
        options: Options.
        what: Noun of what is made.
        where: Key of the recipe that names it; by default the noun.

    Raises:
        InputError: An unknown name or option, or an option of the wrong type or range.
    """
    if kind not in known:
        raise InputError(f"unknown {what} {kind!r}", where=where, expected=one_of(known, kind))
    make, options_of = known[kind]
    return make(typed_options(options_of, options, f"{where or what} {kind}"))
