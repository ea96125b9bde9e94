"""The configuration: what people write, checked and laid together, and the experiments that it asks for.

A configuration is one YAML file or several, later ones laid over earlier ones: mappings are joined key by key, anything
else is replaced. A recipe grows the same way: a named recipe, what it changes for the training set, the method's head,
adversary and what else it states, and the experiment's own changes.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroface.datasets.registry import Checkpoint, read_checkpoints
from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.humanize import one_of
from aroface.planning.paths import check_configured, command_path
from aroface.reporting.records import variant
from aroface.results import Results
from aroface.schemas import parse_yaml, read_yaml, validate
from aroface.shipped import shipped

DEFAULTS = Path("workflow/configs/defaults.yaml")
METHODS = Path("workflow/registries/methods.yaml")
RECIPES = Path("workflow/registries/recipes.yaml")
CHECKPOINTS = Path("workflow/registries/checkpoints.yaml")
COMMAND_LINE = "--config"
TEMPLATES = "__use_yte__"  # Snakemake's key by which a file asks to be processed as a program
RELEASED_SEED = 0  # nobody says what it was; there is one of each

# What a recipe may leave out, and what that means. Said or not, it is the same recipe and has the same hash.
_OPTIONAL: dict[str, Any] = {
    "sample_rate": 1,
    "batch_norm": "local",
    "gradient_compression": "none",
    "growth_interval": 2000,
    "tf32": False,
    "backbone": {"dropout": 0, "initialisation": "normal", "plain_features": False, "identity_shortcut": False},
    "class_weights": "normal",
    "autocast": "convolutions",
    "last_batch": "dropped",
    "images_per_pass": None,
    "class_update": "drawn",
    "class_draw": "step",
    "pairs": None,
    "batch_loss": None,
    "images_per_identity": None,
    "adversary": {"scale_loss": True},
    "optimiser": {"decay_batch_norm": True},
}
# Options without effect unless the precision is fp16: elsewhere the recipe is the same with and without them.
_UNDER_FP16: dict[str, Any] = {"growth_interval": None, "adversary": {"scale_loss": None}}
_OF_PROFILE: dict[str, Any] = {"adversary": {"scale_loss": None}}

# A mapping that names another kind of thing takes none of the options of the one beneath.
_DECIDING_KEY = {"head": "name", "schedule": "kind", "pairs": "kind", "batch_loss": "kind"}

_OF_METHOD = ("head", "adversary", "pairs", "batch_loss", "images_per_identity")
"""Keys of the recipe that a method may state."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Configuration files, checked and laid over each other.

    Attributes:
        file: Names of the files, as errors give them.
        values: Values as ``config.schema.json`` describes them.
    """

    file: str
    values: dict[str, Any]

    @property
    def results(self) -> Results:
        """Folder of all that is computed."""
        return Results(command_path(self.values["paths"]["results"]))


@dataclass(frozen=True, slots=True)
class Experiment:
    """A method trained on a data set with a backbone, once for each seed; or what others released of it.

    Attributes:
        method: Key in ``methods.yaml``.
        dataset: Key of the training set.
        arch: Name of the backbone.
        seeds: Seeds, one run each.
        recipe: Resolved recipe, as ``recipe.schema.json`` describes it; None of released weights.
        released: Weights that are taken as they are; None where they are trained.
        benchmarks: Benchmarks that its runs are evaluated on; None for all.
        label: Text that tells it from others of its method, data set and backbone; empty where there are none.
        where: Place in the configuration that declares it.
    """

    method: str
    dataset: str
    arch: str
    seeds: tuple[int, ...]
    recipe: dict[str, Any] | None
    released: Checkpoint | None = None
    benchmarks: frozenset[str] | None = None
    label: str = ""
    where: str = "experiments"

    @property
    def variant(self) -> str:
        """The method with the experiment's label, as tables and figures know it."""
        return variant(self.method, self.label)

    @property
    def key(self) -> tuple[str, str, str]:
        """Method with label, data set and backbone, which no two experiments share."""
        return self.variant, self.dataset, self.arch

    @property
    def trained(self) -> dict[str, str]:
        """Method, data set and backbone, as runs and records have them: a label changes nothing of a training."""
        return {"method": self.method, "dataset": self.dataset, "arch": self.arch}

    @property
    def described(self) -> dict[str, str]:
        """The key as a mapping, as table rows have it."""
        return {**self.trained, "method": self.variant}


def look_before_snakemake(words: Sequence[str]) -> None:
    """Read the configuration files of Snakemake's command line before Snakemake does.

    Its own reader has no bounds, ends in tracebacks, and runs the Python that a file may hold for its templates. Exits
    with one line and status 2 where something is wrong.

    Args:
        words: Arguments of the command line.
    """
    files: list[str] = []
    takes = False
    for word in words:
        if word.startswith("-"):
            option, _, value = word.partition("=")
            takes = option.startswith("--configf") and not value
            files += [value] if option.startswith("--configf") and value else []
        elif takes:
            files.append(word)
    try:
        for file in files:
            content = read_yaml(file)
            if isinstance(content, Mapping) and TEMPLATES in content:
                raise InputError("makes Snakemake run what the file holds", file=file, where=TEMPLATES)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(ExitStatus.BAD_INPUT)


