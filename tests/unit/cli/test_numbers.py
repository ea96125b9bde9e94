"""Numbers and paths on the command line: none is taken that is none, and all bad ones end alike."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from aroface.cli.arguments import listed
from aroface.cli.main import _parser, main
from embedding_runs import make_run
from external_models import face_pairs, write_onnx

VERBS = ("evaluate", "robustness", "model", "embed", "data", "train", "mistakes", "quality")
NO_NUMBERS = ("nan", "inf", "-inf", "1e999", "", "x", "0x10", "9" * 5000)


def verbs_below(parser: argparse.ArgumentParser, names: tuple[str, ...] = ()) -> dict[tuple[str, ...], list]:
    """The options of each verb by the verb's words."""
    found = {names: []}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found |= verbs_below(inner, (*names, name))
        elif action.option_strings and action.type not in (None, Path, listed):
            found[names].append(action)
    return found


def every_parser(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of all verbs, however deep."""
    below = [action.choices.values() for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(each for group in below for inner in group for each in every_parser(inner))]


OPTIONS = [
    (names, action)
    for names, actions in verbs_below(_parser()).items()
    for action in actions
    if names and names[0] in VERBS and not action.choices
]


def test_the_table_holds_the_numeric_options():
    found = {action.option_strings[0] for _, action in OPTIONS}
    assert {"--mean", "--std", "--size", "--crop", "--shift", "--batch-size", "--tolerance", "--time-limit"} <= found
    assert {"--seed", "--test-fraction", "--max-left-out", "--max-corrupt-fraction", "--max-size"} <= found


@pytest.mark.parametrize(("names", "action"), OPTIONS, ids=lambda each: getattr(each, "option_strings", [""])[0])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_refused(names, action, text):
    with pytest.raises((argparse.ArgumentTypeError, ValueError)) as caught:
        action.type(text)
    assert len(str(caught.value)) < 5200, "argparse quotes it once"
    assert action.type not in (int, float), "either takes a not-a-number or quotes all of a long one"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["quality", "--fmr", "1"], "argument --fmr: '1' is not a rate above 0 and below 1; aroface quality --help"),
        (["mistakes", "--fmr", "1"], "argument --fmr: '1' is not a rate above 0 and below 1; aroface mistakes --help"),
        (["evaluate", "--scores", "a", "--fmr", "1.5"], "argument --fmr: '1.5' is not a rate above 0 and below 1"),
        (["data", "pairs", "a", "--out", "b.bin", "--pairs", "0"], "not a whole number from 1 on; aroface data pairs"),
        (["nosuch"], "argument VERB: invalid choice: 'nosuch'"),
        (["train", "--recipe"], "argument --recipe: expected one argument; aroface train --help says more"),
        ([], "the following arguments are required: VERB; aroface --help says more"),
    ],
)
def test_a_wrong_command_line_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(words)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("aroface: error: ")
    assert error.count("\n") == 1
    assert line in error


PATHS = [(parser, action) for parser in every_parser(_parser()) for action in parser._actions if action.type is Path]


@pytest.mark.parametrize(
    ("parser", "action"), PATHS, ids=lambda each: getattr(each, "prog", None) or getattr(each, "dest", "")
)
def test_an_empty_path_is_refused(parser, action):
    """As of an unset variable of the shell: it would mean the working directory."""
    with pytest.raises(argparse.ArgumentError, match=r"an empty path; write \. for the working directory"):
        parser._get_values(action, [""])


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--mean", ["nan", "-inf"]),
        ("--std", ["0", "-1", "inf", "nan"]),
        ("--size", ["0", "-112", "1e3", "9999999999"]),
        ("--crop", ["112", "112x", "x96", "0x96", "112x96x3", "-1x5"]),
        ("--batch-size", ["0", "-1"]),
        ("--threads", ["0", "-1"]),
        ("--time-limit", ["0", "-1", "inf"]),
        ("--tolerance", ["0", "nan", "-1", "100", "1e9"]),
        ("--max-pairs", ["0", "-5", "3"]),
        ("--qualities", ["0", "3", "1000", "-24", "hd"]),
        ("--scale", ["nan", "-0.1", "0.95", "inf"]),
        ("--degrees", ["nan", "-1", "181"]),
        ("--shift", ["nan", "-0.1", "1.1"]),
        ("--joint", ["nan", "-1", "2"]),
    ],
)
def test_numbers_out_of_range_end_in_one_line(tmp_path, capsys, option, values):
    model, pairs = write_onnx(tmp_path / "model.onnx"), face_pairs(tmp_path / "lfw.bin", 20)
    calls = {"robustness": ["--pairs", pairs, "--out", tmp_path / "out"], "evaluate": ["--benchmark", pairs]}
    own = ("--tolerance", "--max-pairs", "--qualities", "--scale", "--degrees", "--shift", "--joint")
    for verb, words in calls.items():
        if verb == "evaluate" and option in own:
            continue
        for value in values:
            try:
                status = main([verb, "--model", str(model), *map(str, words), f"{option}={value}"])
            except SystemExit as ended:
                status = ended.code
            assert status == 2, (verb, value)
            line = capsys.readouterr().err.splitlines()[-1]
            assert "error: " in line
            assert len(line) < 300


@pytest.mark.parametrize("option", ["--max-left-out=1.01", "--max-left-out=-0.1", "--seed=-1", "--seed=1.5"])
def test_shares_and_seeds_out_of_range_end_in_one_line(tmp_path, capsys, option):
    with pytest.raises(SystemExit) as ended:
        main(["data", "prepare", str(tmp_path), "--out", str(tmp_path / "out"), option])
    assert ended.value.code == 2
    assert f"error: argument {option.partition('=')[0]}: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("form", ["onnx", "pt", "safetensors", "torch-export"])
def test_a_folder_as_the_file_of_an_export_is_one_line(tmp_path, capsys, form):
    run = make_run(tmp_path, 0)
    assert main(["model", "export", str(run), "--format", form, "--out", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert (
        f"{tmp_path}: --out: a folder; expected the file to write; name a file in it, such as {tmp_path}/model." in line
    )


def test_a_file_as_the_folder_of_an_import_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("something")
    assert main(["model", "import", str(tmp_path / "x.pt"), "--out", str(tmp_path / "file")]) == 2
    assert "file: a file; expected a folder for the run" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["112", "112x", "x96", "0x96", "axb", "112x96x3"])
def test_a_crop_that_is_none_is_told_its_form(text, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--model", "my.onnx", "--benchmark", "lfw.bin", f"--crop={text}"])
    told = f"argument --crop: '{text}' is not HxW, such as 112x96"
    assert capsys.readouterr().err == f"aroface: error: {told}; aroface evaluate --help says more\n"
