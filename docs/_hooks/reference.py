"""Reference pages that are generated at build time: command line, schemas, registries, environment.

Each function returns Markdown. A page of the site contains a line ``<!-- generate: NAME -->``, and ``NAME`` is a key of
:data:`GENERATORS`. Only modules without torch are imported.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "aroface"
SCHEMAS = PACKAGE / "_schemas"
REGISTRIES = ROOT / "workflow" / "registries"

# Command line


def command_line() -> str:
    """Every verb of ``aroface`` with its usage, options and example."""
    parser = main_parser()
    parts = ["## aroface", *_verb_body(parser)]
    for name, verb in leaf_verbs(parser):
        parts += [f"## aroface {name}", *_verb_body(verb)]
    return "\n\n".join(parts)


def main_parser() -> argparse.ArgumentParser:
    """The parser of the ``aroface`` command."""
    from aroface.cli import main

    return main._parser()


def leaf_verbs(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All verbs that carry out something, each with the words that call it, such as ``data fetch``."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                words = f"{prefix}{name}"
                if any(isinstance(each, argparse._SubParsersAction) for each in child._actions):
                    yield from leaf_verbs(child, f"{words} ")
                else:
                    yield words, child


def _verb_body(parser: argparse.ArgumentParser) -> list[str]:
    formatter = argparse.HelpFormatter(parser.prog, width=84)
    shown = [action for action in parser._actions if action.help is not argparse.SUPPRESS]
    formatter.add_usage(None, shown, parser._mutually_exclusive_groups, prefix="")
    blocks = [_text(parser.description or ""), f"```text\n{formatter.format_help().strip()}\n```"]
    rows = [
        (f"`{_invocation(action)}`", _text(_expanded(action, parser)))
        for action in shown
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]
    if rows:
        blocks.append(table(("argument", "meaning"), rows))
    example = (parser.epilog or "").partition("example:")[2]
    if example.strip():
        lines = "\n".join(line.strip() for line in example.strip().splitlines())
        blocks.append(f"Example:\n\n```text\n{lines}\n```")
    return [block for block in blocks if block]


def _invocation(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else None
    if action.choices is not None and not value:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return value or action.dest
    words = ", ".join(action.option_strings)
    return words if action.nargs == 0 else f"{words} {value or action.dest.upper()}"


def _expanded(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = argparse.HelpFormatter(parser.prog)._expand_help(action) if action.help else ""
    return f"{text} (required)" if action.required and action.option_strings else text


# Schemas


def configuration() -> str:
    """Keys of a configuration, with their defaults."""
    return schema_sections("config", yaml.safe_load((ROOT / "workflow/configs/defaults.yaml").read_text()))


def recipe_keys() -> str:
    """Keys of a resolved recipe."""
    return schema_sections("recipe")


def record_keys() -> str:
    """Keys of a record."""
    return schema_sections("record")


def read_schema(name: str) -> dict[str, Any]:
    """Schema ``name`` of the package."""
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    return schema


def schema_sections(name: str, defaults: Mapping[str, Any] | None = None) -> str:
    """A section for each key at the top of a schema, with a table of the keys below it."""
    root = read_schema(name)
    parts = []
    for key, schema in root["properties"].items():
        schema = resolved(schema, root)
        head = [f"### {key}", _text(schema.get("description", ""))]
        facts = type_words(schema, root)
        if facts:
            head.append(f"Type: {facts}." + _default_words(defaults, [key]))
        rows = [
            (f"`{path}`", type_words(inner, root), *_default_cell(defaults, path), _text(inner.get("description", "")))
            for path, inner in keys_below(schema, root, key)
        ]
        heads = ("key", "type", *(("default",) if defaults is not None else ()), "meaning")
        parts += [block for block in head if block] + ([table(heads, rows)] if rows else [])
    return "\n\n".join(parts)


def keys_below(schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key below a schema, by its dotted path; ``[]`` stands for an item of a list, ``NAME`` for a free name."""
    seen: set[str] = set()
    for place, inner in _children(schema, root, path):
        if inner is True or place in seen:
            continue
        seen.add(place)
        inner = resolved(inner, root)
        if place != path and not place.endswith("[]"):
            yield place, inner
        for deeper in keys_below(inner, root, place):
            if deeper[0] not in seen:
                seen.add(deeper[0])
                yield deeper