def read_configuration(
    files: Sequence[Path], changes: Mapping[str, Any] | None = None, *, root: Path = Path()
) -> Configuration:
    """Read the defaults and lay ``files``, then ``changes``, over them, each checked where it is laid.

    Args:
        files: Configuration files; the last one wins.
        changes: Keys given on Snakemake's command line.
        root: Folder of the repository.

    Raises:
        InputError: One line with file and key.
    """
    values = read_yaml(shipped(root / DEFAULTS))
    layers: list[tuple[str, Any]] = [(str(file), read_yaml(file)) for file in files]
    if changes:
        # Snakemake takes `True` for a truth value and `true` for a word; in YAML both are the value.
        read = {
            key: parse_yaml(value, file=f"{COMMAND_LINE}: {key}") if isinstance(value, str) else value
            for key, value in changes.items()
        }
        layers.append((COMMAND_LINE, read))
    for file, layer in layers:
        if not isinstance(layer, Mapping):
            raise InputError("no mapping", file=file, expected="keys such as experiments and benchmarks")
        values = lay_over(values, layer)
        validate(values, "config", file=file)
        check_configured(layer, file=file)
    return Configuration(" + ".join(str(file) for file in files), values)


def lay_over(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """Join ``layer`` with what lies beneath it, key by key; neither is changed."""
    joined = {**base}
    for key, value in layer.items():
        beneath = joined.get(key)
        if isinstance(value, Mapping) and isinstance(beneath, Mapping) and not _another_kind(key, value, beneath):
            joined[key] = lay_over(beneath, value)
        else:
            joined[key] = value
    return joined


def _another_kind(key: str, value: Mapping[str, Any], beneath: Mapping[str, Any]) -> bool:
    return key in _DECIDING_KEY and value.get(_DECIDING_KEY[key]) not in (None, beneath.get(_DECIDING_KEY[key]))


def read_methods(root: Path = Path()) -> dict[str, dict[str, Any]]:
    """The methods by key, each with ``label``, ``head`` and ``adversary``, and some with more of a recipe.

    Raises:
        InputError: The registry is malformed.
    """
    return _read_registry(root / METHODS, "methods")


def read_recipes(root: Path = Path()) -> dict[str, dict[str, Any]]:
    """The named recipes by key, each with ``recipe`` and, where there are any, ``extends`` and ``datasets``.

    Raises:
        InputError: The registry is malformed.
    """
    return _read_registry(root / RECIPES, "recipes")


def _read_registry(path: Path, schema: str) -> dict[str, dict[str, Any]]:
    path = shipped(path)
    entries: dict[str, dict[str, Any]] = read_yaml(path)
    validate(entries, schema, file=path)
    return entries


def read_experiments(configuration: Configuration, *, root: Path = Path()) -> tuple[Experiment, ...]:
    """The experiments that a configuration asks for, with their recipes resolved.

    Args:
        configuration: Configuration as :func:`read_configuration` returns it.
        root: Folder of the repository.

    Raises:
        InputError: An unknown method or recipe, a recipe that is not valid, or an experiment declared twice.
    """
    declared = configuration.values["experiments"]
    methods, recipes = read_methods(root), read_recipes(root)
    checkpoints = read_checkpoints(root / CHECKPOINTS) if any("checkpoint" in entry for entry in declared) else {}
    experiments: dict[tuple[str, str, str], Experiment] = {}
    for number, entry in enumerate(declared):
        record = f"experiments.{number}"
        if "checkpoint" in entry:
            entry_experiments = [_released(entry["checkpoint"], configuration, record, methods, checkpoints)]
        else:
            entry_experiments = [
                _trained(entry, point, configuration, record, methods, recipes)
                for point in _points(entry.get("sweep", {}))
            ]
        for experiment in entry_experiments:
            if experiment.key in experiments:
                raise InputError(
                    f"{'/'.join(experiment.key)} is declared twice",
                    file=configuration.file,
                    where=record,
                    remedy="to compare variants of it, give each a label, or one of them a sweep",
                )
            experiments[experiment.key] = experiment
    return tuple(experiments.values())


def _points(sweep: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of a sweep's values, by the dotted keys of the recipe; one without any where none is asked."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _label(own: str, point: Mapping[str, Any]) -> str:
    """The label of an experiment at a point of a sweep, such as ``long, lr=0.1``."""
    last = [key.rpartition(".")[2] for key in point]
    names = [name if last.count(name) == 1 else key for key, name in zip(point, last, strict=True)]
    values = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in point.values()]
    return ", ".join([own] * bool(own) + [f"{name}={value}" for name, value in zip(names, values, strict=True)])


def _changes(point: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of the recipe at a point of a sweep."""
    changes: dict[str, Any] = {}
    for key, value in point.items():
        for name in reversed(key.split(".")):
            value = {name: value}
        changes = lay_over(changes, value)
    return changes


def _trained(
    entry: Mapping[str, Any],
    point: Mapping[str, Any],
    configuration: Configuration,
    where: str,
    methods: Mapping[str, Any],
    recipes: Mapping[str, Any],
) -> Experiment:
    values = configuration.values
    name = entry.get("recipe", values["recipe"])
    _check_known("method", entry["method"], methods, configuration.file, f"{where}.method")
    _check_known("recipe", name, recipes, configuration.file, f"{where}.recipe" if "recipe" in entry else "recipe")
    method = methods[entry["method"]]
    layers = [
        *_recipe_layers(recipes, name, entry["dataset"]),
        (f"{METHODS}: {entry['method']}", {key: method[key] for key in _OF_METHOD if key in method}),
        (f"{configuration.file}: {where}", {"arch": entry["arch"]} if "arch" in entry else {}),
        (f"{configuration.file}: {where}.overrides", entry.get("overrides", {})),
        (f"{configuration.file}: {where}.sweep", _changes(point)),
    ]
    recipe, seeds = resolve_recipe(layers), tuple(entry.get("seeds", values["seeds"]))
    benchmarks = frozenset(entry["benchmarks"]) if "benchmarks" in entry else None
    return Experiment(
        entry["method"],
        entry["dataset"],
        recipe["arch"],
        seeds,
        recipe,
        benchmarks=benchmarks,
        label=_label(entry.get("label", ""), point),
        where=where,
    )


def _released(
    key: str,
    configuration: Configuration,
    where: str,
    methods: Mapping[str, Any],
    checkpoints: Mapping[str, Checkpoint],
) -> Experiment:
    _check_known("checkpoint", key, checkpoints, configuration.file, f"{where}.checkpoint")
    released = checkpoints[key]
    if released.method_label is None:
        _check_known("method", released.method, methods, CHECKPOINTS, f"{key}.method")
    return Experiment(
        released.method,
        released.dataset,
        released.arch,
        (RELEASED_SEED,),
        None,
        released,
        label=released.label,
        where=where,
    )


def resolve_recipe(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Lay the parts of a recipe over each other, the first of them complete.

    Args:
        layers: Parts, each with the file and record that it comes from.

    Returns:
        The recipe; one without an adversary says nothing else of it, so that the adversary's options leave it alone,
        and none says what it may leave out or what has no effect on it.

    Raises:
        InputError: Names the part that made the recipe invalid, and the key.
    """
    recipe: dict[str, Any] = {}
    for source, layer in layers:
        if layer:
            profile = layer.get("adversary", {}).get("profile")
            if recipe and profile not in (None, recipe["adversary"].get("profile")):
                # Values that the recipe beneath states for its own profile do not hold for another one.
                recipe = _without(recipe, _OF_PROFILE, whatever=True)
            recipe = lay_over(recipe, layer)
            validate(recipe, "recipe", file=source)
    if recipe["adversary"]["kind"] == "none":
        recipe = {**recipe, "adversary": {"kind": "none"}}
    if recipe["precision"] != "fp16":
        recipe = _without(recipe, _UNDER_FP16, whatever=True)
    if recipe["adversary"]["kind"] == "random":  # it takes no gradient
        recipe = _without(recipe, _OF_PROFILE, whatever=True)
    return _without(recipe, _OPTIONAL)


def _without(recipe: Mapping[str, Any], left_out: Mapping[str, Any], *, whatever: bool = False) -> dict[str, Any]:
    """The recipe without the keys of ``left_out`` that have the same value there, or ``whatever`` value they have."""
    kept: dict[str, Any] = {}
    for key, value in recipe.items():
        if key in left_out and isinstance(left_out[key], Mapping) and isinstance(value, Mapping):
            inner = _without(value, left_out[key], whatever=whatever)
            kept |= {key: inner} if inner else {}
        elif key not in left_out or not (whatever or value == left_out[key]):
            kept[key] = value
    return kept


def _recipe_layers(
    recipes: Mapping[str, Mapping[str, Any]], name: str, dataset: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A named recipe after those that it extends, each followed by what it changes for the training set."""
    chain = [name]
    while parent := recipes[chain[0]].get("extends"):
        _check_known("recipe", parent, recipes, RECIPES, f"{chain[0]}.extends")
        if parent in chain:
            raise InputError(f"{parent} extends itself", file=RECIPES, where=f"{chain[0]}.extends")
        chain.insert(0, parent)
    for recipe_name in chain:
        yield f"{RECIPES}: {recipe_name}.recipe", recipes[recipe_name]["recipe"]
        yield f"{RECIPES}: {recipe_name}.datasets.{dataset}", recipes[recipe_name].get("datasets", {}).get(dataset, {})


def _check_known(what: str, name: str, known: Mapping[str, Any], file: str | Path, where: str) -> None:
    if name not in known:
        raise InputError(f"unknown {what} {name!r}", file=file, where=where, expected=one_of(known, name))
