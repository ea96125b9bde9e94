"""One declaration of an execution option: command line, configuration and its schema agree with the dataclass."""

import argparse
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from aroface.cli.train import add_train_verb
from aroface.training.execution import ExecutionOptions, command_line, option_string

SCHEMA = json.loads(Path("src/aroface/_schemas/config.schema.json").read_text())
CONFIGURED = yaml.safe_load(Path("workflow/configs/defaults.yaml").read_text())["training"]
ELSEWHERE = {"processes", "gpu_type", "validate"}
"""Keys of ``training`` in the configuration that are no execution options."""
BY_THE_RULE = {"loader_threads"}
"""Options that the rule derives from a job's threads."""
TYPES = get_type_hints(ExecutionOptions)
OPTIONS = {option.name: option for option in fields(ExecutionOptions) if option.name not in {"device", *BY_THE_RULE}}
REQUIRED = ["train", "--recipe", "recipe.json"]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_train_verb(parser.add_subparsers())
    return parser.parse_args([*REQUIRED, *words])


def described(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type."""
    if get_origin(kind) is Literal:
        return {"enum": [*get_args(kind)]}
    return {
        int: {"$ref": "#/$defs/count"},
        bool: {"type": "boolean"},
        float: {"type": "number", "minimum": 0, "maximum": 1},
        int | None: {"type": ["integer", "null"], "minimum": 1},
    }[kind]


def test_the_configuration_has_these_options_and_no_others():
    names = {"device", *OPTIONS}
    assert CONFIGURED.keys() == SCHEMA["properties"]["training"]["properties"].keys() == names | ELSEWHERE


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults_and_types_are_one(name):
    assert CONFIGURED[name] == OPTIONS[name].default
    entry = SCHEMA["properties"]["training"]["properties"][name]
    assert {key: value for key, value in entry.items() if key != "description"} == described(TYPES[name])


@pytest.mark.parametrize("name", [*OPTIONS, *BY_THE_RULE])
def test_the_command_line_has_the_defaults_and_a_help_text(name, capsys):
    assert getattr(parse(), name) == getattr(ExecutionOptions(), name)
    with pytest.raises(SystemExit):
        parse("--help")
    assert option_string(name) in capsys.readouterr().out


def test_a_plans_words_are_parsed_into_its_values():
    values = {
        **{"device": "cuda", "save_every": 7, "keep": 3, "log_every": 8, "sheet_every": 9, "check_every": 10},
        **{"validate_every": 2, "micro_batch": 64, "compile": True, "checkpoint_activations": False},
        **{"reader": "mxnet", "on_corrupt": "skip", "max_corrupt_fraction": 0.25},
    }
    words = command_line({**values, "processes": 4, "gpu_type": "a100", "validate": ["lfw"]})
    parsed = parse(*words)
    assert {name: getattr(parsed, name) for name in values} == values
    assert (parsed.processes, parsed.validate) == (1, [])
    assert command_line({"micro_batch": None, "compile": False}) == []


def test_options_are_declared_without_torch():
    code = "import sys, aroface.training.execution; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