def _children(schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, inner in schema.get("properties", {}).items():
        yield f"{path}.{key}", inner
    for inner in schema.get("patternProperties", {}).values():
        yield f"{path}.NAME", inner
    if isinstance(schema.get("items"), dict):
        item = resolved(schema["items"], root)
        if item.get("type") == "object" or {"oneOf", "if"} & item.keys():
            yield f"{path}[]", item
    for word in ("then", "else"):
        if word in schema:
            yield from _children(resolved(schema[word], root), root, path)
    for word in ("oneOf", "anyOf", "allOf"):
        for variant in schema.get(word, ()):
            deciding = variant.get("if", {}).get("properties", {})
            condition = next((value["const"] for value in deciding.values() if "const" in value), None)
            inner = resolved(variant.get("then", variant), root)
            yield from _children(inner, root, f"{path}({condition})" if condition else path)


def resolved(schema: Any, root: Mapping[str, Any]) -> Any:
    """A schema with what its ``$ref`` names; keys beside the reference win."""
    if isinstance(schema, dict) and "$ref" in schema:
        target = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return {**resolved(target, root), **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def type_words(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """Type and range of a value, in a few words."""
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return " or ".join(_code(value) for value in schema["enum"])
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    words = {"array": "list", "object": "mapping", "string": "text", "null": "`null`"}
    named = " or ".join(words.get(kind, kind) for kind in kinds)
    if "array" in kinds and isinstance(schema.get("items"), dict):
        inner = type_words(resolved(schema["items"], root), root)
        named = f"list of: {inner}" if inner and inner != "mapping" else "list of mappings" if inner else "list"
    ranges = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    limits = [f"{sign} {schema[key]}" for key, sign in ranges if key in schema]
    return _text(f"{named}, {', '.join(limits)}" if limits else named)


def _default_words(defaults: Mapping[str, Any] | None, path: list[str]) -> str:
    found = _default(defaults, path)
    return "" if found is None or isinstance(found, dict) else f" Default: {_code(found[0])}."


def _default_cell(defaults: Mapping[str, Any] | None, path: str) -> tuple[str, ...]:
    if defaults is None:
        return ()
    found = _default(defaults, path.split("."))
    return (_code(found[0]) if isinstance(found, tuple) else "",)


def _default(defaults: Mapping[str, Any] | None, path: list[str]) -> tuple[Any] | dict[str, Any] | None:
    """The default at ``path`` in a tuple; a mapping of further keys as itself, None where there is none."""
    value: Any = defaults
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value if isinstance(value, dict) and value else (value,)


# Registries


def recipes() -> str:
    """Named recipes: summary, and the values that each sets."""
    parts = []
    for name, entry in _registry("recipes").items():
        extends = f" Extends [`{entry['extends']}`](#{entry['extends']})." if "extends" in entry else ""
        parts += [f"### {name}", f"{_text(entry['summary'])}{extends}", _yaml(entry["recipe"])]
        for dataset, changes in entry.get("datasets", {}).items():
            parts += [f"On `{dataset}`:", _yaml(changes)]
    return "\n\n".join(parts)


def methods() -> str:
    """Methods: label, head, adversary and what else they state of a recipe."""
    rows = []
    for key, entry in _registry("methods").items():
        more = {name: value for name, value in entry.items() if name not in ("label", "head", "adversary")}
        stated = (_options(entry["head"]), _options(entry["adversary"]), _options(more) if more else "")
        rows.append((f"`{key}`", _text(entry["label"]), *stated))
    return table(("method", "label", "head", "adversary", "more"), rows)


def backbones() -> str:
    """Backbones: parameters and multiply-adds at an embedding size of 512."""
    footprints = json.loads((PACKAGE / "models/footprint_table.json").read_text())
    rows = []
    for arch, entry in footprints.items():
        parameters, work = (
            entry[key]["fixed"] + 512 * entry[key]["per_feature"] for key in ("parameters", "multiply_adds")
        )
        rows.append((f"`{arch}`", f"{parameters:,}", f"{work / 1e9:.2f} billion"))
    return table(("backbone", "parameters", "multiply-adds an image"), rows)


def _registry(name: str) -> dict[str, Any]:
    entries: dict[str, Any] = yaml.safe_load((REGISTRIES / f"{name}.yaml").read_text())
    return entries


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}: {_yaml_value(value)}`" for key, value in options.items())


def _yaml(value: Any) -> str:
    return "```yaml\n" + yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100).strip() + "\n```"


# Environment


VARIABLES = {
    "AROFACE_STRICT_VERSIONS": (
        "user, workflow",
        "Set to any text: packages of other versions than requirements.lock end a command with status 2 instead of a "
        "warning. `strict_versions: true` sets it for all jobs.",
    ),
    "AROFACE_HANG_S": (
        "user, Slurm profile",
        "Seconds without a finished step after which a training is considered hung, prints the stacks of all threads "
        "and ends. Default 1800; the profile sets it from `hang_minutes` of `slurm/site.yaml`.",
    ),
    "AROFACE_SITE": (
        "Slurm profile",
        "Settings of `slurm/site.yaml` with defaults, as JSON, for rules and jobs.",
    ),
    "AROFACE_SETUP": ("Slurm profile", "Shell lines that each job runs first: `setup` of `slurm/site.yaml`."),
    "AROFACE_SCRATCH": (
        "Slurm profile",
        "Folder for the `TMPDIR` of jobs: `scratch` of `slurm/site.yaml`.",
    ),
    "AROFACE_IMAGE": ("Slurm profile", "Path of the Apptainer image, where `environment: container`."),
    "AROFACE_BIND": ("Slurm profile", "Folders that are bound into the container: repository, data, results."),
    "AROFACE_RENDEZVOUS": (
        "slurm/launch.sh",
        "Random identifier shared by the nodes of one training, by which their launchers recognise each other.",
    ),
    "AROFACE_CALL": ("workflow", "Identity and folder of a Snakemake call, by which a later call recognises its jobs."),
    "AROFACE_DISPLAY": ("workflow/scripts/live.py", "Process that displays progress; Snakemake ends with it."),
    "AROFACE_PLANNED_AGAIN": ("workflow", "Mark of a Snakemake that has restarted itself to make missing targets."),
}
"""Who sets each environment variable, and its meaning."""


def environment() -> str:
    """Environment variables of the project."""
    rows = [(f"`{name}`", _text(who), text) for name, (who, text) in sorted(VARIABLES.items())]
    return table(("variable", "set by", "meaning"), rows)


def used_variables() -> set[str]:
    """Names of all environment variables that the code reads or sets."""
    folders = ("src/aroface", "workflow", "slurm", "profiles")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = (path.read_text(errors="ignore") for path in [ROOT / "Snakefile", *files] if path.suffix != ".pyc")
    return {name for text in texts for name in re.findall(r"\bAROFACE_[A-Z_]+", text)}


def exit_statuses() -> str:
    """Exit statuses of the command line, from ``aroface.exit_status``."""
    tree = ast.parse((PACKAGE / "exit_status.py").read_text())
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    rows = []
    for member, text in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            words = ast.literal_eval(text.value).replace("``", "`")
            rows.append((f"`{ast.literal_eval(member.value)}`", " ".join(words.split())))
    return table(("status", "meaning"), rows)


def included(path: str) -> Callable[[], str]:
    """A page of the repository that lies elsewhere, without its title; links into ``docs/`` are made relative."""

    def text() -> str:
        body = (ROOT / path).read_text().partition("\n")[2]
        return body.replace("](docs/", "](").strip()

    return text


# Statistics


def coverage() -> str:
    """Coverage of all intervals, size of all tests and rates of all verdicts, from the bench's record."""
    with _on_path(ROOT / "performance"):
        from known_truth.rows import Row
        from known_truth.table import markdown
    record = json.loads((ROOT / "performance/records/coverage.json").read_text())
    return markdown(map(Row.read, record["rows"]), record["models"])


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


GENERATORS: dict[str, Callable[[], str]] = {
    "command-line": command_line,
    "configuration": configuration,
    "recipe": recipe_keys,
    "record": record_keys,
    "recipes": recipes,
    "methods": methods,
    "backbones": backbones,
    "environment": environment,
    "exit-statuses": exit_statuses,
    "coverage": coverage,
    "results/README.md": included("results/README.md"),
    "CONTRIBUTING.md": included("CONTRIBUTING.md"),
}
"""Generators by the name that a page gives."""

MARK = re.compile(r"^<!-- generate: (\S+) -->$", re.M)


def fill(markdown: str) -> str:
    """A page with its marks replaced by what they name."""
    return MARK.sub(lambda match: GENERATORS[match[1]](), markdown)


# Markdown


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = [heads, tuple(":--" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def _text(words: str) -> str:
    """Plain text as Markdown, outside of code."""
    parts = re.split(r"(`[^`]*`)", words)
    return "".join(part if part[:1] == "`" else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"([*\[\]])", r"\\\1", text).replace("<", "&lt;")


def _code(value: Any) -> str:
    return f"`{_yaml_value(value)}`"


def _yaml_value(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).replace("\n...", "").strip()
